/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-config.c: setting keys, checking the whole, and the messages.
 */

#include <config.h>

#include <signal.h>

#include "config-fixture.h"

/* ------------------------------------------------------------------------ */
/* Setting                                                                   */

START_TEST (messages_name_key_value_and_bounds)
{
  static const struct {
    const char *key, *value, *message;
  } cases[] = {
    { "blocksize", "1000",
      "blocksize=1000: must be a power of two from 512 to 65536 (bytes; "
      "suffixes b s k M G T P E)" },
    { "size", "0",
      "size=0: must be a size from 1 to 9223372036854775807 (bytes; suffixes "
      "b s k M G T P E)" },
    { "size", "8E",
      "size=8E: must be a size from 1 to 9223372036854775807 (bytes; suffixes "
      "b s k M G T P E)" },
    { "hw_queue_depth", "99999",
      "hw_queue_depth=99999: must be a whole number from 1 to 10240" },
    { "max_sectors", "8388608",
      "max_sectors=8388608: must be a whole number from 0 to 8388607 "
      "(512-byte sectors)" },
    { "completion_nsec", "2days",
      "completion_nsec=2days: unknown suffix; must be a time from 0 to "
      "86400000000000 (ns; suffixes ns us ms s)" },
    { "io_timeout", "500us",
      "io_timeout=500us: not a whole number of ms; must be a time from 0 to "
      "86400000 (ms; suffixes ns us ms s)" },
    { "irqmode", "softriq",
      "irqmode=softriq: unknown word; must be one of none, softirq, timer (or "
      "0 to 2)" },
    { "readonly", "perhaps",
      "readonly=perhaps: not a boolean; must be 1, true, yes, on or 0, false, "
      "no, off" },
  };
  size_t i;

  for (i = 0; i < NR (cases); i++) {
    set_fails (cases[i].key, cases[i].value, cases[i].message);
    ck_assert_str_eq (error.message, cases[i].message);
  }
}
END_TEST

/* Without driver= a key may be any driver's, also one's that is yet to be
 * loaded; what is nobody's is found at the end. */
static void
unknown (const char *key, const char *value, const char *expected)
{
  renew_config ();
  set ("size", "1M");
  set (key, value);
  check_fails (expected);
}

START_TEST (unknown_key_suggests_the_nearest)
{
  unknown ("blocksise", "512",
           "blocksise=512: unknown key (did you mean blocksize?); keys are ");
  unknown ("block_size", "512", "(did you mean blocksize?)");
  unknown ("szie", "1", "(did you mean size?)");
  unknown ("esde", "1", "(did you mean seed?)"); /* two swaps */
  unknown ("max_sector", "1", "(did you mean max_sectors?)");
  unknown ("fake_itn", "1", "(did you mean fake_int?)");

  /* No driver's key can be called so. */
  set_fails ("Size", "1", "(did you mean size?)");
  set_fails ("hw-queue-depth", "1", "(did you mean hw_queue_depth?)");

  /* It is found ahead of what it should have been. */
  renew_config ();
  set ("szie", "1");
  check_fails ("szie=1: unknown key (did you mean size?)");
}
END_TEST

START_TEST (unknown_key_lists_what_there_is)
{
  size_t i;

  unknown ("xyzzy", "1", "xyzzy=1: unknown key; keys are ");
  for (i = 0; i < nr_engine_keys; i++)
    ck_assert_ptr_nonnull (strstr (error.message, engine_keys[i].name));
  ck_assert_ptr_nonnull (strstr (error.message, "fake_int (driver=fake)"));

  /* Once the driver is known only its keys are offered. */
  renew_config ();
  set ("driver", "other");
  set_fails ("xyzzy", "1", "other_int");
  ck_assert_ptr_null (strstr (error.message, "fake_int"));
  set_fails ("other_itn", "1", "(did you mean other_int?)");
  set_fails ("fake_itn", "1", "fake_itn=1: unknown key; keys are ");
}
END_TEST

START_TEST (unknown_early_key_is_refused_with_the_driver)
{
  set ("size", "1M");
  set ("other_itn", "1");
  set ("driver", "other");
  check_fails ("other_itn=1: unknown key (did you mean other_int?)");
  ck_assert_ptr_null (strstr (error.message, "fake_int"));
}
END_TEST

START_TEST (unknown_driver_lists_the_known)
{
  const struct blkmq_driver *driver;
  size_t i;

  set_fails ("driver", "memroy", "driver=memroy: must be one of ");
  for (i = 0; (driver = blkmq_driver_at (i)) != NULL; i++)
    ck_assert_ptr_nonnull (strstr (error.message, driver->name));
  ck_assert_ptr_nonnull (strstr (error.message, "(did you mean memory?)"));
  set_fails ("driver", "", "driver=: must be one of ");
  ck_assert_ptr_null (strstr (error.message, "did you mean"));
  ck_assert (!blkmq_config_is_set (config, "driver"));
}
END_TEST

START_TEST (a_key_is_given_once)
{
  set ("size", "1G");
  set_fails ("size", "2G", "size=2G: given twice, first as size=1G");
  set_fails ("size", "1G", "given twice");
  ck_assert_uint_eq (blkmq_config_number (config, "size"), 1 << 30);

  /* Also before the driver is known, also if the value is the default. */
  set ("fake_int", "6");
  set_fails ("fake_int", "8", "fake_int=8: given twice, first as fake_int=6");
  set ("driver", "fake");
  set_fails ("fake_int", "9", "given twice");
  set_fails ("driver", "memory", "given twice, first as driver=fake");
  check ();
  ck_assert_uint_eq (blkmq_config_number (config, "fake_int"), 6);
}
END_TEST

START_TEST (a_refused_value_changes_nothing)
{
  set ("blocksize", "4k");
  set_fails ("submit_queues", "0", "submit_queues=0");
  set_fails ("blocksize", "1000", "blocksize");
  set_fails ("driver", "nothing", "driver=nothing");
  set_fails ("non-sense", "1", "non-sense");
  ck_assert_uint_eq (blkmq_config_number (config, "blocksize"), 4096);
  ck_assert (!blkmq_config_is_set (config, "submit_queues"));
  ck_assert (!blkmq_config_is_set (config, "driver"));
  set ("submit_queues", "2");
  ck_assert_uint_eq (blkmq_config_number (config, "submit_queues"), 2);
}
END_TEST

/* The C library's, with a fault: linked statically, the parser calls these.
 * Check calls them too, so that nothing is asserted while a fault is due. */
static int allocations_until_fault = -1; /* -1: never */

static bool
allocation_fails (void)
{
  if (allocations_until_fault < 0 || allocations_until_fault-- > 0)
    return false;
  errno = ENOMEM;
  return true;
}

char *
strdup (const char *string)
{
  size_t size = strlen (string) + 1;
  char *copy = allocation_fails () ? NULL : malloc (size);

  if (copy != NULL)
    memcpy (copy, string, size);
  return copy;
}

void *
reallocarray (void *old, size_t nr, size_t size)
{
  size_t bytes;

  if (__builtin_mul_overflow (nr, size, &bytes) || allocation_fails ())
    return NULL;
  return realloc (old, bytes);
}

START_TEST (out_of_memory_changes_nothing)
{
  int nth, r;

  set ("size", "1M");
  for (nth = 0; nth < 3; nth++) {
    allocations_until_fault = nth;
    r = blkmq_config_set (config, "blocksize", "4k", &error);
    ck_assert_msg (allocations_until_fault == -1, "no allocation %d", nth);
    ck_assert_msg (r == -ENOMEM, "allocation %d: %d", nth, r);
    ck_assert_str_eq (error.message, "blocksize: out of memory");
    ck_assert (!blkmq_config_is_set (config, "blocksize"));
    check ();
  }
  set ("blocksize", "4k");
  ck_assert_uint_eq (blkmq_config_number (config, "blocksize"), 4096);
  ck_assert_uint_eq (blkmq_config_number (config, "size"), 1 << 20);
}
END_TEST

START_TEST (driver_keys_may_come_before_the_driver)
{
  static const char *const settings[][2] = {
    { "size", "1M" },
    { "driver", "fake" },
    { "fake_int", "8" },
    { "fake_ns", "2us" },
  };
  size_t first, i;

  /* Every rotation, forwards and backwards. */
  for (first = 0; first < 2 * NR (settings); first++) {
    renew_config ();
    for (i = 0; i < NR (settings); i++) {
      size_t at = first < NR (settings)
                      ? (first + i) % NR (settings)
                      : (first + NR (settings) - i) % NR (settings);

      set (settings[at][0], settings[at][1]);
    }
    check ();
    ck_assert_ptr_eq (config_driver (config), &fake);
    ck_assert_uint_eq (blkmq_config_number (config, "size"), 1 << 20);
    ck_assert_uint_eq (blkmq_config_number (config, "fake_int"), 8);
    ck_assert_uint_eq (blkmq_config_number (config, "fake_ns"), 2000);
  }
}
END_TEST

START_TEST (early_driver_key_is_checked_later)
{
  set ("size", "1M");
  set ("fake_int", "10");
  set ("driver", "fake");
  check_fails ("fake_int=10: must be a whole number from 5 to 9");
}
END_TEST

START_TEST (key_of_another_driver_is_refused)
{
  set ("driver", "other");
  set_fails ("fake_int", "7",
             "fake_int=7: a key of driver=fake, not of driver=other; keys "
             "are ");

  renew_config ();
  set ("size", "1M");
  set ("fake_int", "7");
  set ("driver", "other");
  check_fails ("fake_int=7: a key of driver=fake, not of driver=other");

  /* The default driver is as good as a chosen one. */
  renew_config ();
  set ("size", "1M");
  set ("fake_int", "7");
  check_fails ("fake_int=7: a key of driver=fake, not of driver=memory");
}
END_TEST

START_TEST (messages_survive_odd_input)
{
  char name[2000];
  size_t i;

  memset (name, 'x', sizeof name - 1);
  name[sizeof name - 1] = '\0';
  unknown (name, name, "xxx...=xxx");
  renew_config ();
  set_fails ("size", name, "xxx...: not a number; must be a size from");
  set_fails ("driver", name, "xxx...: must be one of");
  ck_assert_uint_lt (strlen (error.message), sizeof error.message);

  set_fails ("size", "1\n2\t\x1b[31m\x7f", "size=1?2??[31m?: unknown suffix");
  for (i = 0; error.message[i] != '\0'; i++)
    ck_assert_int_ge (error.message[i], ' ');

  set_fails ("", "", "=: unknown key");
  set_fails ("size", "%s%n", "size=%s%n: not a number");
}
END_TEST

START_TEST (error_may_be_null)
{
  ck_assert_int_eq (blkmq_config_set (config, "non-sense", "1", NULL), -EINVAL);
  ck_assert_int_eq (blkmq_config_set (config, "size", "x", NULL), -EINVAL);
  ck_assert_int_eq (blkmq_config_set (config, "driver", "x", NULL), -EINVAL);
  ck_assert_int_eq (blkmq_config_check (config, NULL), -EINVAL);
  ck_assert_int_eq (blkmq_config_set (config, "size", "1", NULL), 0);
  ck_assert_int_eq (blkmq_config_set (config, "size", "1", NULL), -EINVAL);
  ck_assert_int_eq (blkmq_config_check (config, NULL), 0);
  ck_assert_int_eq (blkmq_driver_register (&fake, NULL), -EEXIST);
  blkmq_config_free (NULL);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* The whole                                                                 */

START_TEST (size_is_required)
{
  check_fails ("size: required; must be a size from 1 to");
  set ("size", "1");
  check ();
}
END_TEST

static const struct blkmq_key strict_keys[] = {
  { .name = "strict_path",
    .type = BLKMQ_KEY_STRING,
    .help = "a path",
    .required = true },
  { .name = "strict_port",
    .type = BLKMQ_KEY_INT,
    .min = 1,
    .max = 65535,
    .help = "a port",
    .required = true },
};

static const struct blkmq_driver strict = {
  .name = "strict",
  .help = "keys that must be given",
  .keys = strict_keys,
  .nr_keys = NR (strict_keys),
  .open = fake_open,
  .queue_rq = fake_queue_rq,
};

START_TEST (required_keys_of_the_driver_are_asked_for)
{
  if (registry_find ("strict") == NULL)
    ck_assert_int_eq (blkmq_driver_register (&strict, &error), 0);

  set ("size", "1M");
  set ("driver", "strict");
  check_fails ("strict_path: required by driver=strict; must be any text");
  set ("strict_path", "");
  check_fails ("strict_port: required by driver=strict; must be a whole number "
               "from 1 to 65535");
  set ("strict_port", "1");
  check ();

  /* Given before driver= as well; and nobody else asks for them. */
  renew_config ();
  set ("strict_port", "1");
  set ("strict_path", "x");
  set ("driver", "strict");
  check_fails ("size: required; must be");
  set ("size", "1M");
  check ();
  renew_config ();
  set ("size", "1M");
  set ("driver", "other");
  check ();
}
END_TEST

START_TEST (max_sectors_is_whole_blocks)
{
  set ("size", "1M");
  set ("blocksize", "4k");
  set ("max_sectors", "12");
  check_fails ("max_sectors=12: contradicts blocksize=4k; must be 0 or a "
               "multiple of 8");

  renew_config ();
  set ("size", "1M");
  set ("blocksize", "4k");
  set ("max_sectors", "16");
  check ();

  renew_config ();
  set ("size", "1M");
  set ("max_sectors", "1");
  check ();

  renew_config ();
  set ("size", "1M");
  set ("blocksize", "65536");
  set ("max_sectors", "0");
  check ();
}
END_TEST

START_TEST (completion_nsec_needs_the_timer)
{
  set ("size", "1M");
  set ("completion_nsec", "1ms");
  check_fails ("completion_nsec=1ms: contradicts irqmode=none; needs "
               "irqmode=timer");

  renew_config ();
  set ("size", "1M");
  set ("irqmode", "1");
  set ("completion_nsec", "10000"); /* the default, yet it was asked for */
  check_fails ("contradicts irqmode=softirq");
}
END_TEST

START_TEST (spin_ns_needs_the_timer)
{
  set ("size", "1G");
  set ("irqmode", "softirq");
  set ("spin_ns", "0"); /* the default, yet it was asked for */
  check_fails ("spin_ns=0: contradicts irqmode=softirq; needs "
               "irqmode=timer");
}
END_TEST

START_TEST (completion_nsec_with_the_timer)
{
  set ("completion_nsec", "3600s");
  set ("irqmode", "2");
  set ("size", "1M");
  check ();
  ck_assert_uint_eq (blkmq_config_number (config, "completion_nsec"),
                     UINT64_C (3600000000000));

  renew_config ();
  set ("size", "1M");
  set ("irqmode", "timer");
  check ();
}
END_TEST

START_TEST (check_may_be_repeated)
{
  check_fails ("size");
  check_fails ("size");
  set ("size", "64k");
  check ();
  check ();
  set ("driver", "fake");
  set ("fake_int", "6");
  check ();
  ck_assert_uint_eq (blkmq_config_number (config, "fake_int"), 6);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Programmer's errors                                                       */

START_TEST (asking_for_an_unknown_key_aborts)
{
  blkmq_config_number (config, "nonsense");
}
END_TEST

START_TEST (asking_for_another_drivers_key_aborts)
{
  blkmq_config_is_set (config, "fake_int");
}
END_TEST

START_TEST (asking_for_the_number_of_a_string_aborts)
{
  blkmq_config_number (config, "driver");
}
END_TEST

START_TEST (asking_before_checking_aborts)
{
  set ("fake_int", "99");
  set ("driver", "fake");
  blkmq_config_number (config, "fake_int");
}
END_TEST

/* ------------------------------------------------------------------------ */

int
main (void)
{
  Suite *suite = suite_create ("config");
  SRunner *runner = srunner_create (suite);
  TCase *tcase;

  tcase = add_case (suite, "setting");
  tcase_add_test (tcase, messages_name_key_value_and_bounds);
  tcase_add_test (tcase, unknown_key_suggests_the_nearest);
  tcase_add_test (tcase, unknown_key_lists_what_there_is);
  tcase_add_test (tcase, unknown_early_key_is_refused_with_the_driver);
  tcase_add_test (tcase, unknown_driver_lists_the_known);
  tcase_add_test (tcase, a_key_is_given_once);
  tcase_add_test (tcase, a_refused_value_changes_nothing);
  tcase_add_test (tcase, out_of_memory_changes_nothing);
  tcase_add_test (tcase, driver_keys_may_come_before_the_driver);
  tcase_add_test (tcase, early_driver_key_is_checked_later);
  tcase_add_test (tcase, key_of_another_driver_is_refused);
  tcase_add_test (tcase, messages_survive_odd_input);
  tcase_add_test (tcase, error_may_be_null);

  tcase = add_case (suite, "whole");
  tcase_add_test (tcase, size_is_required);
  tcase_add_test (tcase, required_keys_of_the_driver_are_asked_for);
  tcase_add_test (tcase, max_sectors_is_whole_blocks);
  tcase_add_test (tcase, completion_nsec_needs_the_timer);
  tcase_add_test (tcase, spin_ns_needs_the_timer);
  tcase_add_test (tcase, completion_nsec_with_the_timer);
  tcase_add_test (tcase, check_may_be_repeated);

#ifndef NDEBUG
  /* An abort can be watched only from outside. */
  if (srunner_fork_status (runner) == CK_FORK) {
    tcase = add_case (suite, "programmer's errors");
    tcase_add_test_raise_signal (tcase, asking_for_an_unknown_key_aborts,
                                 SIGABRT);
    tcase_add_test_raise_signal (tcase, asking_for_another_drivers_key_aborts,
                                 SIGABRT);
    tcase_add_test_raise_signal (
        tcase, asking_for_the_number_of_a_string_aborts, SIGABRT);
    tcase_add_test_raise_signal (tcase, asking_before_checking_aborts, SIGABRT);
  }
#endif

  return run_suite (runner);
}

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-config.c: keys, values, messages and the registry of drivers.
 */

#include <config.h>

#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "blkmq-driver.h"
#include "blkmq.h"
#include "engine/config.h"
#include "engine/hctx.h"
#include "engine/registry.h"

#define NR(array) (sizeof (array) / sizeof ((array)[0]))

/* ------------------------------------------------------------------------ */
/* Two drivers whose keys are of every type                                  */

static int
fake_open (const struct blkmq_config *config, uint64_t seed,
           struct blkmq_limits *limits, void **driver_data,
           struct blkmq_error *error)
{
  return -ENOSYS;
}

static enum blkmq_queue_result
fake_queue_rq (struct blkmq_hctx *hctx, struct blkmq_request *rq,
               blkmq_token token)
{
  return BLKMQ_BUSY_HOST;
}

static const char *const fake_words[] = { "red", "green", "blue", NULL };

static const struct blkmq_key fake_keys[] = {
  { .name = "fake_size",
    .type = BLKMQ_KEY_SIZE,
    .unit = "bytes",
    .default_value = "4k",
    .min = 0,
    .max = UINT64_MAX,
    .help = "a size" },
  { .name = "fake_ns",
    .type = BLKMQ_KEY_TIME,
    .unit = "ns",
    .default_value = "1.5us",
    .min = 0,
    .max = UINT64_MAX,
    .help = "a time in ns" },
  { .name = "fake_us",
    .type = BLKMQ_KEY_TIME,
    .unit = "us",
    .min = 0,
    .max = UINT64_MAX,
    .help = "a time in us" },
  { .name = "fake_ms",
    .type = BLKMQ_KEY_TIME,
    .unit = "ms",
    .min = 0,
    .max = UINT64_MAX,
    .help = "a time in ms" },
  { .name = "fake_s",
    .type = BLKMQ_KEY_TIME,
    .unit = "s",
    .min = 0,
    .max = UINT64_MAX,
    .help = "a time in s" },
  { .name = "fake_int",
    .type = BLKMQ_KEY_INT,
    .default_value = "7",
    .min = 5,
    .max = 9,
    .help = "a number" },
  { .name = "fake_power",
    .type = BLKMQ_KEY_INT,
    .default_value = "4",
    .min = 0,
    .max = 100,
    .power_of_two = true,
    .help = "a power of two" },
  { .name = "fake_enum",
    .type = BLKMQ_KEY_ENUM,
    .default_value = "green",
    .words = fake_words,
    .help = "a word" },
  { .name = "fake_bool",
    .type = BLKMQ_KEY_BOOL,
    .default_value = "on",
    .help = "a boolean" },
  { .name = "fake_string", .type = BLKMQ_KEY_STRING, .help = "a string" },
};

static const struct blkmq_driver fake = {
  .name = "fake",
  .help = "keys of every type",
  .keys = fake_keys,
  .nr_keys = NR (fake_keys),
  .open = fake_open,
  .queue_rq = fake_queue_rq,
};

static const struct blkmq_key other_keys[] = {
  { .name = "other_int",
    .type = BLKMQ_KEY_INT,
    .default_value = "1",
    .min = 0,
    .max = 9,
    .help = "a number" },
};

static const struct blkmq_driver other = {
  .name = "other",
  .help = "one key",
  .keys = other_keys,
  .nr_keys = NR (other_keys),
  .open = fake_open,
  .queue_rq = fake_queue_rq,
};

static struct blkmq_config *config;
static struct blkmq_error error;

static void
setup (void)
{
  /* With CK_FORK=no all tests share one process, and nothing unregisters. */
  if (registry_find ("fake") == NULL) {
    ck_assert_int_eq (blkmq_driver_register (&fake, &error), 0);
    ck_assert_int_eq (blkmq_driver_register (&other, &error), 0);
  }
  config = blkmq_config_alloc ();
  ck_assert_ptr_nonnull (config);
  memset (&error, 0, sizeof error);
}

static void
teardown (void)
{
  blkmq_config_free (config);
  config = NULL;
}

static void
renew_config (void)
{
  blkmq_config_free (config);
  config = blkmq_config_alloc ();
  ck_assert_ptr_nonnull (config);
}

static void
set (const char *key, const char *value)
{
  int r = blkmq_config_set (config, key, value, &error);

  ck_assert_msg (r == 0, "%s=%s: %d: %s", key, value, r, error.message);
}

static void
check (void)
{
  int r = blkmq_config_check (config, &error);

  ck_assert_msg (r == 0, "check: %d: %s", r, error.message);
}

/* Refused, with a message that contains EXPECTED. */
static void
set_fails (const char *key, const char *value, const char *expected)
{
  int r = blkmq_config_set (config, key, value, &error);

  ck_assert_msg (r == -EINVAL, "%s=%s was taken (%d)", key, value, r);
  ck_assert_msg (strstr (error.message, expected) != NULL,
                 "%s=%s: message \"%s\" lacks \"%s\"", key, value,
                 error.message, expected);
}

static void
check_fails (const char *expected)
{
  int r = blkmq_config_check (config, &error);

  ck_assert_msg (r == -EINVAL, "check succeeded (%d)", r);
  ck_assert_msg (strstr (error.message, expected) != NULL,
                 "message \"%s\" lacks \"%s\"", error.message, expected);
}

/* The number that VALUE makes of KEY, in a configuration of its own. */
static uint64_t
number_of (const char *key, const char *value)
{
  renew_config ();
  set ("driver", "fake");
  set (key, value);
  return blkmq_config_number (config, key);
}

static void
refused (const char *key, const char *value, const char *expected)
{
  renew_config ();
  set ("driver", "fake");
  set_fails (key, value, expected);
  ck_assert (!blkmq_config_is_set (config, key));
}

/* ------------------------------------------------------------------------ */
/* Values                                                                    */

START_TEST (defaults_are_in_force_until_set)
{
  static const struct {
    const char *key;
    uint64_t number;
  } defaults[] = {
    { "size", 0 },
    { "blocksize", 512 },
    { "max_sectors", 0 },
    { "submit_queues", 1 },
    { "hw_queue_depth", 64 },
    { "irqmode", IRQMODE_NONE },
    { "completion_nsec", 10000 },
    { "io_timeout", 0 },
    { "rotational", 0 },
    { "readonly", 0 },
    { "seed", 0 },
  };
  size_t i;

  for (i = 0; i < NR (defaults); i++) {
    ck_assert (!blkmq_config_is_set (config, defaults[i].key));
    ck_assert_uint_eq (blkmq_config_number (config, defaults[i].key),
                       defaults[i].number);
  }
  ck_assert_str_eq (blkmq_config_string (config, "driver"), "memory");
  ck_assert_str_eq (config_driver (config)->name, "memory");
  ck_assert_ptr_null (blkmq_config_string (config, "seed"));

  set ("driver", "fake");
  ck_assert_uint_eq (blkmq_config_number (config, "fake_size"), 4096);
  ck_assert_uint_eq (blkmq_config_number (config, "fake_ns"), 1500);
  ck_assert_uint_eq (blkmq_config_number (config, "fake_enum"), 1);
  ck_assert_uint_eq (blkmq_config_number (config, "fake_bool"), 1);
  ck_assert_ptr_null (blkmq_config_string (config, "fake_string"));
  ck_assert_ptr_eq (config_driver (config), &fake);
}
END_TEST

START_TEST (sizes_take_nbdkits_suffixes)
{
  static const struct {
    const char *value;
    uint64_t bytes;
  } good[] = {
    { "0", 0 },
    { "1", 1 },
    { "010", 10 }, /* not octal */
    { "7b", 7 },
    { "7B", 7 },
    { "3s", 1536 },
    { "3S", 1536 },
    { "1k", 1024 },
    { "1K", 1024 },
    { "5m", UINT64_C (5) << 20 },
    { "5M", UINT64_C (5) << 20 },
    { "5g", UINT64_C (5) << 30 },
    { "5G", UINT64_C (5) << 30 },
    { "5t", UINT64_C (5) << 40 },
    { "5T", UINT64_C (5) << 40 },
    { "5p", UINT64_C (5) << 50 },
    { "5P", UINT64_C (5) << 50 },
    { "7e", UINT64_C (7) << 60 },
    { "15E", UINT64_C (15) << 60 },
    { "18446744073709551615", UINT64_MAX },
    { "36028797018963967s", UINT64_MAX - 511 },
  };
  static const struct {
    const char *value, *message;
  } bad[] = {
    { "", "fake_size=: empty; must be a size from" },
    { "-1", "negative" },
    { "-", "not a number" },
    { "+1", "not a number" },
    { " 1", "not a number" },
    { "k", "not a number" },
    { "1 ", "unknown suffix" },
    { "1 k", "unknown suffix" },
    { "1kk", "unknown suffix" },
    { "1kB", "unknown suffix" },
    { "1KiB", "unknown suffix" },
    { "1z", "unknown suffix" },
    { "0x10", "unknown suffix" },
    { "1_000", "unknown suffix" },
    { "1.5k", "a fraction" },
    { "1,5k", "unknown suffix" },
    { "16E", "too large" },
    { "18446744073709551616", "too large" },
    { "99999999999999999999999999999999999999", "too large" },
    { "36028797018963968s", "too large" },
  };
  size_t i;

  for (i = 0; i < NR (good); i++)
    ck_assert_msg (number_of ("fake_size", good[i].value) == good[i].bytes,
                   "%s is not %" PRIu64, good[i].value, good[i].bytes);
  for (i = 0; i < NR (bad); i++)
    refused ("fake_size", bad[i].value, bad[i].message);
}
END_TEST

START_TEST (times_are_exact_or_refused)
{
  static const struct {
    const char *key, *value;
    uint64_t number;
  } good[] = {
    { "fake_ns", "0", 0 },
    { "fake_ns", "25", 25 },
    { "fake_ns", "25ns", 25 },
    { "fake_ns", "25.000ns", 25 },
    { "fake_ns", "3us", 3000 },
    { "fake_ns", "1.2us", 1200 },
    { "fake_ns", "1.2000000000000000000000000us", 1200 },
    { "fake_ns", "0.001us", 1 },
    { "fake_ns", "100ms", 100000000 },
    { "fake_ns", "3600s", UINT64_C (3600000000000) },
    { "fake_ns", "0.000000001s", 1 },
    { "fake_ns", "1.000000000s", 1000000000 },
    { "fake_ns", "18446744073.709551615s", UINT64_MAX },
    { "fake_ns", "18446744073709551615", UINT64_MAX },
    { "fake_us", "7", 7 },
    { "fake_us", "2000ns", 2 },
    { "fake_us", "1.5ms", 1500 },
    { "fake_ms", "50", 50 },
    { "fake_ms", "50ms", 50 },
    { "fake_ms", "2s", 2000 },
    { "fake_ms", "1.5s", 1500 },
    { "fake_ms", "3000us", 3 },
    { "fake_ms", "1000000ns", 1 },
    { "fake_ms", "18446744073709551615", UINT64_MAX },
    { "fake_s", "4", 4 },
    { "fake_s", "4000ms", 4 },
  };
  static const struct {
    const char *key, *value, *message;
  } bad[] = {
    { "fake_ns", "", "empty" },
    { "fake_ns", "-1ms", "negative" },
    { "fake_ns", "ms", "not a number" },
    { "fake_ns", "1m", "unknown suffix" },
    { "fake_ns", "1 ms", "unknown suffix" },
    { "fake_ns", "1msx", "unknown suffix" },
    { "fake_ns", "1MS", "unknown suffix" },
    { "fake_ns", "1.5", "a fraction without a suffix" },
    { "fake_ns", ".5ms", "not a number" },
    { "fake_ns", "1.ms", "not a number" },
    { "fake_ns", "1..5ms", "not a number" },
    { "fake_ns", "1.5.5ms", "unknown suffix" },
    { "fake_ns", "1e3", "unknown suffix" },
    { "fake_ns", "0.5ns", "not a whole number of ns" },
    { "fake_ns", "1.0001us", "not a whole number of ns" },
    { "fake_ns", "0.0000000005s", "not a whole number of ns" },
    /* The zero at the tenth place must not swallow what follows. */
    { "fake_ns", "0.00000000005s", "not a whole number of ns" },
    { "fake_ns", "1.00000000000000000000000001s", "not a whole number" },
    { "fake_ns", "18446744073.709551616s", "too large" },
    { "fake_ns", "18446744073709551616", "too large" },
    { "fake_ns", "18446744073709551616ns", "too large" },
    { "fake_us", "1ns", "not a whole number of us" },
    { "fake_ms", "1.5ms", "not a whole number of ms" },
    { "fake_ms", "1500us", "not a whole number of ms" },
    { "fake_ms", "999999ns", "not a whole number of ms" },
    { "fake_s", "1ms", "not a whole number of s" },
  };
  size_t i;

  for (i = 0; i < NR (good); i++)
    ck_assert_msg (number_of (good[i].key, good[i].value) == good[i].number,
                   "%s=%s is not %" PRIu64, good[i].key, good[i].value,
                   good[i].number);
  for (i = 0; i < NR (bad); i++)
    refused (bad[i].key, bad[i].value, bad[i].message);
}
END_TEST

START_TEST (integers_are_decimal)
{
  static const struct {
    const char *value, *message;
  } bad[] = {
    { "", "empty" },          { "-7", "negative" },
    { "7k", "not a number" }, { "7.0", "not a number" },
    { "7 ", "not a number" }, { " 7", "not a number" },
    { "+7", "not a number" }, { "0x7", "not a number" },
    { "seven", "not a number" },
    { "18446744073709551623", "too large" }, /* 2^64 + 7 */
  };
  size_t i;

  ck_assert_uint_eq (number_of ("fake_int", "7"), 7);
  ck_assert_uint_eq (number_of ("fake_int", "0000000000000000000000007"), 7);
  ck_assert_uint_eq (number_of ("seed", "18446744073709551615"), UINT64_MAX);
  for (i = 0; i < NR (bad); i++)
    refused ("fake_int", bad[i].value, bad[i].message);
}
END_TEST

START_TEST (powers_of_two_exclude_zero)
{
  ck_assert_uint_eq (number_of ("fake_power", "1"), 1);
  ck_assert_uint_eq (number_of ("fake_power", "64"), 64);
  refused ("fake_power", "0", "must be a power of two from 0 to 100");
  refused ("fake_power", "3", "must be a power of two from 0 to 100");
  refused ("fake_power", "128", "must be a power of two from 0 to 100");
}
END_TEST

START_TEST (words_and_their_numbers)
{
  ck_assert_uint_eq (number_of ("fake_enum", "red"), 0);
  ck_assert_uint_eq (number_of ("fake_enum", "blue"), 2);
  ck_assert_uint_eq (number_of ("fake_enum", "2"), 2);
  ck_assert_str_eq (blkmq_config_string (config, "fake_enum"), "blue");
  ck_assert_uint_eq (number_of ("irqmode", "0"), IRQMODE_NONE);
  ck_assert_uint_eq (number_of ("irqmode", "softirq"), IRQMODE_SOFTIRQ);
  ck_assert_uint_eq (number_of ("irqmode", "1"), IRQMODE_SOFTIRQ);
  ck_assert_uint_eq (number_of ("irqmode", "timer"), IRQMODE_TIMER);
  ck_assert_uint_eq (number_of ("irqmode", "2"), IRQMODE_TIMER);
  ck_assert_str_eq (blkmq_config_string (config, "irqmode"), "timer");

  refused ("fake_enum", "pink",
           "fake_enum=pink: unknown word; must be one of red, green, blue "
           "(or 0 to 2)");
  refused ("fake_enum", "Red", "unknown word");
  refused ("fake_enum", "3", "unknown word");
  refused ("fake_enum", "-1", "unknown word");
  refused ("fake_enum", "", "unknown word");
}
END_TEST

START_TEST (booleans)
{
  static const char *const yes[]
    = { "1", "true", "yes", "on", "TRUE", "Yes", "oN" };
  static const char *const no[]
    = { "0", "false", "no", "off", "False", "NO", "OFF" };
  static const char *const bad[] = { "", "2", "-1", "maybe", "true ", "00" };
  size_t i;

  for (i = 0; i < NR (yes); i++)
    ck_assert_uint_eq (number_of ("rotational", yes[i]), 1);
  for (i = 0; i < NR (no); i++)
    ck_assert_uint_eq (number_of ("fake_bool", no[i]), 0);
  for (i = 0; i < NR (bad); i++)
    refused ("fake_bool", bad[i],
             "not a boolean; must be 1, true, yes, on or 0, false, no, off");
}
END_TEST

START_TEST (strings_are_taken_as_they_are)
{
  set ("driver", "fake");
  set ("fake_string", "");
  ck_assert_str_eq (blkmq_config_string (config, "fake_string"), "");
  renew_config ();
  set ("driver", "fake");
  set ("fake_string", " a=b, c ");
  ck_assert_str_eq (blkmq_config_string (config, "fake_string"), " a=b, c ");
}
END_TEST

/* ------------------------------------------------------------------------ */
/* The tables                                                                */

struct seen {
  const struct blkmq_driver *driver; /* the last one */
  size_t nr_engine, nr_fake, nr_calls;
  size_t stop_at;
};

static int
see_key (const struct blkmq_driver *driver, const struct blkmq_key *key,
         void *opaque)
{
  struct seen *seen = opaque;

  seen->nr_calls++;
  if (driver == NULL) {
    ck_assert_ptr_null (seen->driver); /* the engine's come first */
    seen->nr_engine++;
  }
  else if (driver == &fake)
    ck_assert_str_eq (key->name, fake_keys[seen->nr_fake++].name);
  seen->driver = driver;
  return seen->nr_calls == seen->stop_at ? -EINTR : 0;
}

START_TEST (for_each_key_visits_the_engines_first)
{
  struct seen seen = { 0 };

  ck_assert_int_eq (blkmq_for_each_key (see_key, &seen), 0);
  ck_assert_uint_eq (seen.nr_engine, nr_engine_keys);
  ck_assert_uint_eq (seen.nr_fake, NR (fake_keys));
}
END_TEST

START_TEST (for_each_key_stops_where_it_is_told)
{
  size_t stops[] = { 1, nr_engine_keys, nr_engine_keys + 1 };
  size_t i;

  for (i = 0; i < NR (stops); i++) {
    struct seen seen = { .stop_at = stops[i] };

    ck_assert_int_eq (blkmq_for_each_key (see_key, &seen), -EINTR);
    ck_assert_uint_eq (seen.nr_calls, stops[i]);
  }
}
END_TEST

static int
test_declaration (const struct blkmq_driver *driver,
                  const struct blkmq_key *key, void *opaque)
{
  ck_assert_msg (key_check (key, &error) == 0, "%s", error.message);
  ck_assert_msg (strchr (key->help, '\n') == NULL && *key->help != '\0',
                 "help of %s is not one line", key->name);
  if (driver != NULL)
    ck_assert_msg (key_find (engine_keys, nr_engine_keys, key->name) == NULL,
                   "%s of driver %s hides the engine's", key->name,
                   driver->name);
  return 0;
}

START_TEST (every_declaration_is_in_order)
{
  const struct blkmq_driver *driver;
  size_t i, j;

  ck_assert_int_eq (blkmq_for_each_key (test_declaration, NULL), 0);

  for (i = 0; i < nr_engine_keys; i++)
    ck_assert_ptr_eq (
      key_find (engine_keys, nr_engine_keys, engine_keys[i].name),
      &engine_keys[i]);
  for (i = 0; (driver = registry_at (i)) != NULL; i++) {
    ck_assert_ptr_eq (registry_find (driver->name), driver);
    for (j = 0; j < driver->nr_keys; j++)
      ck_assert_ptr_eq (
        key_find (driver->keys, driver->nr_keys, driver->keys[j].name),
        &driver->keys[j]);
  }
}
END_TEST

START_TEST (faulty_declarations_are_found)
{
  static const char *const no_words[] = { NULL };
  static const struct blkmq_key faulty[] = {
    { .name = NULL, .help = "h" },
    { .name = "", .help = "h" },
    { .name = "1st", .help = "h" },
    { .name = "Size", .help = "h" },
    { .name = "a b", .help = "h" },
    { .name = "a=b", .help = "h" },
    { .name = "a" },
    { .name = "a", .help = "h", .type = BLKMQ_KEY_STRING + 1 },
    { .name = "a", .help = "h", .type = BLKMQ_KEY_INT, .min = 1 },
    { .name = "a", .help = "h", .type = BLKMQ_KEY_TIME, .max = 1 },
    { .name = "a",
      .help = "h",
      .type = BLKMQ_KEY_TIME,
      .max = 1,
      .unit = "min" },
    { .name = "a", .help = "h", .type = BLKMQ_KEY_ENUM },
    { .name = "a", .help = "h", .type = BLKMQ_KEY_ENUM, .words = no_words },
    { .name = "a",
      .help = "h",
      .type = BLKMQ_KEY_INT,
      .max = 9,
      .default_value = "10" },
    { .name = "a",
      .help = "h",
      .type = BLKMQ_KEY_BOOL,
      .default_value = "nope" },
  };
  size_t i;

  for (i = 0; i < NR (faulty); i++) {
    error.message[0] = '\0';
    ck_assert_msg (key_check (&faulty[i], &error) == -EINVAL,
                   "declaration %zu passed", i);
    ck_assert_str_ne (error.message, "");
  }
}
END_TEST

/* Of every numeric key there is: the bounds are taken, what is one past them
 * is not, and the message says which key, which value and what is allowed. */
static int
test_bounds (const struct blkmq_driver *driver, const struct blkmq_key *key,
             void *opaque)
{
  char value[32], expected[64], allowed[256];
  uint64_t numbers[] = { key->min, key->max, key->min - 1, key->max + 1 };
  size_t i;

  if (key->type != BLKMQ_KEY_INT && key->type != BLKMQ_KEY_SIZE
      && key->type != BLKMQ_KEY_TIME)
    return 0;

  blkmq_key_allowed (key, allowed, sizeof allowed);
  for (i = 0; i < NR (numbers); i++) {
    uint64_t n = numbers[i];
    bool good = n >= key->min && n <= key->max;

    if (i >= 2 && good)
      continue; /* wrapped: there is nothing past this bound */
    if (key->power_of_two && (n == 0 || (n & (n - 1)) != 0))
      good = false;

    renew_config ();
    if (driver != NULL)
      set ("driver", driver->name);
    snprintf (value, sizeof value, "%" PRIu64, n);
    if (good) {
      set (key->name, value);
      ck_assert_uint_eq (blkmq_config_number (config, key->name), n);
      ck_assert (blkmq_config_is_set (config, key->name));
      continue;
    }
    snprintf (expected, sizeof expected, "%s=%s: must be ", key->name, value);
    set_fails (key->name, value, expected);
    ck_assert_msg (strstr (error.message, allowed) != NULL,
                   "\"%s\" does not say \"%s\"", error.message, allowed);
  }
  return 0;
}

START_TEST (every_bound_holds)
{
  ck_assert_int_eq (blkmq_for_each_key (test_bounds, NULL), 0);
}
END_TEST

START_TEST (allowed_is_cut_to_the_buffer)
{
  char whole[256], buf[256];
  size_t size, i;

  for (i = 0; i < nr_engine_keys; i++) {
    blkmq_key_allowed (&engine_keys[i], whole, sizeof whole);
    ck_assert_uint_gt (strlen (whole), 8);
    ck_assert_uint_lt (strlen (whole), sizeof whole - 1);
    for (size = 1; size < strlen (whole) + 1; size++) {
      memset (buf, '#', sizeof buf);
      blkmq_key_allowed (&engine_keys[i], buf, size);
      ck_assert_uint_eq (strlen (buf), size - 1);
      ck_assert_int_eq (buf[size], '#');
      if (size >= 4)
        ck_assert_str_eq (buf + size - 4, "...");
    }
    blkmq_key_allowed (&engine_keys[i], buf, strlen (whole) + 1);
    ck_assert_str_eq (buf, whole);
  }
}
END_TEST

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

START_TEST (unknown_key_suggests_the_nearest)
{
  set_fails ("blocksise", "512",
             "blocksise=512: unknown key (did you mean blocksize?); keys are ");
  set_fails ("block_size", "512", "(did you mean blocksize?)");
  set_fails ("Size", "1", "(did you mean size?)");
  set_fails ("szie", "1", "(did you mean size?)");
  set_fails ("esde", "1", "(did you mean seed?)"); /* two swaps */
  set_fails ("hw-queue-depth", "1", "(did you mean hw_queue_depth?)");
  set_fails ("max_sector", "1", "(did you mean max_sectors?)");
  set_fails ("fake_itn", "1", "(did you mean fake_int?)");
}
END_TEST

START_TEST (unknown_key_lists_what_there_is)
{
  size_t i;

  set_fails ("xyzzy", "1", "xyzzy=1: unknown key; keys are ");
  for (i = 0; i < nr_engine_keys; i++)
    ck_assert_ptr_nonnull (strstr (error.message, engine_keys[i].name));

  /* Once the driver is known only its keys are offered. */
  set ("driver", "other");
  set_fails ("xyzzy", "1", "other_int");
  ck_assert_ptr_null (strstr (error.message, "fake_int"));
  set_fails ("other_itn", "1", "(did you mean other_int?)");
  set_fails ("fake_itn", "1", "fake_itn=1: unknown key; keys are ");
}
END_TEST

START_TEST (unknown_driver_lists_the_known)
{
  const struct blkmq_driver *driver;
  size_t i;

  set_fails ("driver", "memroy", "driver=memroy: must be one of ");
  for (i = 0; (driver = registry_at (i)) != NULL; i++)
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
  set_fails ("nonsense", "1", "nonsense");
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
  set_fails (name, name, "xxx...=xxx");
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
  ck_assert_int_eq (blkmq_config_set (config, "nonsense", "1", NULL), -EINVAL);
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
/* Random input                                                              */

static uint64_t
get_seed (void)
{
  const char *given = getenv ("BLKMQ_SEED");
  uint64_t seed = given != NULL ? strtoull (given, NULL, 10)
                                : (uint64_t)time (NULL) * 1000003;

  printf ("BLKMQ_SEED=%" PRIu64 "\n", seed);
  fflush (stdout);
  return seed;
}

/* splitmix64 */
static uint64_t
next_random (uint64_t *state)
{
  uint64_t z = *state += UINT64_C (0x9e3779b97f4a7c15);

  z = (z ^ (z >> 30)) * UINT64_C (0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C (0x94d049bb133111eb);
  return z ^ (z >> 31);
}

/* Numbers of all magnitudes. */
static uint64_t
random_number (uint64_t *state)
{
  return next_random (state) >> (next_random (state) % 64);
}

START_TEST (numbers_survive_the_way_through_text)
{
  static const struct {
    const char *key, *suffix;
    uint64_t scale_ns, unit_ns;
  } times[] = {
    { "fake_ns", "us", 1000, 1 },
    { "fake_ns", "ms", 1000000, 1 },
    { "fake_ns", "s", 1000000000, 1 },
    { "fake_us", "ms", 1000000, 1000 },
    { "fake_us", "s", 1000000000, 1000 },
    { "fake_ms", "s", 1000000000, 1000000 },
  };
  uint64_t state = get_seed ();
  char value[64];
  int i;

  for (i = 0; i < 5000; i++) {
    uint64_t n = random_number (&state);
    size_t t = next_random (&state) % NR (times);
    uint64_t parts = times[t].scale_ns / times[t].unit_ns;

    snprintf (value, sizeof value, "%" PRIu64, n);
    ck_assert_uint_eq (number_of ("fake_size", value), n);

    /* In the key's unit, written in a larger one with all its decimals: exact
     * while it fits 64 bits of nanoseconds. */
    n %= UINT64_MAX / times[t].unit_ns;
    snprintf (value, sizeof value, "%" PRIu64 ".%09" PRIu64 "%s", n / parts,
              n % parts * (1000000000 / parts), times[t].suffix);
    ck_assert_msg (number_of (times[t].key, value) == n,
                   "%s=%s is not %" PRIu64, times[t].key, value, n);
  }
}
END_TEST

START_TEST (junk_is_refused_or_within_bounds)
{
  static const char alphabet[] = "0123456789.-+ bskKMGTPEnumx\n";
  uint64_t state = get_seed ();
  size_t nr_taken = 0, nr_refused = 0;
  int i;

  for (i = 0; i < 50000; i++) {
    const struct blkmq_key *key
      = next_random (&state) % 2 != 0
          ? &engine_keys[next_random (&state) % nr_engine_keys]
          : &fake_keys[next_random (&state) % NR (fake_keys)];
    size_t len = next_random (&state) % 8, j;
    uint64_t number = ~UINT64_C (0);
    char value[8], start[64];
    int r;

    if (key->type == BLKMQ_KEY_STRING)
      continue;
    for (j = 0; j < len; j++)
      value[j] = alphabet[next_random (&state) % (sizeof alphabet - 1)];
    value[len] = '\0';

    error.message[0] = '\0';
    r = key_parse (key, value, &number, &error);
    if (r == 0) {
      nr_taken++;
      ck_assert_str_eq (error.message, "");
      if (key->type == BLKMQ_KEY_BOOL)
        ck_assert_uint_le (number, 1);
      else if (key->type == BLKMQ_KEY_ENUM)
        ck_assert_uint_le (number, 2);
      else
        ck_assert_msg (number >= key->min && number <= key->max,
                       "%s=%s gives %" PRIu64, key->name, value, number);
      continue;
    }
    nr_refused++;
    ck_assert_int_eq (r, -EINVAL);
    ck_assert_uint_eq (number, ~UINT64_C (0));
    snprintf (start, sizeof start, "%s=", key->name);
    ck_assert_msg (strncmp (error.message, start, strlen (start)) == 0,
                   "\"%s\" does not start with %s", error.message, start);
    ck_assert_ptr_nonnull (strstr (error.message, "must be "));
  }
  /* Otherwise the alphabet or the lengths are badly chosen. */
  ck_assert_uint_gt (nr_taken, 500);
  ck_assert_uint_gt (nr_refused, 500);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Drivers                                                                   */

START_TEST (register_names_what_is_missing)
{
  static const struct blkmq_key bad_key = { .name = "x" };
  static const struct blkmq_key engines_key
    = { .name = "size", .help = "h", .type = BLKMQ_KEY_STRING };
  static const struct blkmq_key twice[] = {
    { .name = "same", .help = "h", .type = BLKMQ_KEY_STRING },
    { .name = "same", .help = "h", .type = BLKMQ_KEY_STRING },
  };
  struct blkmq_driver cases[11];
  static const char *const expected[NR (cases)] = {
    "name",     "name", "name",     "name",
    "help",     "open", "queue_rq", "keys is required",
    "key x",    "key size is declared twice",
    "key same is declared twice",
  };
  size_t i, nr_before = 0;

  while (registry_at (nr_before) != NULL)
    nr_before++;

  for (i = 0; i < NR (cases); i++) {
    cases[i] = fake;
    cases[i].name = "faulty";
  }
  cases[0].name = NULL;
  cases[1].name = "";
  cases[2].name = "Upper";
  cases[3].name = "a b";
  cases[4].help = NULL;
  cases[5].open = NULL;
  cases[6].queue_rq = NULL;
  cases[7].keys = NULL;
  cases[8].keys = &bad_key;
  cases[8].nr_keys = 1;
  cases[9].keys = &engines_key;
  cases[9].nr_keys = 1;
  cases[10].keys = twice;
  cases[10].nr_keys = 2;

  for (i = 0; i < NR (cases); i++) {
    int r = blkmq_driver_register (&cases[i], &error);

    ck_assert_msg (r == -EINVAL, "case %zu: %d", i, r);
    ck_assert_msg (strstr (error.message, expected[i]) != NULL,
                   "case %zu: \"%s\" lacks \"%s\"", i, error.message,
                   expected[i]);
  }
  ck_assert_ptr_null (registry_at (nr_before));
}
END_TEST

START_TEST (register_refuses_a_name_that_is_taken)
{
  struct blkmq_driver imitation = fake;

  ck_assert_int_eq (blkmq_driver_register (&fake, &error), -EEXIST);
  ck_assert_ptr_nonnull (strstr (error.message, "fake: the name is taken"));
  imitation.name = "memory"; /* built in */
  ck_assert_int_eq (blkmq_driver_register (&imitation, &error), -EEXIST);
  ck_assert_ptr_ne (registry_find ("memory"), &imitation);
}
END_TEST

struct readers {
  _Atomic bool stop;
  pthread_barrier_t ready;
  _Atomic uint64_t nr_faults;
};

static void *
read_registry (void *opaque)
{
  struct readers *readers = opaque;
  size_t nr = 0, nr_before = 0, i;
  bool stop;

  pthread_barrier_wait (&readers->ready);
  do {
    stop = atomic_load (&readers->stop); /* then one more round */
    if (registry_find ("memory") == NULL || registry_find ("fake") != &fake)
      atomic_fetch_add (&readers->nr_faults, 1);
    /* None is missing, none is half there, and none ever goes. */
    for (i = 0; registry_at (i) != NULL; i++)
      if (registry_find (registry_at (i)->name) != registry_at (i))
        atomic_fetch_add (&readers->nr_faults, 1);
    nr = i;
    if (nr < nr_before)
      atomic_fetch_add (&readers->nr_faults, 1);
    nr_before = nr;
  } while (!stop);
  return (void *)(uintptr_t)nr;
}

/* Runs last: nothing can be registered after it. */
START_TEST (look_ups_go_on_while_the_registry_fills)
{
  static struct blkmq_driver drivers[100];
  static char names[NR (drivers)][16];
  struct readers readers = { 0 };
  pthread_t threads[2];
  size_t i, nr = 0, nr_registered = 0;
  int r = 0;

  ck_assert_int_eq (
    pthread_barrier_init (&readers.ready, NULL, NR (threads) + 1), 0);
  for (i = 0; i < NR (threads); i++)
    ck_assert_int_eq (
      pthread_create (&threads[i], NULL, read_registry, &readers), 0);
  pthread_barrier_wait (&readers.ready);

  for (i = 0; i < NR (drivers); i++) {
    snprintf (names[i], sizeof names[i], "filler-%zu", i);
    drivers[i] = fake;
    drivers[i].name = names[i];
    r = blkmq_driver_register (&drivers[i], &error);
    if (r < 0)
      break;
    nr_registered++;
    ck_assert_ptr_eq (registry_find (names[i]), &drivers[i]);
  }
  atomic_store (&readers.stop, true);
  while (registry_at (nr) != NULL)
    nr++;
  for (i = 0; i < NR (threads); i++) {
    void *seen;

    ck_assert_int_eq (pthread_join (threads[i], &seen), 0);
    ck_assert_uint_eq ((uintptr_t)seen, nr);
  }
  pthread_barrier_destroy (&readers.ready);
  ck_assert_uint_eq (atomic_load (&readers.nr_faults), 0);

  ck_assert_int_eq (r, -ENOSPC);
  ck_assert_ptr_nonnull (strstr (error.message, "64 drivers"));
  ck_assert_uint_ge (nr_registered, 60); /* fake and other took two */
  ck_assert_ptr_null (registry_find (names[nr_registered]));
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

static Suite *
make_suite (bool can_abort)
{
  Suite *suite = suite_create ("config");
  TCase *tcase;

  tcase = tcase_create ("values");
  tcase_add_checked_fixture (tcase, setup, teardown);
  tcase_add_test (tcase, defaults_are_in_force_until_set);
  tcase_add_test (tcase, sizes_take_nbdkits_suffixes);
  tcase_add_test (tcase, times_are_exact_or_refused);
  tcase_add_test (tcase, integers_are_decimal);
  tcase_add_test (tcase, powers_of_two_exclude_zero);
  tcase_add_test (tcase, words_and_their_numbers);
  tcase_add_test (tcase, booleans);
  tcase_add_test (tcase, strings_are_taken_as_they_are);
  suite_add_tcase (suite, tcase);

  tcase = tcase_create ("tables");
  tcase_add_checked_fixture (tcase, setup, teardown);
  tcase_add_test (tcase, for_each_key_visits_the_engines_first);
  tcase_add_test (tcase, for_each_key_stops_where_it_is_told);
  tcase_add_test (tcase, every_declaration_is_in_order);
  tcase_add_test (tcase, faulty_declarations_are_found);
  tcase_add_test (tcase, every_bound_holds);
  tcase_add_test (tcase, allowed_is_cut_to_the_buffer);
  suite_add_tcase (suite, tcase);

  tcase = tcase_create ("setting");
  tcase_add_checked_fixture (tcase, setup, teardown);
  tcase_add_test (tcase, messages_name_key_value_and_bounds);
  tcase_add_test (tcase, unknown_key_suggests_the_nearest);
  tcase_add_test (tcase, unknown_key_lists_what_there_is);
  tcase_add_test (tcase, unknown_driver_lists_the_known);
  tcase_add_test (tcase, a_key_is_given_once);
  tcase_add_test (tcase, a_refused_value_changes_nothing);
  tcase_add_test (tcase, out_of_memory_changes_nothing);
  tcase_add_test (tcase, driver_keys_may_come_before_the_driver);
  tcase_add_test (tcase, early_driver_key_is_checked_later);
  tcase_add_test (tcase, key_of_another_driver_is_refused);
  tcase_add_test (tcase, messages_survive_odd_input);
  tcase_add_test (tcase, error_may_be_null);
  suite_add_tcase (suite, tcase);

  tcase = tcase_create ("whole");
  tcase_add_checked_fixture (tcase, setup, teardown);
  tcase_add_test (tcase, size_is_required);
  tcase_add_test (tcase, max_sectors_is_whole_blocks);
  tcase_add_test (tcase, completion_nsec_needs_the_timer);
  tcase_add_test (tcase, completion_nsec_with_the_timer);
  tcase_add_test (tcase, check_may_be_repeated);
  suite_add_tcase (suite, tcase);

  tcase = tcase_create ("random");
  tcase_set_timeout (tcase, 120);
  tcase_add_checked_fixture (tcase, setup, teardown);
  tcase_add_test (tcase, numbers_survive_the_way_through_text);
  tcase_add_test (tcase, junk_is_refused_or_within_bounds);
  suite_add_tcase (suite, tcase);

#ifndef NDEBUG
  if (can_abort) {
    tcase = tcase_create ("programmer's errors");
    tcase_add_checked_fixture (tcase, setup, teardown);
    tcase_add_test_raise_signal (tcase, asking_for_an_unknown_key_aborts,
                                 SIGABRT);
    tcase_add_test_raise_signal (tcase, asking_for_another_drivers_key_aborts,
                                 SIGABRT);
    tcase_add_test_raise_signal (
      tcase, asking_for_the_number_of_a_string_aborts, SIGABRT);
    tcase_add_test_raise_signal (tcase, asking_before_checking_aborts,
                                 SIGABRT);
    suite_add_tcase (suite, tcase);
  }
#endif

  tcase = tcase_create ("drivers");
  tcase_set_timeout (tcase, 120);
  tcase_add_checked_fixture (tcase, setup, teardown);
  tcase_add_test (tcase, register_names_what_is_missing);
  tcase_add_test (tcase, register_refuses_a_name_that_is_taken);
  tcase_add_test (tcase, look_ups_go_on_while_the_registry_fills);
  suite_add_tcase (suite, tcase);

  return suite;
}

int
main (void)
{
  SRunner *runner = srunner_create (NULL);
  int nr_failed;

  /* An abort can be watched only from outside (CK_FORK). */
  srunner_add_suite (runner,
                     make_suite (srunner_fork_status (runner) == CK_FORK));
  srunner_run_all (runner, CK_ENV);
  nr_failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return nr_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

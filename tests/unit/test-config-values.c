/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-config-values.c: from the text of a value to its number: sizes, times,
 * numbers and words, given and random.
 */

#include <config.h>

#include <stdio.h>
#include <time.h>

#include "engine/hctx.h"

#include "config-fixture.h"

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
    { "spin_ns", 0 },
    { "io_timeout", 0 },
    { "iostats", 0 },
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

START_TEST (bare_sizes_may_be_in_mib)
{
  static const struct {
    const char *value;
    uint64_t bytes;
  } good[] = {
    { "0", 0 },
    { "1", UINT64_C (1) << 20 },
    { "1b", 1 },
    { "3k", 3072 },
    { "1M", UINT64_C (1) << 20 },
    { "17592186044415", ((UINT64_C (1) << 44) - 1) << 20 },
  };
  size_t i;

  for (i = 0; i < NR (good); i++)
    ck_assert_uint_eq (number_of ("fake_mib", good[i].value), good[i].bytes);
  ck_assert_uint_eq (number_of ("fake_mib", "1048576"), UINT64_C (1) << 40);
  refused ("fake_mib", "17592186044416",
           "fake_mib=17592186044416: too large; must be a size from 0 to "
           "18446744073709551615 bytes (MiB without a suffix; suffixes b s k M "
           "G T P E)");
  renew_config ();
  set ("driver", "fake");
  ck_assert_uint_eq (blkmq_config_number (config, "fake_mib"), 2 << 20);
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
    { "", "empty" },
    { "-7", "negative" },
    { "7k", "not a number" },
    { "7.0", "not a number" },
    { "7 ", "not a number" },
    { " 7", "not a number" },
    { "+7", "not a number" },
    { "0x7", "not a number" },
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

int
main (void)
{
  Suite *suite = suite_create ("config-values");
  SRunner *runner = srunner_create (suite);
  TCase *tcase;

  tcase = add_case (suite, "values");
  tcase_add_test (tcase, defaults_are_in_force_until_set);
  tcase_add_test (tcase, sizes_take_nbdkits_suffixes);
  tcase_add_test (tcase, bare_sizes_may_be_in_mib);
  tcase_add_test (tcase, times_are_exact_or_refused);
  tcase_add_test (tcase, integers_are_decimal);
  tcase_add_test (tcase, powers_of_two_exclude_zero);
  tcase_add_test (tcase, words_and_their_numbers);
  tcase_add_test (tcase, booleans);
  tcase_add_test (tcase, strings_are_taken_as_they_are);

  tcase = add_case (suite, "random");
  tcase_add_test (tcase, numbers_survive_the_way_through_text);
  tcase_add_test (tcase, junk_is_refused_or_within_bounds);

  return run_suite (runner);
}

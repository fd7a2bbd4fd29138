/* SPDX-License-Identifier: BSD-3-Clause
 *
 * config-fixture.h: what the tests of the configuration share: two drivers
 * with keys of every type, a configuration of each test's own, and ways to set
 * it that say what went wrong.  Each test program includes it once.
 */

#ifndef CONFIG_FIXTURE_H
#define CONFIG_FIXTURE_H

#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "blkmq-driver.h"
#include "blkmq.h"
#include "engine/config.h"
#include "engine/registry.h"

#define NR(array) (sizeof (array) / sizeof ((array)[0]))

/* ---- two drivers whose keys are of every type ---- */

static inline int
fake_open (const struct blkmq_config *config, uint64_t seed,
           struct blkmq_limits *limits, void **driver_data,
           struct blkmq_error *error)
{
  return -ENOSYS;
}

static inline enum blkmq_queue_result
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
  { .name = "fake_mib",
    .type = BLKMQ_KEY_SIZE,
    .unit = "MiB",
    .default_value = "2",
    .min = 0,
    .max = UINT64_MAX,
    .help = "a size in MiB" },
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

static inline void
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

static inline void
teardown (void)
{
  blkmq_config_free (config);
  config = NULL;
}

static inline void
renew_config (void)
{
  blkmq_config_free (config);
  config = blkmq_config_alloc ();
  ck_assert_ptr_nonnull (config);
}

static inline void
set (const char *key, const char *value)
{
  int r = blkmq_config_set (config, key, value, &error);

  ck_assert_msg (r == 0, "%s=%s: %d: %s", key, value, r, error.message);
}

static inline void
check (void)
{
  int r = blkmq_config_check (config, &error);

  ck_assert_msg (r == 0, "check: %d: %s", r, error.message);
}

/* Refused, with a message that contains EXPECTED. */
static inline void
set_fails (const char *key, const char *value, const char *expected)
{
  int r = blkmq_config_set (config, key, value, &error);

  ck_assert_msg (r == -EINVAL, "%s=%s was taken (%d)", key, value, r);
  ck_assert_msg (strstr (error.message, expected) != NULL,
                 "%s=%s: message \"%s\" lacks \"%s\"", key, value,
                 error.message, expected);
}

static inline void
check_fails (const char *expected)
{
  int r = blkmq_config_check (config, &error);

  ck_assert_msg (r == -EINVAL, "check succeeded (%d)", r);
  ck_assert_msg (strstr (error.message, expected) != NULL,
                 "message \"%s\" lacks \"%s\"", error.message, expected);
}

/* The number that VALUE makes of KEY, in a configuration of its own. */
static inline uint64_t
number_of (const char *key, const char *value)
{
  renew_config ();
  set ("driver", "fake");
  set (key, value);
  return blkmq_config_number (config, key);
}

static inline void
refused (const char *key, const char *value, const char *expected)
{
  renew_config ();
  set ("driver", "fake");
  set_fails (key, value, expected);
  ck_assert (!blkmq_config_is_set (config, key));
}

/* Run all and return main's status.  Frees RUNNER. */
static inline int
run_suite (SRunner *runner)
{
  int nr_failed;

  srunner_run_all (runner, CK_ENV);
  nr_failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return nr_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Add a test case whose tests get a configuration each. */
static inline TCase *
add_case (Suite *suite, const char *name)
{
  TCase *tcase = tcase_create (name);

  tcase_add_checked_fixture (tcase, setup, teardown);
  tcase_set_timeout (tcase, 120); /* against hangs only */
  suite_add_tcase (suite, tcase);
  return tcase;
}

#endif /* CONFIG_FIXTURE_H */

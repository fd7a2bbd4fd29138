/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-config-tables.c: the declarations of keys, and the registry of
 * drivers.
 */

#include <config.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "config-fixture.h"
#include "engine/stack.h"

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
  } else if (driver == &fake)
    ck_assert_str_eq (key->name, fake_keys[seen->nr_fake++].name);
  seen->driver = driver;
  return seen->nr_calls == seen->stop_at ? -EINTR : 0;
}

/* Those that have no driver. */
static size_t
nr_common_keys (void)
{
  size_t nr = nr_engine_keys;

  for (size_t i = 0; blkmq_layers[i] != NULL; i++)
    nr += blkmq_layers[i]->nr_keys;
  return nr;
}

START_TEST (for_each_key_visits_the_engines_first)
{
  struct seen seen = { 0 };

  ck_assert_int_eq (blkmq_for_each_key (see_key, &seen), 0);
  ck_assert_uint_eq (seen.nr_engine, nr_common_keys ());
  ck_assert_uint_eq (seen.nr_fake, NR (fake_keys));
}
END_TEST

START_TEST (for_each_key_stops_where_it_is_told)
{
  size_t stops[] = { 1, nr_engine_keys, nr_common_keys () + 1 };
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
  for (i = 0; (driver = blkmq_driver_at (i)) != NULL; i++) {
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
    { .name = "a",
      .help = "h",
      .type = BLKMQ_KEY_SIZE,
      .max = 1,
      .unit = "KiB" },
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
    { .name = "a",
      .help = "h",
      .type = BLKMQ_KEY_BOOL,
      .default_value = "yes",
      .required = true },
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
    /* Bounds of a size are in bytes, whatever a bare number is. */
    snprintf (value, sizeof value, "%" PRIu64 "%s", n,
              key->unit != NULL && strcmp (key->unit, "MiB") == 0 ? "b" : "");
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
    "name",
    "name",
    "name",
    "name",
    "help",
    "open",
    "queue_rq",
    "keys is required",
    "key x",
    "key size is declared twice",
    "key same is declared twice",
  };
  size_t i, nr_before = 0;

  while (blkmq_driver_at (nr_before) != NULL)
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
  ck_assert_ptr_null (blkmq_driver_at (nr_before));
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
    for (i = 0; blkmq_driver_at (i) != NULL; i++)
      if (registry_find (blkmq_driver_at (i)->name) != blkmq_driver_at (i))
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
  while (blkmq_driver_at (nr) != NULL)
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

int
main (void)
{
  Suite *suite = suite_create ("config-tables");
  SRunner *runner = srunner_create (suite);
  TCase *tcase;

  tcase = add_case (suite, "tables");
  tcase_add_test (tcase, for_each_key_visits_the_engines_first);
  tcase_add_test (tcase, for_each_key_stops_where_it_is_told);
  tcase_add_test (tcase, every_declaration_is_in_order);
  tcase_add_test (tcase, faulty_declarations_are_found);
  tcase_add_test (tcase, every_bound_holds);
  tcase_add_test (tcase, allowed_is_cut_to_the_buffer);

  tcase = add_case (suite, "drivers");
  tcase_add_test (tcase, register_names_what_is_missing);
  tcase_add_test (tcase, register_refuses_a_name_that_is_taken);
  tcase_add_test (tcase, look_ups_go_on_while_the_registry_fills);

  return run_suite (runner);
}

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-exports-overlay.c: two lists of exports made one: what counts more, what
 * is refused, and that lack of memory is an error.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "front/exports.h"
#include "harness.h"
#include "text.h"

/* ------------------------------------------------------------------------ */
/* Memory that runs out                                                      */

static unsigned fail_at;

void *__real_calloc (size_t nr, size_t bytes);
void *__wrap_calloc (size_t nr, size_t bytes);
void *__real_reallocarray (void *old, size_t nr, size_t bytes);
void *__wrap_reallocarray (void *old, size_t nr, size_t bytes);
char *__real_strdup (const char *text);
char *__wrap_strdup (const char *text);

static bool
fails (void)
{
  return fail_at > 0 && --fail_at == 0;
}

void *
__wrap_calloc (size_t nr, size_t bytes)
{
  return fails () ? NULL : __real_calloc (nr, bytes);
}

void *
__wrap_reallocarray (void *old, size_t nr, size_t bytes)
{
  return fails () ? NULL : __real_reallocarray (old, nr, bytes);
}

char *
__wrap_strdup (const char *text)
{
  return fails () ? NULL : __real_strdup (text);
}

/* ------------------------------------------------------------------------ */

static struct blkmq_error error;

/* WORDS as on a command line, parted by blanks. */
static struct exports *
list (const char *words)
{
  struct exports *exports = exports_alloc ();
  char *copy = strdup (words), *rest = copy, *word, *value;

  ck_assert (exports != NULL && copy != NULL);
  while (*words != '\0' && (word = strsep (&rest, " ")) != NULL) {
    value = strchr (word, '=');
    ck_assert_ptr_nonnull (value);
    *value++ = '\0';
    ck_assert_msg (exports_set (exports, word, value, &error) == 0, "%s",
                   error.message);
  }
  free (copy);
  return exports;
}

/* "NAME:SIZE,DRIVER,DESCRIPTION" of each. */
static void
show (const struct exports *exports, char *buf, size_t room)
{
  struct text text = text_begin (buf, room);

  for (unsigned i = 0; i < exports_nr (exports); i++) {
    const struct export *export = exports_at (exports, i);

    text_add (&text, "%s%s:%" PRIu64 ",%s,%s", i > 0 ? " " : "", export->name,
              blkmq_config_number (export->config, "size"),
              blkmq_config_string (export->config, "driver"),
              export->description != NULL ? export->description : "");
  }
}

static const struct {
  const char *lower, *over, *result;
} good[] = {
  { "size=1", "", ":1,memory," },
  { "", "size=2", ":2,memory," },
  { "size=1 description=d", "size=2", ":2,memory,d" },
  { "size=1", "driver=null description=e", ":1,null,e" },
  { "driver=null size=1 description=d", "driver=memory memory_limit=9",
    ":1,memory,d" },
  { "size=1 export=a export=b", "size=2", "a:2,memory, b:2,memory," },
  { "size=1 export=a export=b size=3", "export=b size=4",
    "a:1,memory, b:4,memory," },
  { "size=1 export=a export=b size=3 description=d",
    "size=2 description=e export=b size=4 description=f",
    "a:2,memory,e b:4,memory,f" },
  { "size=1 export=a", "size=5 export= size=6 export=a driver=null",
    "a:5,null, :6,memory," },
  { "size=1", "export=x", "x:1,memory," },
  { "export=x", "size=1 driver=null", "x:1,null," },
};

START_TEST (test_what_is_over_counts_more)
{
  char shown[256];

  for (size_t i = 0; i < NR (good); i++) {
    struct exports *exports = list (good[i].lower), *over = list (good[i].over);
    int r = exports_overlay (exports, over, &error);

    ck_assert_msg (r == 0, "%s + %s: %s", good[i].lower, good[i].over,
                   error.message);
    exports_free (over);
    r = exports_check (exports, &error);
    ck_assert_msg (r == 0, "%s + %s: %s", good[i].lower, good[i].over,
                   error.message);
    show (exports, shown, sizeof shown);
    ck_assert_str_eq (shown, good[i].result);
    exports_free (exports);
  }
}
END_TEST

static const struct {
  const char *lower, *over, *message;
} bad[] = {
  { "export=a export=b size=2", "size=3",
    "size=3: no effect on export=b, which has size=2 of its own; must stand "
    "after export=b" },
  { "export=b size=2", "size=3 export=b driver=null",
    "size=3: no effect on export=b, which has size=2 of its own; must stand "
    "after export=b" },
  { "export= description=d", "description=e",
    "description=e: no effect on export=, which has description=d of its own; "
    "must stand after export=" },
  { "size=1 export=a driver=null", "export=a memory_limit=1",
    "export=a: memory_limit=1: a key of driver=memory, not of driver=null; "
    "keys are " },
};

START_TEST (test_what_would_have_no_effect_is_refused)
{
  for (size_t i = 0; i < NR (bad); i++) {
    struct exports *exports = list (bad[i].lower), *over = list (bad[i].over);

    ck_assert_int_eq (exports_overlay (exports, over, &error), -EINVAL);
    ck_assert_msg (
        strncmp (error.message, bad[i].message, strlen (bad[i].message)) == 0,
        "%s + %s: %s", bad[i].lower, bad[i].over, error.message);
    exports_free (over);
    exports_free (exports);
  }
}
END_TEST

START_TEST (test_server_wide_values_are_replaced)
{
  struct exports *exports = list ("control=/a shared_tags=1 size=1");
  struct exports *over = list ("control=/b");

  ck_assert_int_eq (exports_overlay (exports, over, &error), 0);
  exports_free (over);
  ck_assert_str_eq (exports_server_value (exports, FRONT_CONTROL), "/b");
  ck_assert_str_eq (exports_server_value (exports, FRONT_SHARED_TAGS), "1");
  ck_assert_int_eq (
      exports_set_server_value (exports, FRONT_CONTROL, "/c", &error), -EINVAL);
  ck_assert_str_eq (error.message, "control=/c: given twice, first as "
                                   "control=/b; once is allowed");
  exports_free (exports);
}
END_TEST

START_TEST (test_there_is_a_limit_to_their_number)
{
  struct exports *exports = exports_alloc (), *over = list ("export=x");
  char name[16];

  ck_assert_ptr_nonnull (exports);
  for (unsigned i = 0; i < EXPORTS_MAX; i++) {
    snprintf (name, sizeof name, "%u", i);
    ck_assert_int_eq (exports_set (exports, "export", name, &error), 0);
  }
  ck_assert_int_eq (exports_overlay (exports, over, &error), -EINVAL);
  ck_assert_str_eq (error.message,
                    "export=x: too many; at most 1024 are allowed");
  exports_free (over);
  exports_free (exports);
}
END_TEST

START_TEST (test_lack_of_memory_is_an_error)
{
  unsigned nr_failures = 0;
  bool has_failed = true;

  for (unsigned i = 1; has_failed; i++) {
    struct exports *exports = list ("size=1 description=d control=/a export=a");
    struct exports *over = list (
        "size=2 description=e control=/b export=a driver=null export=b");
    int r;

    fail_at = i;
    r = exports_overlay (exports, over, &error);
    has_failed = fail_at == 0;
    fail_at = 0;
    ck_assert_int_eq (r, has_failed ? -ENOMEM : 0);
    if (has_failed)
      ck_assert_ptr_nonnull (strstr (error.message, "out of memory"));
    nr_failures += has_failed;
    exports_free (over);
    exports_free (exports);
  }
  ck_assert_uint_ge (nr_failures, 10);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("exports-overlay");
  TCase *tcase = harness_case (suite, "exports-overlay");

  tcase_add_test (tcase, test_what_is_over_counts_more);
  tcase_add_test (tcase, test_what_would_have_no_effect_is_refused);
  tcase_add_test (tcase, test_server_wide_values_are_replaced);
  tcase_add_test (tcase, test_there_is_a_limit_to_their_number);
  tcase_add_test (tcase, test_lack_of_memory_is_an_error);
  return harness_main (suite);
}

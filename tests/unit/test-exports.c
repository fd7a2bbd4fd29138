/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-exports.c: the words by which a server is told of its disks: what
 * belongs to which, what is refused and how it is said, what clients find, and
 * what is undone when one disk of several cannot be had.
 */

#include <config.h>

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "blkmq-control.h"
#include "front/exports.h"
#include "front/help.h"
#include "harness.h"

/* ------------------------------------------------------------------------ */
/* A driver that keeps what it gets, and books on its disks                  */

#define MAX_HELD 64

static struct {
  pthread_mutex_t lock;
  unsigned nr_opens, nr_closes;
  uint64_t seeds[8]; /* of the first opens */
  struct {
    struct blkmq_request *rq;
    blkmq_token token;
  } held[MAX_HELD];
  _Atomic unsigned nr_held;
  unsigned max_held;
} probe = { .lock = PTHREAD_MUTEX_INITIALIZER };

static int
probe_open (const struct blkmq_config *config, uint64_t seed,
            struct blkmq_limits *limits, void **driver_data,
            struct blkmq_error *error)
{
  if (!blkmq_config_number (config, "probe_opens"))
    return error_set (error, -ENXIO, "probe_opens=0: as it was asked to");
  if (probe.nr_opens < NR (probe.seeds))
    probe.seeds[probe.nr_opens] = seed;
  probe.nr_opens++;
  return 0;
}

static void
probe_close (void *driver_data)
{
  probe.nr_closes++;
}

static enum blkmq_queue_result
probe_queue_rq (struct blkmq_hctx *hctx, struct blkmq_request *rq,
                blkmq_token token)
{
  unsigned nr;

  pthread_mutex_lock (&probe.lock);
  nr = probe.nr_held;
  require (nr < MAX_HELD);
  probe.held[nr].rq = rq;
  probe.held[nr].token = token;
  probe.nr_held = nr + 1;
  if (nr + 1 > probe.max_held)
    probe.max_held = nr + 1;
  pthread_mutex_unlock (&probe.lock);
  return BLKMQ_QUEUED;
}

static void
probe_complete_one (void)
{
  struct blkmq_request *rq;
  blkmq_token token;

  pthread_mutex_lock (&probe.lock);
  require (probe.nr_held > 0);
  probe.nr_held--;
  rq = probe.held[probe.nr_held].rq;
  token = probe.held[probe.nr_held].token;
  pthread_mutex_unlock (&probe.lock);
  require (blkmq_complete (rq, token, BLKMQ_STS_OK) == 0);
}

static void
probe_stop (void *driver_data)
{
}

static const struct blkmq_key probe_keys[] = {
  {
      .name = "probe_opens",
      .type = BLKMQ_KEY_BOOL,
      .default_value = "1",
      .help = "0: it fails",
  },
  {
      .name = "probe_number",
      .type = BLKMQ_KEY_INT,
      .default_value = "0",
      .min = 0,
      .max = 9,
      .help = "a number",
  },
};

static const struct blkmq_driver probe_driver = {
  .name = "probe",
  .help = "keeps what it gets",
  .keys = probe_keys,
  .nr_keys = NR (probe_keys),
  .open = probe_open,
  .close = probe_close,
  .queue_rq = probe_queue_rq,
  .stop = probe_stop,
};

/* ---- what fails: the linker sends the engine's and the front's calls here */

/* The n-th from now; 0: none. */
static unsigned fail_thread_at, fail_memory_at;
static bool random_fails;

static bool
fails (unsigned *at)
{
  return *at > 0 && --*at == 0;
}

/* __wrap_NAME and __real_NAME are the linker's names. */
#define WRAP(type, name, at, failure, parameters, arguments)                   \
  type __real_##name parameters;                                               \
  type __wrap_##name parameters;                                               \
                                                                               \
  type __wrap_##name parameters                                                \
  {                                                                            \
    if (fails (at))                                                            \
      return failure;                                                          \
    return __real_##name arguments;                                            \
  }

WRAP (int, pthread_create, &fail_thread_at, EAGAIN,
      (pthread_t * thread, const pthread_attr_t *attr, void *(*fn) (void *),
       void *opaque),
      (thread, attr, fn, opaque))
WRAP (void *, malloc, &fail_memory_at, NULL, (size_t bytes), (bytes))
WRAP (void *, calloc, &fail_memory_at, NULL, (size_t nr, size_t bytes),
      (nr, bytes))
WRAP (void *, reallocarray, &fail_memory_at, NULL,
      (void *p, size_t nr, size_t bytes), (p, nr, bytes))
WRAP (void *, aligned_alloc, &fail_memory_at, NULL,
      (size_t alignment, size_t bytes), (alignment, bytes))
WRAP (char *, strdup, &fail_memory_at, NULL, (const char *text), (text))

ssize_t __real_getrandom (void *buf, size_t bytes, unsigned flags);
ssize_t __wrap_getrandom (void *buf, size_t bytes, unsigned flags);

ssize_t
__wrap_getrandom (void *buf, size_t bytes, unsigned flags)
{
  return random_fails ? -1 : __real_getrandom (buf, bytes, flags);
}

/* ------------------------------------------------------------------------ */

static struct exports *exports;
static struct blkmq_error error;

static void
setup (void)
{
  static bool is_registered;

  /* With CK_FORK=no all tests share one process. */
  if (!is_registered)
    ck_assert_int_eq (blkmq_driver_register (&probe_driver, &error), 0);
  is_registered = true;
  probe.nr_opens = probe.nr_closes = probe.max_held = 0;
  probe.nr_held = 0;
  fail_thread_at = 0;
  random_fails = false;
  exports = exports_alloc ();
  ck_assert_ptr_nonnull (exports);
}

static void
teardown (void)
{
  exports_free (exports);
  exports = NULL;
  ck_assert_uint_eq (probe.nr_closes, probe.nr_opens);
}

static void
renew (void)
{
  teardown ();
  setup ();
}

/* WORDS as on a command line, parted by blanks.  What exports_set returns for
 * the first that is refused, or 0. */
static int
set_words (const char *words)
{
  char *copy = strdup (words), *rest = copy, *word, *value;
  int r = 0;

  ck_assert_ptr_nonnull (copy);
  while (r == 0 && (word = strsep (&rest, " ")) != NULL) {
    value = strchr (word, '=');
    ck_assert_ptr_nonnull (value);
    *value++ = '\0';
    r = exports_set (exports, word, value, &error);
  }
  free (copy);
  return r;
}

static void
give (const char *words)
{
  int r;

  renew ();
  r = set_words (words);
  ck_assert_msg (r == 0, "%s: %s", words, error.message);
  r = exports_check (exports, &error);
  ck_assert_msg (r == 0, "%s: %s", words, error.message);
}

static void
set_up (const char *words)
{
  int r;

  give (words);
  r = exports_set_up (exports, &error);
  ck_assert_msg (r == 0, "%s: %s", words, error.message);
}

static const struct export *
found (const char *name)
{
  const struct export *export = exports_find (exports, name, &error);

  ck_assert_msg (export != NULL, "%s", error.message);
  return export;
}

static uint64_t
number (const char *name, const char *key)
{
  return blkmq_config_number (found (name)->config, key);
}

static void
assert_says (const char *words, const char *part)
{
  ck_assert_msg (strstr (error.message, part) != NULL,
                 "%s: \"%s\" lacks \"%s\"", words, error.message, part);
}

static void
assert_described (const char *name, const char *wanted)
{
  char description[EXPORT_DESCRIPTION_BYTES];

  export_describe (found (name), description, sizeof description);
  ck_assert_str_eq (description, wanted);
}

/* ---- what belongs to which ---- */

START_TEST (test_without_export_there_is_one_for_all_names)
{
  give ("size=1M hw_queue_depth=3");
  ck_assert_uint_eq (exports_nr (exports), 1);
  ck_assert_str_eq (exports_at (exports, 0)->name, "");
  ck_assert_str_eq (exports_at (exports, 0)->prefix, "");
  ck_assert_ptr_eq (found (""), exports_at (exports, 0));
  ck_assert_ptr_eq (found ("whatever"), exports_at (exports, 0));
  ck_assert_uint_eq (number ("", "hw_queue_depth"), 3);
}
END_TEST

START_TEST (test_keys_before_are_defaults_and_keys_after_are_own)
{
  give ("size=1M blocksize=4096 export=a export=b size=2M hw_queue_depth=3 "
        "export= blocksize=512");
  ck_assert_uint_eq (exports_nr (exports), 3);
  ck_assert_str_eq (exports_at (exports, 0)->name, "a");
  ck_assert_str_eq (exports_at (exports, 1)->name, "b");
  ck_assert_str_eq (exports_at (exports, 2)->name, "");
  ck_assert_uint_eq (number ("a", "size"), 1 << 20);
  ck_assert_uint_eq (number ("b", "size"), 2 << 20);
  ck_assert_uint_eq (number ("", "size"), 1 << 20);
  ck_assert_uint_eq (number ("a", "blocksize"), 4096);
  ck_assert_uint_eq (number ("b", "blocksize"), 4096);
  ck_assert_uint_eq (number ("", "blocksize"), 512);
  ck_assert_uint_eq (number ("a", "hw_queue_depth"), 64);
  ck_assert_uint_eq (number ("b", "hw_queue_depth"), 3);
  ck_assert_uint_eq (number ("", "hw_queue_depth"), 64);
}
END_TEST

START_TEST (test_each_export_may_have_its_driver_and_the_keys_of_that)
{
  give ("size=1M driver=null export=a export=b probe_number=7 driver=probe "
        "export=c driver=memory memory_limit=8K");
  ck_assert_str_eq (blkmq_config_string (found ("a")->config, "driver"),
                    "null");
  ck_assert_uint_eq (number ("b", "probe_number"), 7);
  ck_assert_uint_eq (number ("c", "memory_limit"), 8192);

  /* A driver's key may also stand before its driver is known at all. */
  give ("size=1M probe_number=7 export=a driver=probe export=b driver=probe "
        "probe_number=8");
  ck_assert_uint_eq (number ("a", "probe_number"), 7);
  ck_assert_uint_eq (number ("b", "probe_number"), 8);
}
END_TEST

/* ---- what is refused ---- */

START_TEST (test_refused_words_say_which_export_key_and_value)
{
  static const struct {
    const char *words;
    const char *parts[4];
  } refused[] = {
    { "size=1M export=a export=a", { "export=a: given twice" } },
    { "size=1M export= export=a export=", { "export=: given twice" } },
    { "size=1M size=2M export=a",
      { "size=2M: given twice, first as size=1M" } },
    { "size=1M export=a size=2M export=b size=3M size=4M",
      { "export=b: size=4M: given twice, first as size=3M" } },
    { "size=1M export=a blocksize=7",
      { "export=a: blocksize=7: must be a power of two from 512 to 65536" } },
    { "size=1M export= blocksize=7", { "export=: blocksize=7" } },
    { "export=a size=1M export=b", { "export=b: size: required" } },
    { "export=a", { "export=a: size: required" } },
    { "shared_tags=1", { "size: required" } },
    { "size=1M export=a shared_tags=1",
      { "export=a: shared_tags=1", "before the first, export=a" } },
    { "shared_tags=maybe", { "shared_tags=maybe: not a boolean; must be 1" } },
    { "shared_tags=1 shared_tags=0",
      { "shared_tags=0: given twice, first as shared_tags=1" } },
    { "description=x description=y", { "description=y: given twice" } },
    { "size=1M description=x export=a description=y description=z",
      { "export=a: description=z: given twice, first as description=y" } },
    { "size=1M exxport=a",
      { "exxport=a: unknown key (did you mean export?)",
        "description, shared_tags" } },
    { "size=1M driver=null sharedtags=1", { "did you mean shared_tags?" } },
    { "size=1M export=a ddescription=x",
      { "export=a: ddescription=x", "did you mean description?" } },
    { "size=1M memory_limit=8K export=a export=b driver=null",
      { "export=b: memory_limit=8K: a key of driver=memory, not of "
        "driver=null" } },
    { "size=1M export=a driver=null memory_limit=8K",
      { "export=a: memory_limit=8K: a key of driver=memory" } },
    { "size=1M export=a irqmode=timer completion_nsec=5 export=b spin_ns=5",
      { "export=b: spin_ns=5: contradicts irqmode=none" } },
    { "size=1M export=a\tb", { "export=a?b", "without control characters" } },
    { "size=1M export=\xc2\x9b", { "without control characters" } },
    { "size=1M export=\x7f", { "without control characters" } },
    { "size=1M export=\xff", { "UTF-8" } },
    { "size=1M export=\xc3", { "UTF-8" } },
    { "size=1M export=\xc0\x80", { "UTF-8" } },
    { "size=1M export=\xe0\x9f\xbf", { "UTF-8" } },
    { "size=1M export=\xed\xa0\x80", { "UTF-8" } },
    { "size=1M export=\xf4\x90\x80\x80", { "UTF-8" } },
    { "size=1M description=a\nb", { "description=a?b", "at most 4096 bytes" } },
  };

  for (size_t i = 0; i < NR (refused); i++) {
    const char *words = refused[i].words;
    int r;

    renew ();
    r = set_words (words);
    if (r == 0)
      r = exports_check (exports, &error);
    ck_assert_msg (r == -EINVAL, "%s: %d", words, r);
    for (size_t j = 0; j < 4 && refused[i].parts[j] != NULL; j++)
      assert_says (words, refused[i].parts[j]);
  }
}
END_TEST

START_TEST (test_what_is_refused_changes_nothing)
{
  renew ();
  ck_assert_int_eq (set_words ("size=1M export=a hw_queue_depth=3"), 0);
  ck_assert_int_eq (set_words ("export=a"), -EINVAL);
  ck_assert_int_eq (set_words ("hw_queue_depth=4"), -EINVAL);
  ck_assert_int_eq (set_words ("blocksize=7"), -EINVAL);
  ck_assert_int_eq (set_words ("shared_tags=1"), -EINVAL);
  ck_assert_int_eq (set_words ("export=\xff"), -EINVAL);
  ck_assert_int_eq (set_words ("blocksize=1024"), 0);
  ck_assert_int_eq (exports_check (exports, &error), 0);
  ck_assert_uint_eq (exports_nr (exports), 1);
  ck_assert_uint_eq (number ("a", "hw_queue_depth"), 3);
  ck_assert_uint_eq (number ("a", "blocksize"), 1024);
  ck_assert_ptr_null (exports_server_value (exports, FRONT_SHARED_TAGS));
}
END_TEST

START_TEST (test_default_of_the_server_counts_least)
{
  renew ();
  ck_assert_int_eq (set_words ("size=1M export=a export=b submit_queues=3"), 0);
  ck_assert_int_eq (exports_set_default (exports, "submit_queues", "5", &error),
                    0);
  ck_assert_int_eq (exports_check (exports, &error), 0);
  ck_assert_uint_eq (number ("a", "submit_queues"), 5);
  ck_assert_uint_eq (number ("b", "submit_queues"), 3);

  renew ();
  ck_assert_int_eq (set_words ("size=1M submit_queues=2"), 0);
  ck_assert_int_eq (exports_set_default (exports, "submit_queues", "5", &error),
                    0);
  ck_assert_int_eq (exports_check (exports, &error), 0);
  ck_assert_uint_eq (number ("", "submit_queues"), 2);

  renew ();
  ck_assert_int_eq (exports_set_default (exports, "submit_queues", "0", &error),
                    -EINVAL);
  assert_says ("0", "submit_queues=0: must be");
}
END_TEST

START_TEST (test_control_has_room_for_layers)
{
  renew ();
  ck_assert_int_eq (set_words ("size=1M control=/x export=a export=b live=0"),
                    0);
  ck_assert_int_eq (exports_check (exports, &error), 0);
  ck_assert_uint_eq (number ("a", "live"), 1);
  ck_assert_uint_eq (number ("b", "live"), 0);
  ck_assert_str_eq (exports_server_value (exports, FRONT_CONTROL), "/x");

  renew ();
  ck_assert_int_eq (set_words ("size=1M export=a"), 0);
  ck_assert_int_eq (set_words ("control=/x"), -EINVAL);
  ck_assert_int_eq (exports_check (exports, &error), 0);
  ck_assert_uint_eq (number ("a", "live"), 0);
}
END_TEST

START_TEST (test_names_are_utf8_of_up_to_4096_bytes)
{
  static const char *const names[]
      = { "a b", "/a/b", "\xc3\xbc", "\xe2\x82\xac", "\xf0\x9f\x98\x80" };
  char name[4098];

  for (size_t i = 0; i < NR (names); i++) {
    renew ();
    ck_assert_int_eq (exports_set (exports, "export", names[i], &error), 0);
    ck_assert_int_eq (exports_set (exports, "size", "1M", &error), 0);
    ck_assert_int_eq (exports_check (exports, &error), 0);
    ck_assert_str_eq (found (names[i])->name, names[i]);
  }
  renew ();
  memset (name, 'x', sizeof name);
  name[4097] = '\0';
  ck_assert_int_eq (exports_set (exports, "export", name, &error), -EINVAL);
  assert_says ("export=xxx...", "too long");
  assert_says ("export=xxx...", "at most 4096 bytes");
  renew ();
  name[4096] = '\0';
  ck_assert_int_eq (exports_set (exports, "export", name, &error), 0);
  ck_assert_int_eq (exports_set (exports, "size", "7M", &error), 0);
  ck_assert_int_eq (exports_check (exports, &error), 0);
  ck_assert_uint_eq (number (name, "size"), 7 << 20);
}
END_TEST

START_TEST (test_there_is_a_limit_to_their_number)
{
  char name[16];

  for (unsigned i = 0; i < EXPORTS_MAX; i++) {
    snprintf (name, sizeof name, "%u", i);
    ck_assert_int_eq (exports_set (exports, "export", name, &error), 0);
  }
  ck_assert_int_eq (exports_set (exports, "export", "more", &error), -EINVAL);
  assert_says ("export=more", "export=more: too many; at most 1024");
  ck_assert_uint_eq (exports_nr (exports), EXPORTS_MAX);
}
END_TEST

/* ---- what clients find ---- */

START_TEST (test_unknown_export_is_told_which_there_are)
{
  give ("size=1M export=a export=b");
  ck_assert_ptr_null (exports_find (exports, "c", &error));
  ck_assert_str_eq (error.message, "export=c: unknown export; there are "
                                   "export=a, export=b");
  ck_assert_ptr_null (exports_find (exports, "", &error));
  ck_assert_str_eq (error.message, "export=: no default export; there are "
                                   "export=a, export=b");
  ck_assert_ptr_null (exports_find (exports, "a\nb", NULL));
  give ("size=1M export=");
  ck_assert_ptr_null (exports_find (exports, "a\nb", &error));
  ck_assert_str_eq (error.message, "export=a?b: unknown export; there is "
                                   "export=");
}
END_TEST

START_TEST (test_description_is_given_or_tells_of_the_disk)
{
  set_up ("size=3M seed=5 export=a export=b description=mine "
          "export=c description= export=d hw_queue_depth=2 submit_queues=3 "
          "poll_queues=1 irqmode=softirq driver=null size=1025");
  assert_described ("a", "blkmq memory disk, 3 MiB, 1 hctx x 64, irqmode none, "
                         "seed 5");
  assert_described ("b", "mine");
  assert_described ("c", "");
  assert_described ("d",
                    "blkmq null disk, 1025 bytes, 3 hctxs and 1 polled x 2, "
                    "irqmode softirq, seed 8");

  set_up ("size=1M description=all export=a export=b description=mine");
  assert_described ("a", "all");
  assert_described ("b", "mine");
}
END_TEST

START_TEST (test_description_tells_of_the_disk_as_it_is)
{
  static const struct blkmq_setting settings[] = {
    { "irqmode", "softirq" },
    { "submit_queues", "2" },
    { "hw_queue_depth", "8" },
  };

  set_up ("size=1M seed=1 export=a export=b");
  ck_assert_int_eq (exports_start (exports, &error), 0);
  ck_assert_msg (
      blkmq_disk_set (found ("b")->disk, settings, NR (settings), &error) == 0,
      "%s", error.message);
  assert_described ("a", "blkmq memory disk, 1 MiB, 1 hctx x 64, irqmode none, "
                         "seed 1");
  assert_described ("b", "blkmq memory disk, 1 MiB, 2 hctxs x 8, "
                         "irqmode softirq, seed 2");
  exports_remove (exports);
}
END_TEST

/* ---- seeds ---- */

START_TEST (test_each_disk_has_a_seed_of_its_own_that_repeats)
{
  uint64_t seed;

  set_up ("size=1M driver=probe seed=7 export=a export=b seed=100 export=c");
  ck_assert (!exports_drew_seed (exports, &seed));
  ck_assert_uint_eq (probe.seeds[0], 7);
  ck_assert_uint_eq (probe.seeds[1], 100);
  ck_assert_uint_eq (probe.seeds[2], 9);
  ck_assert_uint_eq (blkmq_disk_seed (found ("c")->disk), 9);

  /* They go round rather than out of bounds. */
  set_up ("size=1M driver=probe seed=18446744073709551615 export=a export=b");
  ck_assert_uint_eq (probe.seeds[0], UINT64_MAX);
  ck_assert_uint_eq (probe.seeds[1], 0);
}
END_TEST

START_TEST (test_drawn_seed_repeats_all_disks)
{
  uint64_t seed, other;

  set_up ("size=1M driver=probe export=a export=b seed=5 export=c");
  ck_assert (exports_drew_seed (exports, &seed));
  ck_assert_uint_eq (probe.seeds[0], seed);
  ck_assert_uint_eq (probe.seeds[1], 5);
  ck_assert_uint_eq (probe.seeds[2], seed + 2);
  set_up ("size=1M driver=probe");
  ck_assert (exports_drew_seed (exports, &other));
  ck_assert_uint_eq (probe.seeds[0], other);
  ck_assert_uint_ne (seed, other);

  give ("size=1M export=a seed=1 export=b seed=2");
  ck_assert (!exports_drew_seed (exports, &seed));
}
END_TEST

/* ---- all or none ---- */

START_TEST (test_disk_that_fails_takes_down_those_before)
{
  static const char *const words[] = {
    "size=1M driver=probe export=a export=b export=c probe_opens=0 export=d",
    "shared_tags=1 size=1M driver=probe export=a export=b export=c "
    "probe_opens=0 export=d",
  };

  for (size_t i = 0; i < NR (words); i++) {
    give (words[i]);
    ck_assert_int_eq (exports_set_up (exports, &error), -ENXIO);
    assert_says (words[i], "export=c: probe_opens=0: as it was asked to");
    ck_assert_uint_eq (probe.nr_opens, 2);
    ck_assert_uint_eq (probe.nr_closes, 2);
    for (unsigned j = 0; j < 4; j++)
      ck_assert_ptr_null (exports_at (exports, j)->disk);
  }
}
END_TEST

START_TEST (test_disk_that_does_not_start_stops_those_before)
{
  /* Two threads a disk; the last one of the three disks is refused. */
  set_up ("size=1M driver=probe submit_queues=2 export=a export=b export=c");
  fail_thread_at = 6;
  ck_assert_int_eq (exports_start (exports, &error), -EAGAIN);
  assert_says ("start", "export=c: starting the thread of hctx 1 of 2");
  for (unsigned i = 0; i < 3; i++) {
    struct blkmq_submitter *submitter
        = blkmq_submitter_alloc (exports_at (exports, i)->disk, 0);
    struct blkmq_io io = { .op = BLKMQ_OP_FLUSH };

    ck_assert_ptr_nonnull (submitter);
    /* Those that ran were removed; the last never ran. */
    if (i < 2)
      ck_assert_int_eq (blkmq_submit_sync (submitter, &io), -ENODEV);
    blkmq_submitter_free (submitter);
  }
}
END_TEST

START_TEST (test_lack_of_memory_is_an_error_and_leaves_nothing_behind)
{
  static const struct blkmq_setting settings[] = {
    { "size", "1M" },      { "shared_tags", "1" },    { "driver", "probe" },
    { "description", "" }, { "hw_queue_depth", "2" }, { "export", "a" },
    { "size", "2M" },      { "export", "b" },         { "description", "b" },
  };
  bool failed = true;
  unsigned n;

  for (n = 1; failed; n++) {
    int r = 0;

    teardown ();
    probe.nr_opens = probe.nr_closes = 0;
    memset (&error, 0, sizeof error);
    fail_memory_at = n;
    exports = exports_alloc ();
    for (size_t i = 0; i < NR (settings) && exports != NULL && r == 0; i++)
      r = exports_set (exports, settings[i].key, settings[i].value, &error);
    if (exports != NULL && r == 0)
      r = exports_check (exports, &error);
    if (exports != NULL && r == 0)
      r = exports_set_up (exports, &error);
    failed = fail_memory_at == 0;
    fail_memory_at = 0;
    if (exports == NULL)
      continue;
    ck_assert_msg (r == (failed ? -ENOMEM : 0), "%u: %d", n, r);
    ck_assert_msg (!failed || error.message[0] != '\0', "%u: no message", n);
  }
  /* The list, two disks, ten keys, and all that disks are made of. */
  ck_assert_uint_gt (n, 40);
}
END_TEST

START_TEST (test_lack_of_randomness_is_an_error)
{
  random_fails = true;
  ck_assert_int_eq (set_words ("size=1M export=a seed=1 export=b"), 0);
  ck_assert_int_eq (exports_check (exports, &error), -EIO);
  assert_says ("export=b", "no random number to be had for a seed");
  renew ();
  random_fails = true;
  ck_assert_int_eq (set_words ("size=1M export=a seed=1 export=b seed=2"), 0);
  ck_assert_int_eq (exports_check (exports, &error), 0);
}
END_TEST

/* ---- shared tags ---- */

START_TEST (test_disks_that_share_tags_must_agree)
{
  static const struct {
    const char *words;
    const char *parts[3];
  } refused[] = {
    { "export=a export=b hw_queue_depth=8",
      { "export=b: hw_queue_depth=8: contradicts export=a: hw_queue_depth=64",
        "with shared_tags=1" } },
    { "export=a export=b submit_queues=2",
      { "export=b: submit_queues=2: contradicts export=a: submit_queues=1" } },
    { "export=a poll_queues=1 export=b",
      { "export=b: poll_queues=0: contradicts export=a: poll_queues=1" } },
    { "export=a export=b export=c shared_tag_bitmap=yes",
      { "export=c: shared_tag_bitmap=yes: contradicts export=a: "
        "shared_tag_bitmap=0" } },
    { "export=a export=b nomerges=1",
      { "export=b: nomerges=1: contradicts export=a: nomerges=0" } },
    { "export=a export= driver=null",
      { "export=: driver=null: contradicts export=a: driver=memory" } },
    { "export=a delay_read=1ms export=b",
      { "export=b: layers (none): contradict export=a: layers (delay)" } },
  };

  for (size_t i = 0; i < NR (refused); i++) {
    const char *words = refused[i].words;

    renew ();
    ck_assert_int_eq (set_words ("shared_tags=1 size=1M"), 0);
    ck_assert_int_eq (set_words (words), 0);
    ck_assert_int_eq (exports_check (exports, &error), -EINVAL);
    for (size_t j = 0; j < 3 && refused[i].parts[j] != NULL; j++)
      assert_says (words, refused[i].parts[j]);

    /* Each of them is nothing wrong without. */
    renew ();
    ck_assert_int_eq (set_words ("shared_tags=0 size=1M"), 0);
    ck_assert_int_eq (set_words (words), 0);
    ck_assert_int_eq (exports_check (exports, &error), 0);
  }
}
END_TEST

#define NR_IOS 6

struct count {
  struct blkmq_io io;
  _Atomic unsigned *nr_ended;
};

static void
count_end (struct blkmq_io *io, enum blkmq_status status)
{
  struct count *count = (struct count *)io;

  require (status == BLKMQ_STS_OK);
  (*count->nr_ended)++;
}

/* The most that are with the driver while NR_IOS flushes come to each of two
 * disks. */
static unsigned
max_in_flight (const char *words)
{
  struct blkmq_submitter *submitters[2];
  _Atomic unsigned nr_ended = 0;
  struct count counts[2][NR_IOS];

  set_up (words);
  ck_assert_int_eq (exports_start (exports, &error), 0);
  memset (counts, 0, sizeof counts);
  for (unsigned i = 0; i < 2; i++) {
    submitters[i] = blkmq_submitter_alloc (exports_at (exports, i)->disk, 0);
    ck_assert_ptr_nonnull (submitters[i]);
    for (unsigned j = 0; j < NR_IOS; j++) {
      counts[i][j].io.op = BLKMQ_OP_FLUSH;
      counts[i][j].io.end_io = count_end;
      counts[i][j].nr_ended = &nr_ended;
      blkmq_submit (submitters[i], &counts[i][j].io);
    }
  }
  for (unsigned i = 0; i < 2 * NR_IOS; i++) {
    await (probe.nr_held > 0);
    probe_complete_one ();
  }
  await (nr_ended == 2 * NR_IOS);
  for (unsigned i = 0; i < 2; i++)
    blkmq_submitter_free (submitters[i]);
  exports_remove (exports);
  return probe.max_held;
}

START_TEST (test_shared_tags_are_for_all_disks_together)
{
  static const char words[]
      = "size=1M driver=probe hw_queue_depth=4 export=a export=b";
  char shared[128];

  snprintf (shared, sizeof shared, "shared_tags=1 %s", words);
  ck_assert_uint_eq (max_in_flight (shared), 4);
  ck_assert_uint_eq (max_in_flight (words), 8);
}
END_TEST

/* ---- the table ---- */

static int
find_key (const struct blkmq_driver *driver, const struct blkmq_key *key,
          void *opaque)
{
  return driver == NULL && strcmp (key->name, opaque) == 0;
}

START_TEST (test_help_lists_the_front_ends_keys)
{
  char *text = NULL, allowed[256];
  size_t bytes;
  FILE *out = open_memstream (&text, &bytes);

  ck_assert_ptr_nonnull (out);
  help_print_keys (out, NULL);
  fclose (out);
  for (unsigned i = 0; i < NR_FRONT_KEYS; i++) {
    char name[64];

    snprintf (name, sizeof name, "\n%s=", front_keys[i].name);
    ck_assert_msg (strstr (text, name) != NULL, "no %s", front_keys[i].name);
    ck_assert_int_eq (
        front_for_each_key (find_key, (char *)(uintptr_t)front_keys[i].name),
        1);
    ck_assert_uint_eq (front_key_find (front_keys[i].name), i);
  }
  free (text);
  ck_assert_uint_eq (front_key_find ("size"), NR_FRONT_KEYS);
  ck_assert_int_eq (blkmq_for_each_key (find_key, (char *)"export"), 0);
  front_key_allowed (&front_keys[FRONT_EXPORT], allowed, sizeof allowed);
  ck_assert_str_eq (allowed, "UTF-8 without control characters, of at most "
                             "4096 bytes");
  front_key_allowed (&front_keys[FRONT_SHARED_TAGS], allowed, sizeof allowed);
  ck_assert_ptr_nonnull (strstr (allowed, "true"));
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("exports");
  TCase *tcase = harness_case (suite, "exports");

  tcase_add_checked_fixture (tcase, setup, teardown);
  tcase_add_test (tcase, test_without_export_there_is_one_for_all_names);
  tcase_add_test (tcase, test_keys_before_are_defaults_and_keys_after_are_own);
  tcase_add_test (tcase,
                  test_each_export_may_have_its_driver_and_the_keys_of_that);
  tcase_add_test (tcase, test_refused_words_say_which_export_key_and_value);
  tcase_add_test (tcase, test_what_is_refused_changes_nothing);
  tcase_add_test (tcase, test_default_of_the_server_counts_least);
  tcase_add_test (tcase, test_control_has_room_for_layers);
  tcase_add_test (tcase, test_names_are_utf8_of_up_to_4096_bytes);
  tcase_add_test (tcase, test_there_is_a_limit_to_their_number);
  tcase_add_test (tcase, test_unknown_export_is_told_which_there_are);
  tcase_add_test (tcase, test_description_is_given_or_tells_of_the_disk);
  tcase_add_test (tcase, test_description_tells_of_the_disk_as_it_is);
  tcase_add_test (tcase, test_each_disk_has_a_seed_of_its_own_that_repeats);
  tcase_add_test (tcase, test_drawn_seed_repeats_all_disks);
  tcase_add_test (tcase, test_disk_that_fails_takes_down_those_before);
  tcase_add_test (tcase, test_disk_that_does_not_start_stops_those_before);
  tcase_add_test (tcase,
                  test_lack_of_memory_is_an_error_and_leaves_nothing_behind);
  tcase_add_test (tcase, test_lack_of_randomness_is_an_error);
  tcase_add_test (tcase, test_disks_that_share_tags_must_agree);
  tcase_add_test (tcase, test_shared_tags_are_for_all_disks_together);
  tcase_add_test (tcase, test_help_lists_the_front_ends_keys);
  return harness_main (suite);
}

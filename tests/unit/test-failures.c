/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-failures.c: whatever the system refuses, be it the first or the last
 * thing that is asked for, is an error with a message, leaves nothing behind,
 * and is no hindrance to trying again.
 *
 * The functions that can fail are this program's own here: each call that the
 * test's thread makes while it is armed counts, and one of them fails.  A
 * sanitizer has taken the allocator already, so there this is not built.
 */

#include <config.h>

#include <dlfcn.h>
#include <errno.h>
#include <ev.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "blkmq-control.h"
#include "harness.h"

/* ------------------------------------------------------------------------ */
/* What fails                                                                */

/* glibc's own names; their prototypes are in no header. */
void *__libc_malloc (size_t bytes);
void *__libc_calloc (size_t nr, size_t bytes);
void *__libc_realloc (void *p, size_t bytes);
void *__libc_memalign (size_t alignment, size_t bytes);
void __libc_free (void *p);

static __thread bool is_armed;
static unsigned fail_at;    /* the n-th call, from 1 */
static unsigned nr_calls;   /* since it was armed */
static int nr_live;         /* blocks allocated and not freed while armed */
static const char *failing; /* the function that failed, or NULL */

static bool
fails (const char *function)
{
  if (!is_armed || ++nr_calls != fail_at)
    return false;
  failing = function;
  return true;
}

static void *
counted (void *p)
{
  if (is_armed && p != NULL)
    nr_live++;
  return p;
}

void *
malloc (size_t bytes)
{
  if (fails ("malloc")) {
    errno = ENOMEM;
    return NULL;
  }
  return counted (__libc_malloc (bytes));
}

void *
calloc (size_t nr, size_t bytes)
{
  if (fails ("calloc")) {
    errno = ENOMEM;
    return NULL;
  }
  return counted (__libc_calloc (nr, bytes));
}

void *
realloc (void *p, size_t bytes)
{
  if (fails ("realloc")) {
    errno = ENOMEM;
    return NULL;
  }
  return p == NULL ? counted (__libc_malloc (bytes))
                   : __libc_realloc (p, bytes);
}

void *
aligned_alloc (size_t alignment, size_t bytes)
{
  if (fails ("aligned_alloc")) {
    errno = ENOMEM;
    return NULL;
  }
  return counted (__libc_memalign (alignment, bytes));
}

void
free (void *p)
{
  if (is_armed && p != NULL)
    nr_live--;
  __libc_free (p);
}

/* libev ends the process when it is refused memory: give it what it wants. */
static void *
libev_allocates (void *p, long bytes)
{
  if (bytes > 0)
    return __libc_realloc (p, (size_t)bytes);
  __libc_free (p);
  return NULL;
}

ssize_t
getrandom (void *buffer, size_t bytes, unsigned flags)
{
  if (fails ("getrandom")) {
    errno = EINTR;
    return -1;
  }
  return syscall (SYS_getrandom, buffer, bytes, flags);
}

int
eventfd (unsigned count, int flags)
{
  if (fails ("eventfd")) {
    errno = EMFILE;
    return -1;
  }
  return (int)syscall (SYS_eventfd2, count, flags);
}

int
timerfd_create (int clock, int flags)
{
  if (fails ("timerfd_create")) {
    errno = EMFILE;
    return -1;
  }
  return (int)syscall (SYS_timerfd_create, clock, flags);
}

/* The NAME that this program's hides. */
static void *
original (const char *name)
{
  void *function = dlsym (RTLD_NEXT, name);

  require (function != NULL);
  return function;
}

/* Whatever these two do inside does not fail: they are one call each. */
struct ev_loop *
ev_loop_new (unsigned flags)
{
  __typeof__ (ev_loop_new) *function;
  bool was_armed = is_armed;
  struct ev_loop *loop;

  if (fails ("ev_loop_new"))
    return NULL;
  is_armed = false;
  function = original ("ev_loop_new");
  loop = function (flags);
  is_armed = was_armed;
  return loop;
}

int
pthread_create (pthread_t *thread, const pthread_attr_t *attr,
                void *(*fn) (void *), void *opaque)
{
  __typeof__ (pthread_create) *function;
  bool was_armed = is_armed;
  int r;

  if (fails ("pthread_create"))
    return EAGAIN;
  is_armed = false;
  function = original ("pthread_create");
  r = function (thread, attr, fn, opaque);
  is_armed = was_armed;
  return r;
}

/* ------------------------------------------------------------------------ */

static void
arm (unsigned n)
{
  fail_at = n;
  nr_calls = 0;
  nr_live = 0;
  failing = NULL;
  is_armed = true;
}

/* Which function failed since arm, or NULL. */
static const char *
disarm (void)
{
  is_armed = false;
  return failing;
}

static int
errno_of (const char *function)
{
  if (strcmp (function, "eventfd") == 0
      || strcmp (function, "timerfd_create") == 0
      || strcmp (function, "ev_loop_new") == 0)
    return -EMFILE;
  if (strcmp (function, "pthread_create") == 0)
    return -EAGAIN;
  if (strcmp (function, "getrandom") == 0)
    return -EIO;
  return -ENOMEM;
}

/* R, with the message in ERROR, is what the failure of FUNCTION should lead
 * to. */
static void
check_failure (const char *function, int r, const struct blkmq_error *error)
{
  ck_assert_int_eq (r, errno_of (function));
  ck_assert_str_ne (error->message, "");
  ck_assert_ptr_null (strchr (error->message, '\n'));
}

/* A read on each hctx. */
static void
check_serves (struct bed *bed)
{
  struct test_io t;

  bed->script.on_queue = script_completes_inside;
  for (unsigned i = 0; i < blkmq_disk_nr_hw_queues (bed->disk); i++) {
    struct blkmq_submitter *submitter = blkmq_submitter_alloc (bed->disk, i);

    ck_assert_ptr_nonnull (submitter);
    test_io_init (&t, bed, BLKMQ_OP_READ, i);
    blkmq_submit (submitter, &t.io);
    await (t.nr_ends == 1);
    assert_ended (&t, BLKMQ_STS_OK);
    blkmq_submitter_free (submitter);
  }
}

/* ---- disks ---- */

static struct bed *
bed_of (const char *driver)
{
  struct bed *bed = bed_alloc ();

  bed->script.driver = driver;
  bed->script.volatile_cache = true;
  /* Room for hctxs to come, and with a scheduler there are more names than
   * tags. */
  bed->script.max_hctxs = 8;
  bed->script.depth = 64;
  return bed;
}

/* Returns how many calls there are. */
static unsigned
fail_each_call_of_alloc (const char *driver, const char *keys)
{
  const char *function = "";

  for (unsigned n = 1;; n++) {
    struct bed *bed = bed_of (driver);
    struct blkmq_config *config = bed_config (bed, keys);
    struct blkmq_error error = { "" };
    int r;

    arm (n);
    r = blkmq_disk_alloc (config, &bed->disk, &error);
    function = disarm ();
    blkmq_config_free (config);
    if (function == NULL) {
      ck_assert_int_eq (r, 0);
      bed_start_disk (bed);
      check_serves (bed);
      bed_stop (bed);
      return n - 1;
    }
    check_failure (function, r, &error);
    /* The driver's books are ours: here, or not even that far. */
    ck_assert_int_eq (nr_live, bed->script.books != NULL);
    ck_assert_uint_eq (bed->script.nr_init_requests, 0);
    ck_assert_uint_eq (bed->script.nr_init_hctxs, 0);
    ck_assert_uint_eq (bed->script.nr_closes, bed->script.books != NULL);
    bed_drop (bed);
  }
}

START_TEST (test_failed_alloc_of_a_disk_leaves_nothing_behind)
{
  static const char *const keys[] = {
    "",
    "submit_queues=3 hw_queue_depth=5 iostats=1 nomerges=1",
    "submit_queues=2 hw_queue_depth=5 scheduler=mq-deadline",
    "submit_queues=2 hw_queue_depth=5 shared_tag_bitmap=1",
    "submit_queues=2 hw_queue_depth=5 delay_read=1us media_delay_read=1us",
    "submit_queues=2 hw_queue_depth=5 badblocks=+2000-2000,+1990-1990",
    "submit_queues=2 hw_queue_depth=5 fault=op=trim;at=media,op=trim",
  };

  for (size_t i = 0; i < NR (keys); i++) {
    /* Disk, seed, flush, tag set, pools, hctxs, loops, ... */
    ck_assert_uint_ge (fail_each_call_of_alloc ("scripted", keys[i]), 10);
    fail_each_call_of_alloc ("scripted-reserved", keys[i]);
  }
}
END_TEST

START_TEST (test_failed_start_can_be_tried_again)
{
  const char *function = "";

  for (unsigned n = 1; function != NULL; n++) {
    struct bed *bed = bed_of ("scripted");
    struct blkmq_error error = { "" };
    int r;

    ck_assert_int_eq (bed_alloc_disk (bed, "submit_queues=3", false), 0);
    arm (n);
    r = blkmq_disk_start (bed->disk, &error);
    function = disarm ();
    if (function != NULL) {
      check_failure (function, r, &error);
      ck_assert_int_eq (nr_live, 0);
      bed_start_disk (bed);
    } else {
      ck_assert_int_eq (r, 0);
      ck_assert_uint_gt (n, 3 * 4); /* each of four, for each hctx */
    }
    check_serves (bed);
    bed_stop (bed);
  }
}
END_TEST

START_TEST (test_failed_submitter_is_null)
{
  struct bed *bed = bed_start ("");
  unsigned nr = bed_hctx (bed, 0)->nr_submitters;

  arm (1);
  errno = 0;
  ck_assert_ptr_null (blkmq_submitter_alloc (bed->disk, 0));
  ck_assert_str_eq (disarm (), "calloc");
  ck_assert_int_eq (errno, ENOMEM);
  ck_assert_uint_eq (bed_hctx (bed, 0)->nr_submitters, nr);
  bed_stop (bed);
}
END_TEST

/* It keeps the one that it had. */
START_TEST (test_failed_lending_changes_nothing)
{
  struct ev_loop *loop = ev_loop_new (EVFLAG_AUTO);
  struct bed *bed = bed_of ("scripted");
  int r;

  ck_assert_int_eq (bed_alloc_disk (bed, "", false), 0);
  arm (1);
  r = blkmq_disk_lend_loop (bed->disk, 0, loop);
  ck_assert_str_eq (disarm (), "calloc");
  ck_assert_int_eq (r, -ENOMEM);
  ev_loop_destroy (loop);
  bed_start_disk (bed);
  check_serves (bed);
  bed_stop (bed);
}
END_TEST

/* ---- tag sets ---- */

START_TEST (test_failed_alloc_of_a_tag_set_leaves_nothing_behind)
{
  struct bed *bed = bed_of ("scripted-reserved");
  struct blkmq_config *config
      = bed_config (bed, "submit_queues=3 hw_queue_depth=5");
  const char *function = "";

  for (unsigned n = 1; function != NULL; n++) {
    struct blkmq_tag_set *set;
    struct blkmq_error error = { "" };
    int r;

    arm (n);
    r = blkmq_tag_set_alloc (config, &set, &error);
    if (r == 0)
      blkmq_tag_set_put (set);
    function = disarm ();
    ck_assert_int_eq (nr_live, 0);
    if (function != NULL)
      check_failure (function, r, &error);
    else
      ck_assert_uint_gt (n, 3 * 4);
  }
  blkmq_config_free (config);
  bed_drop (bed);
}
END_TEST

START_TEST (test_failed_disk_in_a_tag_set_leaves_the_set)
{
  static const char keys[] = "submit_queues=2 hw_queue_depth=5";
  const char *function = "";

  for (unsigned n = 1; function != NULL; n++) {
    struct bed *bed = bed_of ("scripted");
    struct blkmq_tag_set *set = bed_set_alloc ("scripted", keys);
    struct blkmq_config *config;
    struct blkmq_error error = { "" };
    int r;

    bed->set = set;
    config = bed_config (bed, keys);
    arm (n);
    r = blkmq_disk_alloc_in (set, config, &bed->disk, &error);
    function = disarm ();
    if (function != NULL) {
      check_failure (function, r, &error);
      ck_assert_int_eq (nr_live, bed->script.books != NULL);
      free (bed->script.books);
      bed->script.books = NULL;
      bed->script.nr_closes = 0;
      r = blkmq_disk_alloc_in (set, config, &bed->disk, &error);
    }
    ck_assert_int_eq (r, 0);
    blkmq_config_free (config);
    bed_start_disk (bed);
    check_serves (bed);
    bed_stop (bed);
    bed_set_free (set);
  }
}
END_TEST

/* ---- live updates ---- */

struct change {
  const char *keys;
  unsigned nr_hw_queues, queue_depth;
  const char *scheduler;
};

static int
make_change (struct bed *bed, const struct change *change,
             struct blkmq_error *error)
{
  if (change->scheduler != NULL)
    return blkmq_disk_set_scheduler (bed->disk, change->scheduler, error);
  return update_queues (bed->disk, change->nr_hw_queues, change->queue_depth,
                        error);
}

static void
fail_each_call_of (const struct change *change)
{
  const char *function = "";

  for (unsigned n = 1; function != NULL; n++) {
    struct bed *bed = bed_of ("scripted");
    struct blkmq_error error = { "" };
    unsigned nr_hw_queues, queue_depth;
    const char *scheduler;
    int r;

    bed_open_threads (bed, change->keys);
    nr_hw_queues = blkmq_disk_nr_hw_queues (bed->disk);
    queue_depth = blkmq_disk_queue_depth (bed->disk);
    scheduler = blkmq_disk_scheduler (bed->disk);
    arm (n);
    r = make_change (bed, change, &error);
    function = disarm ();
    if (function != NULL) {
      check_failure (function, r, &error);
      ck_assert_uint_eq (blkmq_disk_nr_hw_queues (bed->disk), nr_hw_queues);
      ck_assert_uint_eq (blkmq_disk_queue_depth (bed->disk), queue_depth);
      ck_assert_str_eq (blkmq_disk_scheduler (bed->disk), scheduler);
      ck_assert_uint_eq (bed->script.nr_init_hctxs, nr_hw_queues);
      check_serves (bed);
      ck_assert_int_eq (make_change (bed, change, &error), 0);
    } else {
      ck_assert_int_eq (r, 0);
      ck_assert_uint_gt (n, 4);
    }
    if (change->scheduler != NULL)
      ck_assert_str_eq (blkmq_disk_scheduler (bed->disk), change->scheduler);
    else {
      ck_assert_uint_eq (blkmq_disk_nr_hw_queues (bed->disk),
                         change->nr_hw_queues);
      ck_assert_uint_eq (blkmq_disk_queue_depth (bed->disk),
                         change->queue_depth);
    }
    ck_assert_uint_eq (bed->script.nr_init_hctxs,
                       blkmq_disk_nr_hw_queues (bed->disk));
    check_serves (bed);
    bed_stop (bed); /* all that was made is gone: see scripted_close */
  }
}

static void
check_badblocks (struct bed *bed, const char *wanted)
{
  char value[64];

  ck_assert_int_gt (
      blkmq_disk_get_key (bed->disk, "badblocks", value, sizeof value, NULL),
      0);
  ck_assert_str_eq (value, wanted);
}

START_TEST (test_failed_change_of_settings_changes_nothing)
{
  static const struct blkmq_setting settings[]
      = { { "badblocks", "-1990-1990,+1000-1001" }, { "iostats", "1" } };
  const char *function = "";

  for (unsigned n = 1; function != NULL; n++) {
    struct bed *bed = bed_of ("scripted");
    struct blkmq_error error = { "" };
    int r;

    bed_open_threads (bed, "live=1 badblocks=+1990-1991");
    arm (n);
    r = blkmq_disk_set (bed->disk, settings, NR (settings), &error);
    function = disarm ();
    if (function != NULL) {
      check_failure (function, r, &error);
      check_badblocks (bed, "+1990-1991");
      check_serves (bed);
      ck_assert_int_eq (
          blkmq_disk_set (bed->disk, settings, NR (settings), &error), 0);
    } else {
      ck_assert_int_eq (r, 0);
      ck_assert_uint_gt (n, 10);
    }
    check_badblocks (bed, "+1000-1001,+1991-1991");
    check_serves (bed);
    bed_stop (bed);
  }
}
END_TEST

START_TEST (test_failed_change_changes_nothing)
{
  static const struct change changes[] = {
    { "submit_queues=2 hw_queue_depth=4", 3, 4, NULL },
    { "submit_queues=2 hw_queue_depth=4", 2, 8, NULL },
    { "submit_queues=2 hw_queue_depth=4 iostats=1", 4, 16, NULL },
    { "submit_queues=2 hw_queue_depth=4 shared_tag_bitmap=1", 4, 16, NULL },
    { "submit_queues=2 hw_queue_depth=4 scheduler=mq-deadline", 3, 8, NULL },
    { "submit_queues=2 hw_queue_depth=4", 0, 0, "mq-deadline" },
  };

  fail_each_call_of (&changes[_i]);
}
END_TEST

/* A container's filter may know nothing of membarrier.  From here on the
 * process has none; the next test is another process. */
static void
forbid_membarrier (void)
{
  struct sock_filter filter[] = {
    BPF_STMT (BPF_LD | BPF_W | BPF_ABS, offsetof (struct seccomp_data, nr)),
    BPF_JUMP (BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
    BPF_STMT (BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
    BPF_STMT (BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = { NR (filter), filter };

  ck_assert_int_eq (prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  ck_assert_int_eq (prctl (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
  ck_assert_int_eq (syscall (SYS_membarrier, 0, 0, 0), -1);
  ck_assert_int_eq (errno, ENOSYS);
}

START_TEST (test_changes_need_no_membarrier)
{
  struct bed *bed = bed_of ("scripted");

  forbid_membarrier ();
  bed_open_threads (bed, "submit_queues=2 hw_queue_depth=4");
  for (unsigned i = 1; i <= 5; i++) {
    ck_assert_int_eq (update_queues (bed->disk, i, 4 + i, NULL), 0);
    check_serves (bed);
  }
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("failures");
  TCase *tcase;

  tcase = harness_case (suite, "disk");
  tcase_add_test (tcase, test_failed_alloc_of_a_disk_leaves_nothing_behind);
  tcase_add_test (tcase, test_failed_start_can_be_tried_again);
  tcase_add_test (tcase, test_failed_submitter_is_null);
  tcase_add_test (tcase, test_failed_lending_changes_nothing);

  tcase = harness_case (suite, "tag set");
  tcase_add_test (tcase, test_failed_alloc_of_a_tag_set_leaves_nothing_behind);
  tcase_add_test (tcase, test_failed_disk_in_a_tag_set_leaves_the_set);

  tcase = harness_case (suite, "update");
  tcase_add_test (tcase, test_failed_change_of_settings_changes_nothing);
  tcase_add_loop_test (tcase, test_failed_change_changes_nothing, 0, 6);
  tcase_add_test (tcase, test_changes_need_no_membarrier);
  return suite;
}

int
main (void)
{
  ev_set_allocator (libev_allocates);
  return harness_main (make_suite ());
}

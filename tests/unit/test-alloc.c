/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-alloc.c: between start and removal nobody calls an allocator.
 *
 * The malloc family is this program's own here: it counts, and passes on to
 * the C library's.  A sanitizer has taken that place already, so there the
 * test is skipped.
 */

#include <config.h>

#include <errno.h>
#include <malloc.h>
#include <string.h>

#include "harness.h"

#if SANITIZED

int
main (void)
{
  printf ("skipped: a sanitizer has the allocator\n");
  return 77;
}

#else

/* ------------------------------------------------------------------------ */
/* The allocator                                                             */

/* glibc's own names; their prototypes are in no header. */
void *__libc_malloc (size_t bytes);
void *__libc_calloc (size_t nr, size_t bytes);
void *__libc_realloc (void *p, size_t bytes);
void *__libc_memalign (size_t alignment, size_t bytes);
void __libc_free (void *p);

static _Atomic bool counting;
static _Atomic unsigned nr_allocations, nr_frees;

static void
count_allocation (void)
{
  if (counting)
    nr_allocations++;
}

void *
malloc (size_t bytes)
{
  count_allocation ();
  return __libc_malloc (bytes);
}

void *
calloc (size_t nr, size_t bytes)
{
  count_allocation ();
  return __libc_calloc (nr, bytes);
}

void *
realloc (void *p, size_t bytes)
{
  count_allocation ();
  return __libc_realloc (p, bytes);
}

void *
memalign (size_t alignment, size_t bytes)
{
  count_allocation ();
  return __libc_memalign (alignment, bytes);
}

void *
aligned_alloc (size_t alignment, size_t bytes)
{
  count_allocation ();
  return __libc_memalign (alignment, bytes);
}

int
posix_memalign (void **p, size_t alignment, size_t bytes)
{
  count_allocation ();
  *p = __libc_memalign (alignment, bytes);
  return *p != NULL ? 0 : ENOMEM;
}

void
free (void *p)
{
  if (counting && p != NULL)
    nr_frees++;
  __libc_free (p);
}

static void
start_counting (void)
{
  nr_allocations = nr_frees = 0;
  counting = true;
}

static void
check_counted (unsigned allocations, unsigned frees)
{
  counting = false;
  ck_assert_uint_eq (nr_allocations, allocations);
  ck_assert_uint_eq (nr_frees, frees);
}

/* Or the other tests would count nothing, whatever happens. */
START_TEST (test_allocations_are_counted)
{
  void *volatile p, *q;

  start_counting ();
  p = malloc (1);
  p = realloc (p, 100);
  free (p);
  p = calloc (1, 1);
  free (p);
  p = aligned_alloc (64, 64);
  free (p);
  require (posix_memalign (&q, 64, 64) == 0);
  free (q);
  p = strdup ("inside the C library");
  free (p);
  check_counted (6, 5);
}
END_TEST

/* ------------------------------------------------------------------------ */

#define NR_ROUNDS 200

struct load {
  struct bed *bed;
  _Atomic unsigned nr_ended;
};

static struct test_io ios[256];

static void
counts_the_end (struct test_io *t)
{
  struct load *load = t->opaque;

  load->nr_ended++;
}

static void
init_one (struct load *load, struct test_io *t, unsigned i)
{
  enum blkmq_op op = (enum blkmq_op) (i % BLKMQ_NR_OPS);

  if (i % 3 == 0) {
    test_io_init_early (t, load->bed, op, i);
    t->on_give_back = counts_the_end;
  } else {
    test_io_init (t, load->bed, op, i);
    t->on_end = counts_the_end;
  }
  t->opaque = load;
}

/* More than there are tags, one by one and in batches, some of them split. */
static void
submit_all (struct load *load)
{
  static char data[8 * BLOCK_BYTES];
  struct blkmq_batch batch;

  load->nr_ended = 0;
  blkmq_batch_begin (&batch, load->bed->submitter);
  for (unsigned i = 0; i < NR (ios); i++) {
    init_one (load, &ios[i], i);
    if (i % 16 == 0 && ios[i].io.op == BLKMQ_OP_READ) {
      ios[i].segment = (struct iovec){ data, sizeof data };
      ios[i].io.bytes = sizeof data;
    }
    if (i % 2 == 0)
      blkmq_submit (load->bed->submitter, &ios[i].io);
    else
      blkmq_batch_add (&batch, &ios[i].io);
  }
  blkmq_batch_commit (&batch);
  await (load->nr_ended == NR (ios));
}

static void
do_everything (struct load *load)
{
  struct blkmq_submitter *submitter = load->bed->submitter;
  struct blkmq_disk *disk = load->bed->disk;
  char data[BLOCK_BYTES] = { 0 };
  struct blkmq_stats stats;

  submit_all (load);
  require (blkmq_read (submitter, data, sizeof data, 0) == 0);
  require (blkmq_write (submitter, data, sizeof data, 0, BLKMQ_IO_FUA) == 0);
  require (blkmq_flush (submitter) == 0);
  require (blkmq_discard (submitter, BLOCK_BYTES, 0) == 0);
  require (blkmq_write_zeroes (submitter, BLOCK_BYTES, 0, 0) == 0);
  require (blkmq_read (submitter, data, 1, 0) == -EINVAL);
  require (blkmq_freeze (disk, NULL, 0) == 0);
  blkmq_unfreeze (disk);
  require (blkmq_quiesce (disk) == 0);
  blkmq_unquiesce (disk);
  require (blkmq_disk_stats (disk, BLKMQ_HCTX_ANY, &stats) == 0);
  require (blkmq_request_get (disk, 1) == NULL);
  blkmq_abort_submitter (submitter);
}

static void
run_without_allocating (const char *driver, const char *keys)
{
  struct bed *bed = bed_alloc ();
  struct load load = { .bed = bed };

  bed->script.driver = driver;
  bed_open_threads (bed, keys);
  /* Once round for what belongs to libev, which allocates its tables when it
   * has its first events. */
  do_everything (&load);
  start_counting ();
  for (unsigned i = 0; i < NR_ROUNDS; i++)
    do_everything (&load);
  check_counted (0, 0);
  bed_stop (bed);
}

#define KEYS "hw_queue_depth=16 submit_queues=2 max_sectors=2 io_timeout=3600s "

START_TEST (test_null_driver_allocates_nothing)
{
  run_without_allocating ("null", KEYS);
}
END_TEST

START_TEST (test_softirq_allocates_nothing)
{
  run_without_allocating ("null", KEYS "irqmode=softirq");
}
END_TEST

START_TEST (test_timer_allocates_nothing)
{
  run_without_allocating ("null", KEYS "irqmode=timer completion_nsec=1us");
}
END_TEST

START_TEST (test_faults_allocate_nothing)
{
  run_without_allocating (
      "null", KEYS "requeue=1,10,0,-1 fault=every=3,delay=1us;at=media,every=2,"
                   "delay=1us");
}
END_TEST

START_TEST (test_cache_allocates_nothing)
{
  run_without_allocating ("null", KEYS "cache_size=16k");
}
END_TEST

/* ---- the rare ways: BUSY, requeue, timeout, abort ---- */

static enum blkmq_queue_result
does_it_all (struct script *script, const struct issue *issue)
{
  switch (script->nr_issues % 7) {
  case 0:
    return BLKMQ_BUSY_HOST;
  case 1:
    return BLKMQ_BUSY_DEVICE;
  case 2:
    require (script_requeue (script, issue->rq, issue->token) == 0);
    return BLKMQ_QUEUED;
  case 3:
    return BLKMQ_QUEUED; /* until its timeout */
  default:
    return script_completes_inside (script, issue);
  }
}

static enum blkmq_timeout_result
says_done (struct script *script, struct blkmq_request *rq, blkmq_token token)
{
  return BLKMQ_TIMEOUT_DONE;
}

START_TEST (test_rare_ways_allocate_nothing)
{
  static const char *const modes[]
      = { "io_timeout=10", "io_timeout=10 irqmode=softirq",
          "io_timeout=10 irqmode=timer completion_nsec=20ms" };

  for (size_t i = 0; i < NR (modes); i++) {
    struct bed *bed = bed_alloc ();
    struct load load = { .bed = bed };

    bed->script.on_queue = does_it_all;
    bed->script.on_timeout = says_done;
    bed_open (bed, modes[i]);
    start_counting ();
    for (unsigned n = 0; n < NR (ios); n++) {
      init_one (&load, &ios[n], n);
      blkmq_submit (bed->submitter, &ios[n].io);
      if (n % 8 == 0)
        blkmq_abort_io (bed->submitter, &ios[n].io);
    }
    for (unsigned n = 0; load.nr_ended < NR (ios); n++) {
      require (n < 100000); /* Check's own assertions allocate */
      bed_pass (bed, 1 * MS);
    }
    check_counted (0, 0);
    bed_stop (bed);
  }
}
END_TEST

/* ------------------------------------------------------------------------ */

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("alloc");
  TCase *tcase = harness_case (suite, "allocator");

  tcase_add_test (tcase, test_allocations_are_counted);
  tcase_add_test (tcase, test_null_driver_allocates_nothing);
  tcase_add_test (tcase, test_softirq_allocates_nothing);
  tcase_add_test (tcase, test_timer_allocates_nothing);
  tcase_add_test (tcase, test_faults_allocate_nothing);
  tcase_add_test (tcase, test_cache_allocates_nothing);
  tcase_add_test (tcase, test_rare_ways_allocate_nothing);
  return suite;
}

int
main (void)
{
  return harness_main (make_suite ());
}

#endif /* !SANITIZED */

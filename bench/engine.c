/* SPDX-License-Identifier: BSD-3-Clause
 *
 * engine.c: what a request costs in the engine alone: io, tag, queue_rq,
 * complete, end_io, release, with no socket and no data.
 *
 *   bench/engine [--json FILE] [--requests N] [--rounds N]
 *
 * The figure is CPU time of the submitting thread (CLOCK_THREAD_CPUTIME_ID),
 * which other users of the machine disturb less than wall time.  Each
 * configuration runs once a round, the rounds interleaved, and the median is
 * reported with its quartiles.  The reference line is a bare loop of the
 * atomic operations that any such engine needs (take a tag bit, three
 * compare-and-swaps, free it) on the same 64 rotating tags.
 */

#include <config.h>

#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <ev.h>

#include "blkmq.h"
#include "engine.h"
#include "ring-driver.h"

#define NR_IOS 65 /* 64 in the driver's ring and one on its way */
#define BATCH 32
#define MAX_THREADS 2

/* ---- counting the allocator's calls ---- */

static _Atomic uint64_t nr_allocations;
static _Atomic int count_allocations;

extern void *__libc_malloc (size_t);
extern void *__libc_calloc (size_t, size_t);
extern void *__libc_realloc (void *, size_t);
extern void __libc_free (void *);
void *malloc (size_t bytes);
void *calloc (size_t nr, size_t bytes);
void *realloc (void *p, size_t bytes);
void free (void *p);

static void
note_allocation (void)
{
  if (atomic_load_explicit (&count_allocations, memory_order_relaxed))
    atomic_fetch_add_explicit (&nr_allocations, 1, memory_order_relaxed);
}

void *
malloc (size_t bytes)
{
  note_allocation ();
  return __libc_malloc (bytes);
}

void *
calloc (size_t nr, size_t bytes)
{
  note_allocation ();
  return __libc_calloc (nr, bytes);
}

void *
realloc (void *p, size_t bytes)
{
  note_allocation ();
  return __libc_realloc (p, bytes);
}

void
free (void *p)
{
  note_allocation ();
  __libc_free (p);
}

/* ---- one thread's run ---- */

struct worker {
  struct blkmq_submitter *submitter;
  struct blkmq_io ios[NR_IOS];
  struct blkmq_io *idle[NR_IOS];
  unsigned nr_idle;
  uint64_t nr_requests, nr_ended;
  enum drive drive;
  struct ev_loop *ev; /* DRIVE_LOOP's */
  double ns_per_request;
};

static __thread struct worker *self; /* NULL: not a worker's thread */

static void
end_io (struct blkmq_io *io, enum blkmq_status status)
{
  struct worker *w = self;

  if (w == NULL)
    return; /* what was outstanding ends with the disk */
  if (status != BLKMQ_STS_OK)
    abort ();
  w->nr_ended++;
  w->idle[w->nr_idle++] = io;
}

static uint64_t
thread_cpu_ns (void)
{
  struct timespec ts;

  clock_gettime (CLOCK_THREAD_CPUTIME_ID, &ts);
  return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void
submit_one (struct worker *w)
{
  if (w->nr_idle == 0)
    abort ();
  blkmq_submit (w->submitter, w->idle[--w->nr_idle]);
}

static void
submit_batch (struct worker *w)
{
  struct blkmq_batch batch;

  /* The ring answers one request for each that it takes, so a batch must
   * fit what is idle. */
  blkmq_batch_begin (&batch, w->submitter);
  for (unsigned i = 0; i < BATCH && w->nr_idle > 0; i++)
    blkmq_batch_add (&batch, w->idle[--w->nr_idle]);
  blkmq_batch_commit (&batch);
}

static void
drive (struct worker *w, uint64_t nr_requests)
{
  uint64_t until = w->nr_ended + nr_requests;

  switch (w->drive) {
  case DRIVE_ATOMICS:
    abort ();
  case DRIVE_SINGLE:
    for (uint64_t i = 0; i < nr_requests; i++)
      submit_one (w);
    break;
  case DRIVE_BATCH:
    while (w->nr_ended < until)
      submit_batch (w);
    break;
  case DRIVE_LOOP:
    while (w->nr_ended < until) {
      submit_batch (w);
      ev_run (w->ev, EVRUN_NOWAIT);
    }
    break;
  }
}

static void *
run_worker (void *opaque)
{
  struct worker *w = opaque;
  uint64_t start_ns, first;

  self = w;
  /* Warm up: fill the ring, touch every tag and io. */
  drive (w, 10 * NR_IOS);
  first = w->nr_ended;
  start_ns = thread_cpu_ns ();
  drive (w, w->nr_requests);
  w->ns_per_request
      = (double)(thread_cpu_ns () - start_ns) / (double)(w->nr_ended - first);
  return NULL;
}

/* ---- disks ---- */

static void
die (const char *what, const char *why)
{
  fprintf (stderr, "bench/engine: %s: %s\n", what, why);
  exit (1);
}

static void
set_keys (struct blkmq_config *config, const struct setting *s)
{
  char keys[200], *key, *save = NULL;
  struct blkmq_error error;

  snprintf (keys, sizeof keys, "size=1G hw_queue_depth=128 %s", s->keys);
  for (key = strtok_r (keys, " ", &save); key != NULL;
       key = strtok_r (NULL, " ", &save)) {
    char *value = strchr (key, '=');

    *value++ = '\0';
    if (blkmq_config_set (config, key, value, &error) < 0)
      die (s->name, error.message);
  }
}

/* EV: to lend, or NULL. */
static struct blkmq_disk *
open_disk (const struct setting *s, struct ev_loop *ev)
{
  struct blkmq_config *config = blkmq_config_alloc ();
  struct blkmq_disk *disk;
  struct blkmq_error error;

  if (config == NULL)
    die (s->name, "no memory");
  set_keys (config, s);
  if (blkmq_disk_alloc (config, &disk, &error) < 0
      || (ev != NULL && blkmq_disk_lend_loop (disk, 0, ev) < 0)
      || blkmq_disk_start (disk, &error) < 0)
    die (s->name, error.message);
  blkmq_config_free (config);
  return disk;
}

static void
init_worker (struct worker *w, struct blkmq_disk *disk, unsigned index,
             const struct setting *s, uint64_t nr_requests)
{
  static char data[4096];
  static const struct iovec segment = { data, sizeof data };

  memset (w, 0, sizeof *w);
  w->submitter = blkmq_submitter_alloc (disk, index);
  if (w->submitter == NULL)
    die (s->name, "no submitter");
  w->nr_requests = nr_requests;
  w->drive = s->drive;
  for (unsigned i = 0; i < NR_IOS; i++) {
    struct blkmq_io *io = &w->ios[i];

    io->op = s->op;
    io->bytes = io->op == BLKMQ_OP_READ ? sizeof data : 0;
    io->offset_bytes = 0;
    io->segments = &segment;
    io->nr_segments = 1;
    io->end_io = end_io;
    w->idle[w->nr_idle++] = io;
  }
}

static double
run_disk (const struct setting *s, uint64_t nr_requests)
{
  static struct worker workers[MAX_THREADS];
  struct ev_loop *ev = s->drive == DRIVE_LOOP ? ev_loop_new (0) : NULL;
  unsigned nr_threads = s->nr_threads > 0 ? s->nr_threads : 1;
  struct blkmq_disk *disk = open_disk (s, ev);
  pthread_t threads[MAX_THREADS];
  double sum = 0;

  for (unsigned i = 0; i < nr_threads; i++)
    init_worker (&workers[i], disk, i, s, nr_requests);
  workers[0].ev = ev;
  for (unsigned i = 0; i < nr_threads; i++) {
    if (pthread_create (&threads[i], NULL, run_worker, &workers[i]) != 0)
      die (s->name, "no thread");
  }
  for (unsigned i = 0; i < nr_threads; i++) {
    pthread_join (threads[i], NULL);
    sum += workers[i].ns_per_request;
  }

  blkmq_disk_remove (disk);
  for (unsigned i = 0; i < nr_threads; i++)
    blkmq_submitter_free (workers[i].submitter);
  blkmq_disk_put (disk);
  if (ev != NULL)
    ev_loop_destroy (ev);
  return sum / nr_threads;
}

/* The work that no engine of this kind can avoid, on rotating tags. */
static double
run_reference (uint64_t nr_requests)
{
  static _Atomic uint64_t bits;
  static struct {
    _Alignas(64) _Atomic uint64_t word;
  } words[64];
  uint64_t start_ns = thread_cpu_ns ();

  for (uint64_t i = 0; i < nr_requests; i++) {
    uint64_t bit = UINT64_C (1) << (i % 64), word;

    atomic_fetch_or (&bits, bit);
    for (unsigned step = 0; step < 3; step++) {
      word = atomic_load (&words[i % 64].word);
      if (!atomic_compare_exchange_strong (&words[i % 64].word, &word,
                                           word + 1))
        abort ();
    }
    atomic_fetch_and (&bits, ~bit);
  }
  return (double)(thread_cpu_ns () - start_ns) / (double)nr_requests;
}

/* ---- all of it ---- */

/* Allocator calls between start and removal, over one more full run with all
 * that costs a request anything. */
static uint64_t
count_allocator_calls (uint64_t nr_requests)
{
  static struct worker w;
  const struct setting *s = setting_named ("iostats+timeout");
  struct blkmq_disk *disk = open_disk (s, NULL);

  init_worker (&w, disk, 0, s, nr_requests);
  atomic_store (&nr_allocations, 0);
  atomic_store (&count_allocations, 1);
  run_worker (&w);
  atomic_store (&count_allocations, 0);
  self = NULL;
  blkmq_disk_remove (disk);
  blkmq_submitter_free (w.submitter);
  blkmq_disk_put (disk);
  return atomic_load (&nr_allocations);
}

static void
usage (FILE *f)
{
  fprintf (f,
           "usage: bench/engine [--json FILE] [--requests N] "
           "[--rounds N (1 to %d)]\n",
           MAX_ROUNDS);
}

int
main (int argc, char **argv)
{
  static const struct option options[]
      = { { "json", required_argument, NULL, 'j' },
          { "requests", required_argument, NULL, 'n' },
          { "rounds", required_argument, NULL, 'r' },
          { "help", no_argument, NULL, 'h' },
          { NULL, 0, NULL, 0 } };
  struct run run = { .rounds = 9, .nr_requests = 2000000 };
  const char *json = NULL;
  struct blkmq_error error;
  int c;

  while ((c = getopt_long (argc, argv, "h", options, NULL)) != -1) {
    switch (c) {
    case 'j':
      json = optarg;
      break;
    case 'n':
      run.nr_requests = strtoull (optarg, NULL, 10);
      break;
    case 'r':
      run.rounds = (unsigned)strtoul (optarg, NULL, 10);
      break;
    case 'h':
      usage (stdout);
      return 0;
    default:
      usage (stderr);
      return 2;
    }
  }
  if (optind < argc || run.nr_requests == 0 || run.rounds == 0
      || run.rounds > MAX_ROUNDS) {
    usage (stderr);
    return 2;
  }

  if (blkmq_driver_register (&ring_driver, &error) < 0
      || blkmq_driver_register (&ring_complete_driver, &error) < 0)
    die ("ring", error.message);
  for (unsigned round = 0; round < run.rounds; round++) {
    for (unsigned i = 0; i < nr_settings; i++) {
      struct setting *s = &settings[i];

      s->samples[round] = s->drive == DRIVE_ATOMICS
                              ? run_reference (run.nr_requests)
                              : run_disk (s, run.nr_requests);
    }
  }
  run.nr_allocations = count_allocator_calls (run.nr_requests);

  if (json != NULL && write_json (json, &run) < 0)
    die (json, "cannot write");
  print_table (&run);
  print_verdicts (&run);
  return 0;
}

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

#include "blkmq.h"
#include "ring-driver.h"

#define NR_IOS 65 /* 64 in the driver's ring and one on its way */
#define MAX_ROUNDS 99
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
  unsigned batch;
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
  for (unsigned i = 0; i < w->batch && w->nr_idle > 0; i++)
    blkmq_batch_add (&batch, w->idle[--w->nr_idle]);
  blkmq_batch_commit (&batch);
}

static void *
run_worker (void *opaque)
{
  struct worker *w = opaque;
  uint64_t start_ns, first;

  self = w;
  /* Warm up: fill the ring, touch every tag and io. */
  for (unsigned i = 0; i < 10 * NR_IOS; i++)
    submit_one (w);
  first = w->nr_ended;
  start_ns = thread_cpu_ns ();
  if (w->batch == 0) {
    for (uint64_t i = 0; i < w->nr_requests; i++)
      submit_one (w);
  } else {
    while (w->nr_ended - first < w->nr_requests)
      submit_batch (w);
  }
  w->ns_per_request
      = (double)(thread_cpu_ns () - start_ns) / (double)(w->nr_ended - first);
  return NULL;
}

/* ---- configurations ---- */

struct setting {
  const char *name, *about;
  unsigned nr_threads;
  unsigned batch;
  const char *const *keys; /* key, value, ..., NULL */
  double samples[MAX_ROUNDS];
};

static const char *const armed_keys[]
    = { "driver", "ring", "io_timeout", "30s", NULL };
static const char *const unarmed_keys[] = { "driver", "ring", NULL };
static const char *const inline_keys[]
    = { "driver", "null", "io_timeout", "30s", NULL };
static const char *const two_keys[]
    = { "driver", "ring", "io_timeout", "30s", "submit_queues", "2", NULL };
static const char *const batch_keys[]
    = { "driver", "ring", "io_timeout", "30s", "outstanding", "32", NULL };

enum { REFERENCE, CYCLE, CYCLE_2, UNARMED, INLINE, BATCH, NR_SETTINGS };

static struct setting settings[NR_SETTINGS] = {
  [REFERENCE] = { "atomics", "bare: tag bit, 3 CAS, free", 1, 0, NULL, { 0 } },
  [CYCLE] = { "cycle",
              "full cycle, 64 outstanding, io_timeout armed",
              1,
              0,
              armed_keys,
              { 0 } },
  [CYCLE_2] = { "cycle-2-threads",
                "the same on 2 threads and 2 hctxs",
                2,
                0,
                two_keys,
                { 0 } },
  [UNARMED] = { "no-timeout",
                "the same as cycle without io_timeout",
                1,
                0,
                unarmed_keys,
                { 0 } },
  [INLINE]
  = { "inline", "driver=null, one at a time", 1, 0, inline_keys, { 0 } },
  [BATCH]
  = { "batch", "batches of 32, 32 outstanding", 1, 32, batch_keys, { 0 } },
};

static void
die (const char *what, const char *why)
{
  fprintf (stderr, "bench/engine: %s: %s\n", what, why);
  exit (1);
}

static struct blkmq_disk *
open_disk (const struct setting *s)
{
  struct blkmq_config *config = blkmq_config_alloc ();
  struct blkmq_disk *disk;
  struct blkmq_error error;

  if (config == NULL)
    die (s->name, "no memory");
  if (blkmq_config_set (config, "size", "1G", &error) < 0
      || blkmq_config_set (config, "hw_queue_depth", "128", &error) < 0)
    die (s->name, error.message);
  for (const char *const *k = s->keys; *k != NULL; k += 2) {
    if (blkmq_config_set (config, k[0], k[1], &error) < 0)
      die (s->name, error.message);
  }
  if (blkmq_disk_alloc (config, &disk, &error) < 0
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
  w->batch = s->batch;
  for (unsigned i = 0; i < NR_IOS; i++) {
    struct blkmq_io *io = &w->ios[i];

    /* Flush carries no data: with driver=null a read would time memset. */
    io->op = strcmp (s->name, "inline") == 0 ? BLKMQ_OP_FLUSH : BLKMQ_OP_READ;
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
  struct blkmq_disk *disk = open_disk (s);
  pthread_t threads[MAX_THREADS];
  double sum = 0;

  for (unsigned i = 0; i < s->nr_threads; i++)
    init_worker (&workers[i], disk, i, s, nr_requests);
  for (unsigned i = 0; i < s->nr_threads; i++) {
    if (pthread_create (&threads[i], NULL, run_worker, &workers[i]) != 0)
      die (s->name, "no thread");
  }
  for (unsigned i = 0; i < s->nr_threads; i++) {
    pthread_join (threads[i], NULL);
    sum += workers[i].ns_per_request;
  }

  blkmq_disk_remove (disk);
  for (unsigned i = 0; i < s->nr_threads; i++)
    blkmq_submitter_free (workers[i].submitter);
  blkmq_disk_put (disk);
  return sum / s->nr_threads;
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

/* ---- the figures ---- */

static int
compare_doubles (const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;

  return (x > y) - (x < y);
}

static double
quantile (double *samples, unsigned nr, double q)
{
  double at = q * (nr - 1);
  unsigned low = (unsigned)at;
  unsigned high = low + 1 < nr ? low + 1 : low;

  qsort (samples, nr, sizeof samples[0], compare_doubles);
  return samples[low] + (samples[high] - samples[low]) * (at - low);
}

static void
print_table (unsigned rounds)
{
  printf ("%-16s %8s %8s %8s  %s\n", "ns/request", "median", "q1", "q3", "");
  for (unsigned i = 0; i < NR_SETTINGS; i++) {
    struct setting *s = &settings[i];

    printf ("%-16s %8.1f %8.1f %8.1f  %s\n", s->name,
            quantile (s->samples, rounds, 0.5),
            quantile (s->samples, rounds, 0.25),
            quantile (s->samples, rounds, 0.75), s->about);
  }
}

static void
print_verdicts (const double *pairs, unsigned rounds, uint64_t allocations)
{
  double cycle = quantile (settings[CYCLE].samples, rounds, 0.5);
  double copy[MAX_ROUNDS];

  memcpy (copy, pairs, rounds * sizeof copy[0]);
  printf ("\nfull cycle       %6.1f ns  (at most 75)   %s\n", cycle,
          cycle <= 75 ? "met" : "NOT met");
  printf ("2 threads / 1    %6.3f     (at most 1.1)  %s\n",
          quantile (copy, rounds, 0.5),
          quantile (copy, rounds, 0.5) <= 1.1 ? "met" : "NOT met");
  printf ("allocator calls  %6" PRIu64 "     (none)         %s\n", allocations,
          allocations == 0 ? "met" : "NOT met");
}

static void
write_json (const char *path, const double *pairs, unsigned rounds,
            uint64_t nr_requests, uint64_t allocations)
{
  FILE *f = fopen (path, "w");
  double copy[MAX_ROUNDS];

  if (f == NULL)
    die (path, "cannot write");
  memcpy (copy, pairs, rounds * sizeof copy[0]);
  fprintf (f,
           "{\n  \"rounds\": %u,\n  \"requests\": %" PRIu64 ",\n"
           "  \"unit\": \"ns of CPU per request\",\n",
           rounds, nr_requests);
  for (unsigned i = 0; i < NR_SETTINGS; i++) {
    struct setting *s = &settings[i];

    fprintf (f,
             "  \"%s\": { \"median\": %.2f, \"q1\": %.2f, "
             "\"q3\": %.2f },\n",
             s->name, quantile (s->samples, rounds, 0.5),
             quantile (s->samples, rounds, 0.25),
             quantile (s->samples, rounds, 0.75));
  }
  fprintf (f,
           "  \"two_threads_over_one\": %.4f,\n"
           "  \"allocator_calls\": %" PRIu64 "\n}\n",
           quantile (copy, rounds, 0.5), allocations);
  fclose (f);
}

/* Allocator calls between start and removal, over one more full run. */
static uint64_t
count_allocator_calls (uint64_t nr_requests)
{
  static struct worker w;
  struct blkmq_disk *disk = open_disk (&settings[CYCLE]);

  init_worker (&w, disk, 0, &settings[CYCLE], nr_requests);
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
  uint64_t nr_requests = 2000000, allocations;
  unsigned rounds = 9;
  double pairs[MAX_ROUNDS];
  const char *json = NULL;
  struct blkmq_error error;
  int c;

  while ((c = getopt_long (argc, argv, "h", options, NULL)) != -1) {
    switch (c) {
    case 'j':
      json = optarg;
      break;
    case 'n':
      nr_requests = strtoull (optarg, NULL, 10);
      break;
    case 'r':
      rounds = (unsigned)strtoul (optarg, NULL, 10);
      break;
    case 'h':
      usage (stdout);
      return 0;
    default:
      usage (stderr);
      return 2;
    }
  }
  if (optind < argc || nr_requests == 0 || rounds == 0 || rounds > MAX_ROUNDS) {
    usage (stderr);
    return 2;
  }

  if (blkmq_driver_register (&ring_driver, &error) < 0)
    die ("ring", error.message);
  for (unsigned round = 0; round < rounds; round++) {
    for (unsigned i = 0; i < NR_SETTINGS; i++)
      settings[i].samples[round] = i == REFERENCE
                                       ? run_reference (nr_requests)
                                       : run_disk (&settings[i], nr_requests);
    pairs[round]
        = settings[CYCLE_2].samples[round] / settings[CYCLE].samples[round];
  }
  allocations = count_allocator_calls (nr_requests);

  if (json != NULL)
    write_json (json, pairs, rounds, nr_requests, allocations);
  print_table (rounds);
  print_verdicts (pairs, rounds, allocations);
  return 0;
}

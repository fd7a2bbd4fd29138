/* SPDX-License-Identifier: BSD-3-Clause
 *
 * main.c: the stress program.  Goes through the matrix of configurations as
 * the seed says, a round each, until so many requests were submitted;
 * watches that something moves; says what it was doing when something fails.
 *
 *   stress [--hang SECONDS] [--only ROUND] [SEED [COUNT]]
 *
 * Each thread draws from a stream of its own, derived from the seed, the round
 * and what the thread is: the same seed makes the same choices.  Who meets
 * whom is the kernel's affair, so a failure may need several runs to return.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "engine/tagset.h"
#include "stress.h"

#define DEFAULT_COUNT UINT64_C (50000)
#define STREAM_STEP UINT64_C (0x9e3779b97f4a7c15)

static uint64_t seed, count = DEFAULT_COUNT;
static unsigned hang_seconds = 60;
static _Atomic unsigned round_number;
static struct round *_Atomic current;
static struct blkmq_stats totals;
static struct {
  uint64_t submitted, refs, visits, quiesces, freezes, cycles;
  uint64_t updates, undone, switches, settings;
} more_totals;

/* ---- randomness ---- */

static __thread uint64_t rng_state;
static __thread bool rng_is_named;
static _Atomic uint64_t next_unnamed = 1000;

void
rng_name_thread (uint64_t stream)
{
  rng_state = seed ^ (stream + 1) * STREAM_STEP;
  rng_is_named = true;
  rng_next ();
}

/* Sebastiano Vigna's splitmix64. */
uint64_t
rng_next (void)
{
  uint64_t z;

  if (!rng_is_named)
    rng_name_thread (next_unnamed++);
  z = rng_state += STREAM_STEP;
  z = (z ^ (z >> 30)) * UINT64_C (0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C (0x94d049bb133111eb);
  return z ^ (z >> 31);
}

uint64_t
rng_below (uint64_t n)
{
  return rng_next () % n;
}

bool
permille (unsigned n)
{
  return n != 0 && rng_below (1000) < n;
}

/* ---- time ---- */

uint64_t
real_now_ns (void)
{
  struct timespec ts;

  clock_gettime (CLOCK_MONOTONIC, &ts);
  return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

void
pause_us (unsigned us)
{
  struct timespec ts = { 0, (long)us * 1000 };

  nanosleep (&ts, NULL);
}

/* ---- failure ---- */

static void
repeat_with (void)
{
  fprintf (stderr,
           "stress: repeat with: ./dev stress %" PRIu64 " %" PRIu64
           "  (or --only %u ahead of that)\n",
           seed, count, round_number);
}

/* In a few lines: what has failed, where, and how things stand. */
static void
dump_state (const char *failure)
{
  struct round *round = current;

  fprintf (stderr, "stress: %s\n", failure);
  repeat_with ();
  fprintf (stderr, "round %u of seed %" PRIu64 "\n", round_number, seed);
  if (round == NULL)
    return;
  fprintf (stderr, "  %s\n  stage: %s; submitted %" PRIu64 " of %" PRIu64 "\n",
           round->shape->name, round->stage, round->nr_submitted, round->quota);
  crowd_dump_doing (round);
}

static void
dump (const char *failure)
{
  struct round *round = current;

  dump_state (failure);
  if (round == NULL)
    return;
  for (unsigned i = 0; i < MAX_DISKS; i++) {
    if (round->units[i] != NULL)
      unit_dump (round->units[i]);
  }
  crowd_dump (round);
  /* Of a long log the end is what is kept. */
  fprintf (stderr, "once more, in short:\n");
  for (unsigned i = 0; i < MAX_DISKS; i++) {
    if (round->units[i] != NULL)
      unit_dump_state (round->units[i]);
  }
  dump_state (failure);
}

/* The first to fail speaks. */
static void __attribute__ ((noreturn)) fail (const char *failure)
{
  static _Atomic bool failing;

  while (atomic_exchange (&failing, true))
    pause_us (100000);
  fflush (stdout);
  dump (failure);
  abort ();
}

void
stress_failed (const char *file, int line, const char *condition)
{
  char failure[512];

  snprintf (failure, sizeof failure, "%s:%d: required: %s", file, line,
            condition);
  fail (failure);
}

void
stress_failed_numbers (const char *file, int line, const char *condition,
                       int64_t a, int64_t b)
{
  char failure[512];

  snprintf (failure, sizeof failure,
            "%s:%d: required: %s: %" PRId64 " and %" PRId64, file, line,
            condition, a, b);
  fail (failure);
}

/* Something must end, or a stage be over, now and then. */
static uint64_t
progress (void)
{
  struct round *round = current;
  uint64_t sum = (uint64_t)round_number << 40;

  if (round == NULL)
    return sum;
  sum += (uintptr_t)round->stage;
  for (unsigned i = 0; i < round->shape->disks; i++)
    sum += round->units[i]->nr_ended;
  return sum;
}

static pthread_mutex_t round_lock = PTHREAD_MUTEX_INITIALIZER;

static void *
run_watchdog (void *opaque)
{
  uint64_t last = 0, now, still_ms = 0;
  char failure[64];

  for (;;) {
    pause_us (250000);
    pthread_mutex_lock (&round_lock);
    now = progress ();
    pthread_mutex_unlock (&round_lock);
    still_ms = now == last ? still_ms + 250 : 0;
    last = now;
    if (still_ms < hang_seconds * 1000)
      continue;
    snprintf (failure, sizeof failure, "nothing has moved for %u s",
              hang_seconds);
    fail (failure);
  }
  return NULL;
}

/* ---- rounds ---- */

static void
print_line (const struct round *round, const struct blkmq_stats *s,
            uint64_t begin_ns)
{
  uint64_t ios = 0, lost = 0;

  for (unsigned i = 0; i < BLKMQ_NR_OPS; i++)
    ios += s->ios[i];
  for (unsigned i = 0; i < BLKMQ_NR_CAUSES; i++)
    lost += s->lost_claims[i];
  printf ("%4u  ios %" PRIu64 "  timeouts %" PRIu64 "  requeues %" PRIu64
          "  busy %" PRIu64 "  aborts %" PRIu64 "  stale %" PRIu64
          "  lost %" PRIu64 "  %.2f s  %s\n",
          round_number, ios, s->timeouts, s->requeues, s->busy,
          s->errors[BLKMQ_STS_ABORTED] + s->rejected[BLKMQ_STS_ABORTED],
          s->stale_tokens, lost, (double)(real_now_ns () - begin_ns) / 1e9,
          round->shape->name);
}

static void
add_stats (struct blkmq_stats *sum, const struct blkmq_stats *stats)
{
  const uint64_t *from = (const uint64_t *)stats;
  uint64_t *to = (uint64_t *)sum;

  for (size_t i = 0; i < sizeof *stats / sizeof *to; i++)
    to[i] += from[i];
}

static void
set_alloc (struct round *round)
{
  struct blkmq_config *config = matrix_config (round->shape, 0, 0);
  struct blkmq_error error;

  if (blkmq_tag_set_alloc (config, &round->set, &error) < 0) {
    fprintf (stderr, "stress: %s\n", error.message);
    require (!"a tag set can be had");
  }
  blkmq_config_free (config);
}

/* The disks are gone, and have left no tag taken. */
static void
set_free (struct round *round)
{
  for (unsigned i = 0; i < round->set->nr_pools; i++)
    require_op (pool_nr_taken (tagset_pool (round->set, i)), ==, 0);
  for (unsigned i = 0; i < MAX_HCTXS; i++) {
    for (unsigned tag = 0; tag < MAX_DEPTH; tag++)
      require_op (round->tags[i][tag], ==, 0);
  }
  blkmq_tag_set_put (round->set);
}

static uint64_t
run_round (const struct shape *shape, uint64_t most)
{
  static struct round round;
  uint64_t begin_ns = real_now_ns ();
  struct blkmq_stats sum;

  memset (&sum, 0, sizeof sum);
  memset (&round, 0, sizeof round);
  round.shape = shape;
  round.stage = "power on";
  round.stream = (uint64_t)(round_number + 1) << 20;
  round.quota = matrix_quota (shape);
  if (round.quota > count / 20) /* a short run sees something of the matrix */
    round.quota = count / 20 + 1;
  if (round.quota > most)
    round.quota = most;
  rng_name_thread (round.stream + 20);
  if (shape->set)
    set_alloc (&round);
  for (unsigned i = 0; i < shape->disks; i++)
    round.units[i] = unit_alloc (&round, i);
  pthread_mutex_lock (&round_lock);
  current = &round;
  pthread_mutex_unlock (&round_lock);

  crowd_run (&round);
  for (unsigned i = 0; i < shape->disks; i++)
    unit_finish (round.units[i]);

  pthread_mutex_lock (&round_lock);
  current = NULL;
  pthread_mutex_unlock (&round_lock);
  crowd_free (&round);
  for (unsigned i = 0; i < shape->disks; i++) {
    add_stats (&sum, &round.units[i]->sum);
    unit_free (round.units[i]);
  }
  if (shape->set)
    set_free (&round);
  require_op (device_nr_requests (), ==, 0);
  print_line (&round, &sum, begin_ns);
  add_stats (&totals, &sum);
  more_totals.submitted += round.nr_submitted;
  more_totals.refs += round.nr_refs;
  more_totals.visits += round.nr_visits;
  more_totals.quiesces += round.nr_quiesces;
  more_totals.freezes += round.nr_freezes;
  more_totals.cycles += round.nr_cycles;
  more_totals.updates += round.nr_updates;
  more_totals.undone += round.nr_undone;
  more_totals.switches += round.nr_switches;
  more_totals.settings += round.nr_settings;
  return round.nr_submitted;
}

/* Or the run would not be worth its time. */
static void
check_that_all_happened (void)
{
  for (unsigned op = 0; op < BLKMQ_NR_OPS; op++)
    require_op (totals.ios[op], >, 0);
  require_op (totals.errors[BLKMQ_STS_TIMEOUT], >, 0);
  require_op (totals.errors[BLKMQ_STS_MEDIUM], >, 0);
  require_op (totals.errors[BLKMQ_STS_ABORTED], >, 0);
  require_op (totals.errors[BLKMQ_STS_OFFLINE], >, 0);
  require_op (totals.rejected[BLKMQ_STS_ABORTED], >, 0);
  require_op (totals.rejected[BLKMQ_STS_AGAIN], >, 0);
  require_op (totals.rejected[BLKMQ_STS_INVAL], >, 0);
  require_op (totals.rejected[BLKMQ_STS_OFFLINE], >, 0);
  require_op (totals.busy, >, 0);
  require_op (totals.requeues, >, 0);
  require_op (totals.timeouts_done, >, 0);
  require_op (totals.timeouts_reset, >, 0);
  require_op (totals.timeouts_held, >, 0);
  require_op (totals.stale_tokens, >, 0);
  require_op (totals.stale_handles, >, 0);
  require_op (totals.lost_claims[BLKMQ_CAUSE_COMPLETE], >, 0);
  require_op (more_totals.refs, >, 0);
  require_op (more_totals.visits, >, 0);
  require_op (more_totals.quiesces, >, 0);
  require_op (more_totals.freezes, >, 0);
  require_op (more_totals.cycles, >, 0);
  require_op (more_totals.updates, >, 0);
  require_op (more_totals.undone, >, 0);
  require_op (more_totals.switches, >, 0);
  require_op (more_totals.settings, >, 0);
  require_op (totals.merges, >, 0);
  require_op (totals.flushes, >, 0);
  require_op (totals.flushes_coalesced, >, 0);
  require_op (totals.busy_ns, >, 0);
}

static void
walk (long only)
{
  uint64_t begin_ns = real_now_ns (), submitted = 0;
  static struct shape shape;

  for (round_number = only > 0 ? (unsigned)only : 1; submitted < count;
       round_number++) {
    matrix_shape (round_number, &shape);
    submitted += run_round (&shape, count - submitted);
    if (only > 0)
      break;
  }
  if (submitted >= 1000000)
    check_that_all_happened ();
  printf ("%" PRIu64 " requests in %u of %" PRIu64 " configurations, %.1f s; "
          "timeouts %" PRIu64 ", requeues %" PRIu64 ", stale tokens %" PRIu64
          ", references %" PRIu64 ", visits %" PRIu64 ", quiesces %" PRIu64
          ", freezes %" PRIu64 ", power cycles %" PRIu64
          ", live updates %" PRIu64 " (undone %" PRIu64
          "), schedulers changed %" PRIu64 ", settings changed %" PRIu64
          ", merges %" PRIu64 ", flushes %" PRIu64 " (saved %" PRIu64 ")\n",
          submitted, only > 0 ? 1 : round_number - 1, matrix_nr (),
          (double)(real_now_ns () - begin_ns) / 1e9, totals.timeouts,
          totals.requeues, totals.stale_tokens, more_totals.refs,
          more_totals.visits, more_totals.quiesces, more_totals.freezes,
          more_totals.cycles, more_totals.updates, more_totals.undone,
          more_totals.switches, more_totals.settings, totals.merges,
          totals.flushes, totals.flushes_coalesced);
}

static uint64_t
number (const char *word)
{
  char *end;
  uint64_t value;

  errno = 0;
  value = strtoull (word, &end, 0);
  if (errno != 0 || end == word || *end != '\0') {
    fprintf (stderr, "stress: not a number: %s\n", word);
    exit (2);
  }
  return value;
}

int
main (int argc, char **argv)
{
  long only = 0;
  pthread_t watchdog;

  for (; argc > 2 && strncmp (argv[1], "--", 2) == 0; argc -= 2, argv += 2) {
    if (strcmp (argv[1], "--hang") == 0)
      hang_seconds = (unsigned)number (argv[2]);
    else if (strcmp (argv[1], "--only") == 0)
      only = (long)number (argv[2]);
    else
      break;
  }
  if (argc > 3 || (argc > 1 && argv[1][0] == '-')) {
    fprintf (stderr, "usage: stress [--hang SECONDS] [--only ROUND] "
                     "[SEED [COUNT]]\n");
    return 2;
  }
  if (argc > 1)
    seed = number (argv[1]);
  else if (getrandom (&seed, sizeof seed, 0) != sizeof seed)
    return 1;
  if (argc > 2)
    count = number (argv[2]);
  setvbuf (stdout, NULL, _IOLBF, 0);
  printf ("stress: seed %" PRIu64 ", %" PRIu64 " requests\n", seed, count);
  device_register ();
  require_op (pthread_create (&watchdog, NULL, run_watchdog, NULL), ==, 0);
  walk (only);
  return 0;
}

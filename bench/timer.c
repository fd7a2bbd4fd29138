/* SPDX-License-Identifier: BSD-3-Clause
 *
 * timer.c: how late a request ends that is to take completion_nsec, on an
 * engine's own thread, with and without spin_ns.
 *
 *   bench/timer [--json FILE] [--requests N] [--rounds N] [--spin NS]
 *
 * The driver notes the time when it completes a request, and compares when
 * its complete op is called, which is when the timer has fired.  Each end
 * submits the next request, so that as many stay outstanding and no other
 * thread has anything to do.  Every round is a disk of its own, the rounds of
 * all rows are interleaved, and what is printed is the median over the rounds
 * of each round's percentile.
 */

#include <config.h>

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "blkmq-driver.h"
#include "blkmq.h"

#define MAX_ROUNDS 99
#define MAX_OUTSTANDING 128
#define MAX_SPIN_NS 1000000
#define ROUND_NS UINT64_C (300000000) /* the longest that a round takes */

#define SLEEPING_AT_MOST_US 60
#define SPINNING_AT_MOST_US 2

static uint64_t
now_ns (void)
{
  struct timespec ts;

  clock_gettime (CLOCK_MONOTONIC, &ts);
  return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void
die (const char *what, const char *why)
{
  fprintf (stderr, "bench/timer: %s: %s\n", what, why);
  exit (1);
}

/* ---- the driver ---- */

/* The one hctx's thread writes it; it is read when that is gone. */
static struct blkmq_histogram lateness;
static uint64_t completion_ns;

struct pdu {
  uint64_t completed_ns;
};

static int
timed_open (const struct blkmq_config *config, uint64_t seed,
            struct blkmq_limits *limits, void **driver_data,
            struct blkmq_error *error)
{
  return 0;
}

static enum blkmq_queue_result
timed_queue_rq (struct blkmq_hctx *hctx, struct blkmq_request *rq,
                blkmq_token token)
{
  ((struct pdu *)rq->pdu)->completed_ns = now_ns ();
  blkmq_complete (rq, token, BLKMQ_STS_OK);
  return BLKMQ_QUEUED;
}

static enum blkmq_status
timed_complete (struct blkmq_request *rq, enum blkmq_status status)
{
  uint64_t due_ns = ((struct pdu *)rq->pdu)->completed_ns + completion_ns;

  blkmq_histogram_record (&lateness, now_ns () - due_ns);
  return status;
}

static const struct blkmq_driver timed_driver = {
  .name = "timed",
  .help = "measures how late its timers are (benchmark)",
  .pdu_bytes = sizeof (struct pdu),
  .open = timed_open,
  .queue_rq = timed_queue_rq,
  .complete = timed_complete,
};

/* ---- the rows ---- */

struct row {
  const char *name;
  uint64_t completion_ns;
  unsigned nr_outstanding;
  bool spins;
  /* More than one thread can end: 128 in each 10 us are 12.8 million a
   * second.  Lateness is then what is left over, and nothing is required. */
  bool overloads;
};

static const struct row rows[] = {
  { "10us", 10000, 1, false, false },
  { "10us-spin", 10000, 1, true, false },
  { "10us-x128", 10000, 128, false, true },
  { "10us-x128-spin", 10000, 128, true, true },
  { "100us", 100000, 1, false, false },
  { "100us-spin", 100000, 1, true, false },
  { "100us-x128", 100000, 128, false, false },
  { "100us-x128-spin", 100000, 128, true, false },
  { "1ms", 1000000, 1, false, false },
  { "1ms-spin", 1000000, 1, true, false },
  { "1ms-x128", 1000000, 128, false, false },
  { "1ms-x128-spin", 1000000, 128, true, false },
};

#define NR_ROWS (sizeof rows / sizeof rows[0])

static struct {
  double p50_us[MAX_ROUNDS], p90_us[MAX_ROUNDS], p99_us[MAX_ROUNDS];
  double p999_us[MAX_ROUNDS], per_second[MAX_ROUNDS];
} figures[NR_ROWS];

/* ---- a round ---- */

static struct {
  struct blkmq_submitter *submitter;
  struct blkmq_io ios[MAX_OUTSTANDING];

  /* The hctx's thread's, once the first are submitted. */
  uint64_t until_ns, nr_left;

  pthread_mutex_t lock;
  pthread_cond_t over;
  unsigned nr_outstanding; /* lock */
} rig = { .lock = PTHREAD_MUTEX_INITIALIZER, .over = PTHREAD_COND_INITIALIZER };

static void
end_io (struct blkmq_io *io, enum blkmq_status status)
{
  if (status != BLKMQ_STS_OK)
    die ("a request ended", blkmq_status_name (status));
  if (rig.nr_left > 0 && now_ns () < rig.until_ns) {
    rig.nr_left--;
    blkmq_submit (rig.submitter, io);
    return;
  }
  pthread_mutex_lock (&rig.lock);
  if (--rig.nr_outstanding == 0)
    pthread_cond_signal (&rig.over);
  pthread_mutex_unlock (&rig.lock);
}

static void
set_number (struct blkmq_config *config, const char *key, uint64_t number)
{
  struct blkmq_error error;
  char value[32];

  snprintf (value, sizeof value, "%" PRIu64, number);
  if (blkmq_config_set (config, key, value, &error) < 0)
    die (key, error.message);
}

static struct blkmq_disk *
open_disk (const struct row *row, uint64_t spin_ns)
{
  struct blkmq_config *config = blkmq_config_alloc ();
  struct blkmq_error error;
  struct blkmq_disk *disk = NULL;

  if (config == NULL)
    die (row->name, "no memory");
  set_number (config, "size", 1 << 20);
  set_number (config, "hw_queue_depth", MAX_OUTSTANDING);
  set_number (config, "irqmode", 2);
  set_number (config, "completion_nsec", row->completion_ns);
  if (row->spins)
    set_number (config, "spin_ns", spin_ns);
  if (blkmq_config_set (config, "driver", "timed", &error) < 0
      || blkmq_disk_alloc (config, &disk, &error) < 0
      || blkmq_disk_start (disk, &error) < 0)
    die (row->name, error.message);
  blkmq_config_free (config);
  return disk;
}

static double
percentile_us (double percent)
{
  return (double)blkmq_histogram_percentile (&lateness, percent) / 1000;
}

static void
run_round (size_t i, unsigned round, uint64_t nr_requests, uint64_t spin_ns)
{
  static const struct blkmq_histogram empty;
  const struct row *row = &rows[i];
  struct blkmq_disk *disk = open_disk (row, spin_ns);
  uint64_t start_ns;

  lateness = empty;
  completion_ns = row->completion_ns;
  rig.submitter = blkmq_submitter_alloc (disk, 0);
  if (rig.submitter == NULL)
    die (row->name, "no submitter");
  start_ns = now_ns ();
  rig.until_ns = start_ns + ROUND_NS;
  rig.nr_left = nr_requests;
  rig.nr_outstanding = row->nr_outstanding;
  for (unsigned n = 0; n < row->nr_outstanding; n++) {
    rig.ios[n].op = BLKMQ_OP_FLUSH;
    rig.ios[n].end_io = end_io;
    blkmq_submit (rig.submitter, &rig.ios[n]);
  }
  pthread_mutex_lock (&rig.lock);
  while (rig.nr_outstanding > 0)
    pthread_cond_wait (&rig.over, &rig.lock);
  pthread_mutex_unlock (&rig.lock);
  figures[i].per_second[round]
      = (double)lateness.count * 1e9 / (double)(now_ns () - start_ns);

  blkmq_disk_remove (disk);
  blkmq_submitter_free (rig.submitter);
  blkmq_disk_put (disk);
  figures[i].p50_us[round] = percentile_us (50);
  figures[i].p90_us[round] = percentile_us (90);
  figures[i].p99_us[round] = percentile_us (99);
  figures[i].p999_us[round] = percentile_us (99.9);
}

/* ---- the figures ---- */

static int
compare_doubles (const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;

  return (x > y) - (x < y);
}

/* Sorts. */
static double
median (double *samples, unsigned nr)
{
  qsort (samples, nr, sizeof samples[0], compare_doubles);
  return (samples[(nr - 1) / 2] + samples[nr / 2]) / 2;
}

static double
at_most_us (const struct row *row)
{
  return row->spins ? SPINNING_AT_MOST_US : SLEEPING_AT_MOST_US;
}

static const char *
verdict (size_t i, unsigned rounds)
{
  const struct row *row = &rows[i];

  if (row->overloads)
    return "overload: nothing required";
  return median (figures[i].p50_us, rounds) <= at_most_us (row) ? "met"
                                                                : "NOT met";
}

static void
print_table (unsigned rounds, uint64_t spin_ns)
{
  printf ("%-16s %8s %8s %8s %8s %8s  %s\n", "us late", "p50", "p90", "p99",
          "p99.9", "k/s", "p50 at most");
  for (size_t i = 0; i < NR_ROWS; i++) {
    const struct row *row = &rows[i];

    printf (
        "%-16s %8.2f %8.2f %8.2f %8.2f %8.1f  %2.0f  %s\n", row->name,
        median (figures[i].p50_us, rounds), median (figures[i].p90_us, rounds),
        median (figures[i].p99_us, rounds), median (figures[i].p999_us, rounds),
        median (figures[i].per_second, rounds) / 1000, at_most_us (row),
        verdict (i, rounds));
  }
  printf ("spin: spin_ns=%" PRIu64 "; x128: 128 outstanding, else 1\n",
          spin_ns);
}

static void
write_json (const char *path, unsigned rounds, uint64_t nr_requests,
            uint64_t spin_ns)
{
  FILE *f = fopen (path, "w");

  if (f == NULL)
    die (path, "cannot write");
  fprintf (f,
           "{\n  \"rounds\": %u,\n  \"requests\": %" PRIu64 ",\n"
           "  \"spin_ns\": %" PRIu64 ",\n  \"unit\": \"us late\",\n"
           "  \"rows\": [\n",
           rounds, nr_requests, spin_ns);
  for (size_t i = 0; i < NR_ROWS; i++) {
    const struct row *row = &rows[i];

    fprintf (f,
             "    { \"name\": \"%s\", \"completion_nsec\": %" PRIu64
             ", \"outstanding\": %u, \"spins\": %s,\n"
             "      \"p50\": %.3f, \"p90\": %.3f, \"p99\": %.3f, "
             "\"p99.9\": %.3f, \"per_second\": %.0f,\n"
             "      \"at_most\": %.0f, \"verdict\": \"%s\" }%s\n",
             row->name, row->completion_ns, row->nr_outstanding,
             row->spins ? "true" : "false", median (figures[i].p50_us, rounds),
             median (figures[i].p90_us, rounds),
             median (figures[i].p99_us, rounds),
             median (figures[i].p999_us, rounds),
             median (figures[i].per_second, rounds), at_most_us (row),
             verdict (i, rounds), i + 1 < NR_ROWS ? "," : "");
  }
  fprintf (f, "  ]\n}\n");
  if (fclose (f) != 0)
    die (path, "cannot write");
}

static void
usage (FILE *f)
{
  fprintf (f,
           "usage: bench/timer [--json FILE] [--requests N] "
           "[--rounds N (1 to %d)] [--spin NS (1 to %d)]\n",
           MAX_ROUNDS, MAX_SPIN_NS);
}

int
main (int argc, char **argv)
{
  static const struct option options[]
      = { { "json", required_argument, NULL, 'j' },
          { "requests", required_argument, NULL, 'n' },
          { "rounds", required_argument, NULL, 'r' },
          { "spin", required_argument, NULL, 's' },
          { "help", no_argument, NULL, 'h' },
          { NULL, 0, NULL, 0 } };
  uint64_t nr_requests = 20000, spin_ns = 100000;
  unsigned rounds = 7;
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
    case 's':
      spin_ns = strtoull (optarg, NULL, 10);
      break;
    case 'h':
      usage (stdout);
      return 0;
    default:
      usage (stderr);
      return 2;
    }
  }
  if (optind < argc || nr_requests == 0 || rounds == 0 || rounds > MAX_ROUNDS
      || spin_ns == 0 || spin_ns > MAX_SPIN_NS) {
    usage (stderr);
    return 2;
  }

  if (blkmq_driver_register (&timed_driver, &error) < 0)
    die ("driver", error.message);
  for (unsigned round = 0; round < rounds; round++) {
    for (size_t i = 0; i < NR_ROWS; i++)
      run_round (i, round, nr_requests, spin_ns);
  }
  if (json != NULL)
    write_json (json, rounds, nr_requests, spin_ns);
  print_table (rounds, spin_ns);
  return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * engine-report.c: medians, differences, verdicts: as a table and as JSON.
 *
 * A difference is taken within each round, and its median reported: what
 * disturbs a whole round disturbs both.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

/* The same cycle on two threads costs each hardly more than on one. */
#define MAX_RATIO 1.1

static int
compare_doubles (const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;

  return (x > y) - (x < y);
}

static double
quantile (const double *samples, unsigned nr, double q)
{
  double sorted[MAX_ROUNDS], at = q * (nr - 1);
  unsigned low = (unsigned)at;
  unsigned high = low + 1 < nr ? low + 1 : low;

  memcpy (sorted, samples, nr * sizeof sorted[0]);
  qsort (sorted, nr, sizeof sorted[0], compare_doubles);
  return sorted[low] + (sorted[high] - sorted[low]) * (at - low);
}

static double
median (const struct setting *s, const struct run *run)
{
  return quantile (s->samples, run->rounds, 0.5);
}

static double
difference (const struct setting *s, const struct run *run)
{
  const struct setting *base = setting_named (s->base);
  double differences[MAX_ROUNDS];

  for (unsigned i = 0; i < run->rounds; i++)
    differences[i] = s->samples[i] - base->samples[i];
  return quantile (differences, run->rounds, 0.5);
}

static double
two_threads_over_one (const struct run *run)
{
  const struct setting *two = setting_named ("2-threads");
  const struct setting *one = setting_named (two->base);
  double ratios[MAX_ROUNDS];

  for (unsigned i = 0; i < run->rounds; i++)
    ratios[i] = two->samples[i] / one->samples[i];
  return quantile (ratios, run->rounds, 0.5);
}

void
print_table (const struct run *run)
{
  char adds[40];

  printf ("%-16s %7s %7s %7s  %-24s %s\n", "ns a request", "median", "q1", "q3",
          "adds", "");
  for (unsigned i = 0; i < nr_settings; i++) {
    const struct setting *s = &settings[i];

    adds[0] = '\0';
    if (s->base != NULL)
      snprintf (adds, sizeof adds, "%+6.1f to %s", difference (s, run),
                s->base);
    printf ("%-16s %7.1f %7.1f %7.1f  %-24s %s\n", s->name, median (s, run),
            quantile (s->samples, run->rounds, 0.25),
            quantile (s->samples, run->rounds, 0.75), adds, s->about);
  }
}

static const char *
verdict (bool met)
{
  return met ? "met" : "NOT met";
}

void
print_verdicts (const struct run *run)
{
  double ratio = two_threads_over_one (run);

  printf ("\n");
  for (unsigned i = 0; i < nr_settings; i++) {
    const struct setting *s = &settings[i];

    if (s->at_most_ns > 0)
      printf ("%-16s %6.1f ns  (at most %3.0f)  %s\n", s->name, median (s, run),
              s->at_most_ns, verdict (median (s, run) <= s->at_most_ns));
  }
  printf ("%-16s %6.3f     (at most %3.1f)  %s\n", "2 threads / 1", ratio,
          MAX_RATIO, verdict (ratio <= MAX_RATIO));
  printf ("%-16s %6" PRIu64 "     (none)         %s\n", "allocator calls",
          run->nr_allocations, verdict (run->nr_allocations == 0));
}

int
write_json (const char *path, const struct run *run)
{
  FILE *f = fopen (path, "w");

  if (f == NULL)
    return -errno;
  fprintf (f,
           "{\n  \"rounds\": %u,\n  \"requests\": %" PRIu64 ",\n"
           "  \"unit\": \"ns of CPU per request\",\n",
           run->rounds, run->nr_requests);
  for (unsigned i = 0; i < nr_settings; i++) {
    const struct setting *s = &settings[i];

    fprintf (f,
             "  \"%s\": { \"median\": %.2f, \"q1\": %.2f, "
             "\"q3\": %.2f",
             s->name, median (s, run), quantile (s->samples, run->rounds, 0.25),
             quantile (s->samples, run->rounds, 0.75));
    if (s->base != NULL)
      fprintf (f, ", \"base\": \"%s\", \"adds\": %.2f", s->base,
               difference (s, run));
    if (s->at_most_ns > 0)
      fprintf (f, ", \"at_most\": %.0f", s->at_most_ns);
    fprintf (f, " },\n");
  }
  fprintf (f,
           "  \"two_threads_over_one\": %.4f,\n"
           "  \"allocator_calls\": %" PRIu64 "\n}\n",
           two_threads_over_one (run), run->nr_allocations);
  return fclose (f) == 0 ? 0 : -errno;
}

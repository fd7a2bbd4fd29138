/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-histogram.c: the public histogram: how far off it may be, what merging
 * keeps, percentiles against a sorted array.
 */

#include <config.h>

#include <string.h>

#include "engine/histogram.h"
#include "harness.h"

#define NR_BUCKETS BLKMQ_HISTOGRAM_NR_BUCKETS
#define ONE_DAY_NS (UINT64_C (86400) * 1000 * MS)

/* At most 1/64, without a rounding of the test's own. */
static void
require_close (uint64_t got, uint64_t wanted)
{
  uint64_t off = got > wanted ? got - wanted : wanted - got;

  require (off * 64 <= wanted);
}

/* Spread evenly over the orders of magnitude, as times are. */
static uint64_t
draw_ns (struct rng *rng)
{
  uint64_t bits = 1 + rng_below (rng, BLKMQ_HISTOGRAM_MAX_BITS);

  return rng_next (rng) >> (64 - bits);
}

/* ------------------------------------------------------------------------ */
/* Buckets                                                                   */

static void
check_value (uint64_t ns)
{
  unsigned bucket = histogram_bucket (ns);

  require (bucket < NR_BUCKETS);
  require_close (histogram_bucket_ns (bucket), ns);
  require (histogram_bucket (histogram_bucket_ns (bucket)) == bucket);
}

/* All of the small ones; the edges of every bucket there is; and at random. */
START_TEST (test_a_bucket_is_at_most_a_64th_off)
{
  struct rng rng;

  for (uint64_t ns = 0; ns < 1 << 20; ns++)
    check_value (ns);
  for (unsigned bits = BLKMQ_HISTOGRAM_SUB_BITS;
       bits < BLKMQ_HISTOGRAM_MAX_BITS; bits++) {
    for (uint64_t part = 0; part < HISTOGRAM_SUB; part++) {
      uint64_t low = (HISTOGRAM_SUB + part)
                     << (bits - BLKMQ_HISTOGRAM_SUB_BITS);

      check_value (low);
      check_value (low - 1);
    }
  }
  check_value (HISTOGRAM_MAX_NS);
  rng_init (&rng, 0);
  for (unsigned i = 0; i < 1000000; i++)
    check_value (draw_ns (&rng));
  ck_assert_uint_ge (HISTOGRAM_MAX_NS, ONE_DAY_NS);
}
END_TEST

START_TEST (test_longer_is_never_in_a_lower_bucket)
{
  struct rng rng;

  rng_init (&rng, 0);
  for (unsigned i = 0; i < 1000000; i++) {
    uint64_t a = draw_ns (&rng), b = draw_ns (&rng);

    require ((a <= b) ? histogram_bucket (a) <= histogram_bucket (b)
                      : histogram_bucket (a) >= histogram_bucket (b));
  }
}
END_TEST

START_TEST (test_every_bucket_is_of_use)
{
  for (unsigned bucket = 0; bucket < NR_BUCKETS; bucket++)
    ck_assert_uint_eq (histogram_bucket (histogram_bucket_ns (bucket)), bucket);
}
END_TEST

START_TEST (test_what_takes_too_long_is_in_the_last_bucket)
{
  static struct blkmq_histogram h;

  blkmq_histogram_record (&h, HISTOGRAM_MAX_NS + 1);
  blkmq_histogram_record (&h, UINT64_MAX / 2);
  ck_assert_uint_eq (h.buckets[NR_BUCKETS - 1], 2);
  ck_assert_uint_eq (h.count, 2);
  ck_assert_uint_eq (h.min_ns, HISTOGRAM_MAX_NS + 1);
  ck_assert_uint_eq (h.max_ns, UINT64_MAX / 2);
  ck_assert_uint_eq (blkmq_histogram_percentile (&h, 100), UINT64_MAX / 2);
  ck_assert_uint_eq (blkmq_histogram_percentile (&h, 50), HISTOGRAM_MAX_NS + 1);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Percentiles                                                               */

START_TEST (test_empty_histogram_says_0)
{
  static const struct blkmq_histogram h;

  ck_assert_uint_eq (blkmq_histogram_percentile (&h, 0), 0);
  ck_assert_uint_eq (blkmq_histogram_percentile (&h, 50), 0);
  ck_assert_uint_eq (blkmq_histogram_percentile (&h, 100), 0);
  ck_assert (blkmq_histogram_mean (&h) == 0);
}
END_TEST

START_TEST (test_percentiles_of_one_value_are_that_value)
{
  static struct blkmq_histogram h;

  blkmq_histogram_record (&h, 123456789);
  for (int percent = -1; percent <= 101; percent++)
    ck_assert_uint_eq (blkmq_histogram_percentile (&h, percent), 123456789);
  ck_assert (blkmq_histogram_mean (&h) == 123456789);
}
END_TEST

/* Small ones are exact, so the ranks are: of 1 to 10, and of ten thousand, of
 * which 2.22 % are 222, although in doubles it comes out as a bit more. */
START_TEST (test_percentile_is_the_nearest_rank)
{
  static struct blkmq_histogram ten, many;

  for (unsigned i = 1; i <= 10; i++)
    blkmq_histogram_record (&ten, i);
  ck_assert_uint_eq (blkmq_histogram_percentile (&ten, 0), 1);
  ck_assert_uint_eq (blkmq_histogram_percentile (&ten, 0.1), 1);
  ck_assert_uint_eq (blkmq_histogram_percentile (&ten, 10), 1);
  ck_assert_uint_eq (blkmq_histogram_percentile (&ten, 10.1), 2);
  ck_assert_uint_eq (blkmq_histogram_percentile (&ten, 50), 5);
  ck_assert_uint_eq (blkmq_histogram_percentile (&ten, 90), 9);
  ck_assert_uint_eq (blkmq_histogram_percentile (&ten, 90.1), 10);
  ck_assert_uint_eq (blkmq_histogram_percentile (&ten, 100), 10);

  for (unsigned i = 0; i < 10000; i++)
    blkmq_histogram_record (&many, i < 222 ? 7 : 50);
  ck_assert_uint_eq (blkmq_histogram_percentile (&many, 2.22), 7);
  ck_assert_uint_eq (blkmq_histogram_percentile (&many, 2.221), 50);
}
END_TEST

static int
compare_ns (const void *a, const void *b)
{
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

  return (x > y) - (x < y);
}

START_TEST (test_percentiles_match_a_sorted_array)
{
  enum { MAX = 5000 };
  static uint64_t values[MAX];
  static struct blkmq_histogram h;
  struct rng rng;

  rng_init (&rng, 0);
  for (unsigned round = 0; round < 100; round++) {
    unsigned nr = 1 + (unsigned)rng_below (&rng, MAX);
    uint64_t sum = 0;

    memset (&h, 0, sizeof h);
    for (unsigned i = 0; i < nr; i++) {
      values[i] = draw_ns (&rng);
      sum += values[i];
      blkmq_histogram_record (&h, values[i]);
    }
    qsort (values, nr, sizeof values[0], compare_ns);
    require (h.count == nr && h.sum_ns == sum);
    require (h.min_ns == values[0] && h.max_ns == values[nr - 1]);
    require (blkmq_histogram_mean (&h) == (double)sum / nr);
    /* In thousandths, so that the rank is whole numbers' business. */
    for (uint64_t permille = 1; permille <= 1000; permille++) {
      uint64_t rank = (permille * nr + 999) / 1000;

      require_close (blkmq_histogram_percentile (&h, (double)permille / 10),
                     values[rank - 1]);
    }
  }
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Merging                                                                   */

START_TEST (test_merging_is_recording_everything_in_one)
{
  static struct blkmq_histogram parts[3], merged, all;
  struct rng rng;

  rng_init (&rng, 0);
  for (unsigned round = 0; round < 200; round++) {
    memset (parts, 0, sizeof parts);
    memset (&merged, 0, sizeof merged);
    memset (&all, 0, sizeof all);
    for (unsigned i = 0; i < NR (parts); i++) {
      /* Empty ones as well. */
      for (uint64_t n = rng_below (&rng, 4) * 50; n > 0; n--) {
        uint64_t ns = draw_ns (&rng);

        blkmq_histogram_record (&parts[i], ns);
        blkmq_histogram_record (&all, ns);
      }
    }
    for (unsigned i = 0; i < NR (parts); i++)
      blkmq_histogram_merge (&merged, &parts[i]);
    require (memcmp (&merged, &all, sizeof all) == 0);
  }
}
END_TEST

/* ------------------------------------------------------------------------ */

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("histogram");
  TCase *tcase;

  tcase = harness_case (suite, "buckets");
  tcase_add_test (tcase, test_a_bucket_is_at_most_a_64th_off);
  tcase_add_test (tcase, test_longer_is_never_in_a_lower_bucket);
  tcase_add_test (tcase, test_every_bucket_is_of_use);
  tcase_add_test (tcase, test_what_takes_too_long_is_in_the_last_bucket);

  tcase = harness_case (suite, "percentiles");
  tcase_add_test (tcase, test_empty_histogram_says_0);
  tcase_add_test (tcase, test_percentiles_of_one_value_are_that_value);
  tcase_add_test (tcase, test_percentile_is_the_nearest_rank);
  tcase_add_test (tcase, test_percentiles_match_a_sorted_array);

  tcase = harness_case (suite, "merging");
  tcase_add_test (tcase, test_merging_is_recording_everything_in_one);
  return suite;
}

int
main (void)
{
  return harness_main (make_suite ());
}

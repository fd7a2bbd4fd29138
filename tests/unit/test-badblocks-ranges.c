/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-badblocks-ranges.c: sets of sectors against a bit for each sector, and
 * their text.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "harness.h"
#include "layers/ranges.h"

/* ------------------------------------------------------------------------ */
/* Against a model                                                           */

#define NR_SECTORS 512u

struct model {
  bool is_in[NR_SECTORS];
};

static void
check_same (const struct ranges *ranges, const struct model *model)
{
  bool is_in[NR_SECTORS] = { false };

  for (unsigned i = 0; i < ranges->nr; i++) {
    const struct range *r = &ranges->range[i];

    require (r->first <= r->last && r->last < NR_SECTORS);
    /* In order, and never two that could be one. */
    require (i == 0 || r->first > ranges->range[i - 1].last + 1);
    for (uint64_t sector = r->first; sector <= r->last; sector++)
      is_in[sector] = true;
  }
  require (memcmp (is_in, model->is_in, sizeof is_in) == 0);
}

/* Each sector's find is the first range that ends at it or behind. */
static void
check_find (const struct ranges *ranges, uint64_t sector)
{
  unsigned i = ranges_find (ranges->range, ranges->nr, sector);

  require (i <= ranges->nr);
  require (i == ranges->nr || ranges->range[i].last >= sector);
  require (i == 0 || ranges->range[i - 1].last < sector);
}

static void
check_round_trip (const struct ranges *ranges)
{
  static struct ranges again;
  char text[NR_SECTORS * 10];
  const char *wrong, *item;
  int len = ranges_print (ranges, text, sizeof text);

  require (len >= 0 && (size_t)len == strlen (text));
  require (ranges_print (ranges, NULL, 0) == len);
  again.nr = 0;
  require (ranges_apply (&again, text, NR_SECTORS - 1, &wrong, &item) == 0);
  require (again.nr == ranges->nr);
  require (
      memcmp (again.range, ranges->range, ranges->nr * sizeof again.range[0])
      == 0);
}

START_TEST (test_random_changes_match_a_bit_for_each_sector)
{
  static struct ranges ranges;
  struct model model = { { false } };
  unsigned most = 0;
  struct rng rng;

  rng_init (&rng, 1);
  for (unsigned n = 0; n < 20000; n++) {
    /* Short ones as a rule, so that there are many ranges. */
    uint64_t longest = rng_percent (&rng, 5) ? NR_SECTORS : 4;
    uint64_t first = rng_below (&rng, NR_SECTORS);
    uint64_t last = first + rng_below (&rng, longest);
    bool adds = rng_percent (&rng, 50);

    if (last >= NR_SECTORS)
      last = NR_SECTORS - 1;
    require ((adds ? ranges_add : ranges_remove) (&ranges, first, last) == 0);
    for (uint64_t sector = first; sector <= last; sector++)
      model.is_in[sector] = adds;
    check_same (&ranges, &model);
    check_find (&ranges, rng_below (&rng, NR_SECTORS));
    if (n % 16 == 0)
      check_round_trip (&ranges);
    if (ranges.nr > most)
      most = ranges.nr;
  }
  /* Or it has tested little. */
  ck_assert_uint_gt (most, 50);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Text                                                                      */

static const char *
print (const struct ranges *ranges)
{
  static char text[200];

  ck_assert_int_lt (ranges_print (ranges, text, sizeof text), sizeof text);
  return text;
}

START_TEST (test_list_is_done_in_order_and_read_back_sorted_and_merged)
{
  static const struct {
    const char *text, *result;
  } cases[] = {
    { "", "" },
    { "+0-0", "+0-0" },
    { "+100-100,+8-15", "+8-15,+100-100" },
    { "+8-15,+16-20", "+8-20" },
    { "+16-20,+8-15", "+8-20" },
    { "+8-15,+17-20", "+8-15,+17-20" },
    { "+8-15,+17-20,+16-16", "+8-20" },
    { "+8-15,+10-12", "+8-15" },
    { "+8-15,+0-999", "+0-999" },
    { "+0-999,-8-15", "+0-7,+16-999" },
    { "+8-15,-8-15", "" },
    { "+8-15,-0-999", "" },
    { "-0-999,+8-15", "+8-15" },
    { "+8-15,-8-8,-15-15", "+9-14" },
    { "+0-3,+5-8,+10-13,-2-11", "+0-1,+12-13" },
    { "+000-0999", "+0-999" },
  };

  for (size_t i = 0; i < NR (cases); i++) {
    static struct ranges ranges;
    const char *wrong, *item;

    ranges.nr = 0;
    ck_assert_int_eq (ranges_apply (&ranges, cases[i].text, 999, &wrong, &item),
                      0);
    ck_assert_str_eq (print (&ranges), cases[i].result);
  }
}
END_TEST

START_TEST (test_what_is_no_list_is_refused_where_it_is_wrong)
{
  static const struct {
    const char *text, *item, *wrong;
  } cases[] = {
    { "8-15", "8-15", "begins with neither + nor -" },
    { " +8-15", " +8-15", "begins with neither + nor -" },
    { "+", "+", "not a sector" },
    { "+a-15", "+a-15", "not a sector" },
    { "+ 8-15", "+ 8-15", "not a sector" },
    { "+8", "+8", "not two sectors with a - between them" },
    { "+8,15", "+8,15", "not two sectors with a - between them" },
    { "+8-", "+8-", "not a sector" },
    { "+8--15", "+8--15", "not a sector" },
    { "+8-15 ", "+8-15 ", "followed by something else than a comma" },
    { "+8-15;+1-1", "+8-15;+1-1", "followed by something else than a comma" },
    { "+8-15,", "", "begins with neither + nor -" },
    { "+1-1,,+2-2", ",+2-2", "begins with neither + nor -" },
    { "+9-8", "+9-8", "ends before it starts" },
    { "+1-2,-9-8,+1-1", "-9-8,+1-1", "ends before it starts" },
    { "+0-1000", "+0-1000", "beyond the disk's end" },
    { "-0-1000", "-0-1000", "beyond the disk's end" },
    { "+18446744073709551616-18446744073709551617",
      "+18446744073709551616-18446744073709551617", "beyond the disk's end" },
    { "+0-99999999999999999999", "+0-99999999999999999999",
      "beyond the disk's end" },
    { "+0x8-0xf", "+0x8-0xf", "not two sectors with a - between them" },
  };

  for (size_t i = 0; i < NR (cases); i++) {
    static struct ranges ranges;
    const char *wrong, *item;

    ranges.nr = 0;
    ck_assert_int_eq (ranges_apply (&ranges, cases[i].text, 999, &wrong, &item),
                      -EINVAL);
    ck_assert_str_eq (wrong, cases[i].wrong);
    ck_assert_str_eq (item, cases[i].item);
  }
}
END_TEST

START_TEST (test_text_that_does_not_fit_is_cut_and_its_length_told)
{
  static struct ranges ranges;
  char text[8];

  ck_assert_int_eq (ranges_add (&ranges, 8, 15), 0);
  ck_assert_int_eq (ranges_add (&ranges, 100, 100), 0);
  ck_assert_int_eq (ranges_print (&ranges, text, sizeof text), 14);
  ck_assert_str_eq (text, "+8-15,+");
  ck_assert_int_eq (ranges_print (&ranges, text, 3), 14);
  ck_assert_str_eq (text, "+8");
  ck_assert_int_eq (ranges_print (&ranges, NULL, 0), 14);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Full                                                                      */

START_TEST (test_full_set_refuses_what_needs_one_more_and_nothing_else)
{
  static struct ranges ranges, before;

  /* 0-1, 4-5, 8-9, ... */
  for (uint64_t i = 0; i < RANGES_MAX; i++)
    ck_assert_int_eq (ranges_add (&ranges, 4 * i, 4 * i + 1), 0);
  ck_assert_uint_eq (ranges.nr, RANGES_MAX);
  before = ranges;
  ck_assert_int_eq (ranges_add (&ranges, 4 * RANGES_MAX, 4 * RANGES_MAX),
                    -ENOSPC);
  ck_assert_int_eq (memcmp (&ranges, &before, sizeof ranges), 0);
  /* Longer, joined, or gone it may become. */
  ck_assert_int_eq (ranges_add (&ranges, 2, 2), 0);
  ck_assert_uint_eq (ranges.nr, RANGES_MAX);
  before = ranges;
  ck_assert_int_eq (ranges_remove (&ranges, 1, 1), -ENOSPC);
  ck_assert_int_eq (memcmp (&ranges, &before, sizeof ranges), 0);
  ck_assert_int_eq (ranges_add (&ranges, 3, 3), 0);
  ck_assert_uint_eq (ranges.nr, RANGES_MAX - 1);
  ck_assert_int_eq (ranges_remove (&ranges, 1, 1), 0);
  ck_assert_uint_eq (ranges.nr, RANGES_MAX);
}
END_TEST

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("badblocks-ranges");
  TCase *tcase = harness_case (suite, "ranges");

  tcase_add_test (tcase, test_random_changes_match_a_bit_for_each_sector);
  tcase_add_test (tcase,
                  test_list_is_done_in_order_and_read_back_sorted_and_merged);
  tcase_add_test (tcase, test_what_is_no_list_is_refused_where_it_is_wrong);
  tcase_add_test (tcase,
                  test_text_that_does_not_fit_is_cut_and_its_length_told);
  tcase_add_test (tcase,
                  test_full_set_refuses_what_needs_one_more_and_nothing_else);
  return suite;
}

int
main (void)
{
  return harness_main (make_suite ());
}

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-fault-rules.c: the text of fault strings and of rules, and which calls
 * fire.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "harness.h"
#include "layers/fault.h"

static struct blkmq_error error;

static void
check_message (const char *text, const char *expected)
{
  ck_assert_msg (strstr (error.message, expected) != NULL,
                 "%s: message \"%s\" lacks \"%s\"", text, error.message,
                 expected);
}

/* ------------------------------------------------------------------------ */
/* Fault strings                                                             */

START_TEST (test_fault_string_is_read)
{
  static const struct {
    const char *text;
    struct fault_terms terms;
  } cases[] = {
    { "1,100,0,-1", { 1, 0, FAULT_NO_LIMIT, FAULT_ALWAYS } },
    { "10,50,7,3", { 10, 7, 3, 50 * FAULT_ONE_PERCENT } },
    { "2147483647,1,2147483647,2147483647",
      { INT32_MAX, INT32_MAX, INT32_MAX, FAULT_ONE_PERCENT } },
    { "1,0,0,-1", { 1, 0, FAULT_NO_LIMIT, 0 } },
    { "1,100,0,0", { 1, 0, 0, FAULT_ALWAYS } },
  };

  for (unsigned i = 0; i < NR (cases); i++) {
    struct fault_terms terms;

    ck_assert_int_eq (
        fault_string_parse ("timeout", cases[i].text, &terms, &error), 0);
    ck_assert_uint_eq (terms.every, cases[i].terms.every);
    ck_assert_uint_eq (terms.after, cases[i].terms.after);
    ck_assert_uint_eq (terms.times, cases[i].terms.times);
    ck_assert_uint_eq (terms.probability, cases[i].terms.probability);
    ck_assert_int_eq (fault_terms_are_on (&terms), i < 3);
  }
}
END_TEST

START_TEST (test_no_fault_string_is_off)
{
  struct fault_terms terms;

  ck_assert_int_eq (fault_string_parse ("timeout", NULL, &terms, &error), 0);
  ck_assert (!fault_terms_are_on (&terms));
  ck_assert_int_eq (fault_string_parse ("timeout", "", &terms, &error), 0);
  ck_assert (!fault_terms_are_on (&terms));
}
END_TEST

START_TEST (test_bad_fault_string_is_refused)
{
  static const char *const cases[][2] = {
    { "1,50,0", "must be <interval>,<probability>,<space>,<times>" },
    { "1,50,0,-1,", "must be <interval>,<probability>,<space>,<times>" },
    { "1,50,0,-1,2", "must be <interval>,<probability>,<space>,<times>" },
    { ",", "requeue=,: interval=: empty; must be a whole number from 1" },
    { "0,50,0,-1", "requeue=0,50,0,-1: interval=0: must be a whole number from "
                   "1 to 2147483647" },
    { "2147483648,50,0,-1", "interval=2147483648: must be a whole number" },
    { "1,101,0,-1", "probability=101: must be a whole number from 0 to 100 "
                    "(percent)" },
    { "1,-1,0,-1", "probability=-1: negative" },
    { "1,0.5,0,-1", "probability=0.5: not a number" },
    { "1,50,-1,-1", "space=-1: negative; must be a whole number from 0 to" },
    { "1,50,0,-2", "times=-2: negative; must be a whole number from 0 to "
                   "2147483647, or -1 for no limit" },
    { "1,50,0,x", "times=x: not a number" },
    { "1, 50,0,-1", "probability= 50: not a number" },
    { "00000000000000000000000001,50,0,-1", "must be <interval>" },
  };

  for (unsigned i = 0; i < NR (cases); i++) {
    struct fault_terms terms;

    ck_assert_int_eq (
        fault_string_parse ("requeue", cases[i][0], &terms, &error), -EINVAL);
    check_message (cases[i][0], cases[i][1]);
  }
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Rules                                                                     */

static void
print_parsed (const char *text, char *shown, size_t bytes)
{
  struct fault_rule rule;
  int r = fault_rule_parse (text, &rule, &error);

  ck_assert_msg (r == 0, "%s: %s", text, error.message);
  fault_rule_print (&rule, shown, bytes);
}

START_TEST (test_rule_is_printed_in_one_form)
{
  static const char *const cases[][2] = {
    { "op=read", "at=bus,op=read,status=ioerr" },
    { "at=bus", "at=bus,op=any,status=ioerr" },
    { "op=zero|trim|flush,at=media",
      "at=media,op=flush|trim|zero,status=ioerr" },
    { "op=read|read", "at=bus,op=read,status=ioerr" },
    { "op=read|write|flush|trim|zero,hang", "at=bus,op=any,hang" },
    { "sectors=8-15,errno=ENOSPC", "at=bus,op=any,sectors=8-15,status=nospc" },
    { "sectors=0-0,status=medium", "at=bus,op=any,sectors=0-0,status=medium" },
    { "once", "at=bus,op=any,times=1,status=ioerr" },
    { "times=3,after=7,every=2,probability=12.5",
      "at=bus,op=any,after=7,every=2,probability=12.5,times=3,status=ioerr" },
    { "every=1,probability=100", "at=bus,op=any,status=ioerr" },
    { "probability=0.000001",
      "at=bus,op=any,probability=0.000001,status=ioerr" },
    { "probability=99.999999",
      "at=bus,op=any,probability=99.999999,status=ioerr" },
    { "probability=7.050", "at=bus,op=any,probability=7.05,status=ioerr" },
    { "delay=1500", "at=bus,op=any,delay=1500ns" },
    { "delay=1500us", "at=bus,op=any,delay=1500us" },
    { "delay=2000ms,errno=EIO", "at=bus,op=any,status=ioerr,delay=2s" },
    { "op=write,status=ok", "at=bus,op=write,status=ok" },
  };
  char shown[FAULT_RULE_BYTES], again[FAULT_RULE_BYTES];

  for (unsigned i = 0; i < NR (cases); i++) {
    print_parsed (cases[i][0], shown, sizeof shown);
    ck_assert_str_eq (shown, cases[i][1]);
    print_parsed (shown, again, sizeof again);
    ck_assert_str_eq (again, shown);
  }
}
END_TEST

START_TEST (test_errno_names_the_status_that_has_it)
{
  static const struct {
    const char *name;
    int err;
  } cases[] = {
    { "EOPNOTSUPP", EOPNOTSUPP },
    { "ETIMEDOUT", ETIMEDOUT },
    { "ENOSPC", ENOSPC },
    { "ENOMEM", ENOMEM },
    { "EIO", EIO },
    { "ENODATA", ENODATA },
    { "EAGAIN", EAGAIN },
    { "ENODEV", ENODEV },
    { "EINVAL", EINVAL },
    { "EROFS", EROFS },
    { "ECANCELED", ECANCELED },
  };

  ck_assert_uint_eq (NR (cases), BLKMQ_NR_STATUSES - 1);
  for (unsigned i = 0; i < NR (cases); i++) {
    struct fault_rule rule;
    char text[64];

    snprintf (text, sizeof text, "errno=%s", cases[i].name);
    ck_assert_int_eq (fault_rule_parse (text, &rule, &error), 0);
    ck_assert_int_eq (blkmq_status_to_errno (rule.status), cases[i].err);
  }
}
END_TEST

START_TEST (test_bad_rule_is_refused_in_words)
{
  static const char *const cases[][2] = {
    { "", "fault=: : a name is missing; names are at=, op=, sectors=, status=, "
          "errno=, hang, delay=, every=, probability=, once, times=, after=" },
    { "op=read,", ": a name is missing" },
    { ",op=read", ": a name is missing" },
    { "ops=read", "fault=ops=read: ops: unknown name; names are at=," },
    { "op", "op: needs a value" },
    { "hang=1", "hang: takes no value" },
    { "once=", "once: takes no value" },
    { "op=read,op=write", "op: given twice" },
    { "at=disk", "at=disk: must be one of bus, media" },
    { "op=discard",
      "op=discard: must be one of read, write, flush, trim, zero, "
      "several with | between them, or any" },
    { "op=read|", "op=read|: must be one of" },
    { "op=", "op=: must be one of" },
    { "op=any|read", "op=any|read: must be one of" },
    { "sectors=8", "sectors=8: must be FIRST-LAST, 512-byte sectors" },
    { "sectors=9-8", "sectors=9-8: must be FIRST-LAST" },
    { "sectors=1-2-3", "sectors=1-2-3: must be" },
    { "sectors=-1-2", "sectors=-1-2: must be" },
    { "sectors=0-99999999999999999999",
      "sectors=0-99999999999999999999: must" },
    { "sectors=0-18014398509481984", "must be FIRST-LAST" },
    { "status=bad", "status=bad: must be one of ok, notsupp, timeout," },
    { "errno=EBADF", "errno=EBADF: must be one of EOPNOTSUPP, ETIMEDOUT," },
    { "errno=5", "errno=5: must be one of" },
    { "delay=0", "delay=0: must be a time from 1 to 86400000000000 (ns;" },
    { "delay=1x", "delay=1x: unknown suffix; must be a time" },
    { "every=0", "every=0: must be a whole number from 1 to 2147483647" },
    { "times=-1", "times=-1: negative; must be a whole number from 1" },
    { "after=0", "after=0: must be a whole number from 1" },
    { "probability=0",
      "probability=0: must be percent, above 0 and at most 100" },
    { "probability=100.1", "probability=100.1: must be percent" },
    { "probability=101", "must be percent" },
    { "probability=1.", "must be percent" },
    { "probability=.5", "must be percent" },
    { "probability=1.0000001", "no more than six decimal places" },
    { "probability=10%", "must be percent" },
    { "hang,status=ioerr", "hang,status=ioerr: a request that hangs has no "
                           "status" },
    { "hang,errno=EIO", "a request that hangs has no status" },
    { "hang,delay=1ms", "a request that hangs is not delayed" },
    { "status=ioerr,errno=EIO", "two ways to say one thing" },
    { "once,times=2", "once is times=1" },
    { "op=flush,sectors=0-7", "a flush has no sectors" },
    { "status=ok", "status=ok would answer a read without data" },
    { "op=write|read,status=ok", "status=ok would answer a read without data" },
  };

  for (unsigned i = 0; i < NR (cases); i++) {
    struct fault_rule rule;

    ck_assert_msg (fault_rule_parse (cases[i][0], &rule, &error) == -EINVAL,
                   "%s was taken", cases[i][0]);
    check_message (cases[i][0], cases[i][1]);
    check_message (cases[i][0], "fault=");
  }
}
END_TEST

START_TEST (test_rule_that_is_too_long_is_refused)
{
  char text[2 * FAULT_RULE_BYTES];
  struct fault_rule rule;

  memset (text, 'x', sizeof text);
  memcpy (text, "op=read,", 8);
  text[FAULT_RULE_BYTES] = '\0';
  ck_assert_int_eq (fault_rule_parse (text, &rule, &error), -EINVAL);
  check_message (text, "a rule has at most 511 characters");
  text[FAULT_RULE_BYTES - 1] = '\0';
  ck_assert_int_eq (fault_rule_parse (text, &rule, &error), -EINVAL);
  check_message (text, "unknown name");
}
END_TEST

/* Whatever a rule is, its text makes the same rule. */
START_TEST (test_any_rule_survives_its_text)
{
  struct rng rng;

  rng_init (&rng, 1);
  for (unsigned n = 0; n < 5000; n++) {
    struct fault_rule rule = {
      .place = rng_below (&rng, 2) ? FAULT_MEDIA : FAULT_BUS,
      .ops = 1 + (unsigned)rng_below (&rng, FAULT_ALL_OPS),
      .last_sector = FAULT_ALL_SECTORS,
      .terms = { .every = 1 + rng_below (&rng, 5),
                 .after = rng_below (&rng, 3),
                 .times = FAULT_NO_LIMIT,
                 .probability = 1 + (uint32_t)rng_below (&rng, FAULT_ALWAYS) },
      .status = BLKMQ_STS_IOERR,
    };
    struct fault_rule parsed;
    char text[FAULT_RULE_BYTES];

    if (rule.ops != 1u << BLKMQ_OP_FLUSH && rng_below (&rng, 2)) {
      rule.first_sector = rng_next (&rng) >> 12;
      rule.last_sector = rule.first_sector + rng_below (&rng, 100);
    }
    if (rng_below (&rng, 2))
      rule.terms.times = 1 + rng_below (&rng, FAULT_COUNT_MAX);
    switch (rng_below (&rng, 4)) {
    case 0:
      rule.hangs = true;
      break;
    case 1:
      rule.delay_ns = 1 + rng_below (&rng, 86400 * UINT64_C (1000000000));
      break;
    case 2:
      rule.delay_ns = 1 + rng_below (&rng, 1000) * 1000;
      rule.has_status = true;
      break;
    default:
      rule.has_status = true;
      rule.status
          = (enum blkmq_status) (1 + rng_below (&rng, BLKMQ_NR_STATUSES - 1));
    }
    fault_rule_print (&rule, text, sizeof text);
    ck_assert_uint_lt (strlen (text), FAULT_RULE_BYTES - 1);
    ck_assert_msg (fault_rule_parse (text, &parsed, &error) == 0, "%s",
                   error.message);
    ck_assert_int_eq (parsed.place, rule.place);
    ck_assert_uint_eq (parsed.ops, rule.ops);
    ck_assert_uint_eq (parsed.first_sector, rule.first_sector);
    ck_assert_uint_eq (parsed.last_sector, rule.last_sector);
    ck_assert_uint_eq (parsed.terms.every, rule.terms.every);
    ck_assert_uint_eq (parsed.terms.after, rule.terms.after);
    ck_assert_uint_eq (parsed.terms.times, rule.terms.times);
    ck_assert_uint_eq (parsed.terms.probability, rule.terms.probability);
    ck_assert_int_eq (parsed.hangs, rule.hangs);
    ck_assert_int_eq (parsed.has_status, rule.has_status);
    ck_assert_int_eq (parsed.status, rule.status);
    ck_assert_uint_eq (parsed.delay_ns, rule.delay_ns);
  }
}
END_TEST

static int
adds_op (const struct fault_rule *rule, unsigned index, void *opaque,
         struct blkmq_error *why)
{
  unsigned *ops = opaque;

  ops[index] = rule->ops;
  return index == 3 ? -EDOM : 0;
}

START_TEST (test_rules_have_a_semicolon_between_them)
{
  unsigned ops[4] = { 0 };

  ck_assert_int_eq (fault_rules_parse ("op=read", adds_op, ops, &error), 0);
  ck_assert_uint_eq (ops[0], 1u << BLKMQ_OP_READ);
  ck_assert_int_eq (
      fault_rules_parse ("op=write;op=flush,hang", adds_op, ops, &error), 0);
  ck_assert_uint_eq (ops[0], 1u << BLKMQ_OP_WRITE);
  ck_assert_uint_eq (ops[1], 1u << BLKMQ_OP_FLUSH);
  ck_assert_int_eq (
      fault_rules_parse ("once;once;once;once;bad", adds_op, ops, &error),
      -EDOM);
  ck_assert_int_eq (fault_rules_parse ("once;", adds_op, ops, &error), -EINVAL);
  check_message ("once;", "a name is missing");
  ck_assert_int_eq (fault_rules_parse ("once;hang=1", adds_op, ops, &error),
                    -EINVAL);
  check_message ("once;hang=1", "fault=hang=1: hang: takes no value");
}
END_TEST

/* ------------------------------------------------------------------------ */
/* When                                                                      */

/* Which of the first calls fire: a letter each. */
static const char *
pattern (const struct fault_terms *terms, uint64_t seed, uint64_t id,
         unsigned nr)
{
  static char letters[256];
  struct fault_when when;
  uint64_t hit, nr_hits = 0;

  ck_assert_uint_lt (nr, sizeof letters);
  fault_when_init (&when, terms, seed, id);
  for (unsigned i = 0; i < nr; i++) {
    letters[i] = fault_when_fires (&when, &hit) ? 'x' : '.';
    if (letters[i] == 'x')
      ck_assert_uint_eq (hit, ++nr_hits);
  }
  letters[nr] = '\0';
  ck_assert_uint_eq (when.nr_hits, nr_hits);
  return letters;
}

START_TEST (test_each_so_manieth_call_after_those_that_pass_fires)
{
  static const struct {
    struct fault_terms terms;
    const char *pattern;
  } cases[] = {
    { { 1, 0, FAULT_NO_LIMIT, FAULT_ALWAYS }, "xxxxxxxxxx" },
    { { 1, 4, FAULT_NO_LIMIT, FAULT_ALWAYS }, "....xxxxxx" },
    { { 3, 0, FAULT_NO_LIMIT, FAULT_ALWAYS }, "..x..x..x." },
    { { 3, 1, FAULT_NO_LIMIT, FAULT_ALWAYS }, "...x..x..x" },
    { { 1, 0, 2, FAULT_ALWAYS }, "xx........" },
    { { 3, 1, 2, FAULT_ALWAYS }, "...x..x..." },
    { { 1, 0, 0, FAULT_ALWAYS }, ".........." },
    { { 1, 0, FAULT_NO_LIMIT, 0 }, ".........." },
  };

  for (unsigned i = 0; i < NR (cases); i++)
    ck_assert_str_eq (pattern (&cases[i].terms, 1, 1, 10), cases[i].pattern);
}
END_TEST

START_TEST (test_chance_is_repeated_by_its_seed_and_differs_by_id)
{
  static const struct fault_terms half
      = { 1, 0, FAULT_NO_LIMIT, 50 * FAULT_ONE_PERCENT };
  char first[256];

  strcpy (first, pattern (&half, 7, 1, 200));
  ck_assert_str_eq (pattern (&half, 7, 1, 200), first);
  ck_assert_str_ne (pattern (&half, 8, 1, 200), first);
  ck_assert_str_ne (pattern (&half, 7, 2, 200), first);
}
END_TEST

/* Six standard deviations: one run in 500 million is outside. */
START_TEST (test_probability_is_what_it_says)
{
  static const double percents[] = { 0.1, 1, 10, 50, 90, 99.9 };
  enum { NR_CALLS = 200000 };

  for (unsigned i = 0; i < NR (percents); i++) {
    struct fault_terms terms
        = { 1, 0, FAULT_NO_LIMIT, (uint32_t)(percents[i] * FAULT_ONE_PERCENT) };
    double p = percents[i] / 100, off;
    struct fault_when when;
    uint64_t hit;

    fault_when_init (&when, &terms, rng_seed (), i);
    for (unsigned n = 0; n < NR_CALLS; n++)
      fault_when_fires (&when, &hit);
    off = (double)when.nr_hits - NR_CALLS * p;
    ck_assert_double_lt (off * off, 36 * NR_CALLS * p * (1 - p));
  }
}
END_TEST

struct counting {
  struct fault_when when;
  _Atomic unsigned nr_fired;
  unsigned nr_calls;
};

static void *
calls (void *opaque)
{
  struct counting *counting = opaque;
  uint64_t hit;

  for (unsigned n = 0; n < counting->nr_calls; n++) {
    if (fault_when_fires (&counting->when, &hit))
      counting->nr_fired++;
  }
  return NULL;
}

static unsigned
nr_fired_by_threads (const struct fault_terms *terms, unsigned nr_threads,
                     unsigned nr_calls)
{
  struct counting counting = { .nr_calls = nr_calls };
  pthread_t threads[4];

  fault_when_init (&counting.when, terms, 3, 1);
  for (unsigned i = 0; i < nr_threads; i++)
    threads[i] = thread_start (calls, &counting);
  for (unsigned i = 0; i < nr_threads; i++)
    thread_join (threads[i]);
  ck_assert_uint_eq (counting.when.nr_seen, nr_threads * nr_calls);
  ck_assert_uint_eq (counting.when.nr_hits, counting.nr_fired);
  return counting.nr_fired;
}

START_TEST (test_counts_are_exact_whoever_counts)
{
  static const struct fault_terms every
      = { 7, 10, FAULT_NO_LIMIT, FAULT_ALWAYS },
      limited = { 7, 10, 100, FAULT_ALWAYS },
      chance = { 1, 0, FAULT_NO_LIMIT, 30 * FAULT_ONE_PERCENT };

  ck_assert_uint_eq (nr_fired_by_threads (&every, 4, 10000),
                     (4 * 10000 - 10) / 7);
  ck_assert_uint_eq (nr_fired_by_threads (&limited, 4, 10000), 100);
  /* Of so many calls so many fire, whoever makes them. */
  ck_assert_uint_eq (nr_fired_by_threads (&chance, 4, 10000),
                     nr_fired_by_threads (&chance, 1, 40000));
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("fault-rules");
  TCase *tcase;

  tcase = harness_case (suite, "strings");
  tcase_add_test (tcase, test_fault_string_is_read);
  tcase_add_test (tcase, test_no_fault_string_is_off);
  tcase_add_test (tcase, test_bad_fault_string_is_refused);

  tcase = harness_case (suite, "rules");
  tcase_add_test (tcase, test_rule_is_printed_in_one_form);
  tcase_add_test (tcase, test_errno_names_the_status_that_has_it);
  tcase_add_test (tcase, test_bad_rule_is_refused_in_words);
  tcase_add_test (tcase, test_rule_that_is_too_long_is_refused);
  tcase_add_test (tcase, test_any_rule_survives_its_text);
  tcase_add_test (tcase, test_rules_have_a_semicolon_between_them);

  tcase = harness_case (suite, "when");
  tcase_add_test (tcase, test_each_so_manieth_call_after_those_that_pass_fires);
  tcase_add_test (tcase, test_chance_is_repeated_by_its_seed_and_differs_by_id);
  tcase_add_test (tcase, test_probability_is_what_it_says);
  tcase_add_test (tcase, test_counts_are_exact_whoever_counts);
  return harness_main (suite);
}

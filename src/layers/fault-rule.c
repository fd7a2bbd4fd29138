/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fault-rule.c: from the text of a rule to the rule.  The grammar is in
 * blkmq-layers(7).  No state: any thread.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "engine/config.h"
#include "fault.h"

/* ---- the words ---- */

enum name {
  AT,
  OP,
  SECTORS,
  STATUS,
  ERRNO,
  HANG,
  DELAY,
  EVERY,
  PROBABILITY,
  ONCE,
  TIMES,
  AFTER,
  NR_NAMES
};

/* Linux's names of what blkmq_status_to_errno says; ok has none. */
static const char *const errno_words[] = {
  [BLKMQ_STS_NOTSUPP - 1] = "EOPNOTSUPP", [BLKMQ_STS_TIMEOUT - 1] = "ETIMEDOUT",
  [BLKMQ_STS_NOSPC - 1] = "ENOSPC",       [BLKMQ_STS_RESOURCE - 1] = "ENOMEM",
  [BLKMQ_STS_IOERR - 1] = "EIO",          [BLKMQ_STS_MEDIUM - 1] = "ENODATA",
  [BLKMQ_STS_AGAIN - 1] = "EAGAIN",       [BLKMQ_STS_OFFLINE - 1] = "ENODEV",
  [BLKMQ_STS_INVAL - 1] = "EINVAL",       [BLKMQ_STS_READONLY - 1] = "EROFS",
  [BLKMQ_STS_ABORTED - 1] = "ECANCELED",
};

#define ONE_DAY_NS (UINT64_C (86400) * 1000 * 1000 * 1000)

/* What key_parse needs to know of those that are numbers. */
#define COUNT(name_)                                                           \
  {                                                                            \
    .name = name_, .type = BLKMQ_KEY_INT, .min = 1, .max = FAULT_COUNT_MAX     \
  }
static const struct blkmq_key names[NR_NAMES] = {
  [AT] = { .name = "at" },
  [OP] = { .name = "op" },
  [SECTORS] = { .name = "sectors" },
  [STATUS] = { .name = "status" },
  [ERRNO] = { .name = "errno" },
  [HANG] = { .name = "hang" },
  [DELAY] = { .name = "delay",
              .type = BLKMQ_KEY_TIME,
              .unit = "ns",
              .min = 1,
              .max = ONE_DAY_NS },
  [EVERY] = COUNT ("every"),
  [PROBABILITY] = { .name = "probability" },
  [ONCE] = { .name = "once" },
  [TIMES] = COUNT ("times"),
  [AFTER] = COUNT ("after"),
};

/* ---- what is wrong ---- */

/* Of all messages: the rule, and then what is wrong with it. */
static struct text
begin_error (const char *rule, struct blkmq_error *error)
{
  struct text text = text_begin_error (error);

  text_add (&text, "fault=");
  text_add_path (&text, rule);
  text_add (&text, ": ");
  return text;
}

static void
add_names (struct text *text)
{
  for (unsigned n = 0; n < NR_NAMES; n++)
    text_add (text, "%s%s%s", n > 0 ? ", " : "", names[n].name,
              n == HANG || n == ONCE ? "" : "=");
}

/* VALUE is none of WORDS. */
static int
no_such_word (enum name name, const char *value, const char *const *words,
              unsigned nr_words, const char *more, struct blkmq_error *why)
{
  struct text text = text_begin_error (why);

  text_add (&text, "%s=", names[name].name);
  text_add_value (&text, value);
  text_add (&text, ": must be one of ");
  for (unsigned i = 0; i < nr_words; i++)
    text_add (&text, "%s%s", i > 0 ? ", " : "", words[i]);
  text_add (&text, "%s", more);
  return -EINVAL;
}

static int
bad_value (enum name name, const char *value, const char *allowed,
           struct blkmq_error *why)
{
  struct text text = text_begin_error (why);

  text_add (&text, "%s=", names[name].name);
  text_add_value (&text, value);
  text_add (&text, ": must be %s", allowed);
  return -EINVAL;
}

/* ---- values ---- */

/* The index of VALUE (LEN of it) in WORDS, or -1. */
static int
find_word (const char *value, size_t len, const char *const *words,
           unsigned nr_words)
{
  for (unsigned i = 0; i < nr_words; i++) {
    if (strlen (words[i]) == len && memcmp (words[i], value, len) == 0)
      return (int)i;
  }
  return -1;
}

static int
parse_place (const char *value, struct fault_rule *rule,
             struct blkmq_error *why)
{
  int i = find_word (value, strlen (value), fault_place_words, 2);

  if (i < 0)
    return no_such_word (AT, value, fault_place_words, 2, "", why);
  rule->place = (enum fault_place)i;
  return 0;
}

static int
parse_ops (const char *value, struct fault_rule *rule, struct blkmq_error *why)
{
  const char *p = value, *end;

  if (strcmp (value, "any") == 0) {
    rule->ops = FAULT_ALL_OPS;
    return 0;
  }
  rule->ops = 0;
  for (;; p = end + 1) {
    size_t len = strcspn (p, "|");
    int op = find_word (p, len, fault_op_words, BLKMQ_NR_OPS);

    if (op < 0)
      return no_such_word (OP, value, fault_op_words, BLKMQ_NR_OPS,
                           ", several with | between them, or any", why);
    rule->ops |= 1u << op;
    end = p + len;
    if (*end == '\0')
      return 0;
  }
}

/* Digits alone, and what is behind them. */
static bool
parse_digits (const char **p, uint64_t *number)
{
  const char *begin = *p;

  *number = 0;
  for (; **p >= '0' && **p <= '9'; (*p)++) {
    if (__builtin_mul_overflow (*number, 10, number)
        || __builtin_add_overflow (*number, (unsigned)(**p - '0'), number))
      return false;
  }
  return *p > begin;
}

static int
parse_sectors (const char *value, struct fault_rule *rule,
               struct blkmq_error *why)
{
  const char *p = value;

  if (!parse_digits (&p, &rule->first_sector) || *p++ != '-'
      || !parse_digits (&p, &rule->last_sector) || *p != '\0'
      || rule->last_sector < rule->first_sector
      || rule->last_sector > INT64_MAX / 512)
    return bad_value (SECTORS, value,
                      "FIRST-LAST, 512-byte sectors, of which the last is not "
                      "before the first",
                      why);
  return 0;
}

/* Percent, to the millionth. */
static int
parse_probability (const char *value, struct fault_rule *rule,
                   struct blkmq_error *why)
{
  const char *p = value;
  uint64_t number = 0, place = FAULT_ONE_PERCENT;
  bool ok = parse_digits (&p, &number) && number <= 100;

  number *= FAULT_ONE_PERCENT;
  if (ok && *p == '.') {
    ok = p[1] != '\0';
    for (p++; ok && *p >= '0' && *p <= '9'; p++) {
      place /= 10;
      ok = place > 0;
      number += place * (uint64_t)(*p - '0');
    }
  }
  if (!ok || *p != '\0' || number == 0 || number > FAULT_ALWAYS)
    return bad_value (PROBABILITY, value,
                      "percent, above 0 and at most 100, with no more than "
                      "six decimal places",
                      why);
  rule->terms.probability = (uint32_t)number;
  return 0;
}

static int
parse_status (const char *value, struct fault_rule *rule,
              struct blkmq_error *why)
{
  const char *words[BLKMQ_NR_STATUSES];
  int i;

  for (i = 0; i < BLKMQ_NR_STATUSES; i++)
    words[i] = blkmq_status_name ((enum blkmq_status)i);
  i = find_word (value, strlen (value), words, BLKMQ_NR_STATUSES);
  if (i < 0)
    return no_such_word (STATUS, value, words, BLKMQ_NR_STATUSES, "", why);
  rule->status = (enum blkmq_status)i;
  rule->has_status = true;
  return 0;
}

static int
parse_errno (const char *value, struct fault_rule *rule,
             struct blkmq_error *why)
{
  int i = find_word (value, strlen (value), errno_words, BLKMQ_NR_STATUSES - 1);

  if (i < 0)
    return no_such_word (ERRNO, value, errno_words, BLKMQ_NR_STATUSES - 1, "",
                         why);
  rule->status = (enum blkmq_status) (i + 1);
  rule->has_status = true;
  return 0;
}

static int
parse_value (enum name name, const char *value, struct fault_rule *rule,
             struct blkmq_error *why)
{
  switch (name) {
  case AT:
    return parse_place (value, rule, why);
  case OP:
    return parse_ops (value, rule, why);
  case SECTORS:
    return parse_sectors (value, rule, why);
  case STATUS:
    return parse_status (value, rule, why);
  case ERRNO:
    return parse_errno (value, rule, why);
  case PROBABILITY:
    return parse_probability (value, rule, why);
  case HANG:
    rule->hangs = true;
    return 0;
  case ONCE:
    rule->terms.times = 1;
    return 0;
  case DELAY:
    return key_parse (&names[name], value, &rule->delay_ns, why);
  case EVERY:
    return key_parse (&names[name], value, &rule->terms.every, why);
  case TIMES:
    return key_parse (&names[name], value, &rule->terms.times, why);
  case AFTER:
    return key_parse (&names[name], value, &rule->terms.after, why);
  case NR_NAMES:
    break;
  }
  return -EINVAL;
}

/* ---- the whole ---- */

static const char *
contradiction (const struct fault_rule *rule, const bool *given)
{
  if (given[STATUS] && given[ERRNO])
    return "status= and errno= are two ways to say one thing; give one";
  if (rule->hangs && rule->has_status)
    return "a request that hangs has no status; give hang or a status";
  if (rule->hangs && given[DELAY])
    return "a request that hangs is not delayed; give hang or delay=";
  if (given[ONCE] && given[TIMES])
    return "once is times=1; give one of them";
  if (given[SECTORS] && rule->ops == 1u << BLKMQ_OP_FLUSH)
    return "a flush has no sectors; this would do nothing";
  if (rule->has_status && rule->status == BLKMQ_STS_OK
      && (rule->ops & (1u << BLKMQ_OP_READ)))
    return "status=ok would answer a read without data; give an op= that has "
           "no read";
  return NULL;
}

/* One of NAME=VALUE, NAME; is written to. */
static int
parse_item (char *item, struct fault_rule *rule, bool *given,
            struct blkmq_error *why)
{
  char *value = strchr (item, '=');
  bool takes_value;
  struct text text;
  unsigned n;

  if (value != NULL)
    *value++ = '\0';
  for (n = 0; n < NR_NAMES && strcmp (names[n].name, item) != 0; n++)
    ;
  text = text_begin_error (why);
  if (n == NR_NAMES) {
    text_add_value (&text, item);
    text_add (&text, ": %s; names are ",
              *item == '\0' ? "a name is missing" : "unknown name");
    add_names (&text);
    return -EINVAL;
  }
  takes_value = n != HANG && n != ONCE;
  if ((value != NULL) != takes_value) {
    text_add (&text, "%s: %s", item,
              takes_value ? "needs a value" : "takes no value");
    return -EINVAL;
  }
  if (given[n]) {
    text_add (&text, "%s: given twice", item);
    return -EINVAL;
  }
  given[n] = true;
  return parse_value ((enum name)n, value, rule, why);
}

int
fault_rule_parse (const char *rule_text, struct fault_rule *rule,
                  struct blkmq_error *error)
{
  char copy[FAULT_RULE_BYTES], *next = copy, *item;
  struct blkmq_error why = { "" };
  bool given[NR_NAMES] = { false };
  const char *wrong;
  struct text text;

  *rule = (struct fault_rule){
    .ops = FAULT_ALL_OPS,
    .last_sector = FAULT_ALL_SECTORS,
    .terms
    = { .every = 1, .times = FAULT_NO_LIMIT, .probability = FAULT_ALWAYS },
    .status = BLKMQ_STS_IOERR,
  };
  if (strlen (rule_text) >= sizeof copy) {
    text = begin_error (rule_text, error);
    text_add (&text, "a rule has at most %zu characters", sizeof copy - 1);
    return -EINVAL;
  }
  strcpy (copy, rule_text);
  while ((item = strsep (&next, ",")) != NULL) {
    if (parse_item (item, rule, given, &why) < 0) {
      text = begin_error (rule_text, error);
      text_add (&text, "%s", why.message);
      return -EINVAL;
    }
  }
  wrong = contradiction (rule, given);
  if (wrong != NULL) {
    text = begin_error (rule_text, error);
    text_add (&text, "%s", wrong);
    return -EINVAL;
  }
  rule->has_status |= !rule->hangs && !given[DELAY];
  return 0;
}

/* ---- several ---- */

int
fault_rules_parse (const char *list,
                   int (*fn) (const struct fault_rule *rule, unsigned index,
                              void *opaque, struct blkmq_error *error),
                   void *opaque, struct blkmq_error *error)
{
  char one[FAULT_RULE_BYTES + 1];
  const char *p = list;
  int r = 0;

  for (unsigned n = 0; p != NULL && r == 0; n++) {
    size_t len = strcspn (p, ";");
    struct fault_rule rule;

    /* What is too long is refused, cut off or not. */
    snprintf (one, sizeof one, "%.*s",
              (int)(len < sizeof one ? len : sizeof one), p);
    r = fault_rule_parse (one, &rule, error);
    if (r == 0)
      r = fn (&rule, n, opaque, error);
    p = p[len] == ';' ? p + len + 1 : NULL;
  }
  return r;
}

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fault-print.c: from a rule to its text, in one form for each rule.  No state:
 * any thread.
 */

#include <config.h>

#include <inttypes.h>

#include "text.h"
#include "fault.h"

const char *const fault_place_words[2] = {
  [FAULT_BUS] = "bus",
  [FAULT_MEDIA] = "media",
};

const char *const fault_op_words[BLKMQ_NR_OPS] = {
  [BLKMQ_OP_READ] = "read",         [BLKMQ_OP_WRITE] = "write",
  [BLKMQ_OP_FLUSH] = "flush",       [BLKMQ_OP_DISCARD] = "trim",
  [BLKMQ_OP_WRITE_ZEROES] = "zero",
};

static void
add_time (struct text *text, uint64_t ns)
{
  static const struct {
    const char *name;
    uint64_t ns;
  } units[]
      = { { "s", 1000000000 }, { "ms", 1000000 }, { "us", 1000 }, { "ns", 1 } };
  unsigned i = 0;

  while (ns % units[i].ns != 0)
    i++;
  text_add (text, ",delay=%" PRIu64 "%s", ns / units[i].ns, units[i].name);
}

static void
add_ops (struct text *text, unsigned ops)
{
  const char *between = "";

  text_add (text, ",op=");
  if (ops == FAULT_ALL_OPS) {
    text_add (text, "any");
    return;
  }
  for (unsigned op = 0; op < BLKMQ_NR_OPS; op++) {
    if (!(ops & (1u << op)))
      continue;
    text_add (text, "%s%s", between, fault_op_words[op]);
    between = "|";
  }
}

static void
add_probability (struct text *text, uint32_t probability)
{
  unsigned fraction = probability % FAULT_ONE_PERCENT, digits = 6;

  text_add (text, ",probability=%u", probability / FAULT_ONE_PERCENT);
  if (fraction == 0)
    return;
  for (; fraction % 10 == 0; fraction /= 10)
    digits--;
  text_add (text, ".%0*u", (int)digits, fraction);
}

void
fault_rule_print (const struct fault_rule *rule, char *buf, size_t bytes)
{
  struct text text = text_begin (buf, bytes);
  const struct fault_terms *terms = &rule->terms;

  text_add (&text, "at=%s", fault_place_words[rule->place]);
  add_ops (&text, rule->ops);
  if (rule->last_sector != FAULT_ALL_SECTORS)
    text_add (&text, ",sectors=%" PRIu64 "-%" PRIu64, rule->first_sector,
              rule->last_sector);
  if (terms->after > 0)
    text_add (&text, ",after=%" PRIu64, terms->after);
  if (terms->every > 1)
    text_add (&text, ",every=%" PRIu64, terms->every);
  if (terms->probability < FAULT_ALWAYS)
    add_probability (&text, terms->probability);
  if (terms->times != FAULT_NO_LIMIT)
    text_add (&text, ",times=%" PRIu64, terms->times);
  if (rule->hangs)
    text_add (&text, ",hang");
  if (rule->has_status)
    text_add (&text, ",status=%s", blkmq_status_name (rule->status));
  if (rule->delay_ns > 0)
    add_time (&text, rule->delay_ns);
}

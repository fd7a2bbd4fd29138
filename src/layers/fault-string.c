/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fault-string.c: "<interval>,<probability>,<space>,<times>", as the kernel's
 * fault injection has it (Documentation/fault-injection).  No state: any
 * thread.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "engine/config.h"
#include "fault.h"

enum field { INTERVAL, PROBABILITY, SPACE, TIMES, NR_FIELDS };

static const struct blkmq_key fields[NR_FIELDS] = {
  [INTERVAL] = { .name = "interval",
                 .type = BLKMQ_KEY_INT,
                 .min = 1,
                 .max = FAULT_COUNT_MAX },
  [PROBABILITY] = { .name = "probability",
                    .type = BLKMQ_KEY_INT,
                    .unit = "percent",
                    .min = 0,
                    .max = 100 },
  [SPACE] = { .name = "space",
              .type = BLKMQ_KEY_INT,
              .min = 0,
              .max = FAULT_COUNT_MAX },
  [TIMES] = { .name = "times",
              .type = BLKMQ_KEY_INT,
              .min = 0,
              .max = FAULT_COUNT_MAX },
};

static struct text
begin_error (const char *key, const char *value, struct blkmq_error *error)
{
  struct text text = text_begin_error (error);

  text_add (&text, "%s=", key);
  text_add_value (&text, value);
  text_add (&text, ": ");
  return text;
}

/* The next of the fields that P points to, into FIELD; false if there is none,
 * or if it is too long to be one. */
static bool
next_field (const char **p, char *field, size_t bytes)
{
  size_t len;

  if (*p == NULL)
    return false;
  len = strcspn (*p, ",");
  if (len >= bytes)
    return false;
  memcpy (field, *p, len);
  field[len] = '\0';
  *p = (*p)[len] == ',' ? *p + len + 1 : NULL;
  return true;
}

static int
parse_field (enum field field, const char *value, uint64_t *number,
             struct blkmq_error *error)
{
  if (field == TIMES && strcmp (value, "-1") == 0) {
    *number = FAULT_NO_LIMIT;
    return 0;
  }
  return key_parse (&fields[field], value, number, error);
}

int
fault_string_parse (const char *key, const char *value,
                    struct fault_terms *terms, struct blkmq_error *error)
{
  const char *p = value;
  uint64_t numbers[NR_FIELDS];
  struct blkmq_error why = { "" };
  struct text text;
  char field[24]; /* more than any number in bounds */
  unsigned n;

  *terms = (struct fault_terms){ .every = 1 };
  if (value == NULL || *value == '\0')
    return 0;
  for (n = 0; n < NR_FIELDS && next_field (&p, field, sizeof field); n++) {
    if (parse_field ((enum field)n, field, &numbers[n], &why) < 0) {
      text = begin_error (key, value, error);
      text_add (&text, "%s%s", why.message,
                n == TIMES ? ", or -1 for no limit" : "");
      return -EINVAL;
    }
  }
  if (n < NR_FIELDS || p != NULL) {
    text = begin_error (key, value, error);
    text_add (&text, "must be <interval>,<probability>,<space>,<times>: four "
                     "whole numbers, times -1 for no limit; empty is off");
    return -EINVAL;
  }
  *terms = (struct fault_terms){
    .every = numbers[INTERVAL],
    .after = numbers[SPACE],
    .times = numbers[TIMES],
    .probability = (uint32_t)numbers[PROBABILITY] * FAULT_ONE_PERCENT,
  };
  return 0;
}

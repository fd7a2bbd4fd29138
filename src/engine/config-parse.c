/* SPDX-License-Identifier: BSD-3-Clause
 *
 * config-parse.c: from the text of one value to its number, and back to words
 * that say what a value may be.  No state: any thread.
 *
 * Values are exact or refused: nothing is rounded, clamped or wrapped.
 */

#include <config.h>

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "blkmq-driver.h"
#include "engine/config.h"
#include "engine/registry.h"

/* ------------------------------------------------------------------------ */
/* Numbers                                                                   */

/* The parsers below return NULL for success, or what is wrong. */
static const char too_large[] = "too large";
static const char not_a_number[] = "not a number";
static const char bad_suffix[] = "unknown suffix";

static bool
is_digit (char c)
{
  return c >= '0' && c <= '9';
}

/* *END is set when digits were there, even if they stand for too much. */
static const char *
parse_digits (const char *value, uint64_t *number, const char **end)
{
  const char *result = NULL;
  const char *p = value;
  uint64_t n = 0;

  if (*p == '\0')
    return "empty";
  if (*p == '-' && is_digit (p[1]))
    return "negative";
  if (!is_digit (*p))
    return not_a_number;
  for (; is_digit (*p); p++)
    if (__builtin_mul_overflow (n, 10, &n)
        || __builtin_add_overflow (n, (unsigned)(*p - '0'), &n))
      result = too_large;
  *number = n;
  *end = p;
  return result;
}

static const char *
parse_int (const char *value, uint64_t *number)
{
  const char *end = NULL;
  const char *wrong = parse_digits (value, number, &end);

  if (end != NULL && *end != '\0')
    return not_a_number;
  return wrong;
}

/* What nbdkit_parse_size takes, but for its leading blanks and signs.
 * BARE_BYTES is what a number without a suffix counts. */
static const char *
parse_size (const char *value, uint64_t bare_bytes, uint64_t *number)
{
  static const struct {
    char lower, upper;
    uint64_t bytes;
  } suffixes[] = {
    { 'b', 'B', 1 },
    { 's', 'S', 512 },
    { 'k', 'K', UINT64_C (1) << 10 },
    { 'm', 'M', UINT64_C (1) << 20 },
    { 'g', 'G', UINT64_C (1) << 30 },
    { 't', 'T', UINT64_C (1) << 40 },
    { 'p', 'P', UINT64_C (1) << 50 },
    { 'e', 'E', UINT64_C (1) << 60 },
  };
  const char *end = NULL;
  const char *wrong = parse_digits (value, number, &end);
  size_t i;

  if (end == NULL)
    return wrong;
  if (*end == '\0') {
    if (__builtin_mul_overflow (*number, bare_bytes, number))
      return too_large;
    return wrong;
  }
  if (*end == '.')
    return "a fraction";
  for (i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
    if ((*end != suffixes[i].lower && *end != suffixes[i].upper)
        || end[1] != '\0')
      continue;
    if (__builtin_mul_overflow (*number, suffixes[i].bytes, number))
      return too_large;
    return wrong;
  }
  return bad_suffix;
}

struct time_unit {
  const char *name;
  uint64_t ns;
  const char *inexact;
};

static const struct time_unit *
find_time_unit (const char *name)
{
  static const struct time_unit units[] = {
    { "ns", 1, "not a whole number of ns" },
    { "us", 1000, "not a whole number of us" },
    { "ms", 1000 * 1000, "not a whole number of ms" },
    { "s", 1000 * 1000 * 1000, "not a whole number of s" },
  };
  size_t i;

  for (i = 0; i < sizeof units / sizeof units[0]; i++)
    if (strcmp (name, units[i].name) == 0)
      return &units[i];
  return NULL;
}

/* DIGITS (up to END) behind a decimal point, of a unit of UNIT_NS.  False if
 * that is no whole number of nanoseconds. */
static bool
fraction_to_ns (const char *digits, const char *end, uint64_t unit_ns,
                uint64_t *ns)
{
  uint64_t place_ns = unit_ns;

  *ns = 0;
  for (; digits < end; digits++) {
    /* Past the nanosecond only zeros are exact. */
    if (place_ns < 10 && *digits != '0')
      return false;
    place_ns /= 10;
    *ns += place_ns * (uint64_t)(*digits - '0');
  }
  return true;
}

static const char *
parse_time (const char *value, const char *key_unit, uint64_t *number)
{
  const struct time_unit *unit = find_time_unit (key_unit);
  const struct time_unit *suffix;
  const char *end = NULL;
  const char *fraction = NULL, *fraction_end = NULL;
  const char *wrong = parse_digits (value, number, &end);
  uint64_t ns, fraction_ns = 0;

  assert (unit != NULL);
  if (end == NULL || *end == '\0')
    return wrong;
  if (*end == '.') {
    fraction = ++end;
    while (is_digit (*end))
      end++;
    fraction_end = end;
    if (fraction == fraction_end)
      return not_a_number;
    if (*end == '\0')
      return "a fraction without a suffix";
  }
  suffix = find_time_unit (end);
  if (suffix == NULL)
    return bad_suffix;
  if (wrong != NULL)
    return wrong;
  if (fraction != NULL
      && !fraction_to_ns (fraction, fraction_end, suffix->ns, &fraction_ns))
    return unit->inexact;
  if (__builtin_mul_overflow (*number, suffix->ns, &ns)
      || __builtin_add_overflow (ns, fraction_ns, &ns))
    return too_large;
  if (ns % unit->ns != 0)
    return unit->inexact;
  *number = ns / unit->ns;
  return NULL;
}

/* ------------------------------------------------------------------------ */
/* Words                                                                     */

static const char *
parse_bool (const char *value, uint64_t *number)
{
  static const char *const words[][2] = {
    { "0", "1" },
    { "false", "true" },
    { "no", "yes" },
    { "off", "on" },
  };
  size_t i, j;

  for (i = 0; i < sizeof words / sizeof words[0]; i++)
    for (j = 0; j < 2; j++)
      if (strcasecmp (value, words[i][j]) == 0) {
        *number = j;
        return NULL;
      }
  return "not a boolean";
}

static const char *
parse_enum (const char *value, const char *const *words, uint64_t *number)
{
  uint64_t i;

  for (i = 0; words[i] != NULL; i++)
    if (strcmp (value, words[i]) == 0) {
      *number = i;
      return NULL;
    }
  if (parse_int (value, number) == NULL && *number < i)
    return NULL;
  return "unknown word";
}

/* ------------------------------------------------------------------------ */
/* Keys                                                                      */

static bool
is_numeric (enum blkmq_key_type type)
{
  return type == BLKMQ_KEY_INT || type == BLKMQ_KEY_SIZE
         || type == BLKMQ_KEY_TIME;
}

/* A size whose bare number is in MiB, as null_blk has some. */
static bool
is_in_mib (const struct blkmq_key *key)
{
  return key->unit != NULL && strcmp (key->unit, "MiB") == 0;
}

int
key_parse (const struct blkmq_key *key, const char *value, uint64_t *number,
           struct blkmq_error *error)
{
  const char *wrong = NULL;
  struct text text;
  char allowed[256];
  uint64_t n = 0;

  switch (key->type) {
  case BLKMQ_KEY_BOOL:
    wrong = parse_bool (value, &n);
    break;
  case BLKMQ_KEY_INT:
    wrong = parse_int (value, &n);
    break;
  case BLKMQ_KEY_SIZE:
    wrong = parse_size (value, is_in_mib (key) ? UINT64_C (1) << 20 : 1, &n);
    break;
  case BLKMQ_KEY_TIME:
    wrong = parse_time (value, key->unit, &n);
    break;
  case BLKMQ_KEY_ENUM:
    wrong = parse_enum (value, key->words, &n);
    break;
  case BLKMQ_KEY_STRING:
    break;
  default:
    assert (!"a key of no known type");
  }

  if (wrong == NULL && is_numeric (key->type)) {
    /* The bounds themselves, printed next, say what is wrong. */
    if (n < key->min || n > key->max
        || (key->power_of_two && (n == 0 || (n & (n - 1)) != 0)))
      wrong = "";
  }
  if (wrong != NULL) {
    blkmq_key_allowed (key, allowed, sizeof allowed);
    text = text_begin_error (error);
    text_add (&text, "%s=", key->name);
    text_add_value (&text, value);
    text_add (&text, ": %s%smust be %s", wrong, *wrong != '\0' ? "; " : "",
              allowed);
    return -EINVAL;
  }
  *number = n;
  return 0;
}

void
blkmq_key_allowed (const struct blkmq_key *key, char *buf, size_t buf_bytes)
{
  struct text text = text_begin (buf, buf_bytes);
  const struct blkmq_driver *driver;
  size_t i;

  assert (key != NULL);

  switch (key->type) {
  case BLKMQ_KEY_BOOL:
    text_add (&text, "1, true, yes, on or 0, false, no, off");
    return;
  case BLKMQ_KEY_ENUM:
    text_add (&text, "one of ");
    for (i = 0; key->words[i] != NULL; i++)
      text_add (&text, "%s%s", i > 0 ? ", " : "", key->words[i]);
    text_add (&text, " (or 0 to %zu)", i - 1);
    return;
  case BLKMQ_KEY_STRING:
    if (key != key_find (engine_keys, nr_engine_keys, "driver")) {
      text_add (&text, "any text");
      return;
    }
    text_add (&text, "one of ");
    for (i = 0; (driver = blkmq_driver_at (i)) != NULL; i++)
      text_add (&text, "%s%s", i > 0 ? ", " : "", driver->name);
    text_add (&text, ", or the path of a shared object, with a /");
    return;
  case BLKMQ_KEY_INT:
  case BLKMQ_KEY_SIZE:
  case BLKMQ_KEY_TIME:
    break;
  default:
    assert (!"a key of no known type");
  }

  text_add (&text, "%s from %" PRIu64 " to %" PRIu64,
            key->power_of_two             ? "a power of two"
            : key->type == BLKMQ_KEY_SIZE ? "a size"
            : key->type == BLKMQ_KEY_TIME ? "a time"
                                          : "a whole number",
            key->min, key->max);
  if (key->type == BLKMQ_KEY_SIZE)
    text_add (&text, "%s (%s; suffixes b s k M G T P E)",
              is_in_mib (key) ? " bytes" : "",
              is_in_mib (key) ? "MiB without a suffix" : "bytes");
  else if (key->type == BLKMQ_KEY_TIME)
    text_add (&text, " (%s; suffixes ns us ms s)", key->unit);
  else if (key->unit != NULL)
    text_add (&text, " (%s)", key->unit);
}

/* nbdkit takes more; these need no quoting anywhere. */
bool
key_name_is_plain (const char *name)
{
  const char *p;

  if (!(*name >= 'a' && *name <= 'z'))
    return false;
  for (p = name; *p != '\0'; p++)
    if (!(*p >= 'a' && *p <= 'z') && !is_digit (*p) && *p != '_')
      return false;
  return true;
}

int
key_check (const struct blkmq_key *key, struct blkmq_error *error)
{
  struct text text;
  const char *wrong = NULL;
  const char *name = key->name != NULL ? key->name : "(unnamed)";
  uint64_t number;

  if (key->name == NULL || *key->name < 'a' || *key->name > 'z')
    wrong = "the name must start with a letter";
  else if (key->help == NULL)
    wrong = "help is required";
  else if (key->type > BLKMQ_KEY_STRING)
    wrong = "no such type";
  else if (is_numeric (key->type) && key->min > key->max)
    wrong = "min is above max";
  else if (key->type == BLKMQ_KEY_TIME
           && (key->unit == NULL || find_time_unit (key->unit) == NULL))
    wrong = "the unit of a time is one of ns, us, ms, s";
  else if (key->type == BLKMQ_KEY_SIZE && key->unit != NULL
           && strcmp (key->unit, "bytes") != 0 && !is_in_mib (key))
    wrong = "the unit of a size is bytes or MiB";
  else if (key->type == BLKMQ_KEY_ENUM
           && (key->words == NULL || key->words[0] == NULL))
    wrong = "an enumeration needs words";
  else if (key->required && key->default_value != NULL)
    wrong = "what is required has no default";
  else if (!key_name_is_plain (name))
    wrong = "the name must consist of a-z 0-9 _";

  if (wrong != NULL) {
    text = text_begin_error (error);
    text_add (&text, "declaration of key ");
    text_add_value (&text, name);
    text_add (&text, ": %s", wrong);
    return -EINVAL;
  }
  if (key->default_value != NULL)
    return key_parse (key, key->default_value, &number, error);
  return 0;
}

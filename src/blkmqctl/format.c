/* SPDX-License-Identifier: BSD-3-Clause
 *
 * format.c: numbers as text.  Pure functions, any thread.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>

#include "blkmqctl/format.h"

#define NR(array) (sizeof (array) / sizeof ((array)[0]))

const char *
format_count (char *buf, uint64_t count)
{
  char digits[FORMAT_BYTES];
  int nr = snprintf (digits, sizeof digits, "%" PRIu64, count);
  char *to = buf;

  for (int i = 0; i < nr; i++) {
    if (i > 0 && (nr - i) % 3 == 0)
      *to++ = ',';
    *to++ = digits[i];
  }
  *to = '\0';
  return buf;
}

const char *
format_rate (char *buf, double per_second)
{
  static const char *const units[] = { "M", "G", "T" };
  double value = per_second / 1e6;
  size_t unit = 0;

  if (per_second <= 0)
    snprintf (buf, FORMAT_BYTES, "0");
  else if (per_second < 0.05)
    snprintf (buf, FORMAT_BYTES, "<0.1");
  else if (per_second < 9.95)
    snprintf (buf, FORMAT_BYTES, "%.1f", per_second);
  else if (per_second < 9999999.5)
    format_count (buf, (uint64_t)(per_second + 0.5));
  else {
    for (; value >= 999.95 && unit + 1 < NR (units); unit++)
      value /= 1000;
    snprintf (buf, FORMAT_BYTES, "%.1f %s", value, units[unit]);
  }
  return buf;
}

static const char *const size_units[]
    = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };

const char *
format_amount (char *buf, double bytes)
{
  size_t unit = 0;

  /* What would be rounded up to 1024.0 belongs to the next unit. */
  for (; bytes >= (unit == 0 ? 1023.5 : 1023.95) && unit + 1 < NR (size_units);
       unit++)
    bytes /= 1024;
  snprintf (buf, FORMAT_BYTES, unit == 0 ? "%.0f %s" : "%.1f %s", bytes,
            size_units[unit]);
  return buf;
}

const char *
format_size (char *buf, uint64_t bytes)
{
  uint64_t whole = bytes;
  size_t unit = 0;

  for (; whole >= 1024 && whole % 1024 == 0 && unit + 1 < NR (size_units);
       unit++)
    whole /= 1024;
  if (whole >= 1024)
    return format_amount (buf, (double)bytes);
  snprintf (buf, FORMAT_BYTES, "%" PRIu64 " %s", whole, size_units[unit]);
  return buf;
}

const char *
format_time (char *buf, double ns)
{
  static const char *const units[] = { "ns", "us", "ms", "s" };
  size_t unit = 0;
  int decimals;

  for (; ns >= 999.5 && unit + 1 < NR (units); unit++)
    ns /= 1000;
  decimals = unit == 0 || ns >= 99.95 ? 0 : ns >= 9.995 ? 1 : 2;
  snprintf (buf, FORMAT_BYTES, "%.*f %s", decimals, ns, units[unit]);
  return buf;
}

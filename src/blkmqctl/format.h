/* SPDX-License-Identifier: BSD-3-Clause
 *
 * format.h: numbers as text for people.  Each function writes to BUF, whose
 * size is FORMAT_BYTES, and returns it; none writes more columns than it says,
 * so that tables stay aligned.  All text is ASCII.
 */

#ifndef BLKMQ_BLKMQCTL_FORMAT_H
#define BLKMQ_BLKMQCTL_FORMAT_H

#include <stdint.h>

#define FORMAT_BYTES 32

/* "1,234,567" */
const char *format_count (char *buf, uint64_t count);

/* What happens in a second: "0.5", "1,234,567", "12.3 M"; 9 columns. */
const char *format_rate (char *buf, double per_second);

/* A size that was chosen by somebody: "4 KiB", "1.5 MiB", "1000 B"; 10
 * columns. */
const char *format_size (char *buf, uint64_t bytes);

/* An amount that was measured: "0 B", "482.3 MiB"; 10 columns. */
const char *format_amount (char *buf, double bytes);

/* Three digits: "850 ns", "83.1 us", "1.20 ms", "12.3 s"; 8 columns, for times
 * of up to eleven days. */
const char *format_time (char *buf, double ns);

#endif /* BLKMQ_BLKMQCTL_FORMAT_H */

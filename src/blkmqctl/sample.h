/* SPDX-License-Identifier: BSD-3-Clause
 *
 * sample.h: the counters of a disk at one time, and what happened between two
 * such times.  One thread; nothing here does I/O.
 */

#ifndef BLKMQ_BLKMQCTL_SAMPLE_H
#define BLKMQ_BLKMQCTL_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

/* What the server may know and this program does not is OTHER. */
enum sample_op {
  SAMPLE_READ = 0,
  SAMPLE_WRITE,
  SAMPLE_FLUSH,
  SAMPLE_DISCARD,
  SAMPLE_WRITE_ZEROES,
  SAMPLE_OTHER,
  SAMPLE_NR_OPS,
  SAMPLE_ALL = SAMPLE_NR_OPS, /* of rates: their sum */
};

/* "read", ..., "other", "all" */
const char *sample_op_name (enum sample_op op);

struct sample_bucket {
  uint32_t index; /* of blkmq_histogram's buckets */
  uint64_t count;
};

/* Of one hctx, or of all. */
struct sample_counters {
  struct {
    uint64_t ios, bytes, in_flight;
    size_t first_bucket, nr_buckets; /* in struct sample's */
  } op[SAMPLE_NR_OPS];
  uint64_t waiting, busy, requeues;
  uint64_t errors; /* of requests, and ios that were rejected */
  bool timed;      /* latencies are measured */
};

struct sample {
  uint64_t now_ns;
  size_t nr_hctxs;
  struct sample_counters *hctxs, total;
  struct sample_bucket *buckets;
  size_t nr_buckets, max_buckets;
  char *errors; /* "timeout 3, ioerr 2", "" without any; of all hctxs */
};

/* Take a sample out of the result of "stats", which without buckets makes no
 * percentiles.  0, or -1 and
 * *ERROR, which is the caller's, says what is wrong; the sample is then
 * empty. */
int sample_read (struct sample *sample, json_t *stats, char **error);
void sample_free (struct sample *sample);

struct rates_op {
  double per_second, bytes_per_second;
  uint64_t in_flight;
  uint64_t nr_timed;       /* that ended and were measured; 0: no percentiles */
  uint64_t p50_ns, p99_ns; /* of these */
};

struct rates {
  bool known; /* there is a sample to compare with: else only what is there now
                 (in_flight, waiting) is set */
  bool timed;
  struct rates_op op[SAMPLE_NR_OPS + 1];
  double errors, busy, requeues; /* a second */
  uint64_t waiting;
};

/* What counters of NOW have counted since those of BEFORE, which are NULL when
 * there were none.  Counters that were reset meanwhile count from 0. */
void rates_between (struct rates *rates, const struct sample *before,
                    const struct sample_counters *counters_before,
                    const struct sample *now,
                    const struct sample_counters *counters_now);

/* The N of all hctxs in RATES that do most (requests a second, then what is in
 * flight or waits), by their indexes in CHOSEN, in ascending order. */
void rates_busiest (const struct rates *rates, size_t nr, size_t *chosen,
                    size_t n);

#endif /* BLKMQ_BLKMQCTL_SAMPLE_H */

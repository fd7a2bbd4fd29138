/* SPDX-License-Identifier: BSD-3-Clause
 *
 * engine.h: what the files of bench/engine share: the settings that are
 * measured, with their samples, and what is made of these.
 */

#ifndef BENCH_ENGINE_H
#define BENCH_ENGINE_H

#include <stdint.h>

#include "blkmq.h"

#define MAX_ROUNDS 99

/* How a worker drives the disk. */
enum drive {
  DRIVE_ATOMICS, /* no disk at all */
  DRIVE_SINGLE,  /* one io a call */
  DRIVE_BATCH,   /* 32 ios a doorbell */
  DRIVE_LOOP,    /* 32 ios a turn of a lent loop, which ends them */
};

struct setting {
  const char *name, *about;
  enum drive drive;
  unsigned nr_threads;
  enum blkmq_op op;
  const char *keys;  /* "key=value key=value" */
  const char *base;  /* the setting without the feature, or NULL */
  double at_most_ns; /* required of the median, or 0 */
  double samples[MAX_ROUNDS];
};

/* engine-settings.c.  To measure another feature, add a row. */
extern struct setting settings[];
extern const unsigned nr_settings;
struct setting *setting_named (const char *name);

/* The other figures of a run. */
struct run {
  unsigned rounds;
  uint64_t nr_requests;
  uint64_t nr_allocations;
};

/* engine-report.c */
void print_table (const struct run *run);
void print_verdicts (const struct run *run);
/* 0 or -errno. */
int write_json (const char *path, const struct run *run);

#endif /* BENCH_ENGINE_H */

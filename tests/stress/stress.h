/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stress.h: what the parts of the stress program share.
 *
 *   matrix.c   the configurations: one table, a line a dimension
 *   device.c   the driver: a device with faults, and the books it keeps
 *   slot.c     the ios and what their blocks must hold
 *   crowd.c    the threads: workers, a keeper of references, controllers
 *   unit.c     a disk, its power cycles, and what must hold when it is over
 *   main.c     the walk through the matrix, the watchdog, the dump
 *
 * A round is one configuration.  It has units (disks, with a medium each that
 * outlives power cycles); a unit has one run at a time, from power on to power
 * off.  Every number that the harness counts is a run's, to be compared with
 * the engine's when the run is over.
 */

#ifndef BLKMQ_TESTS_STRESS_H
#define BLKMQ_TESTS_STRESS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "blkmq-driver.h"
#include "blkmq.h"
#include "engine/clock.h"

#define NR(array) (sizeof (array) / sizeof ((array)[0]))
#define US UINT64_C (1000)
#define MS UINT64_C (1000000)

#define BLOCK_BYTES 512u
#define MAX_IO_BLOCKS 4
#define MAX_DISKS 3
#define MAX_HCTXS 8
#define MAX_DEPTH 2048
#define MAX_RUN 16 /* ios in a row, to be merged */
#define NR_WORKERS 3
#define NR_DEVICE_THREADS 2

/* A check that always counts, on any thread: says what, where, and how to
 * repeat it, dumps what there is, and aborts. */
#define require(condition)                                                     \
  ((condition) ? (void)0 : stress_failed (__FILE__, __LINE__, #condition))
/* The same for two numbers. */
#define require_op(a, op, b)                                                   \
  do {                                                                         \
    int64_t require_a = (int64_t)(a), require_b = (int64_t)(b);                \
                                                                               \
    if (!(require_a op require_b))                                             \
      stress_failed_numbers (__FILE__, __LINE__, #a " " #op " " #b, require_a, \
                             require_b);                                       \
  } while (0)

void stress_failed (const char *file, int line, const char *condition)
    __attribute__ ((noreturn));
void stress_failed_numbers (const char *file, int line, const char *condition,
                            int64_t a, int64_t b) __attribute__ ((noreturn));

/* ---- main.c ---- */

/* This thread's stream.  Who draws names himself first; a thread that did not
 * (an hctx's) gets a stream by the order in which it first draws. */
void rng_name_thread (uint64_t stream);
uint64_t rng_next (void);
uint64_t rng_below (uint64_t n);
bool permille (unsigned n);

/* Real time, in ns. */
uint64_t real_now_ns (void);
/* Pace a thread that would otherwise only burn a CPU. */
void pause_us (unsigned us);

/* ---- matrix.c ---- */

/* One configuration.  Probabilities are in 1/1000. */
struct shape {
  char name[800]; /* all words */
  char keys[640]; /* those that are the engine's */
  unsigned disks, power, iodepth, commit, fast;
  unsigned inside, late, never, requeue, busy_device, busy_host, error, twice;
  unsigned abort, nowait, bad, sync, control;
  unsigned set;               /* its disks share their tags */
  unsigned more_requests;     /* nr_requests beyond twice the depth */
  unsigned live, change;      /* queues and depth; the scheduler */
  unsigned runs;              /* batches of ios that follow each other */
  unsigned cache, fua;        /* the device's */
  unsigned barrier, reserved; /* ios; reserved: as many tags, too */
  unsigned aside;             /* of the requeues */
  unsigned settings;          /* changed live: the layers' */

  /* Read off the engine's keys. */
  unsigned depth, queues;
  uint64_t io_timeout_ns;
  uint32_t max_part_bytes;
  bool may_be_kept; /* after give-back: irqmode, layers */
  bool may_refuse;  /* beside the device: a throttle */
  bool is_shared;   /* tags, by hctxs or disks */
  bool may_merge, iostats;
  bool may_grow; /* a request may, after it was seen */
};

/* How many there are. */
uint64_t matrix_nr (void);
/* That of round NUMBER, from 1.  Draws from streams of its own. */
void matrix_shape (unsigned number, struct shape *shape);
/* QUEUES, DEPTH: other than the shape's, unless they are 0. */
struct blkmq_config *matrix_config (const struct shape *shape, unsigned queues,
                                    unsigned depth);

/* How many requests a round of this shape gets. */
uint64_t matrix_quota (const struct shape *shape);

/* ---- a round ---- */

/* Its threads, for the dump. */
enum { WORKER, KEEPER = NR_WORKERS, QUIESCER, FREEZER, NR_MEMBERS };

struct round {
  const struct shape *shape;
  uint64_t stream; /* of this round */
  uint64_t quota;
  struct unit *units[MAX_DISKS];
  struct worker *workers[NR_WORKERS];
  const char *_Atomic stage;             /* for the dump */
  const char *_Atomic doing[NR_MEMBERS]; /* likewise */
  _Atomic uint64_t nr_submitted;
  _Atomic bool quit; /* keeper and controllers */
  _Atomic uint64_t nr_refs, nr_visits, nr_quiesces, nr_freezes, nr_cycles;
  _Atomic uint64_t nr_updates, nr_undone, nr_switches, nr_settings;
  struct blkmq_tag_set *set; /* NULL: each disk has its own */
  /* Of a set's tags: the token that a device has with it. */
  _Atomic uint64_t tags[MAX_HCTXS][MAX_DEPTH];
};

/* ---- a run ---- */

struct run {
  struct unit *unit;
  struct blkmq_disk *disk;
  struct device *device;
  _Atomic unsigned nr_users; /* run_get, run_put */
  _Atomic bool removed;      /* set ahead of removal */

  /* Counted by the harness. */
  _Atomic uint64_t submitted;
  _Atomic uint64_t ended[BLKMQ_NR_STATUSES];
  _Atomic uint64_t ended_op[BLKMQ_NR_OPS];
  _Atomic uint64_t ok_bytes[BLKMQ_NR_OPS];
  _Atomic uint64_t early, given_back;
  _Atomic uint64_t bad; /* not allowed: INVAL */
  _Atomic uint64_t min_parts, max_parts;
  /* How often ios that ended well, and all ios, needed a flush at the most;
   * those that ended well by that alone; those that may have failed after their
   * data was written. */
  _Atomic uint64_t joins_ok, joins, empty_ok, post_failed;
  _Atomic uint64_t post_failed_bytes[BLKMQ_NR_OPS];
  _Atomic uint64_t nr_aborts;     /* calls, counted ahead */
  _Atomic uint64_t aborted;       /* their results */
  _Atomic uint64_t nr_gave_up;    /* sync_while */
  _Atomic uint64_t stale_handles; /* gets that returned NULL */
  _Atomic uint64_t zero_aborts;   /* by handle, that returned 0 */

  pthread_t looper;
  _Atomic bool quit_looper;
};

struct unit {
  struct round *round;
  unsigned index;
  char *media;
  uint64_t media_bytes;
  struct clock clock; /* with shape->fast */
  pthread_mutex_t lock;
  struct run *current; /* lock */
  _Atomic uint64_t epoch;
  _Atomic uint64_t nr_ended; /* over all runs: progress */

  /* The device's cache: writes are numbered as they are done, and all up to
   * durable are durable.  Of each block: its last write, what was durable when
   * it came, and the last that was durable by itself. */
  _Atomic uint64_t written, durable;
  struct block {
    uint64_t written, durable_before, fua;
  } * blocks;
  struct blkmq_stats sum;
};

struct unit *unit_alloc (struct round *round, unsigned index);
void unit_free (struct unit *unit);
/* Power off under load, and on again. */
void unit_cycle (struct unit *unit);
/* The load is over: look at everything, power off. */
void unit_finish (struct unit *unit);
uint64_t unit_now_ns (struct unit *unit);

struct run *run_get (struct unit *unit);
void run_put (struct run *run);
void run_count_end (struct run *run, const struct blkmq_io *io,
                    enum blkmq_status status);
/* A status that nothing in this run could have caused is a failure. */
void run_check_status (struct run *run, uint32_t io_flags, bool is_bad,
                       enum blkmq_status status);
/* In a few lines; and with its requests. */
void unit_dump_state (struct unit *unit);
void unit_dump (struct unit *unit);

/* ---- device.c ---- */

struct device_counts {
  _Atomic uint64_t completes, requeues, requeues_ended, busy, stale;
  _Atomic uint64_t done, reset, held;
};

void device_register (void);
/* The device of the disk that the next blkmq_disk_alloc opens. */
struct device *device_alloc (struct run *run);
void device_free (struct device *device);
struct device_counts *device_counts (struct device *device);
/* From now on it answers everything at once and rightly. */
void device_calm (struct device *device);
/* None of its threads is in the middle of an answer, dead ones too. */
bool device_is_idle (struct device *device);
/* Between these, no queue_rq may run. */
void device_expect_quiet (struct device *device, bool quiet);
/* Of the init_hctx that this thread's calls lead to, so many in 1000 fail with
 * ENOMEM; how many have. */
unsigned device_fail_inits (unsigned permille);
/* Of all devices: what they have initialised of requests and hctxs. */
unsigned device_nr_requests (void);
/* Holds nothing but what a timeout has ended. */
void device_check_frozen (struct device *device);
/* A token of the present or the past; 0 if there is none yet. */
blkmq_token device_any_token (struct device *device);
void device_dump (struct device *device);

/* ---- slot.c ---- */

struct slot;
struct slots; /* of one worker on one unit */

struct slots *slots_alloc (struct worker *worker, struct unit *unit,
                           unsigned first, unsigned nr);
void slots_free (struct slots *slots);
/* An idle one, filled in and counted as submitted to RUN; NULL: all are out.
 * IS_SYNC: for blkmq_submit_sync*, then slot_finish_sync. */
struct slot *slots_start (struct slots *slots, struct run *run,
                          struct blkmq_submitter *submitter, bool is_sync);
/* Up to MAX_RUN that lie one behind the other (with gaps where one is out), all
 * alike and as large as can be.  Their number. */
unsigned slots_start_run (struct slots *slots, struct run *run,
                          struct blkmq_submitter *submitter,
                          struct slot *started[MAX_RUN]);
struct blkmq_io *slot_io (struct slot *slot);
/* Submitted by blkmq_submit_sync*, which returned R. */
void slot_finish_sync (struct slot *slot, int r);
/* One that may be given to blkmq_abort_io, or NULL. */
struct blkmq_io *slots_any_io (struct slots *slots);
bool slots_all_idle (struct slots *slots);
/* Sleep until a good part of those that are out are back, or a moment. */
void slots_wait (struct slots *slots);
void slots_dump (struct slots *slots);
uint64_t slots_media_bytes (unsigned nr);

/* ---- crowd.c ---- */

/* Run the load of ROUND to its end.  Free when the disks are gone: until then
 * an end_io may be on its way out. */
void crowd_run (struct round *round);
void crowd_free (struct round *round);
/* What each thread does, in a line; and what is out. */
void crowd_dump_doing (struct round *round);
void crowd_dump (struct round *round);
unsigned crowd_slots_of_worker (const struct shape *shape);

#endif /* BLKMQ_TESTS_STRESS_H */

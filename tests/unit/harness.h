/* SPDX-License-Identifier: BSD-3-Clause
 *
 * harness.h: what the engine's unit tests share: a driver that does what the
 * test says, a disk over it, ios that record their ends, gates for threads,
 * and randomness that can be repeated.
 *
 * A bed is a disk with its driver and one submitter.  As a rule its loops are
 * manual and its clock is fake, so that a test is one thread and nothing
 * happens but what it asks for.
 */

#ifndef BLKMQ_TESTS_HARNESS_H
#define BLKMQ_TESTS_HARNESS_H

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "blkmq-driver.h"
#include "blkmq.h"
#include "engine/clock.h"
#include "engine/disk.h"
#include "engine/hctx.h"
#include "engine/request.h"

/* Slower by one order of magnitude or two, and with malloc taken. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#define NR(array) (sizeof (array) / sizeof ((array)[0]))

#define BLOCK_BYTES 512u
#define US UINT64_C (1000)
#define MS UINT64_C (1000000)

/* A check for code that may run on any thread, where Check's own cannot, or
 * very often, where it is slow. */
#define require(condition)                                                     \
  ((condition) ? (void)0 : require_failed (__FILE__, __LINE__, #condition))
void require_failed (const char *file, int line, const char *condition)
    __attribute__ ((noreturn));

/* ---- randomness: BLKMQ_SEED, or drawn and printed ---- */

struct rng {
  uint64_t state;
};

uint64_t rng_seed (void);
/* STREAM tells apart those who draw at the same time. */
void rng_init (struct rng *rng, uint64_t stream);
uint64_t rng_next (struct rng *rng);
uint64_t rng_below (struct rng *rng, uint64_t n);
bool rng_percent (struct rng *rng, unsigned percent);

/* ---- gates: a thread waits at one until the test opens it ---- */

struct gate {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  unsigned nr_arrived;
  bool is_open;
};

#define GATE_INITIALIZER                                                       \
  {                                                                            \
    PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, false              \
  }

void gate_pass (struct gate *gate);
void gate_await_arrival (struct gate *gate, unsigned nr);
void gate_open (struct gate *gate);

pthread_t thread_start (void *(*fn) (void *), void *opaque);
void thread_join (pthread_t thread);

/* Wait for something that is about to happen on another thread.  There is no
 * limit but Check's. */
#define await(condition)                                                       \
  do {                                                                         \
    while (!(condition))                                                       \
      await_pause ();                                                          \
  } while (0)
void await_pause (void);

/* Run FN in a child process.  How it ended (as waitpid says), and in TEXT what
 * it wrote to stderr; free it. */
int run_captured (void (*fn) (void), char **text);

/* How often PART is in TEXT. */
unsigned nr_of (const char *text, const char *part);

/* ---- the driver ---- */

#define MAX_ISSUES 4096

/* One call of queue_rq. */
struct issue {
  struct blkmq_request *rq;
  blkmq_token token;
  enum blkmq_op op;
  uint32_t flags;
  uint64_t offset_bytes, bytes;
  unsigned tag; /* the driver tag */
};

struct script {
  /* What the test may set before bed_open.  Any may be left alone. */
  const char *driver; /* "scripted"; or one of the others below */
  uint32_t max_transfer_bytes, max_segments;
  uint64_t max_discard_bytes, max_write_zeroes_bytes;
  bool volatile_cache, fua;
  int open_error;
  bool open_fails_late;       /* having stored its state */
  unsigned fail_init_hctx;    /* the n-th call, from 1 */
  unsigned fail_init_request; /* likewise */
  bool is_faulty;             /* bed_bear_mistakes */

  /* What the driver does.  Without one it keeps the request, says RESET,
   * leaves the status alone, does nothing. */
  enum blkmq_queue_result (*on_queue) (struct script *script,
                                       const struct issue *issue);
  void (*on_commit) (struct script *script, struct blkmq_hctx *hctx);
  enum blkmq_timeout_result (*on_timeout) (struct script *script,
                                           struct blkmq_request *rq,
                                           blkmq_token token);
  enum blkmq_status (*on_complete) (struct script *script,
                                    struct blkmq_request *rq,
                                    enum blkmq_status status);
  void (*on_stop) (struct script *script);
  /* Of "scripted-poll".  Without one nothing is reaped; the map stays. */
  unsigned (*on_poll) (struct script *script, struct blkmq_hctx *hctx);
  void (*on_map) (struct script *script, unsigned nr_hw_queues,
                  struct blkmq_queue_map *map);
  void *opaque;

  /* What has happened. */
  pthread_mutex_t lock;
  struct issue issues[MAX_ISSUES]; /* lock: the first calls of queue_rq */
  _Atomic unsigned nr_issues;      /* lock to write */
  /* The last hint that the engine gave. */
  _Atomic unsigned nr_hints;
  _Atomic uint64_t hint_bytes;

  _Atomic unsigned nr_commits, nr_timeouts, nr_completes, nr_stops, nr_closes;
  _Atomic unsigned nr_polls;

  /* The driver's own books, by hctx and tag.  Checked all the time.  A test
   * that changes the queues says before bed_open how many there may be. */
  unsigned max_hctxs, depth;
  struct book {
    _Atomic uint64_t held;   /* the token of the request that it has, or 0 */
    _Atomic unsigned inside; /* calls of queue_rq that are running for it */
    _Atomic (const void *) pool; /* that the request is of */
    /* By driver tag: of which pool it is in the driver's hands, or NULL. */
    _Atomic (const void *) lender;
  } * books;
  _Atomic unsigned nr_init_requests, nr_init_hctxs;
  _Atomic bool hctx_is_init[MAX_HW_QUEUES];
};

/* Give back in good order, whatever the token is worth. */
int script_complete (struct script *script, struct blkmq_request *rq,
                     blkmq_token token, enum blkmq_status status);
int script_requeue (struct script *script, struct blkmq_request *rq,
                    blkmq_token token);

int script_requeue_aside (struct script *script, struct blkmq_request *rq,
                          blkmq_token token);

/* The same for the Nth issue. */
const struct issue *script_issue (struct script *script, unsigned n);
int issue_complete (struct script *script, unsigned n,
                    enum blkmq_status status);
int issue_requeue (struct script *script, unsigned n);

/* on_queue: complete inside. */
enum blkmq_queue_result script_completes_inside (struct script *script,
                                                 const struct issue *issue);

/* on_poll: complete all that the driver has of HCTX, in order of issue. */
unsigned script_reaps (struct script *script, struct blkmq_hctx *hctx);

/* ---- the bed ---- */

struct bed {
  struct script script;
  struct clock clock;
  struct blkmq_tag_set *set; /* that it shares with others, or NULL */
  struct blkmq_disk *disk;
  struct blkmq_submitter *submitter; /* of hctx 0 */
  struct blkmq_error error;          /* of bed_alloc_disk */
  _Atomic unsigned nr_events;        /* numbers what is recorded */
};

/* alloc, then set the script, then open; start does all with a script that is
 * left alone.  KEYS: "hw_queue_depth=2 irqmode=timer".  The size is 1 MiB. */
struct bed *bed_alloc (void);
void bed_open (struct bed *bed, const char *keys);
struct bed *bed_start (const char *keys);

/* With threads and the real clock. */
void bed_open_threads (struct bed *bed, const char *keys);

/* The driver gives back twice, on purpose: a debug build is not to abort.
 * Before the disk is opened, or while nothing is in flight. */
void bed_bear_mistakes (struct bed *bed);

/* Only allocate the disk, for tests of start itself; manual loops or not.
 * What disk_alloc returns. */
int bed_alloc_disk (struct bed *bed, const char *keys, bool manual);

/* The configuration alone, for tests that call disk_alloc themselves; the next
 * disk that it opens is BED's. */
struct blkmq_config *bed_config (struct bed *bed, const char *keys);

void bed_start_disk (struct bed *bed);

/* A tag set for several beds, which are opened in it with the same keys.  One
 * at a time; it goes with bed_set_free, after the last bed. */
struct blkmq_tag_set *bed_set_alloc (const char *driver, const char *keys);
void bed_set_free (struct blkmq_tag_set *set);

/* Remove the disk and see that nothing is left, then free all. */
void bed_stop (struct bed *bed);

/* Free a bed whose disk could not be allocated. */
void bed_drop (struct bed *bed);

/* Nothing started, no tag taken, nobody waiting. */
void bed_check_idle (struct bed *bed);

/* blkmq_update_queues; 0: as it is.  Polled queues stay as they are. */
int update_queues (struct blkmq_disk *disk, unsigned submit_queues,
                   unsigned hw_queue_depth, struct blkmq_error *error);

void bed_turn (struct bed *bed);
/* Let time pass, then turn. */
void bed_pass (struct bed *bed, uint64_t ns);

struct blkmq_stats bed_stats (struct bed *bed);
struct blkmq_hctx *bed_hctx (struct bed *bed, unsigned index);
unsigned bed_event (struct bed *bed);

/* ---- ios ---- */

struct test_io {
  struct blkmq_io io;
  struct bed *bed;
  struct iovec segment;
  void (*on_end) (struct test_io *t);
  void (*on_give_back) (struct test_io *t);
  void *opaque;

  /* Recorded by end_io and give_back; the events are the bed's. */
  _Atomic unsigned nr_ends, nr_give_backs;
  _Atomic unsigned end_event, give_back_event;
  _Atomic unsigned status;
  _Atomic bool in_end_io;
  pthread_t end_thread;
  char data[BLOCK_BYTES];
};

/* One block at BLOCK; no give_back: the answer comes with the data. */
void test_io_init (struct test_io *t, struct bed *bed, enum blkmq_op op,
                   uint64_t block);
/* With give_back: the answer may come before the data. */
void test_io_init_early (struct test_io *t, struct bed *bed, enum blkmq_op op,
                         uint64_t block);

/* Init (a read) and submit to hctx 0. */
void test_io_submit (struct test_io *t, struct bed *bed, uint64_t block);
void test_io_submit_early (struct test_io *t, struct bed *bed, uint64_t block);

/* Ended once, with that status; given back as well if it has a give_back. */
#define assert_ended(t, wanted)                                                \
  do {                                                                         \
    ck_assert_uint_eq ((t)->nr_ends, 1);                                       \
    ck_assert_str_eq (blkmq_status_name ((t)->status),                         \
                      blkmq_status_name (wanted));                             \
    ck_assert_uint_eq ((t)->nr_give_backs, (t)->io.give_back != NULL);         \
  } while (0)
/* Ended once, while the data is still below. */
#define assert_ended_early(t, wanted)                                          \
  do {                                                                         \
    ck_assert_uint_eq ((t)->nr_ends, 1);                                       \
    ck_assert_str_eq (blkmq_status_name ((t)->status),                         \
                      blkmq_status_name (wanted));                             \
    ck_assert_uint_eq ((t)->nr_give_backs, 0);                                 \
  } while (0)
#define assert_not_ended(t) ck_assert_uint_eq ((t)->nr_ends, 0)

/* ---- main ---- */

/* Run SUITE; what main returns. */
int harness_main (Suite *suite);

/* A case of SUITE with a limit that only a hang can reach. */
TCase *harness_case (Suite *suite, const char *name);

#endif /* BLKMQ_TESTS_HARNESS_H */

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * races.h: what the explored scenarios share (test-interleave-*.c): disks over
 * a driver that checks who owns which data, ios that may end once, a device
 * and a loop as actors of their own, and what must hold after every run.
 *
 * One thread runs at a time (explore.h), so nothing here is atomic or locked.
 *
 * The Nth io of a world is block N of its disk: from a range the driver knows
 * the ios that a request is made of, merged or not.
 */

#ifndef BLKMQ_TESTS_RACES_H
#define BLKMQ_TESTS_RACES_H

#include "explore.h"

#define RACE_MAX_DISKS 2
#define RACE_MAX_IOS 8
#define RACE_MAX_ISSUES 512

/* io_timeout=100, where timeouts take part. */
#define RACE_TIMEOUT_MS 100

struct world;

/* One call of queue_rq that took the request. */
struct race_issue {
  struct blkmq_request *rq;
  blkmq_token token;
  struct race_disk *disk;
  enum blkmq_op op;
  uint64_t offset_bytes, bytes;
  bool is_held;                    /* the driver has it */
  unsigned start_event, end_event; /* when it came, and went with OK */
};

struct race_io {
  struct blkmq_io io;
  struct world *world;
  struct iovec segment;
  bool is_submitted;
  unsigned nr_ends, nr_give_backs;
  bool in_end_io;
  enum blkmq_status status;
  unsigned submit_event, end_event;
  char data[BLOCK_BYTES];
};

struct race_disk {
  struct world *world;
  struct blkmq_disk *disk;
  struct blkmq_submitter *submitters[2]; /* the second: of hctx 1, or NULL */
  unsigned nr_inside;                    /* give-backs under way */
  bool is_stopped, is_removed, is_turning, is_frozen;
};

struct race {
  const char *name;
  const char *keys;
  struct actor actors[3]; /* beside device and loop; FN gets the world */
  unsigned nr_disks;      /* 0: one */
  bool volatile_cache;
  bool requeues;     /* the device does, now and then */
  bool never_busy;   /* else it refuses, now and then */
  bool turns;        /* there is a loop beside the actors, and time passes */
  unsigned must_see; /* bits that saw() must have noted in all runs */
  void (*prepare) (struct world *w);
  /* Before the last give-backs, and after all has ended. */
  void (*settle) (struct world *w);
  void (*check) (struct world *w);
};

struct world {
  const struct race *race;
  unsigned run;
  struct rng rng;
  struct actor actors[EXPLORE_MAX_ACTORS];
  struct exploration what;
  struct clock clock;
  struct blkmq_tag_set *set; /* of several disks */
  struct race_disk disks[RACE_MAX_DISKS];
  unsigned nr_disks;
  struct race_io ios[RACE_MAX_IOS];
  struct race_issue issues[RACE_MAX_ISSUES];
  unsigned nr_issues, nr_events;
  enum blkmq_timeout_result answer; /* the driver's */
  unsigned nr_acting;               /* actors that are not done */

  /* The scenario's own. */
  struct blkmq_request *pin;
  unsigned nr_aborted;
};

/* Explore RACE in some hundred orders, or in the one that BLKMQ_RUN says. */
void race_run (const struct race *race);

/* This run has been through something that some run must go through. */
void saw (unsigned bits);

/* An io of disk D: a read; or OP, with those FLAGS.  Has it a give_back?  By
 * chance. */
void race_submit (struct world *w, unsigned n, unsigned d);
void race_submit_op (struct world *w, unsigned n, unsigned d,
                     struct blkmq_submitter *submitter, enum blkmq_op op,
                     uint32_t flags);

bool race_draw (struct world *w);

/* The Nth issue; complete it, or whatever the device has. */
struct race_issue *race_issue (struct world *w, unsigned n);
void race_complete (struct world *w, struct race_issue *issue);

/* Run out all timeouts. */
void race_time_out (struct world *w);

/* Removal, which no loop survives. */
void race_remove (struct world *w, unsigned d);

/* Freeze; while frozen nothing is to be issued. */
void race_freeze (struct world *w, unsigned d);

#endif /* BLKMQ_TESTS_RACES_H */

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * record.h: the flight record of a debug build: for each request the last
 * moves of its life, with the thread that made them, the time, and the word
 * before and after.  In other builds it is not there: no byte in struct
 * request, no code on the path.
 */

#ifndef BLKMQ_ENGINE_RECORD_H
#define BLKMQ_ENGINE_RECORD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct request;

enum record_what {
  RECORD_START,     /* FREE to QUEUED */
  RECORD_ISSUE,     /* to the driver */
  RECORD_BUSY,      /* the driver refuses; the give-back follows */
  RECORD_RETURN,    /* requeue or BUSY: the engine's again */
  RECORD_DROP,      /* the engine's queue lets go of an ended one */
  RECORD_COMPLETE,  /* give-back; a status */
  RECORD_TAKE_BACK, /* give-back in the driver's place; a cause */
  RECORD_CLAIM,     /* ENDED is won; a cause */
  RECORD_LOSE,      /* ENDED was won by another; the loser's cause */
  RECORD_DEFER,     /* the answer is left to the give-back */
  RECORD_ANSWER,    /* before end_io; a status */
  RECORD_TIMER_ARM,
  RECORD_TIMER_FIRE,
  RECORD_RELEASE, /* FREE: before the tag is put */
  RECORD_STALE,   /* a dead token was refused; its generation */
  /* From here on references, which have a ring of their own: a scan or a
   * reader of counters takes many, and would leave nothing of the rest. */
  RECORD_GET,
  RECORD_PUT, /* before it is done: after it the request is another's */
  NR_RECORDS
};

#ifdef BLKMQ_DEBUG

#define RECORD_NR_MOVES 24
#define RECORD_NR_REFERENCES 8

/* Written without a lock.  Who takes an entry marks it, fills it and numbers
 * it; a reader that finds another number afterwards throws away what he has
 * read.  All else is relaxed: the record orders nothing that the engine itself
 * leaves unordered, so that ThreadSanitizer still sees it. */
struct record_entry {
  _Atomic uint64_t number; /* from 1; 0: never used; or being written */
  _Atomic uint64_t when_ns;
  _Atomic uint64_t before, after;
  _Atomic uint64_t meta; /* what, argument, thread */
  _Atomic uint64_t thread_name[2];
};

struct record {
  _Atomic uint64_t nr, nr_moves, nr_references;
  _Atomic uint64_t nr_lost; /* two writers met in one entry */
  struct record_entry moves[RECORD_NR_MOVES];
  struct record_entry references[RECORD_NR_REFERENCES];
};

/* The caller may still touch R's memory (it has HELD, a reference, or holds
 * the hctx).  ARG: a status or a cause, see above. */
void record_move (struct request *r, enum record_what what, unsigned arg,
                  uint64_t before, uint64_t after);

#else

/* Not a function: what would be passed is not even computed. */
#define record_move(r, what, arg, before, after) ((void)0)

#endif

/* Print the record of R, oldest first; nothing in other builds.  Any thread;
 * R may be in use. */
void record_dump (struct request *r, FILE *file);

/* Print the facts in WORD: "generation 7, in flight, held, 1 reference". */
void record_print_word (uint64_t word, FILE *file);

#endif /* BLKMQ_ENGINE_RECORD_H */

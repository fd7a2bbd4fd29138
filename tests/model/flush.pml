/* SPDX-License-Identifier: BSD-3-Clause
 *
 * flush.pml: ios that need flushes share them; none is answered before what it
 * must cover is durable, and none waits for a flush that nobody begins.
 *
 * Four actors: the submitter of four ios (a write and one with FUA, for which
 * the driver needs help, both begun; a flush; a write with both), the queue's
 * runner with its driver, twice, which completes data and flushes in any order;
 * and the abort of the flush or of the write with FUA, which finds it while it
 * waits for a flush, or not at all: the rest of an abort is in engine.pml.
 *
 * A flush of the driver's covers what was complete when it was issued.
 */

#define NOTHING 0

#define PENDING_IN_JOIN 1 /* join the flush that is under way */
#define ONE_AT_A_TIME 2   /* begin another one beside it */
#define NEXT_AT_END 3     /* leave those who came meanwhile to the next comer */
#define LOCK_AT_END 4     /* it has ended; and then see who has shared it */
#define DATA_BEFORE_POSTFLUSH 5 /* ask for both at once */
#define PREFLUSH_BEFORE_DATA 6
#define ABORTED_IN_JOIN 7 /* wait although the abort has looked already */
#define UNLINK_AT_ABORT 8

#ifndef WITHOUT
#define WITHOUT NOTHING
#endif
#define left_out(name) (WITHOUT == name)

/* The tale of a counterexample: ./run --trail */
#ifdef SAY
#define say(...) printf (__VA_ARGS__)
#else
#define say(...) skip
#endif

#define NR_IOS 4
#define WRITE 0
#define FLUSH 1
#define FUA 2
#define BOTH 3

/* Sets of ios are bits. */
#define bit_of(io) (1 << (io))
#define is_in(set, io) ((set >> (io)) & 1)
#define without(set, io) (set & ~bit_of (io))

bit locked;
bit under_way; /* lock */
byte running;  /* lock: who share it */
byte pending;  /* lock: who share the next */

/* The flush, an io itself: where it is. */
#define IDLE 0
#define WAITING 1
#define ISSUED 2
byte flush;

byte started;    /* the driver has their data */
byte io_aborted; /* marks */
byte flushed;    /* has had its PREFLUSH */

byte x_cached;   /* data that the driver has completed */
byte x_snapshot; /* what was so when the flush was issued */
byte x_durable;
byte x_answered;
byte x_looked;   /* whose abort is over */
byte x_must[NR_IOS]; /* what its flush has to cover */

#define LOCALS \
  byte io = NR_IOS, done; \
  bit ok, begins

inline lock () { atomic { !locked -> locked = 1; }; }
inline unlock () { locked = 0; }

inline answer (i)
{
  d_step {
    assert (!is_in (x_answered, i));
    x_answered = x_answered | bit_of (i);
    say ("io %d is answered\n", i);
  };
}

/* What it has asked for is so. */
inline answer_ok (i)
{
  d_step {
    assert (i == WRITE || (x_must[i] & ~x_durable) == 0);
    assert (i == FLUSH || i == WRITE || is_in (x_durable, i));
  };
  answer (i);
}

inline start_data (i)
{
  d_step {
    assert (i != BOTH || (x_must[i] & ~x_durable) == 0);
    started = started | bit_of (i);
    say ("data of io %d starts\n", i);
  };
}

/* Part of a section under the lock. */
inline begin_locked ()
{
  begins = (!under_way || left_out (ONE_AT_A_TIME)) && pending != 0;
  if
  :: begins ->
     under_way = 1;
     running = pending;
     pending = 0;
     say ("a flush begins, for the set %d\n", running);
  :: else -> skip;
  fi;
}

inline submit ()
{
  d_step { assert (flush == IDLE); flush = WAITING; begins = 0; };
}

inline join (i)
{
  lock ();
  d_step {
    ok = is_in (io_aborted, i) && !left_out (ABORTED_IN_JOIN);
    if
    :: ok -> skip;
    :: !ok && under_way && left_out (PENDING_IN_JOIN) ->
       running = running | bit_of (i);
    :: else ->
       assert (!is_in (x_looked, i));
       pending = pending | bit_of (i);
       begin_locked ();
    fi;
    say ("io %d waits for a flush: %d\n", i, !ok);
  };
  unlock ();
  if
  :: ok -> ok = 0; answer (i);
  :: begins -> submit ();
  :: else -> skip;
  fi;
}

inline advance (i)
{
  if
  :: is_in (done, i) ->
     if
     :: i == BOTH && !is_in (flushed, i) ->
        flushed = flushed | bit_of (i);
        start_data (i);
     :: else -> answer_ok (i);
     fi;
  :: else -> skip;
  fi;
}

inline flush_end_io ()
{
  lock ();
#if WITHOUT == LOCK_AT_END
  under_way = 0;
  unlock ();
  lock ();
#endif
  d_step {
    done = running;
    running = 0;
    under_way = 0;
#if WITHOUT != NEXT_AT_END
    begin_locked ();
#endif
  };
  unlock ();
  if
  :: begins -> submit ();
  :: else -> skip;
  fi;
  advance (FLUSH);
  advance (FUA);
  advance (BOTH);
  done = 0;
}

inline data_answered ()
{
  if
  :: io == WRITE -> answer_ok (io);
#if WITHOUT == DATA_BEFORE_POSTFLUSH
  :: io == FUA -> skip;
#endif
  :: else -> join (io);
  fi;
  io = NR_IOS;
}

proctype submitter ()
{
  LOCALS;

#if WITHOUT == DATA_BEFORE_POSTFLUSH
  join (FUA);
#endif
  x_must[FLUSH] = x_answered & ~bit_of (FLUSH);
  join (FLUSH);
  x_must[BOTH] = x_answered & ~bit_of (FLUSH);
#if WITHOUT == PREFLUSH_BEFORE_DATA
  start_data (BOTH);
#else
  join (BOTH);
#endif
}

proctype runner ()
{
  LOCALS;

  do
  :: atomic {
       started != 0 ->
       if
       :: is_in (started, WRITE) -> io = WRITE;
       :: is_in (started, FUA) -> io = FUA;
       :: is_in (started, BOTH) -> io = BOTH;
       fi;
       started = without (started, io);
       x_cached = x_cached | bit_of (io);
       say ("data of io %d is complete\n", io);
     };
     data_answered ();
  :: d_step {
       flush == WAITING ->
       flush = ISSUED;
       x_snapshot = x_cached;
       say ("the flush is issued\n");
     };
  :: d_step {
       flush == ISSUED ->
       flush = IDLE;
       x_durable = x_durable | x_snapshot;
       say ("the flush is complete\n");
     };
     flush_end_io ();
  :: x_answered == (1 << NR_IOS) - 1 && flush == IDLE -> break;
  od;
}

proctype aborter (byte i)
{
  bit ok;

  d_step { io_aborted = io_aborted | bit_of (i); say ("abort of %d\n", i); };
  lock ();
  d_step {
    ok = is_in (running, i) || is_in (pending, i);
#if WITHOUT != UNLINK_AT_ABORT
    running = without (running, i);
    pending = without (pending, i);
#endif
    x_looked = x_looked | bit_of (i);
  };
  unlock ();
  if
  :: ok -> answer (i);
  :: else -> skip;
  fi;
}

init
{
  atomic {
    started = bit_of (WRITE) | bit_of (FUA);
    run submitter ();
    run runner ();
    run runner ();
#ifdef DEEP
    run aborter (FLUSH);
    run aborter (FUA);
#else
    if
    :: run aborter (FLUSH);
    :: run aborter (FUA);
    fi;
#endif
  };
  _nr_pr == 1;
  assert (x_answered == (1 << NR_IOS) - 1);
  assert (!under_way && running == 0 && pending == 0 && flush == IDLE);
}

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * merge.pml: an io joins a request that waits in the scheduler while others end
 * that request: each io is answered once, and nobody is answered for an abort
 * that was another's.
 *
 * Five actors: the submitter of io 1, which joins the request of io 0 if it
 * may, or else starts one of its own, of which nothing more is told here; the
 * queue's runner with the driver, which completes what it is given; a timeout;
 * and the aborts of io 0 and io 1.
 *
 * The word is in one piece: state, HELD, ENDED and DEFERRED change together.
 * Claims take no lock.  Whether the ios have a give_back, so that the caller
 * may be answered while the data is held, is left open.
 */

#define NOTHING 0

#define QUEUED_IN_DELIVER 1 /* answer although it waits in the scheduler */
#define UNLINKED_IN_JOIN 2  /* join what is on its way to the driver */
#define LOCK_IN_JOIN 3
#define CLOSED_BY_ABORT 4   /* join a request that an abort is about to end */
#define ALL_IN_ABORT 5      /* end all ios for the abort of one */
#define ABORTED_IN_JOIN 6   /* an io joins that its abort has looked for */

/* Not among them: that nobody joins a request that is ENDED.  Its end may be
 * claimed a moment later as well, and whoever was in time shares it.
 */

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

#define NR_IOS 2

#define QUEUED 0
#define IN_FLIGHT 1

#define UNSET 0
#define OK 1
#define TIMEOUT 2
#define ABORTED 3

/* The word. */
bit state;
bit held = 1;
bit ended;
bit deferred;

byte status;
bit give_back;

bit locked;
bit linked = 1;  /* lock: in the scheduler */
byte nr_ios = 1; /* lock, while it is linked */
bit closed;      /* lock */
bit aborted[NR_IOS];      /* lock: in the request */
bit io_is_aborted[NR_IOS]; /* in the io */

bit x_answered[NR_IOS];
bit x_elsewhere; /* io 1 has a request of its own */
bit x_missed;    /* the abort of io 1 has looked, and not found it */

#define LOCALS \
  byte i, n; \
  bit ok, ans

inline lock () { atomic { !locked -> locked = 1; }; }
inline unlock () { locked = 0; }

inline answer_io (i)
{
  d_step {
    assert (!x_answered[i]);
    assert (status != ABORTED || io_is_aborted[i]);
    x_answered[i] = 1;
    say ("io %d is answered, status %d\n", i, status);
  };
}

/* The ios are walked without a lock. */
inline answer ()
{
  ans = 0;
  n = nr_ios;
  answer_io (0);
  if
  :: n > 1 -> answer_io (1);
  :: else -> skip;
  fi;
}

inline claim (why)
{
  d_step {
    ok = !ended;
    ended = 1;
    say ("claimed for %d (TIMEOUT 2, ABORTED 3): %d\n", why, ok);
  };
  if
  :: ok ->
     status = why;
     d_step {
       ok = (held && (!give_back
                      || (state == QUEUED && !left_out (QUEUED_IN_DELIVER))));
       deferred = deferred || ok;
       ans = !ok;
       ok = 1;
       say ("deferred: %d\n", !ans);
     };
     if
     :: ans -> answer ();
     :: else -> skip;
     fi;
  :: else -> skip;
  fi;
}

/* Unlinked and ended. */
inline let_go ()
{
  d_step { ans = deferred; held = 0; deferred = 0; };
  if
  :: ans -> answer ();
  :: else -> skip;
  fi;
}

/* Who has claimed the end looks for the request in the scheduler. */
inline remove ()
{
  lock ();
  ok = linked;
  linked = 0;
  unlock ();
  if
  :: ok -> let_go ();
  :: else -> skip;
  fi;
}

proctype submitter ()
{
#if WITHOUT != LOCK_IN_JOIN
  lock ();
#endif
  if
  :: ((linked || left_out (UNLINKED_IN_JOIN)) && !ended
      && (!closed || left_out (CLOSED_BY_ABORT))
      && (!io_is_aborted[1] || left_out (ABORTED_IN_JOIN))) ->
     assert (!x_answered[0]);
     nr_ios = 2;
     assert (!x_missed);
     say ("io 1 joins\n");
  :: else -> x_elsewhere = 1;
  fi;
#if WITHOUT != LOCK_IN_JOIN
  unlock ();
#endif
}

proctype runner ()
{
  LOCALS;

  lock ();
  ok = linked;
  linked = 0;
  unlock ();
  if
  :: ok ->
     d_step { /* issue */
       ok = !ended;
       state = (ok -> IN_FLIGHT : QUEUED);
       say ("issued: %d\n", ok);
     };
     if
     :: ok ->
        d_step { /* complete */
          ok = !ended;
          if
          :: ok -> held = 0; ended = 1; say ("completed\n");
          :: else -> skip;
          fi;
        };
        if
        :: ok -> status = OK; answer ();
        :: else -> let_go ();
        fi;
     :: else -> let_go ();
     fi;
  :: else -> skip;
  fi;
}

proctype timeouts ()
{
  LOCALS;

  claim (TIMEOUT);
  if
  :: ok -> remove ();
  :: else -> skip;
  fi;
}

/* Mark the io; then, under the lock, its place in the request.  The last one
 * ends it.
 */
proctype aborter (byte io)
{
  LOCALS;

  io_is_aborted[io] = 1;
  lock ();
  if
  :: io < nr_ios ->
     d_step {
       aborted[io] = 1;
       closed = 1;
       ok = (aborted[0] && (nr_ios == 1 || aborted[1])
             || left_out (ALL_IN_ABORT));
       say ("abort of io %d: all are: %d\n", io, ok);
     };
  :: else -> x_missed = !x_elsewhere;
  fi;
  unlock ();
  if
  :: ok ->
     claim (ABORTED);
     if
     :: ok -> remove ();
     :: else -> skip;
     fi;
  :: else -> skip;
  fi;
}

init
{
  atomic {
    if
    :: give_back = 0;
    :: give_back = 1;
    fi;
    run submitter ();
    run runner ();
    run timeouts ();
    run aborter (0);
    run aborter (1);
  };
  _nr_pr == 1;
  assert (!locked && !linked && !held && !deferred);
  assert (x_answered[0] && x_answered[1] != x_elsewhere);
}

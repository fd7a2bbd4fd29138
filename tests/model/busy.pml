/* SPDX-License-Identifier: BSD-3-Clause
 *
 * busy.pml: a driver that refuses requests (BLKMQ_BUSY_DEVICE): the wake-up of
 * the queue is not lost.
 *
 * Three actors: a submitter, the driver's thread, and the hctx's loop with its
 * rerun timer.  Request 0 is in flight at the beginning and has what 1 and 2
 * need, one at a time; the driver takes it back, and then gives back.  LONG may
 * be in flight, too; it has nothing of that, and ends when all others have.
 * Without LONG the driver may also refuse once for no reason that a give-back
 * would change.
 *
 * There is no abort and no timeout here: of the word only the state is left.
 * Loads and stores of stalled, watched and the epoch are steps of their own,
 * but for one thing: watched and the epoch are of one word, read together, and
 * changed together when the watch ends.
 */

#define NOTHING 0

#define ONE_WORD 1            /* ... or not */
#define WATCHED_FROM_BEFORE 2 /* trust a try that began unwatched */
#define EPOCH_IN_BUSY 3       /* or during which something came back */
#define EPOCH_AT_UNWATCH 4
#define TIMER_WITHOUT_OTHERS 5 /* wait for a give-back that nobody owes */
#define BARRIER_IN_BUSY 6
#define BARRIER_IN_GIVE_BACK 7
#define UNSTALL_AT_GIVE_BACK 8
#define RUN_AT_GIVE_BACK 9

/* Not among them: the note that a second runner leaves for the first, who looks
 * again after each request anyhow; and that a refused request does not count
 * itself among those in flight, for it does so only when it is again.
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

#define NR_RQS 4
#define LONG 3
#define NO_RQ NR_RQS

#define IDLE 0
#define QUEUED 1
#define IN_FLIGHT 2

byte state[NR_RQS];
byte queue[2] = NO_RQ; /* lock */
byte nr_queued;             /* lock to write */
bit locked;
bit running; /* lock */
bit rerun;   /* lock */
bit stalled;
bit watched;
byte epoch;
bit timer;
bit kicked; /* the loop */

bit free_resource;
bit moody;
bit taken[3]; /* by the driver: 0, 1 or 2 */
byte x_done;

#define LOCALS \
  byte rq = NO_RQ; /* the request at hand */ \
  byte seen_epoch; \
  bit seen_on, refused, ok; \
  bit svc

inline lock () { atomic { !locked -> locked = 1; }; }
inline unlock () { locked = 0; }

/* One step: nothing else is touched under this lock. */
inline insert (at_head)
{
  atomic {
    !locked ->
    assert (state[rq] == QUEUED);
    if
    :: at_head ->
       queue[1] = queue[0];
       queue[0] = rq;
    :: else -> queue[nr_queued] = rq;
    fi;
    nr_queued++;
  };
}

inline pop ()
{
  rq = queue[0];
  queue[0] = queue[1];
  queue[1] = NO_RQ;
  nr_queued--;
}

/* ok: somebody else holds a request, and will give it back. */
inline look_at (i)
{
  if
  :: rq != i && state[i] == IN_FLIGHT -> ok = 1;
  :: else -> skip;
  fi;
}

inline any_other_in_flight ()
{
  ok = 0;
  look_at (0);
  look_at (1);
  look_at (2);
  look_at (LONG);
}

/* Refused: nothing more is tried until somebody wakes the queue. */
inline busy ()
{
  d_step { state[rq] = QUEUED; say ("%d refused\n", rq); };
  insert (1);
#if WITHOUT != BARRIER_IN_BUSY
  d_step { stalled = 1; say ("stalled 1\n"); };
  d_step { watched = 1; say ("watch on\n"); };
#endif
  ok = (!(seen_on || left_out (WATCHED_FROM_BEFORE))
        || !(seen_epoch == epoch || left_out (EPOCH_IN_BUSY)));
  if
  :: ok ->
     d_step { ok = 0; svc = 1; say ("%d again\n", rq); };
#if WITHOUT == BARRIER_IN_BUSY
     watched = 1;
#endif
     d_step { stalled = 0; say ("stalled 0, again\n"); };
  :: else ->
     any_other_in_flight ();
#if WITHOUT == BARRIER_IN_BUSY
     stalled = 1;
     watched = 1;
#endif
     d_step {
       timer = timer || !(ok || left_out (TIMER_WITHOUT_OTHERS));
       say ("another in flight: %d; waits\n", ok);
       ok = 0;
     };
  fi;
}

inline call_queue_rq ()
{
  d_step {
    seen_on = watched;
#if WITHOUT == ONE_WORD
  };
  d_step {
#endif
    seen_epoch = (seen_on -> epoch : 0);
    say ("%d to queue_rq; watched %d, epoch %d\n", rq, seen_on, seen_epoch);
  };
  atomic {
    assert (state[rq] == IN_FLIGHT && !taken[rq]);
    if
    :: free_resource ->
       free_resource = 0;
       taken[rq] = 1;
       say ("%d taken\n", rq);
    :: !free_resource -> refused = 1;
    :: moody -> moody = 0; refused = 1;
    fi;
  };
  if
  :: refused -> busy ();
  :: else -> skip;
  fi;
  d_step { rq = NO_RQ; seen_on = 0; seen_epoch = 0; };
}

inline issue ()
{
  d_step { refused = 0; state[rq] = IN_FLIGHT; };
  call_queue_rq ();
}

/* Nothing waits for a give-back any more.  Who has begun a try must not trust
 * what he saw.
 */
inline unwatch ()
{
  ok = watched;
  if
  :: ok ->
     ok = 0;
     d_step {
       watched = 0;
       say ("watch off\n");
#if WITHOUT == ONE_WORD
     };
     d_step {
#endif
       epoch = epoch + !left_out (EPOCH_AT_UNWATCH);
     };
  :: else -> skip;
  fi;
}

/* Who came meanwhile has left word. */
inline end_of_run ()
{
  if
  :: rerun -> rerun = 0;
  :: else -> rerun = 0; break;
  fi;
}

/* One thread at a time; it drops the lock while it issues. */
inline hctx_run ()
{
  svc = 0;
  lock ();
  if
  :: running -> rerun = 1;
  :: else ->
     running = 1;
     do
     :: nr_queued == 0 -> unwatch (); end_of_run ();
     :: nr_queued > 0 && stalled -> end_of_run ();
     :: nr_queued > 0 && !stalled ->
        pop ();
        unlock ();
        issue ();
        lock ();
        if
        :: refused && stalled -> end_of_run ();
        :: else -> skip;
        fi;
     od;
     running = 0;
  fi;
  refused = 0;
  unlock ();
}

/* The fast way in: not past those on the queue. */
inline start ()
{
  if
  :: nr_queued > 0 ->
     state[rq] = QUEUED;
     insert (0);
     rq = NO_RQ;
     svc = !stalled;
  :: else -> issue ();
  fi;
}

inline give_back ()
{
#if WITHOUT == BARRIER_IN_GIVE_BACK
  ok = watched;
#endif
  free_resource = free_resource || rq != LONG;
  d_step {
    state[rq] = IDLE;
    x_done++;
    say ("%d given back\n", rq);
    rq = NO_RQ;
  };
#if WITHOUT != BARRIER_IN_GIVE_BACK
  ok = watched;
#endif
  if
  :: ok ->
     ok = 0;
     d_step { epoch++; say ("epoch %d\n", epoch); };
     d_step {
       stalled = stalled && left_out (UNSTALL_AT_GIVE_BACK);
       say ("stalled %d\n", stalled);
     };
     kicked = kicked || !left_out (RUN_AT_GIVE_BACK);
  :: else -> skip;
  fi;
}

/* Submits two, runs the queue if it is asked for; the loop does the rest. */
proctype submitter ()
{
  LOCALS;

  rq = 1;
  start ();
  rq = 2;
  start ();
  if
  :: svc -> hctx_run ();
  :: else -> skip;
  fi;
  kicked = kicked || svc;
}

/* Gives back, and must not enter queue_rq: leaves that to the loop. */
proctype driver ()
{
  LOCALS;

  do
  :: atomic {
       taken[0] || taken[1] || taken[2] ->
       if
       :: taken[0] -> rq = 0;
       :: taken[1] -> rq = 1;
       :: taken[2] -> rq = 2;
       fi;
       taken[rq] = 0;
     };
     give_back ();
  :: atomic {
       state[LONG] == IN_FLIGHT && x_done == NR_RQS - 1 -> rq = LONG;
     };
     give_back ();
  :: x_done == NR_RQS -> break;
  od;
}

/* The hctx's loop, and its rerun timer. */
proctype loop ()
{
  LOCALS;

  do
  :: d_step { svc -> svc = 0; kicked = 1; };
  :: d_step { !svc && kicked -> kicked = 0; };
     hctx_run ();
  :: d_step { !svc && timer -> timer = 0; epoch++; };
     stalled = 0;
     hctx_run ();
  :: d_step { !svc && x_done == NR_RQS && !kicked && !timer -> skip; };
     break;
  od;
}

init
{
  atomic {
    state[0] = IN_FLIGHT;
    taken[0] = 1;
    if
    :: state[LONG] = IN_FLIGHT;
    :: x_done = 1; moody = 1;
    fi;
    run submitter ();
    run driver ();
    run loop ();
  };
  _nr_pr == 1;
  assert (x_done == NR_RQS && nr_queued == 0 && !locked && !running);
}

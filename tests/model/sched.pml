/* SPDX-License-Identifier: BSD-3-Clause
 *
 * sched.pml: a scheduler, and driver tags that requests have on their way
 * through the driver only: none is lost or kept, and nobody waits for one in
 * vain.
 *
 * Four actors: a submitter, which puts requests in the scheduler; the hctx's
 * loop; the driver's thread, which completes or requeues, aside or not, and
 * kicks what is aside when it has nothing else; and an abort of any request, at
 * any time.  Once queue_rq refuses, and once the driver requeues.
 *
 * Each request has its internal tag from the beginning.  Of the word only
 * state, ENDED, and who owes the answer are left: engine.pml has the rest.  A
 * section under the hctx's lock is one step where nothing else is touched.
 */

#define NOTHING 0

#define LOOK_AFTER_WANT 1 /* say that a tag is wanted, and go away */
#define COUNT_OF_WANT 2   /* say it where those who put do not look */
#define BARRIER_IN_PUT 3  /* look whether one is wanted, then clear the bit */
#define WAKE_AT_PUT 4
#define TAG_AT_BUSY 5     /* what was refused keeps its tag */
#define TAG_AT_REQUEUE 6  /* and what is requeued */
#define WAKE_AT_REQUEUE 7 /* give it back and tell nobody */
#define TAG_AT_DROP 8     /* what was ended on its way to the driver keeps it */
#define RUN_AT_KICK 9

/* Not among them: looking for an ended request in the scheduler, and whether it
 * is ended when it gets there.  Where the queue moves, its runner drops it; and
 * hang.pml is about those that do not.
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

#ifdef DEEP
#define NR_RQS 4
#define NR_TAGS 2
#else
#define NR_RQS 3
#define NR_TAGS 1
#endif
#define NO_TAG NR_TAGS
#define NO_RQ NR_RQS

#define QUEUED 0
#define IN_FLIGHT 1
#define IDLE 2

/* Where a QUEUED request is. */
#define NOWHERE 0
#define SCHED 1
#define QUEUE 2
#define ASIDE 3

byte state[NR_RQS];
bit ended[NR_RQS];
byte where[NR_RQS];             /* lock */
byte driver_tag[NR_RQS] = NO_TAG;
bit taken[NR_TAGS];             /* the bitmap of driver tags */
byte nr_waiting;
bit wants_tag; /* lock */
bit locked;
bit running;   /* lock */
bit kicked;    /* the loop */
bit started[NR_RQS]; /* the driver has it */

bit moody, unsure; /* the driver is, once */
bit x_idle[NR_RQS];
byte x_done;

#define LOCALS \
  byte rq = NO_RQ, t = NO_TAG; \
  bit ok, svc

inline lock () { atomic { !locked -> locked = 1; }; }
inline unlock () { locked = 0; }

/* ---- driver tags ---- */

inline try_get ()
{
  d_step {
    if
    :: !taken[0] -> t = 0;
#ifdef DEEP
    :: taken[0] && !taken[1] -> t = 1;
#endif
    :: else -> skip;
    fi;
    if
    :: t != NO_TAG -> taken[t] = 1; say ("tag %d is taken\n", t);
    :: else -> say ("no tag\n");
    fi;
  };
}

inline want (yes)
{
  d_step {
#if WITHOUT != COUNT_OF_WANT
    nr_waiting = nr_waiting + yes - wants_tag;
#endif
    wants_tag = yes;
  };
}

/* t becomes a tag; or the hctx waits for one. */
inline get_tag ()
{
  try_get ();
  if
  :: t == NO_TAG && !wants_tag ->
     want (1);
#if WITHOUT != LOOK_AFTER_WANT
     try_get ();
#endif
  :: else -> skip;
  fi;
  if
  :: t != NO_TAG -> want (0);
  :: else -> skip;
  fi;
}

inline put_tag (wakes)
{
#if WITHOUT == BARRIER_IN_PUT
  svc = svc || (nr_waiting > 0 && wakes);
#endif
  d_step {
    if
    :: driver_tag[rq] != NO_TAG ->
       assert (taken[driver_tag[rq]]);
       taken[driver_tag[rq]] = 0;
       say ("tag %d is free\n", driver_tag[rq]);
       driver_tag[rq] = NO_TAG;
    :: else -> skip;
    fi;
  };
#if WITHOUT != BARRIER_IN_PUT
  svc = svc || (nr_waiting > 0 && wakes);
#endif
}

/* ---- the end ---- */

/* Answered, given back, and nobody refers to it. */
inline release ()
{
  if
  :: driver_tag[rq] != NO_TAG -> put_tag (!left_out (WAKE_AT_PUT));
  :: else -> skip;
  fi;
  d_step {
    assert (where[rq] == NOWHERE && !started[rq] && !x_idle[rq]);
    assert (driver_tag[rq] == NO_TAG);
    state[rq] = IDLE;
    x_idle[rq] = 1;
    x_done++;
    say ("%d has ended\n", rq);
    rq = NO_RQ;
  };
}

/* Ended while it was QUEUED. */
inline drop ()
{
  d_step { assert (state[rq] == QUEUED && ended[rq]); };
#if WITHOUT == TAG_AT_DROP
  d_step { state[rq] = IDLE; x_idle[rq] = 1; x_done++; rq = NO_RQ; };
#else
  release ();
#endif
}

/* Under the lock; ok: it was ended meanwhile. */
inline insert (place)
{
  d_step {
    !locked ->
    ok = ended[rq];
    if
    :: !ok ->
       assert (driver_tag[rq] == NO_TAG);
       where[rq] = place;
       say ("%d is queued at %d (sched 1, queue 2, aside 3)\n", rq, place);
       rq = NO_RQ;
    :: else -> skip;
    fi;
  };
  if
  :: ok -> ok = 0; drop ();
  :: else -> svc = svc || place != ASIDE;
  fi;
}

/* ---- the runner ---- */

/* Given back unfinished.  No rq: it was ended meanwhile. */
inline return_rq ()
{
  d_step {
    ok = ended[rq];
    state[rq] = QUEUED;
  };
  if
  :: ok -> ok = 0; drop ();
  :: else -> skip;
  fi;
}

inline queue_rq ()
{
  d_step {
    ok = ended[rq];
    if
    :: !ok -> state[rq] = IN_FLIGHT; say ("%d is IN_FLIGHT\n", rq);
    :: else -> skip;
    fi;
  };
  if
  :: ok -> ok = 0; drop ();
  :: else ->
     atomic {
       if
       :: moody -> moody = 0; ok = 1; say ("%d is refused\n", rq);
       :: true -> started[rq] = 1; rq = NO_RQ;
       fi;
     };
     if
     :: ok ->
        ok = 0;
        return_rq ();
        if
        :: rq != NO_RQ ->
#if WITHOUT != TAG_AT_BUSY
           put_tag (1);
#endif
           insert (QUEUE);
        :: else -> skip;
        fi;
     :: else -> skip;
     fi;
  fi;
}

/* The queue first, and of the scheduler any. */
inline pick (place)
{
  if
  :: where[0] == place -> rq = 0;
  :: where[1] == place -> rq = 1;
  :: where[2] == place -> rq = 2;
#ifdef DEEP
  :: where[3] == place -> rq = 3;
#endif
  fi;
}
#ifdef DEEP
#define any_at(place) (where[0] == place || where[1] == place \
                       || where[2] == place || where[3] == place)
#define any_started (started[0] || started[1] || started[2] || started[3])
#else
#define any_at(place) (where[0] == place || where[1] == place \
                       || where[2] == place)
#define any_started (started[0] || started[1] || started[2])
#endif

/* One thread at a time; it drops the lock while it issues. */
inline hctx_run ()
{
  svc = 0;
  lock ();
  if
  :: running -> skip;
  :: else ->
     running = 1;
     do
     :: any_at (QUEUE) || any_at (SCHED) ->
        get_tag ();
        if
        :: t == NO_TAG -> break;
        :: else -> skip;
        fi;
        atomic {
          if
          :: any_at (QUEUE) -> pick (QUEUE);
          :: else -> pick (SCHED);
          fi;
          where[rq] = NOWHERE;
          assert (driver_tag[rq] == NO_TAG);
          driver_tag[rq] = t;
          t = NO_TAG;
        };
        unlock ();
        queue_rq ();
        lock ();
     :: else -> want (0); break;
     od;
     running = 0;
  fi;
  unlock ();
}

/* ---- the actors ---- */

proctype submitter ()
{
  LOCALS;
  byte next;

  do
  :: svc -> hctx_run ();
  :: !svc && next < NR_RQS ->
     d_step { rq = next; next++; };
     insert (SCHED);
  :: !svc && next == NR_RQS -> break;
  od;
}

proctype loop ()
{
  LOCALS;

  do
  :: svc -> hctx_run ();
  :: d_step { !svc && kicked -> kicked = 0; svc = 1; };
  :: d_step { !svc && !kicked && x_done == NR_RQS -> skip; };
     break;
  od;
}

/* Does not enter queue_rq. */
proctype driver ()
{
  LOCALS;

  do
  :: d_step { svc -> svc = 0; kicked = 1; };
  :: atomic {
       !svc && any_started ->
       if
       :: started[0] -> rq = 0;
       :: started[1] -> rq = 1;
       :: started[2] -> rq = 2;
#ifdef DEEP
       :: started[3] -> rq = 3;
#endif
       fi;
       started[rq] = 0;
       if
       :: true -> ok = 0;
       :: unsure -> unsure = 0; ok = 1;
       fi;
     };
     if
     :: !ok -> d_step { ended[rq] = 1; say ("%d is completed\n", rq); };
        release ();
     :: else ->
        ok = 0;
        return_rq ();
        if
        :: rq != NO_RQ ->
#if WITHOUT != TAG_AT_REQUEUE
           put_tag (!left_out (WAKE_AT_REQUEUE));
#endif
           if
           :: insert (QUEUE);
           :: insert (ASIDE);
           fi;
        :: else -> skip;
        fi;
     fi;
  :: d_step {
       !svc && !locked && x_done == NR_RQS - 1 && any_at (ASIDE) ->
       do
       :: any_at (ASIDE) -> pick (ASIDE); where[rq] = QUEUE;
       :: else -> break;
       od;
       rq = NO_RQ;
       svc = !left_out (RUN_AT_KICK);
       say ("what was aside is kicked\n");
     };
  :: !svc && x_done == NR_RQS -> break;
  od;
}

proctype aborter ()
{
  LOCALS;

  if
  :: rq = 0;
  :: rq = NR_RQS - 1;
  fi;
  d_step {
    ok = !ended[rq] && state[rq] != IDLE;
    ended[rq] = 1;
    say ("%d is aborted: %d\n", rq, ok);
  };
  if
  :: ok ->
     d_step {
       !locked ->
       ok = where[rq] != NOWHERE;
       where[rq] = NOWHERE;
     };
     if
     :: ok -> drop ();
     :: else -> skip;
     fi;
  :: else -> skip;
  fi;
  kicked = kicked || svc;
}

init
{
  atomic {
#ifdef DEEP
    moody = 1;
    unsure = 1;
#else
    if
    :: moody = 1;
    :: unsure = 1;
    fi;
#endif
    run submitter ();
    run loop ();
    run driver ();
    run aborter ();
  };
  _nr_pr == 1;
  assert (x_done == NR_RQS && !locked && !running);
  assert (!taken[0] && !taken[NR_TAGS - 1]);
}

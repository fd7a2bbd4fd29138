/* SPDX-License-Identifier: BSD-3-Clause
 *
 * live.pml: a pool is replaced while ios are under way: nobody starts a request
 * in the old one, nobody touches it after it was freed, what the driver holds
 * in it comes back to it, and then it is freed.
 *
 * Three actors: a submitter, which runs the queue, too; the driver's thread,
 * which ends requests and may keep one, after a timeout, until all else is
 * done; and the update: freeze, swap, a grace period, unfreeze.  Old pools are
 * freed when nothing is taken in them, then or at the end.
 *
 * A tag is taken, then the flags are looked at, then the request is bound to
 * its hctx, then it starts.  Who waits in the list has a place in nr_waiting.
 *
 * The marks: who holds the hctx says so before it looks at the pool.  They are
 * stores, and the steps after them atomic operations: their order needs no
 * barrier of its own.
 */

#define NOTHING 0

#define BARRIER_IN_TAKE 1   /* look at the flags, then take the tag */
#define BARRIER_IN_FREEZE 2 /* look for tags, then set the flag */
#define UNBOUND_IN_FREEZE 3 /* overlook who does not say yet whose he is */
#define MARK_IN_TAKE 4
#define POOL_UNDER_MARK 5
#define MARK_IN_RELEASE 6
#define GRACE_BEFORE_UNFREEZE 7
#define TAKEN_IN_REAP 8
#define UNLINK_IN_REAP 9     /* free what others still can find */
#define GRACE_BEFORE_FREE 10
#define POOL_OF_RELEASE 11   /* put the tag in the pool of the day */
#define RUN_AT_UNFREEZE 12

/* Not among them: that the runner of a frozen hctx leaves those who wait alone.
 * It could not start them.
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

#define NR_POOLS 2
#ifdef DEEP
#define NR_IOS 4
#else
#define NR_IOS 3
#endif

/* A pool has two tags: 0 and 1 of the old, 2 and 3 of the new. */
#define NR_TAGS 4
#define NO_TAG NR_TAGS
#define pool_of(t) ((t) / 2)

bit taken[NR_TAGS];
bit bound[NR_TAGS];   /* the request says whose it is */
bit held[NR_TAGS];    /* the caller was answered, the driver is not done */
bit started[NR_TAGS]; /* the driver has it */

byte pool;            /* the hctx's */
byte retired = NR_POOLS; /* the set's list of those: one */
bit frozen;
bit kicked;
byte nr_waiting;

/* Marks: submitter, driver. */
bit holds[2];

bit x_retired[NR_POOLS];
bit x_freed[NR_POOLS];
bit x_updated;
byte x_ended;
bit x_keeps; /* the driver keeps one */

#define touch(p) assert (!x_freed[p])

#define LOCALS \
  byte t = NO_TAG, p; \
  bit ok, hoisted, svc

inline mark (who) { holds[who] = !left_out (MARK_IN_TAKE); }
inline unmark (who) { holds[who] = 0; }

/* t becomes a tag of p, or stays NO_TAG. */
inline search ()
{
  d_step {
    touch (p);
    if
    :: !taken[2 * p] -> t = 2 * p;
    :: taken[2 * p] && !taken[2 * p + 1] -> t = 2 * p + 1;
    :: else -> skip;
    fi;
    if
    :: t != NO_TAG -> taken[t] = 1; say ("tag %d is taken\n", t);
    :: else -> skip;
    fi;
  };
}

inline put_back ()
{
  d_step {
    touch (pool_of (t));
    taken[t] = 0;
    say ("tag %d is put back\n", t);
    t = NO_TAG;
  };
  svc = nr_waiting > 0;
}

/* A tag, or NO_TAG. */
inline take ()
{
#if WITHOUT == BARRIER_IN_TAKE
  ok = !frozen;
  search ();
#else
  search ();
  ok = !frozen;
#endif
  if
  :: t != NO_TAG && !ok -> put_back ();
  :: else -> skip;
  fi;
  ok = 0;
}

inline start ()
{
  d_step { touch (p); bound[t] = 1; };
  d_step {
    touch (p);
    assert (taken[t] && !started[t]);
    assert (!x_retired[p]);
    started[t] = 1;
    say ("tag %d starts\n", t);
    t = NO_TAG;
  };
}

inline look_at_pool ()
{
#if WITHOUT == POOL_UNDER_MARK
  p = pool;
  mark (0);
#else
  mark (0);
  p = pool;
#endif
}

inline hctx_run ()
{
  svc = 0;
  look_at_pool ();
  do
  :: nr_waiting == 0 || frozen -> break;
  :: else ->
     take ();
     if
     :: t == NO_TAG -> break;
     :: else -> nr_waiting--; start ();
     fi;
  od;
  unmark (0);
  p = 0;
}

/* An abort looks through all requests. */
inline look_for_requests ()
{
  mark (0);
  p = retired;
  if
  :: p != NR_POOLS -> touch (p);
  :: else -> skip;
  fi;
  d_step { unmark (0); p = 0; };
}

proctype submitter ()
{
  LOCALS;
  bit has_looked;
  byte left = NR_IOS;

  do
  :: svc -> hctx_run ();
  :: d_step { !svc && kicked -> kicked = 0; svc = 1; };
  :: !svc && !has_looked -> has_looked = 1; look_for_requests ();
  :: !svc && left > 0 ->
     left--;
     look_at_pool ();
     ok = nr_waiting == 0;
     if
     :: ok -> take ();
     :: else -> skip;
     fi;
     if
     :: t == NO_TAG -> nr_waiting++; say ("an io waits\n"); svc = 1;
     :: else -> start ();
     fi;
     d_step { unmark (0); ok = 0; p = 0; };
  :: d_step { !svc && !kicked && left == 0 && x_ended == NR_IOS && x_updated
              -> skip; };
     break;
  od;
}

/* Nothing keeps the hctx from the put on but the mark. */
inline release ()
{
  holds[1] = !left_out (MARK_IN_RELEASE);
  p = (left_out (POOL_OF_RELEASE) -> pool : pool_of (t));
  d_step { bound[t] = 0; held[t] = 0; started[t] = 0; };
  d_step {
    touch (p);
    t = 2 * p + t % 2;
    assert (taken[t]);
    taken[t] = 0;
    say ("tag %d is free\n", t);
    t = NO_TAG;
  };
  touch (p);
  kicked = kicked || nr_waiting > 0;
  d_step { holds[1] = 0; p = 0; x_ended++; };
}

#define may_end(t) (started[t] && !held[t])
#define may_end_late(t) (held[t] && x_ended == NR_IOS - 1)

proctype driver ()
{
  LOCALS;

  do
  :: atomic {
       if
       :: may_end (0) -> t = 0;
       :: may_end (1) -> t = 1;
       :: may_end (2) -> t = 2;
       :: may_end (3) -> t = 3;
       fi;
       started[t] = 0;
     };
     if
     :: release ();
     :: !x_keeps ->
        atomic { x_keeps = 1; held[t] = 1; started[t] = 1;
                 say ("tag %d is kept\n", t); t = NO_TAG; };
     fi;
  :: atomic {
       if
       :: may_end_late (0) -> t = 0;
       :: may_end_late (1) -> t = 1;
       :: may_end_late (2) -> t = 2;
       :: may_end_late (3) -> t = 3;
       fi;
       say ("tag %d comes late\n", t);
     };
     release ();
  :: x_ended == NR_IOS -> break;
  od;
}

/* ok: there is something to wait for. */
inline look_at (i)
{
  d_step {
    touch (pool_of (i));
    ok = ok || (taken[i] && !held[i]
                && (bound[i] || !left_out (UNBOUND_IN_FREEZE)));
  };
}

inline any_unfinished ()
{
  ok = 0;
  look_at (0);
  look_at (1);
}

/* One after the other: each was seen not to touch the hctx. */
inline grace ()
{
  !holds[0];
  !holds[1];
}

inline reap ()
{
  d_step {
    ok = (retired != NR_POOLS && (!(taken[0] || taken[1])
                                  || left_out (TAKEN_IN_REAP)));
    if
    :: ok && !left_out (UNLINK_IN_REAP) -> retired = NR_POOLS;
    :: else -> skip;
    fi;
  };
  if
  :: ok ->
#if WITHOUT != GRACE_BEFORE_FREE
     grace ();
#endif
     d_step { x_freed[0] = 1; ok = 0; say ("the old pool is freed\n"); };
     retired = NR_POOLS;
  :: else -> skip;
  fi;
}

proctype update ()
{
  LOCALS;

#if WITHOUT == BARRIER_IN_FREEZE
  any_unfinished ();
  d_step { frozen = 1; say ("frozen\n"); };
#else
  d_step { frozen = 1; say ("frozen\n"); };
  any_unfinished ();
#endif
  do
  :: ok ->
progress: /* it sleeps */
     any_unfinished ();
  :: else -> break;
  od;
  skip;
  d_step { x_retired[0] = 1; retired = 0; say ("retired\n"); };
  pool = 1;
#if WITHOUT != GRACE_BEFORE_UNFREEZE
  grace ();
#endif
  reap ();
  d_step { frozen = 0; say ("unfrozen\n"); };
  kicked = kicked || !left_out (RUN_AT_UNFREEZE);
  d_step { x_updated = 1; t = 0; };
  /* Once more, when the last request has come back. */
  x_ended == NR_IOS;
  reap ();
}

init
{
  atomic { run submitter (); run driver (); run update (); };
  _nr_pr == 1;
  assert (x_ended == NR_IOS && nr_waiting == 0 && x_freed[0] && !x_freed[1]);
  assert (!taken[0] && !taken[1] && !taken[2] && !taken[3]);
}

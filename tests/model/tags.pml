/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tags.pml: the tag set and its waiters: no tag is lost or had twice, no
 * wake-up is lost, and nobody is overtaken by one who came later.
 *
 * Three actors on two tags: two submitters with two ios each, which do not
 * wait for one before they submit the next, and may find that the driver has
 * completed inline; and the driver's thread, which ends what was started, in
 * any order, and is the hctx's loop, too.  The first io of each submitter may
 * be aborted while it waits.
 *
 * The waiters are served by one thread at a time, which drops the lock to start
 * what it has found a tag for, and may leave the rest to the loop.  Who finds
 * that another serves them leaves a note and goes.
 *
 * Unlike engine.pml's, the steps here are those of the C: the bitmap is
 * searched bit by bit, each bit is taken and cleared by an atomic operation of
 * its own, nr_waiters is read without the lock, and under the lock the list
 * and nr_waiters change one after the other.
 *
 * The two full barriers (after a bit is cleared, after nr_waiters is raised)
 * stand between a store and a load.  Without one, the load may be done first:
 * that is how leaving them out is modelled.
 */

#define NOTHING 0

#define LOOK_BEFORE_SEARCH 1 /* take a tag though others wait */
#define SERVICE_AFTER_JOIN 2 /* join and go away */
#define BARRIER_IN_JOIN 3
#define LOOK_AFTER_CLEAR 4   /* clear the bit and go away */
#define BARRIER_IN_CLEAR 5
#define LOCK_IN_SERVICE 6
#define ORDER_OF_WAITERS 7   /* who comes last is served first */
#define ONE_SWAP_IN_SEARCH 8 /* test a bit; then, later, set it */
#define COUNT_IN_ABORT 9     /* nr_waiters stays as it was */
#define ALL_IN_SERVICE 10    /* serve one, though others have left a note */
#define HAND_OVER 11         /* leave the rest to nobody */

/* Not among them: the note.  Who serves looks again after each that he served,
 * and nobody can leave a note at another time.
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

#define NR_TAGS 2
#define NR_IOS 4
#define NO_TAG NR_TAGS
#define NO_IO NR_IOS

bit taken[NR_TAGS];   /* the bitmap */
bit started[NR_TAGS]; /* the driver has it */
bit wait_lock;
bit running; /* somebody serves; under the lock */
bit rerun;   /* and should look again; likewise */
bit kicked;  /* the loop */
byte nr_waiters;
bit waits[NR_IOS]; /* on the list; under the lock */
chan waiters = [NR_IOS] of { byte };

/* The bystander's.  ahead: the ios that waited already when this one came, and
 * still do.
 */
byte x_owner[NR_TAGS] = NO_IO;
byte x_waiting;
byte x_ahead[NR_IOS];
byte x_ended;

#define LOCALS \
  byte t = NO_TAG, io = NO_IO; \
  bit ok, hoisted, svc

inline lock () { atomic { !wait_lock -> wait_lock = 1; }; }
inline unlock () { wait_lock = 0; }

inline leaves_list (i)
{
  waits[i] = 0;
  x_waiting = x_waiting & ~(1 << i);
  x_ahead[0] = x_ahead[0] & ~(1 << i);
  x_ahead[1] = x_ahead[1] & ~(1 << i);
  x_ahead[2] = x_ahead[2] & ~(1 << i);
  x_ahead[3] = x_ahead[3] & ~(1 << i);
}

/* Nobody else has the tag, and nobody who came before still waits. */
inline gets_tag ()
{
  say ("io %d gets tag %d\n", io, t);
  assert (taken[t] && x_owner[t] == NO_IO);
  assert (x_ahead[io] == 0);
  x_owner[t] = io;
}

inline test_and_set (i)
{
#if WITHOUT == ONE_SWAP_IN_SEARCH
  ok = !taken[i];
  if
  :: ok -> d_step { ok = 0; taken[i] = 1; t = i; };
  :: else -> skip;
  fi;
#else
  d_step {
    if
    :: !taken[i] -> taken[i] = 1; t = i;
    :: else -> skip;
    fi;
  };
#endif
}

/* t becomes a tag, or stays NO_TAG. */
inline search ()
{
  test_and_set (0);
  if
  :: t == NO_TAG -> test_and_set (1);
  :: else -> skip;
  fi;
}

inline append ()
{
#if WITHOUT == ORDER_OF_WAITERS
  /* As its head: take the others off and put them behind it. */
  d_step {
    ok = (nr_waiters > 0);
    waiters ! io;
    do
    :: ok && !waiters ? [eval (io)] -> waiters ? t; waiters ! t;
    :: else -> break;
    od;
    ok = 0;
    t = NO_TAG;
    waits[io] = 1;
  };
#else
  d_step { waiters ! io; waits[io] = 1; };
#endif
}

inline raise ()
{
  d_step {
    nr_waiters++;
    x_waiting = x_waiting | (1 << io);
    say ("io %d waits\n", io);
  };
}

#if WITHOUT == LOCK_IN_SERVICE
#define enter() skip
#define leave() skip
#else
#define enter() lock ()
#define leave() unlock ()
#endif
#define somebody_waits (waits[0] || waits[1] || waits[2] || waits[3])

inline leave_service ()
{
  ok = rerun;
  rerun = 0;
  if
  :: ok -> ok = 0;
  :: else -> break;
  fi;
}

/* The head and a tag come together.  It is started outside the lock. */
inline serve ()
{
  if
  :: hoisted -> hoisted = 0;
  :: else -> search ();
  fi;
  if
  :: t == NO_TAG -> leave_service ();
  :: else ->
     d_step { waiters ? io; gets_tag (); leaves_list (io); io = NO_IO; };
     nr_waiters--;
     leave ();
     d_step { started[t] = 1; t = NO_TAG; };
     enter ();
#if WITHOUT == ALL_IN_SERVICE
     break;
#endif
     if
     :: true -> skip;
     :: true -> /* enough: the loop goes on */
        d_step {
          kicked = (kicked || ((somebody_waits || rerun)
                               && !left_out (HAND_OVER)));
          rerun = 0;
        };
        break;
     fi;
  fi;
}

inline service ()
{
  svc = 0;
  enter ();
  if
  :: running && !left_out (LOCK_IN_SERVICE) -> rerun = 1;
  :: else ->
     running = 1;
     do
     :: somebody_waits -> serve ();
     :: else -> leave_service ();
     od;
     running = 0;
  fi;
  hoisted = 0;
  leave ();
}

inline join ()
{
  lock ();
  append ();
#if WITHOUT == BARRIER_IN_JOIN
  hoisted = taken[0] && taken[1];
#endif
  raise ();
  io = NO_IO;
  unlock ();
  svc = !left_out (SERVICE_AFTER_JOIN);
}

/* The end of the io that has t. */
inline clear ()
{
#if WITHOUT == BARRIER_IN_CLEAR
  svc = nr_waiters > 0;
#endif
  d_step {
    say ("tag %d is free\n", t);
    x_owner[t] = NO_IO;
    x_ended++;
    taken[t] = 0;
    t = NO_TAG;
  };
#if WITHOUT != BARRIER_IN_CLEAR && WITHOUT != LOOK_AFTER_CLEAR
  svc = nr_waiters > 0;
#endif
}

proctype submitter (byte first)
{
  LOCALS;
  byte next = first;

  do
  :: svc -> service ();
  :: !svc && next < first + 2 ->
     d_step {
       io = next;
       next++;
       x_ahead[io] = x_waiting;
       ok = nr_waiters == 0 || left_out (LOOK_BEFORE_SEARCH);
       say ("io %d comes, and sees %d waiters\n", io, nr_waiters);
     };
     if
     :: ok -> ok = 0; search ();
     :: else -> skip;
     fi;
     if
     :: t == NO_TAG -> join ();
     :: else ->
        d_step { gets_tag (); io = NO_IO; };
        if
        :: true -> started[t] = 1; t = NO_TAG;
        :: true -> clear (); /* completed inside queue_rq */
        fi;
     fi;
  :: !svc && next == first + 2 -> break;
  od;

  /* Give the first up, if it waits. */
  if
  :: true ->
     lock ();
     d_step {
       if
       :: waits[first] ->
          waiters ?? eval (first);
          leaves_list (first);
          nr_waiters = nr_waiters - !left_out (COUNT_IN_ABORT);
          x_ended++;
          say ("io %d is aborted\n", first);
       :: else -> skip;
       fi;
     };
     unlock ();
  :: true -> skip;
  fi;
}

proctype driver ()
{
  LOCALS;

  do
  :: d_step { svc -> svc = 0; kicked = 1; };
  :: d_step { !svc && kicked -> kicked = 0; };
     service ();
  :: atomic {
       !svc && (started[0] || started[1]) ->
       if
       :: started[0] -> t = 0;
       :: started[1] -> t = 1;
       fi;
       started[t] = 0;
     };
     clear ();
  :: d_step { !svc && !kicked && x_ended == NR_IOS -> skip; };
     break;
  od;
}

init
{
  atomic { run submitter (0); run submitter (2); run driver (); };
  _nr_pr == 1;
  assert (x_ended == NR_IOS && nr_waiters == 0 && !wait_lock && !running);
  assert (!taken[0] && !taken[1]);
}

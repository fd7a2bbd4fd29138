/* SPDX-License-Identifier: BSD-3-Clause
 *
 * move.pml: an hctx goes out of use: no io is left waiting on it, and none
 * starts there.
 *
 * Three actors: a submitter, bound to hctx 0, of two ios, which is the runner
 * of both hctxs, too; the update, which binds it to hctx 1, marks hctx 0 as
 * dropped, and moves those who wait there; and the abort of io 0, which may
 * find it on no list, while it is being moved.
 *
 * Both hctxs are frozen until the update is done: whoever comes has to wait.
 * The submitter has no mark on the hctx while it enters the list; nor has who
 * goes on with an io from a completion, after a flush.
 * An abort that comes while an io is on no list leaves its mark in the io.
 */

#define NOTHING 0

#define DROPPED_IN_APPEND 1
#define LOCK_IN_APPEND 2  /* look at the flags before the lock is taken */
#define MOVE 3            /* leave those who wait where they are */
#define ABORTED_IN_APPEND 4

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

#define NR_HCTXS 2
#define NR_IOS 2
#define NOWHERE NR_HCTXS

bit bound;               /* the submitter's hctx */
bit frozen = 1;          /* both */
bit dropped;             /* hctx 0 */
bit locked[NR_HCTXS];
byte where[NR_IOS] = NOWHERE; /* on whose list; its lock */
bit io_is_aborted;       /* io 0 */
bit kicked[NR_HCTXS];

bit ended[NR_IOS];
bit x_moved;
bit x_looked;            /* the abort is over */

inline lock (h) { atomic { !locked[h] -> locked[h] = 1; }; }
inline unlock (h) { locked[h] = 0; }

inline end (io)
{
  d_step { assert (!ended[io]); ended[io] = 1; say ("io %d has ended\n", io); };
}

/* As in the C: again, as long as the hctx turns out to be dropped. */
inline append (io, h)
{
  do
  :: true ->
#if WITHOUT == LOCK_IN_APPEND
     ok = h == 0 && dropped;
     lock (h);
#else
     lock (h);
     ok = h == 0 && dropped && !left_out (DROPPED_IN_APPEND);
#endif
     if
     :: io == 0 && io_is_aborted && !left_out (ABORTED_IN_APPEND) ->
        ok = 0;
        unlock (h);
        end (io);
        break;
     :: else ->
        if
        :: !ok ->
           d_step {
             assert (io != 0 || !x_looked);
             where[io] = h;
             kicked[h] = 1;
             say ("io %d waits on hctx %d\n", io, h);
           };
           unlock (h);
           break;
        :: else ->
           ok = 0;
           unlock (h);
           h = bound;
        fi;
     fi;
  od;
}

/* One io that waits on H: a tag is taken, and the flags are looked at. */
inline hctx_run (h, io)
{
  lock (h);
  d_step {
    ok = where[io] == h && !frozen && !(h == 0 && dropped);
    if
    :: ok ->
       assert (!(h == 0 && x_moved));
       where[io] = NOWHERE;
       say ("io %d starts on hctx %d\n", io, h);
    :: else -> skip;
    fi;
  };
  unlock (h);
  if
  :: ok -> ok = 0; end (io);
  :: else -> skip;
  fi;
}

proctype submitter ()
{
  byte next, h;
  bit ok;

  do
  :: next < NR_IOS ->
     h = bound;
     append (next, h);
     next++;
     h = 0;
  :: d_step { kicked[0] && !frozen -> kicked[0] = 0; };
     hctx_run (0, 0);
     hctx_run (0, 1);
  :: d_step { kicked[1] && !frozen -> kicked[1] = 0; };
     hctx_run (1, 0);
     hctx_run (1, 1);
  :: ended[0] && ended[1] -> break;
  od;
}

proctype update ()
{
  byte h;
  bit ok;
  bit found[NR_IOS];

  bound = 1;
  d_step { dropped = 1; say ("hctx 0 is dropped\n"); };
#if WITHOUT != MOVE
  d_step {
    !locked[0] ->
    found[0] = where[0] == 0;
    found[1] = where[1] == 0;
    where[0] = (found[0] -> NOWHERE : where[0]);
    where[1] = (found[1] -> NOWHERE : where[1]);
    say ("moved: io 0: %d, io 1: %d\n", found[0], found[1]);
  };
  if
  :: found[0] -> h = 0; append (0, h);
  :: else -> skip;
  fi;
  if
  :: found[1] -> h = 0; append (1, h);
  :: else -> skip;
  fi;
#endif
  x_moved = 1;
  d_step { frozen = 0; say ("unfrozen\n"); };
}

proctype aborter ()
{
  bit ok;

  io_is_aborted = 1;
  d_step {
    !locked[0] ->
    ok = where[0] == 0;
    where[0] = (ok -> NOWHERE : where[0]);
  };
  if
  :: !ok ->
     d_step {
       !locked[1] ->
       ok = where[0] == 1;
       where[0] = (ok -> NOWHERE : where[0]);
     };
  :: else -> skip;
  fi;
  d_step { x_looked = 1; say ("the abort of io 0 has found it: %d\n", ok); };
  if
  :: ok -> end (0);
  :: else -> skip;
  fi;
}

init
{
  atomic { run submitter (); run update (); run aborter (); };
  _nr_pr == 1;
  assert (ended[0] && ended[1]);
  assert (where[0] == NOWHERE && where[1] == NOWHERE);
}

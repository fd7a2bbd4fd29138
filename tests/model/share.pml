/* SPDX-License-Identifier: BSD-3-Clause
 *
 * share.pml: several hctxs draw on one pool: none waits while there is a tag
 * that it may have, each has its share, and they are woken in turn.
 *
 * Five actors: three hctxs, each a submitter and a runner in one; the driver's
 * thread, which ends what is in flight, in any order; and a controller, which
 * aborts an io of hctx 0 while it waits, or freezes hctx 1 for good.  Hctx 0
 * has both tags at the beginning, as one that was alone, and an io waits on
 * hctx 2.  Either hctx 0 has another io to submit; or the driver keeps one of
 * its tags for good, and an io waits on hctx 1, too.
 *
 * What hctx 1 cannot do when it is frozen must not keep the others from a tag:
 * a wake-up goes to one only.  Frozen stands for quiesced and stalled, too.
 *
 * The order of those who wait on one hctx is in tags.pml, and so is the other
 * barrier.  When who is idle loses its share is not modelled: that wakes
 * nobody, and nobody waits for it.
 */

#define NOTHING 0

#define LOOK_AFTER_JOIN 1   /* wait and go away */
#define BARRIER_IN_PUT 2    /* look for those who wait, then clear the bit */
#define OWN_IN_WAKE 3       /* who was denied: its own put asks again */
#define OTHERS_IN_WAKE 4    /* wake nobody but one's own */
#define OTHERS_BESIDE_OWN 5 /* nor others, if all that wait seem one's own */
#define TURNS 6             /* the first who waits, always */
#define UNABLE_IN_WAKE 7    /* wake who cannot use it */
#define PASS_ON 8           /* or could not any more when it ran */
#define SHARE_IN_TAKE 9     /* take as much as there is */

/* Not among them: telling others when a tag was taken too late and is put
 * back.  Who runs passes on what it cannot use anyhow.
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
#define NR_HCTXS 3
#ifdef DEEP
#define MORE 1
#else
#define MORE 0
#endif

/* The bitmap: which tag it is matters to nobody here. */
byte nr_free;
byte total_waiting; /* of the set */
byte turn;

byte nr_taken[NR_HCTXS];
byte nr_waiting[NR_HCTXS];
bit frozen[NR_HCTXS];
bit kicked[NR_HCTXS];
bit locked[NR_HCTXS]; /* somebody is entering the list */
byte started[NR_HCTXS]; /* the driver has them */

byte left[NR_HCTXS]; /* to be submitted */
byte x_passed[NR_HCTXS]; /* who had his turn while this one waited */

#define LOCALS \
  byte own, i; \
  byte next, first; \
  bit ok, svc

/* All are active. */
#define SHARE ((NR_TAGS + NR_HCTXS - 1) / NR_HCTXS)
#define is_within(h) (nr_taken[h] < SHARE)

/* May that one use a tag, if there is one? */
#define is_able(h) (!frozen[h] && is_within (h))

/* One of the others, in turn.  Under the users' lock, as part of a step. */
inline wake_next (h)
{
  next = NR_HCTXS;
  first = NR_HCTXS;
  i = 0;
  do
  :: i < NR_HCTXS ->
     if
     :: (i != h && nr_waiting[i] > 0
         && (is_able (i) || left_out (UNABLE_IN_WAKE))) ->
        first = (first == NR_HCTXS -> i : first);
        next = (next == NR_HCTXS && (i > turn || left_out (TURNS))
                -> i : next);
     :: else -> skip;
     fi;
     i++;
  :: else -> break;
  od;
  next = (next == NR_HCTXS -> first : next);
  if
  :: next != NR_HCTXS ->
     turn = next;
     kicked[next] = 1;
     say ("%d wakes %d\n", h, next);
  :: else -> skip;
  fi;
  i = 0;
  do
  :: i < NR_HCTXS ->
     if
     :: (next == NR_HCTXS || i == h || kicked[i] || nr_waiting[i] == 0
         || !is_able (i)) ->
        x_passed[i] = 0;
     :: else ->
        assert (!(x_passed[i] & (1 << next)));
        x_passed[i] = x_passed[i] | (1 << next);
     fi;
     i++;
  :: else -> break;
  od;
  i = 0;
  next = 0;
  first = 0;
}

/* A tag of H's was put. */
inline wake (h)
{
  d_step {
#if WITHOUT != BARRIER_IN_PUT
    own = nr_waiting[h];
#endif
    if
    :: own > 0 && !left_out (OWN_IN_WAKE) ->
       kicked[h] = 1;
       say ("%d wakes its own\n", h);
    :: else -> skip;
    fi;
    own = (left_out (OTHERS_BESIDE_OWN) -> own : 0);
  };
  d_step {
    if
    :: total_waiting > own && !left_out (OTHERS_IN_WAKE) -> wake_next (h);
    :: else -> skip;
    fi;
    own = 0;
  };
}

inline put (h)
{
#if WITHOUT == BARRIER_IN_PUT
  own = nr_waiting[h];
#endif
  nr_free++;
  d_step { nr_taken[h]--; say ("%d has put a tag, has %d\n", h, nr_taken[h]); };
}

/* ok: a tag was taken. */
inline take (h)
{
  d_step {
    ok = 0;
    if
    :: frozen[h] || nr_waiting[h] == 0 -> skip;
    :: else ->
       ok = is_within (h) || left_out (SHARE_IN_TAKE);
       if
       :: !ok -> say ("%d is denied\n", h);
       :: ok && nr_free == 0 -> ok = 0; say ("%d finds no tag\n", h);
       :: else ->
          nr_free--;
          nr_taken[h]++;
          assert (nr_taken[h] <= SHARE);
       fi;
    fi;
  };
}

/* Under the hctx's lock, which is its own here. */
inline hctx_run (h)
{
  do
  :: take (h);
     if
     :: !ok -> break;
     :: else -> skip;
     fi;
     d_step {
       ok = !frozen[h] && nr_waiting[h] > 0;
       if
       :: ok ->
          nr_waiting[h]--;
          started[h]++;
          x_passed[h] = 0;
          say ("%d takes a tag, has %d\n", h, nr_taken[h]);
       :: else -> skip;
       fi;
     };
     if
     :: ok -> total_waiting--;
     :: else ->
        put (h);
        wake (h);
        break;
     fi;
  od;
  skip;
  /* What has woken it may be of use to somebody else. */
  d_step {
    if
    :: nr_waiting[h] > 0 && !is_able (h) && !left_out (PASS_ON) ->
       wake_next (h);
    :: else -> skip;
    fi;
    ok = 0;
    svc = 0;
  };
}

proctype hctx (byte h)
{
  LOCALS;

end:
  do
  :: svc -> hctx_run (h);
  :: !svc && left[h] > 0 ->
     d_step {
       locked[h] = 1;
       left[h]--;
       nr_waiting[h]++;
       say ("io of %d waits\n", h);
     };
     d_step {
       total_waiting++;
       locked[h] = 0;
       svc = !left_out (LOOK_AFTER_JOIN);
     };
  :: d_step { !svc && kicked[h] -> kicked[h] = 0; svc = 1; };
  od;
}

proctype driver ()
{
  LOCALS;
  byte h;

end:
  do
  :: atomic {
       if
       :: started[0] > 0 -> h = 0;
       :: started[1] > 0 -> h = 1;
       :: started[2] > 0 -> h = 2;
       fi;
       started[h]--;
     };
     put (h);
     wake (h);
     h = 0;
  od;
}

proctype controller ()
{
  if
  :: d_step { frozen[1] = 1; say ("1 is frozen\n"); };
  :: d_step {
       !locked[0] && nr_waiting[0] > 0 ->
       nr_waiting[0]--;
       say ("io of 0 is aborted\n");
     };
     total_waiting--;
  :: true -> skip;
  fi;
}

init
{
  bit keeps;

  atomic {
    nr_taken[0] = 2;
    if
    :: started[0] = 2; left[0] = 1; left[1] = MORE;
    :: started[0] = 1; left[1] = MORE; nr_waiting[1] = 1; keeps = 1;
    fi;
    nr_waiting[2] = 1;
    total_waiting = 1 + keeps;
    run hctx (0);
    run hctx (1);
    run hctx (2);
    run driver ();
    run controller ();
  };
  timeout;
  assert (nr_waiting[0] == 0 && nr_waiting[2] == 0 && nr_free == 2 - keeps);
  assert (frozen[1] || nr_waiting[1] == 0);
}

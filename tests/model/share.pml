/* SPDX-License-Identifier: BSD-3-Clause
 *
 * share.pml: several hctxs draw on one pool: none waits while there is a tag
 * that it may have, and each has its share.
 *
 * Five actors: three hctxs, each a submitter and a runner in one; the driver's
 * thread, which ends what is in flight, in any order; and a controller, which
 * aborts an io of hctx 0 while it waits, or quiesces hctx 1 for good.  Hctx 0
 * has both tags at the beginning, as one that was alone, and an io waits on
 * hctx 2.  Either hctx 0 has another io to submit; or the driver keeps one of
 * its tags for good, and an io waits on hctx 1, too.
 *
 * What hctx 1 cannot do then must not keep the others from a tag.
 *
 * The order of those who wait on one hctx is in tags.pml, and so is the other
 * barrier.  When who is idle loses its share is not modelled: that wakes
 * nobody, and nobody waits for it.  Nor are turns: they say who is asked first,
 * and not who is there first.
 */

#define NOTHING 0

#define LOOK_AFTER_JOIN 1   /* wait and go away */
#define BARRIER_IN_PUT 2    /* look for those who wait, then clear the bit */
#define OWN_IN_WAKE 3       /* who was denied: its own put asks again */
#define OTHERS_IN_WAKE 4    /* wake nobody but one's own */
#define OTHERS_BESIDE_OWN 5 /* nor others, if all that wait seem one's own */
#define ALL_IN_WAKE 6       /* wake one, which may not be able to use it */
#define SHARE_IN_TAKE 7     /* take as much as there is */
#define SHARE_BEFORE_PUT 8  /* leave the share when the tag is another's */

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

bit taken[NR_TAGS]; /* the bitmap */
bit in_share[NR_TAGS];
byte total_waiting; /* of the set */

byte nr_taken[NR_HCTXS];
byte nr_waiting[NR_HCTXS];
bit quiesced[NR_HCTXS];
bit kicked[NR_HCTXS];
bit locked[NR_HCTXS]; /* somebody is entering the list */

byte left[NR_HCTXS]; /* to be submitted */
byte x_owner[NR_TAGS] = NR_HCTXS; /* the driver has it, for that one */

#define LOCALS \
  byte t, own; \
  bit ok, svc

/* All are active. */
#define SHARE ((NR_TAGS + NR_HCTXS - 1) / NR_HCTXS)
#define is_within(h) (nr_taken[h] < SHARE)

/* Could that one use a tag, if there is one?  Else what changes that asks. */
#define could_take(h) (nr_waiting[h] > 0 && !quiesced[h] && is_within (h))

inline ask (h, user)
{
  if
  :: h != user && could_take (user) && !ok ->
     kicked[user] = 1;
     ok = left_out (ALL_IN_WAKE);
     say ("%d asks %d\n", h, user);
  :: else -> skip;
  fi;
}

/* Look for others who wait, under the users' lock. */
inline wake_others (h)
{
  d_step {
    if
    :: total_waiting > own && !left_out (OTHERS_IN_WAKE) ->
       ask (h, 0);
       ask (h, 1);
       ask (h, 2);
    :: else -> skip;
    fi;
    ok = 0;
    own = 0;
  };
}

inline wake_own (h)
{
  d_step {
    if
    :: nr_waiting[h] > 0 && !left_out (OWN_IN_WAKE) ->
       kicked[h] = 1;
       say ("%d asks itself\n", h);
    :: else -> skip;
    fi;
  };
}

/* One tag of H's, t. */
inline leave_share (h)
{
  d_step {
    nr_taken[h] = nr_taken[h] - in_share[t];
    in_share[t] = 0;
    say ("%d leaves a share, has %d\n", h, nr_taken[h]);
  };
}

inline put (h)
{
#if WITHOUT == BARRIER_IN_PUT
  wake_others (h);
  wake_own (h);
#endif
#if WITHOUT != SHARE_BEFORE_PUT
  leave_share (h);
#endif
  d_step { taken[t] = 0; say ("tag %d is free\n", t); };
#if WITHOUT == SHARE_BEFORE_PUT
  leave_share (h);
#endif
  t = 0;
#if WITHOUT == OTHERS_BESIDE_OWN
  own = nr_waiting[h];
#endif
#if WITHOUT != BARRIER_IN_PUT
  wake_others (h);
  wake_own (h);
#endif
}

/* ok: t was taken. */
inline take (h)
{
  d_step {
    ok = 0;
    if
    :: quiesced[h] || nr_waiting[h] == 0 -> skip;
    :: else ->
       ok = is_within (h) || left_out (SHARE_IN_TAKE);
       if
       :: !ok -> say ("%d is denied\n", h);
       :: ok && taken[0] && taken[1] ->
          ok = 0;
          say ("%d finds no tag\n", h);
       :: else ->
          t = (taken[0] -> 1 : 0);
          taken[t] = 1;
          say ("%d takes tag %d\n", h, t);
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
       nr_taken[h]++;
       in_share[t] = 1;
       assert (nr_taken[h] <= SHARE);
     };
     d_step {
       ok = nr_waiting[h] > 0; /* not aborted */
       nr_waiting[h] = nr_waiting[h] - ok;
     };
     if
     :: ok -> total_waiting--; d_step { x_owner[t] = h; t = 0; };
     :: else -> put (h);
     fi;
  od;
  svc = 0;
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

proctype driver (bit keeps)
{
  LOCALS;
  byte h;

end:
  do
  :: atomic {
       if
       :: x_owner[0] != NR_HCTXS -> t = 0;
       :: x_owner[1] != NR_HCTXS && !keeps -> t = 1;
       fi;
       h = x_owner[t];
       x_owner[t] = NR_HCTXS;
     };
     put (h);
     h = 0;
  od;
}

proctype controller ()
{
  if
  :: d_step { quiesced[1] = 1; say ("1 is quiesced\n"); };
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
    d_step {
      nr_taken[0] = 2;
      taken[0] = 1;
      taken[1] = 1;
      in_share[0] = 1;
      in_share[1] = 1;
      x_owner[0] = 0;
      x_owner[1] = 0;
      nr_waiting[2] = 1;
      left[1] = MORE;
    };
    if
    :: left[0] = 1;
    :: nr_waiting[1] = 1; keeps = 1;
    fi;
    total_waiting = 1 + keeps;
    run hctx (0);
    run hctx (1);
    run hctx (2);
    run driver (keeps);
    run controller ();
  };
  timeout;
  assert (nr_waiting[0] == 0 && nr_waiting[2] == 0);
  assert (quiesced[1] || nr_waiting[1] == 0);
  assert (!taken[0] && taken[1] == keeps);
  assert (nr_taken[0] == keeps && nr_taken[1] == 0 && nr_taken[2] == 0);
}

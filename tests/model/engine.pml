/* SPDX-License-Identifier: BSD-3-Clause
 *
 * engine.pml: the request word, its transitions, and the actors that make
 * them.  Included by one file per configuration, which says who runs and how
 * often.  tags.pml has the tag set in detail; README.md says what is modelled.
 *
 * How the C becomes Promela.  A compare-and-swap loop (load, compute, swap,
 * again if somebody was faster) takes effect in its last round and nowhere
 * else: it is one indivisible step.  So is a section under a lock, as far as
 * its data is touched under that lock only.  All else is a step of its own:
 * plain fields of the request, calls into the driver and to the caller, each
 * atomic operation after another.
 *
 * Names that begin with x_ are the bystander's: the truth, which no decision of
 * the engine's may read.  The assertions compare the engine's doings with it.
 */

/* ---------------------------------------------------------------------- */
/* Guards that ./run takes away, one at a time, with -DWITHOUT=NAME          */

#define NOTHING 0

/* The comparisons with a token, in the swap that they belong to. */
#define GENERATION_IN_COMPLETE 1
#define IN_FLIGHT_IN_COMPLETE 2
#define HELD_IN_COMPLETE 3
#define ENDED_IN_COMPLETE 4
#define ONE_SWAP_IN_COMPLETE 5 /* clear HELD; then, later, claim */
#define GENERATION_IN_REQUEUE 6
#define IN_FLIGHT_IN_REQUEUE 7
#define HELD_IN_REQUEUE 8
#define GENERATION_IN_DONE 9
#define IN_FLIGHT_IN_DONE 10
#define HELD_IN_DONE 11
#define ENDED_IN_DONE 12

/* References. */
#define GENERATION_IN_GET 13
#define FREE_IN_GET 14
#define ROOM_IN_GET 15 /* saturate at the very top */
#define REFERENCE_IN_ABORT 16
#define REFERENCES_IN_PUT 17
#define HELD_IN_PUT 18
#define ONE_SWAP_IN_PUT 19 /* one reference less; then, later, FREE */
#define REFERENCES_IN_GIVE_BACK 20
#define RELEASE_IN_GIVE_BACK 21

/* The claim and the answer. */
#define ENDED_IN_CLAIM 22
#define DEFERRING 23 /* the winner answers though it is HELD */
#define HELD_IN_DEFERRING 24
#define ONE_SWAP_IN_DEFERRING 25
#define HAND_OVER_OF_DEFERRED 26
#define STATUS_BEFORE_DEFERRED 27
#define RESULT_OF_ITS_OWN 28 /* the driver's result in the winner's field */
#define PUT_AFTER_END_IO 29

/* Issues and generations. */
#define GENERATION_AT_ISSUE 30
#define GENERATION_AT_RELEASE 31
#define ENDED_IN_ISSUE 32
#define ONE_SWAP_IN_ISSUE 33
#define MARK_BEFORE_ISSUE 34 /* say "inside queue_rq" after the issue */
#define REMOVAL_FROM_QUEUE 35 /* leave an ended request to the queue's runner */
#define ENDED_IN_INSERT 36    /* and even queue it when it is ended already */
#define LOCK_IN_REMOVAL 37

/* Release. */
#define BIT_LAST 38
#define COPY_OF_GIVE_BACK 39 /* the releaser looks into the io again */
#define UNLINK_TIMER 40

/* The timer. */
#define REFERENCE_TO_ARM 41
#define GENERATION_AT_FIRE 42
#define TOKEN_UNDER_LOCK 43

/* The timeout scan. */
#define DEADLINE_UNDER_REFERENCE 44 /* look at it first and never again */
#define SKIP_IN_QUEUE_RQ 45
#define HELD_IN_SCAN 46 /* pass over what was ended, though still held */

/* Not among them, since it changes nothing but the time of the drop: that
 * requeue looks at ENDED.  Issue looks at it, too.
 */

#ifndef WITHOUT
#define WITHOUT NOTHING
#endif

/* The tale of a counterexample: ./run --trail */
#ifdef SAY
#define say(...) printf (__VA_ARGS__)
#else
#define say(...) skip
#endif

#define left_out(name) (WITHOUT == name)
#define guard(name, cond) (WITHOUT == name || (cond))

/* ---------------------------------------------------------------------- */
/* State                                                                    */

#define NR_TAGS 2
#define NR_IOS 3
#define NO_IO NR_IOS

/* irqmode */
#define IRQ_NONE 0
#define IRQ_SOFTIRQ 1
#define IRQ_TIMER 2
#ifndef IRQMODE
#define IRQMODE IRQ_NONE
#endif

/* State of a request. */
#define FREE 0
#define QUEUED 1
#define IN_FLIGHT 2

/* A status tells who ended the request. */
#define UNSET 0
#define OK 1
#define TIMEOUT 2
#define ABORTED 3

typedef word {
  byte gen;
  byte refs;
  unsigned state : 2;
  bit held;
  bit ended;
  bit deferred;
};
word w[NR_TAGS];

/* A look-up leaves room at the top for the reference that a completer takes
 * without asking: one in a life.
 */
#ifndef MAX_REFS
#define MAX_REFS 15
#endif
#define GET_LIMIT (MAX_REFS - !left_out (ROOM_IN_GET))

/* Plain fields of a request. */
byte rq_io[NR_TAGS] = NO_IO; /* the io that it serves */
byte rq_status[NR_TAGS];     /* the winner's */
bit rq_give_back[NR_TAGS];   /* the io has that callback */
bit on_requeue[NR_TAGS];     /* on the list of those to dispatch again */
#if IRQMODE != IRQ_NONE
byte rq_result[NR_TAGS];     /* the driver's status, until somebody claims */
bit listed[NR_TAGS];         /* in the heap, or on the softirq list */
byte rq_node[NR_TAGS];       /* the token in the timer's node */
byte x_node_io[NR_TAGS];
#endif
#ifdef NR_SCANS
bit rq_expired[NR_TAGS];     /* now is past the deadline */
#endif

/* For each actor, by its number: tag + 1 while it is inside queue_rq. */
#ifdef NR_SCANS
byte queueing[4];
#endif

/* The tag set, in short. */
bit taken[NR_TAGS];
byte nr_waiters;
chan waiters = [NR_IOS] of { byte };

#define a_tag_is_free (!taken[0] || !taken[1])

/* The driver: the token that it has or had, and the one before. */
bit drv_holds[NR_TAGS];
byte drv_token[NR_TAGS];
byte drv_old_token[NR_TAGS];

/* How many unusual things may still happen: a request that is started before it
 * is issued, BUSY, a requeue, a token that is used again, a reset deadline.
 */
#ifndef NR_UNUSUAL
#define NR_UNUSUAL 0
#endif
byte unusual = NR_UNUSUAL;

/* The bystander's. */
typedef io_truth {
  bit give_back; /* the caller set that callback */
  bit called;    /* end_io was called */
  bit returned;  /* and has returned */
  bit callers;   /* io and data are the caller's again */
  bit expired;
  unsigned winner : 2;
};
io_truth x_io[NR_IOS + 1];
byte x_refs[NR_TAGS]; /* references but for the answer's */
byte x_drv_io[NR_TAGS];
byte x_drv_old_io[NR_TAGS];
byte x_released;

#define all_done (x_released == NR_IOS)

/* What each actor carries along.  A transition leaves here what is to be done
 * next; each actor's loop does it.
 */
#define TO_START 1
#define TO_ISSUE 2
#define TO_QUEUE_RQ 3
#define TO_COMPLETE 4
#define TO_REQUEUE 5
#define TO_REMOVE 6
#define LOCALS \
  byte t, g, io = NO_IO; /* tag, generation, and the io that they stand for */ \
  byte st, todo; /* a status; the next step of dispatch or giving back */ \
  bit act;       /* something was begun */ \
  bit ans;       /* has to answer */ \
  bit inside;    /* is in end_io */ \
  bit own;       /* has a reference to put */ \
  bit rel;       /* is the releaser */ \
  bit svc;       /* has to look at the waiters */ \
  bit ok, busy

/* The order in which these are done. */
#define may_put (!ans && own && todo != TO_REMOVE)
#define may_release (!ans && !own && rel)
#define may_go_on (!ans && !own && !rel)
#define idle (!act)

/* ---------------------------------------------------------------------- */
/* The word.  All of these are parts of a step.                             */

/* Nobody references and nobody holds: FREE, with the next generation. */
inline to_free ()
{
  assert (w[t].state != FREE);
  assert (x_io[rq_io[t]].returned);
  assert (x_refs[t] == 0);
  assert (!drv_holds[t] && !on_requeue[t]);
  w[t].state = FREE;
  w[t].refs = 0;
  w[t].held = 0;
  w[t].ended = 0;
  w[t].deferred = 0;
  w[t].gen = w[t].gen + !left_out (GENERATION_AT_RELEASE);
  rel = 1;
  say ("tag %d: FREE, generation %d\n", t, w[t].gen);
}

/* Giving back an ended request: its answer may have been left to us, and its
 * tag, too.
 */
inline clear_held ()
{
  w[t].held = 0;
  ans = w[t].deferred && !left_out (HAND_OVER_OF_DEFERRED);
  say ("tag %d: HELD cleared, deferred answer: %d\n", t, ans);
  if
  :: (guard (REFERENCES_IN_GIVE_BACK, w[t].refs == 0)
      && !left_out (RELEASE_IN_GIVE_BACK)) -> to_free ();
  :: else -> skip;
  fi;
}

/* One reference less: the actor's own (mine) or the answer's. */
inline drop (mine)
{
  assert (w[t].refs > 0);
  w[t].refs--;
  x_refs[t] = x_refs[t] - mine;
  ok = guard (REFERENCES_IN_PUT, w[t].refs == 0);
}

inline free_if_last ()
{
  if
  :: ok && guard (HELD_IN_PUT, !w[t].held) -> to_free ();
  :: else -> skip;
  fi;
  ok = 0;
}

#if WITHOUT == ONE_SWAP_IN_PUT
#define then }; d_step {
#else
#define then
#endif

/* Io and data are the caller's: the driver has nothing of them. */
inline to_caller (i)
{
  assert (!x_io[i].callers);
  assert (!(drv_holds[0] && x_drv_io[0] == i));
  assert (!(drv_holds[1] && x_drv_io[1] == i));
  x_io[i].callers = 1;
  say ("io %d is given back\n", i);
}

inline call_end_io ()
{
  assert (!x_io[rq_io[t]].called);
  assert (rq_status[t] != UNSET && rq_status[t] == x_io[rq_io[t]].winner);
  x_io[rq_io[t]].called = 1;
  say ("tag %d: end_io of io %d, status %d\n", t, rq_io[t], rq_status[t]);
  if
  :: !rq_give_back[t] -> to_caller (rq_io[t]);
  :: else -> skip;
  fi;
}

inline wins (status)
{
  if
  :: x_io[rq_io[t]].winner == UNSET -> x_io[rq_io[t]].winner = status;
  :: else -> skip;
  fi;
}

/* The token, or the handle, is that of the issue that the driver has. */
#define is_live(generation, in_flight, is_held) \
  (guard (generation, w[t].gen == g) \
   && guard (in_flight, w[t].state == IN_FLIGHT) \
   && guard (is_held, w[t].held) && w[t].state != FREE)

/* A token was accepted: then it is of the life that it once stood for, and of
 * an issue that the driver has done with.
 */
#define accepted() assert (rq_io[t] == io && !drv_holds[t])

/* "Inside queue_rq": who issues says so before the issue can be seen. */
inline mark ()
{
#ifdef NR_SCANS
  queueing[_pid] = (left_out (MARK_BEFORE_ISSUE) -> 0 : t + 1);
#else
  skip;
#endif
}

/* queue_rq has returned, and if it refused, that is over too. */
inline unmark ()
{
#ifdef NR_SCANS
  queueing[_pid] = 0;
#else
  skip;
#endif
}

/* One swap gives back and, if nobody was faster, claims.  Nothing below holds
 * the request, so this winner answers at once; st is the status.
 */
inline give_back_and_claim (status, which)
{
  accepted ();
  if
  :: guard (which, !w[t].ended) ->
     w[t].held = 0;
     w[t].ended = 1;
     wins (status);
     st = status;
     ans = 1;
     say ("tag %d: HELD cleared and ENDED set\n", t);
  :: else -> clear_held ();
  fi;
}

/* ---------------------------------------------------------------------- */
/* Look-up, claim, answer, put                                              */

/* t:g is a handle or a token, and io the bystander's knowledge of whose. */
inline get ()
{
  d_step {
    ok = (guard (GENERATION_IN_GET, w[t].gen == g)
          && guard (FREE_IN_GET, w[t].state != FREE)
          && w[t].refs < GET_LIMIT);
    if
    :: ok ->
       assert (w[t].state != FREE && (io == NO_IO || io == rq_io[t]));
       w[t].refs++;
       x_refs[t]++;
       own = 1;
       say ("tag %d: got, by generation %d: %d references\n", t, g, w[t].refs);
    :: else -> say ("tag %d: not got, by generation %d\n", t, g);
    fi;
    io = NO_IO;
  };
}

/* Data that is held cannot go back to the caller: if that is what the answer
 * means, whoever gives back will answer.
 */
inline defer_or_answer ()
{
  d_step {
    ok = (!rq_give_back[t] && !left_out (DEFERRING)
          && guard (HELD_IN_DEFERRING, w[t].held));
    ans = !ok;
#if WITHOUT == ONE_SWAP_IN_DEFERRING
  };
  d_step {
#endif
    w[t].deferred = w[t].deferred || ok;
    say ("tag %d: answer deferred: %d\n", t, ok);
    ok = 0;
  };
}

/* Under a reference. */
inline claim (status)
{
  d_step {
    assert (w[t].state != FREE);
    ok = guard (ENDED_IN_CLAIM, !w[t].ended);
    if
    :: ok ->
       w[t].ended = 1;
       wins (status);
       todo = (status == OK || left_out (REMOVAL_FROM_QUEUE)
               -> 0 : TO_REMOVE);
       say ("tag %d: ENDED set, status %d\n", t, status);
    :: else -> say ("tag %d: claim lost\n", t);
    fi;
  };
  if
  :: ok ->
#if WITHOUT == STATUS_BEFORE_DEFERRED
     defer_or_answer ();
     rq_status[t] = status;
#else
     rq_status[t] = status;
     defer_or_answer ();
#endif
  :: else -> skip;
  fi;
}

/* One step into end_io, one out of it: it takes its time. */
inline enter_end_io ()
{
  if
  :: st != UNSET -> rq_status[t] = st; st = UNSET;
  :: else -> skip;
  fi;
  call_end_io ();
}

inline leave_end_io ()
{
  ans = 0;
  inside = 0;
  x_io[rq_io[t]].returned = 1;
}

inline answer ()
{
#if WITHOUT == PUT_AFTER_END_IO
  d_step { ans && !inside -> inside = 1; drop (0); free_if_last (); };
  d_step { enter_end_io (); };
  d_step { leave_end_io (); };
#else
  d_step { ans && !inside -> inside = 1; enter_end_io (); };
  d_step { leave_end_io (); drop (0); then free_if_last (); };
#endif
}

inline put ()
{
  d_step {
    may_put -> own = 0;
    say ("tag %d: put\n", t);
    drop (1);
    then free_if_last ();
  };
}

/* ---------------------------------------------------------------------- */
/* Complete and requeue                                                     */

#if IRQMODE == IRQ_NONE

inline complete ()
{
#if WITHOUT == ONE_SWAP_IN_COMPLETE
  d_step {
    todo == TO_COMPLETE -> todo = 0;
    ok = is_live (NOTHING, NOTHING, NOTHING);
    if
    :: ok -> clear_held (); /* and no more, yet */
    :: else -> skip;
    fi;
  };
  d_step {
    if
    :: ok && !rel && !w[t].ended ->
       assert (w[t].state != FREE && rq_io[t] == io);
       w[t].ended = 1;
       wins (OK);
       st = OK;
       ans = 1;
    :: else -> skip;
    fi;
    ok = 0;
  };
#else
  d_step {
    todo == TO_COMPLETE -> todo = 0;
    if
    :: is_live (GENERATION_IN_COMPLETE, IN_FLIGHT_IN_COMPLETE,
                HELD_IN_COMPLETE) ->
       give_back_and_claim (OK, ENDED_IN_COMPLETE);
    :: else -> say ("tag %d: completion refused\n", t);
    fi;
  };
#endif
}

#else /* softirq, timer: the claim comes later, from the list or the heap */

inline complete ()
{
  d_step {
    todo == TO_COMPLETE -> todo = 0;
    if
    :: is_live (GENERATION_IN_COMPLETE, IN_FLIGHT_IN_COMPLETE,
                HELD_IN_COMPLETE) ->
       accepted ();
       if
       :: w[t].ended -> clear_held ();
       :: else ->
          w[t].held = 0;
          ok = 1;
          own = !left_out (REFERENCE_TO_ARM);
          w[t].refs = w[t].refs + own;
          x_refs[t] = x_refs[t] + own;
          say ("tag %d: HELD cleared, %d references\n", t, w[t].refs);
          assert (w[t].refs <= MAX_REFS);
       fi;
    :: else -> say ("tag %d: completion refused\n", t);
    fi;
  };
  if
  :: ok ->
#if WITHOUT == RESULT_OF_ITS_OWN
     rq_status[t] = OK;
#else
     rq_result[t] = OK;
#endif
     d_step { /* under the heap's, or the list's, lock */
       ok = 0;
       assert (w[t].state != FREE && rq_io[t] == io);
       assert (!listed[t]);
       listed[t] = 1;
       rq_node[t] = g;
       x_node_io[t] = io;
       /* The list takes the reference along; the heap has none. */
       own = own && IRQMODE == IRQ_TIMER;
       say ("tag %d: on the list or in the heap\n", t);
     };
  :: else -> skip;
  fi;
}

#endif

/* Put on the queue what is QUEUED, but drop it if it was ended meanwhile.  Who
 * ends it will look for it there: one of the two sees the other.
 */
inline insert ()
{
  d_step { /* under the queue's lock */
    assert (!on_requeue[t]);
    ok = w[t].ended && !left_out (ENDED_IN_INSERT);
    on_requeue[t] = !ok;
  };
  if
  :: ok -> d_step { ok = 0; clear_held (); };
  :: else -> skip;
  fi;
}

/* Ended by an abort or a timeout.  If it is on the queue, the caller need not
 * wait until that moves.
 */
inline remove ()
{
  d_step {
    !ans && todo == TO_REMOVE -> todo = 0;
    ok = w[t].state == QUEUED;
  };
  if
  :: ok ->
     d_step { /* under the queue's lock */
       ok = on_requeue[t];
#if WITHOUT == LOCK_IN_REMOVAL
     };
     d_step {
#endif
       on_requeue[t] = on_requeue[t] && !ok;
     };
     if
     :: ok -> d_step { ok = 0; clear_held (); };
     :: else -> skip;
     fi;
  :: else -> skip;
  fi;
}

inline requeue ()
{
  d_step {
    todo == TO_REQUEUE -> todo = 0;
    if
    :: is_live (GENERATION_IN_REQUEUE, IN_FLIGHT_IN_REQUEUE,
                HELD_IN_REQUEUE) ->
       accepted ();
       if
       :: w[t].ended -> clear_held ();
       :: else ->
          w[t].state = QUEUED;
          ok = 1;
          say ("tag %d: QUEUED again\n", t);
       fi;
    :: else -> say ("tag %d: requeue refused\n", t);
    fi;
  };
  if
  :: ok -> insert ();
  :: else -> skip;
  fi;
  unmark ();
}

/* ---------------------------------------------------------------------- */
/* Start, issue, queue_rq                                                   */

inline to_in_flight ()
{
  w[t].state = IN_FLIGHT;
  w[t].gen = w[t].gen + !left_out (GENERATION_AT_ISSUE);
  g = w[t].gen;
  todo = TO_QUEUE_RQ;
  say ("tag %d: IN_FLIGHT, generation %d\n", t, g);
}

/* What the driver cannot use again is forgotten: it would only make more
 * states.
 */
inline forget (i)
{
  drv_old_token[i] = 0;
  x_drv_old_io[i] = 0;
  if
  :: !drv_holds[i] -> drv_token[i] = 0; x_drv_io[i] = 0;
  :: else -> skip;
  fi;
}

inline use_unusual ()
{
  unusual--;
  if
  :: unusual == 0 -> forget (0); forget (1);
  :: else -> skip;
  fi;
}

/* The tag's taker is the only one who may write a FREE word. */
inline start ()
{
  atomic {
    may_go_on && todo == TO_START ->
    assert (w[t].state == FREE && taken[t]);
    rq_io[t] = io;
    rq_give_back[t] = x_io[io].give_back;
    io = NO_IO;
    mark ();
    if
    :: unusual > 0 -> use_unusual (); ok = 1;
    :: true -> skip;
    fi;
  };
  d_step {
    w[t].refs = 1;
    w[t].held = 1;
    if
    :: ok ->
       w[t].state = QUEUED;
       todo = TO_ISSUE;
       ok = 0;
       say ("tag %d: QUEUED, generation %d\n", t, w[t].gen);
    :: else -> to_in_flight ();
    fi;
  };
}

inline issue ()
{
  d_step { may_go_on && todo == TO_ISSUE -> mark (); };
#if WITHOUT == ONE_SWAP_IN_ISSUE
  d_step { ok = w[t].ended; st = w[t].refs; };
  d_step { w[t].ended = ok; w[t].refs = st; ok = 0; st = UNSET;
#else
  d_step {
#endif
    assert (w[t].state == QUEUED && w[t].held);
    todo = 0;
    if
    :: guard (ENDED_IN_ISSUE, !w[t].ended) ->
       /* What the caller was told is over must not be done any more. */
       assert (!x_io[rq_io[t]].called);
       to_in_flight ();
    :: else -> clear_held ();
    fi;
  };
  if
  :: !todo -> unmark ();
  :: else -> skip;
  fi;
}

inline queue_rq ()
{
#if defined(NR_SCANS) && WITHOUT == MARK_BEFORE_ISSUE
  may_go_on && todo == TO_QUEUE_RQ;
  queueing[_pid] = t + 1;
#endif
  atomic {
    may_go_on && todo == TO_QUEUE_RQ -> todo = 0;
    assert (!drv_holds[t]);
    assert (w[t].gen == g && w[t].held);
    assert (!x_io[rq_io[t]].callers);
    if
    :: unusual > 0 ->
       use_unusual ();
       say ("tag %d: queue_rq says BUSY\n", t);
       todo = TO_REQUEUE;
       io = rq_io[t];
    :: true ->
       if
       :: unusual > 0 ->
          drv_old_token[t] = drv_token[t];
          x_drv_old_io[t] = x_drv_io[t];
       :: else -> skip;
       fi;
       drv_token[t] = g;
       x_drv_io[t] = rq_io[t];
       drv_holds[t] = 1;
       say ("tag %d: queue_rq takes io %d\n", t, rq_io[t]);
    fi;
  };
  if
  :: todo != TO_REQUEUE -> unmark ();
  :: else -> skip;
  fi;
}

/* ---------------------------------------------------------------------- */
/* Release and the tag set                                                  */

inline release ()
{
  d_step {
    may_release -> skip;
#if WITHOUT == BIT_LAST
    taken[t] = 0;
  };
  d_step {
#endif
#if IRQMODE == IRQ_TIMER
    /* Under the heap's lock. */
    listed[t] = listed[t] && left_out (UNLINK_TIMER);
  };
  d_step {
#endif
#if WITHOUT == COPY_OF_GIVE_BACK
    assert (!x_io[rq_io[t]].callers);
#endif
    if
    :: rq_give_back[t] -> to_caller (rq_io[t]);
    :: else -> skip;
    fi;
  };
  d_step {
    taken[t] = 0;
    rel = 0;
    say ("tag %d: bit cleared\n", t);
    /* The rest is the bystander's. */
    assert (x_io[rq_io[t]].callers);
    x_released++;
    x_io[rq_io[t]].give_back = 0;
    x_io[rq_io[t]].winner = UNSET;
    x_io[rq_io[t]].expired = 0;
#if WITHOUT != BIT_LAST
    rq_io[t] = NO_IO;
#endif
    rq_status[t] = UNSET;
    rq_give_back[t] = 0;
#if IRQMODE != IRQ_NONE
    rq_result[t] = UNSET;
#endif
#ifdef NR_SCANS
    rq_expired[t] = 0;
#endif
  };
  svc = nr_waiters > 0;
}

inline take_tag ()
{
  t = (taken[0] -> 1 : 0);
  taken[t] = 1;
  todo = TO_START;
}

/* Under the wait lock.  One pair a time, and started before the next. */
inline service ()
{
  d_step {
    may_go_on && !todo && svc ->
    if
    :: nr_waiters > 0 && a_tag_is_free ->
       waiters ? io;
       nr_waiters--;
       take_tag ();
       say ("tag %d: for waiting io %d\n", t, io);
    :: else -> svc = 0;
    fi;
  };
}

/* ---------------------------------------------------------------------- */
/* The actors                                                               */

inline pick_tag (cond0, cond1)
{
  if
  :: cond0 -> t = 0;
  :: cond1 -> t = 1;
  fi;
}

/* What each loop has beside the options that begin something. */
#define SETTLE \
  :: answer () \
  :: put () \
  :: release () \
  :: start () \
  :: issue () \
  :: queue_rq () \
  :: requeue () \
  :: remove () \
  :: service () \
  :: d_step { may_go_on && !todo && !svc && act -> \
              act = 0; t = 0; g = 0; io = NO_IO; }

/* The hctx's context: dispatches what was requeued, runs the softirq list. */
#if IRQMODE == IRQ_SOFTIRQ
#define RUN_SOFTIRQ \
  :: atomic { \
       idle && (listed[0] || listed[1]) -> act = 1; \
       pick_tag (listed[0], listed[1]); \
       listed[t] = 0; \
       own = 1; \
     }; \
     claim (rq_result[t]);
#else
#define RUN_SOFTIRQ
#endif
#define RUN_HCTX \
  RUN_SOFTIRQ \
  :: atomic { \
       idle && (on_requeue[0] || on_requeue[1]) -> act = 1; \
       pick_tag (on_requeue[0], on_requeue[1]); \
       on_requeue[t] = 0; \
       todo = TO_ISSUE; \
     }

#ifdef DEEP
#define NR_FREE_CHOICES NR_IOS
#else
#define NR_FREE_CHOICES 2
#endif

/* With the callback or without.  The third is the other kind than the second:
 * half the states, and they meet all the same.  DEEP: any mix.
 */
inline choose_io (i)
{
  if
#ifndef DEEP
  :: i == 2 -> x_io[i].give_back = !x_io[1].give_back;
#endif
  :: i < NR_FREE_CHOICES -> x_io[i].give_back = 0;
  :: i < NR_FREE_CHOICES -> x_io[i].give_back = 1;
  fi;
}

/* Submits more ios than there are tags, and is the hctx's context, too. */
#ifdef SUBMITTER
proctype submitter ()
{
  LOCALS;
  byte next;

  do
  SETTLE
  RUN_HCTX
  :: atomic {
       idle && next < NR_IOS -> act = 1;
       io = next;
       next++;
       choose_io (io);
       say ("io %d submitted, give_back: %d\n", io, x_io[io].give_back);
       if
       :: nr_waiters == 0 && a_tag_is_free -> take_tag ();
       :: else -> waiters ! io; nr_waiters++; svc = 1;
       fi;
     }
  :: atomic { idle && all_done -> break; }
  od;
}
#endif

/* The driver's thread: gives back what it holds, in any order and as late as
 * it likes, finished or not; and comes again with tokens that it has used up.
 */
#ifdef DRIVER
inline stale_token () { g = drv_token[t]; io = x_drv_io[t]; }
inline stale_old_token () { g = drv_old_token[t]; io = x_drv_old_io[t]; }

proctype driver ()
{
  LOCALS;

  do
  SETTLE
#ifndef SUBMITTER
  RUN_HCTX
#endif
  :: complete ()
  :: atomic {
       idle && (drv_holds[0] || drv_holds[1]) -> act = 1;
       pick_tag (drv_holds[0], drv_holds[1]);
       drv_holds[t] = 0;
       g = drv_token[t];
       io = x_drv_io[t];
       todo = TO_COMPLETE;
       if
       :: unusual == 0 -> forget (t);
       :: unusual > 0 -> skip;
       :: unusual > 0 -> use_unusual (); todo = TO_REQUEUE;
       fi;
       say ("driver lets go of tag %d, token %d\n", t, g);
     }
  :: atomic {
       (idle && unusual > 0
        && ((drv_token[0] && !drv_holds[0]) || (drv_token[1] && !drv_holds[1])
            || drv_old_token[0] || drv_old_token[1])) -> act = 1;
       if
       :: drv_token[0] && !drv_holds[0] -> t = 0; stale_token ();
       :: drv_token[1] && !drv_holds[1] -> t = 1; stale_token ();
       :: drv_old_token[0] -> t = 0; stale_old_token ();
       :: drv_old_token[1] -> t = 1; stale_old_token ();
       fi;
       use_unusual ();
       say ("driver comes again for tag %d, token %d\n", t, g);
       if
       :: todo = TO_COMPLETE;
       :: todo = TO_REQUEUE;
       fi;
     }
  :: atomic { idle && all_done -> break; }
  od;
}
#endif

/* Aborts by handle; it may be stale when the abort comes. */
#ifdef NR_ABORTS
proctype aborter ()
{
  LOCALS;
  byte nr_aborts = NR_ABORTS;

  do
  SETTLE
  :: atomic {
       idle && nr_aborts > 0 && !all_done -> act = 1;
       nr_aborts--;
       pick_tag (true, true);
       g = w[t].gen;
       if
       :: w[t].state != FREE -> io = rq_io[t];
       :: else -> skip;
       fi;
       say ("abort of tag %d, handle %d\n", t, g);
     };
#if WITHOUT == REFERENCE_IN_ABORT
     ok = io != NO_IO;
#else
     get ();
#endif
     if
     :: ok -> claim (ABORTED);
     :: else -> skip;
     fi;
  :: atomic { idle && (nr_aborts == 0 || all_done) -> break; }
  od;
}
#endif

/* The hctx's heap of irqmode=timer.  Which node is first is left open. */
#if IRQMODE == IRQ_TIMER
proctype heap ()
{
  LOCALS;

  do
  SETTLE
  :: atomic { /* under the heap's lock */
       idle && (listed[0] || listed[1]) -> act = 1;
       pick_tag (listed[0], listed[1]);
       listed[t] = 0;
       g = rq_node[t];
       io = x_node_io[t];
       say ("timer of tag %d, token %d\n", t, g);
     };
#if WITHOUT == TOKEN_UNDER_LOCK
     g = rq_node[t];
#elif WITHOUT == GENERATION_AT_FIRE
     g = w[t].gen;
#endif
     get ();
     if
     :: ok -> claim (rq_result[t]);
     :: else -> skip;
     fi;
  :: atomic { idle && all_done -> break; }
  od;
}
#endif

/* The hctx's timeout scan; each of its visits to a tag is on its own here. */
#ifdef NR_SCANS

/* Time passes: what is under way has expired, what starts from now on not. */
inline tick ()
{
  if
  :: w[t].state != FREE -> rq_expired[t] = 1; x_io[rq_io[t]].expired = 1;
  :: else -> skip;
  fi;
}

/* What the driver may say.  DONE: it has let go of this issue; perhaps long
 * ago, since the scan does not wait for a completion on its way.
 */
#define DONE 1
#define RESET 2
#define HELD 3

inline ask ()
{
  atomic {
    io = rq_io[t];
    if
    :: st = DONE; drv_holds[t] = drv_holds[t] && drv_token[t] != g;
#ifdef DRIVER
    :: st = RESET;
    :: st = HELD;
#else
    :: unusual > 0 -> use_unusual (); st = RESET;
#endif
    fi;
    say ("driver says %d for tag %d (DONE 1, RESET 2, HELD 3)\n", st, t);
  };
  if
  :: st == DONE ->
     d_step {
       st = UNSET;
       if
       :: is_live (GENERATION_IN_DONE, IN_FLIGHT_IN_DONE, HELD_IN_DONE) ->
          give_back_and_claim (TIMEOUT, ENDED_IN_DONE);
       :: else -> skip;
       fi;
     };
  :: st == RESET ->
     d_step { st = UNSET; rq_expired[t] = 0; x_io[rq_io[t]].expired = 0; };
  :: else -> st = UNSET; claim (TIMEOUT);
  fi;
}

/* Is there something to do?  Somebody must be told (it is not ENDED), or asked
 * (the driver holds it, even if the caller was told).
 */
#define to_scan(i) \
  (w[i].state != FREE \
   && (!w[i].ended || (w[i].state == IN_FLIGHT && w[i].held \
                       && !left_out (HELD_IN_SCAN))))

/* Where nothing but the scan gets a tag back there is no limit to scans, but
 * those that would find nothing are left out.
 */
#define finds(i) \
  (to_scan (i) && queueing[1] != i + 1 && queueing[2] != i + 1)

/* Under a reference: whose is it now?  1: the engine's, 2: the driver's. */
inline expire ()
{
  d_step {
    assert (x_io[rq_io[t]].expired);
    ok = 0;
    if
    :: w[t].state == IN_FLIGHT && w[t].held && w[t].gen == g -> busy = 1;
    :: (w[t].state == QUEUED || !w[t].held) && !w[t].ended -> ok = 1;
    :: else -> skip;
    fi;
  };
  if
  :: ok -> claim (TIMEOUT);
  :: else -> skip;
  fi;
  if
  :: busy -> busy = 0; ask ();
  :: else -> skip;
  fi;
}

/* Is that actor inside queue_rq for this request?  Then not now. */
inline look_at (i)
{
  if
  :: ok && _pid != i && !left_out (SKIP_IN_QUEUE_RQ) ->
     ok = queueing[i] != t + 1;
  :: else -> skip;
  fi;
}

proctype timeouts ()
{
  LOCALS;
  byte nr_scans = NR_SCANS;

  do
  SETTLE
  :: atomic {
#ifdef DRIVER
       idle && nr_scans > 0 && !all_done -> act = 1;
       nr_scans--;
       pick_tag (true, true);
#else
       idle && (finds (0) || finds (1)) -> act = 1;
       pick_tag (finds (0), finds (1));
#endif
       tick ();
       say ("timeout scan at tag %d\n", t);
     };
#if WITHOUT == DEADLINE_UNDER_REFERENCE
     busy = rq_expired[t];
     d_step { ok = to_scan (t) && busy; g = w[t].gen; busy = 0; };
#else
     d_step { ok = to_scan (t); g = w[t].gen; };
#endif
     look_at (1);
     look_at (2);
     look_at (3);
     if
     :: ok -> get ();
     :: else -> skip;
     fi;
#if WITHOUT != DEADLINE_UNDER_REFERENCE
     ok = ok && rq_expired[t];
#endif
     if
     :: ok -> expire ();
     :: else -> skip;
     fi;
#ifdef DRIVER
  :: atomic { idle && (nr_scans == 0 || all_done) -> break; }
#else
  :: atomic { idle && all_done -> break; }
#endif
  od;
}
#endif

/* ---------------------------------------------------------------------- */
/* Beginning and end                                                        */

/* Without a submitter all ios are there from the beginning: one on each tag,
 * in flight, and the third waits.
 */
inline in_flight (i)
{
  choose_io (i);
  taken[i] = 1;
  rq_io[i] = i;
  rq_give_back[i] = x_io[i].give_back;
  w[i].gen = 1;
  w[i].state = IN_FLIGHT;
  w[i].held = 1;
  w[i].refs = 1;
  drv_holds[i] = 1;
  drv_token[i] = 1;
  x_drv_io[i] = i;
}

init
{
  atomic {
    x_io[NO_IO].called = 1; /* a request that is nobody's answers nobody */
    x_io[NO_IO].callers = 1;
#ifndef SUBMITTER
    in_flight (0);
    in_flight (1);
    choose_io (2);
    say ("io 0 on tag 0, io 1 on tag 1, io 2 waits; give_back: %d, %d, %d\n",
         x_io[0].give_back, x_io[1].give_back, x_io[2].give_back);
    waiters ! 2;
    nr_waiters = 1;
#endif
    ACTORS;
  };

  /* When all have come to their end, everything is free and nobody waits. */
  _nr_pr == 1;
  d_step {
    assert (all_done && nr_waiters == 0);
    assert (!taken[0] && w[0].state == FREE && x_refs[0] == 0);
    assert (!taken[1] && w[1].state == FREE && x_refs[1] == 0);
  };
}

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * loop.c: libev behind loop.h; the only file that knows it.
 *
 * Timers are one timerfd with an absolute deadline, because ev_timer on epoll
 * rounds up to whole milliseconds.  Kicks are an eventfd of our own and not an
 * ev_async, because libev aborts the process when it cannot have one.
 *
 * With spin_ns the timerfd goes off that much early, and from then on the loop
 * does not sleep.  An own thread looks at the clock without a pause, and at
 * kicks and the order to quit meanwhile.  A lent loop has other things to do:
 * the timerfd is left readable, so that the poll returns at once, again and
 * again, and whatever else is ready is served.
 */

#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <ev.h>

#include "engine/clock.h"
#include "engine/loop.h"
#include "engine/spin.h"
#include "engine/thread.h"

struct loop {
  enum loop_kind kind;
  const struct loop_ops *ops;
  void *opaque;
  unsigned index;
  struct ev_loop *ev;
  ev_io kick, timer;
  ev_prepare first_turn;   /* lent: finds out which thread it is */
  ev_prepare before_sleep; /* lent and polled */
  ev_idle no_sleep;        /* active while there is something to poll for */
  int kickfd, timerfd;
  _Atomic uint64_t spin_ns;
  struct clock clock; /* the real one */
  pthread_t thread;
  bool running; /* set and cleared by the one who starts and stops */
  /* Where it is counted; the loop's thread.  The id tells the thread from a
   * later one in the same memory. */
  struct thread_slot *thread_slot;
  unsigned thread_id;

  _Atomic bool polled;
  _Atomic bool kicked;
  _Atomic bool quit;

  bool alarm_is_stale;          /* the loop's thread, in a callback */
  _Atomic uint64_t deadline_ns; /* wake_lock to write */

  /* Only the wake-up itself is under the lock: after loop_stop a lent loop
   * may be gone. */
  pthread_mutex_t wake_lock;
  bool open; /* wake_lock */
};

/* The loop in whose callback this thread is.  It is awake: the timerfd is set
 * when the callback ends, once for all the deadlines that came up in it. */
static __thread struct loop *turning;

static void
set_alarm_locked (struct loop *loop)
{
  uint64_t alarm_ns
      = spin_alarm_ns (atomic_load (&loop->deadline_ns), loop->spin_ns);
  struct itimerspec when = { { 0, 0 }, { 0, 0 } };

  if (alarm_ns != UINT64_MAX) {
    when.it_value.tv_sec = (time_t)(alarm_ns / 1000000000);
    when.it_value.tv_nsec = (long)(alarm_ns % 1000000000);
  }
  if (loop->open)
    timerfd_settime (loop->timerfd, TFD_TIMER_ABSTIME, &when, NULL);
}

/* Around what is called from libev.  Returns what was there before. */
static struct loop *
turn_begin (struct loop *loop)
{
  struct loop *outer = turning;

  turning = loop;
  return outer;
}

static void
turn_end (struct loop *loop, struct loop *outer)
{
  turning = outer;
  if (!loop->alarm_is_stale)
    return;
  loop->alarm_is_stale = false;
  pthread_mutex_lock (&loop->wake_lock);
  set_alarm_locked (loop);
  pthread_mutex_unlock (&loop->wake_lock);
}

static void
turn_kicked (struct loop *loop)
{
  /* Clear first: a kick that comes while we work must be seen again. */
  if (atomic_exchange (&loop->kicked, false))
    loop->ops->kicked (loop->opaque);
}

/* From its first turn on, the thread that runs the loop must not block. */
static void
mark_thread (struct loop *loop)
{
  if (loop->thread_slot != NULL)
    return;
  loop->thread_slot = thread_self ();
  loop->thread_id = loop->thread_slot->id;
  atomic_fetch_add (&loop->thread_slot->on_loop, 1);
}

/* Make the kick's fd readable; there is no way for this to fail that matters:
 * a counter that is full is readable. */
static void
wake (struct loop *loop)
{
  uint64_t one = 1;
  ssize_t r = write (loop->kickfd, &one, sizeof one);

  (void)r;
}

/* libev's loop does not sleep while an idle watcher is active. */
static void
no_sleep_cb (struct ev_loop *ev, ev_idle *w, int revents)
{
}

static void
stop_no_sleep (struct loop *loop)
{
  if (ev_is_active (&loop->no_sleep)) {
    ev_ref (loop->ev);
    ev_idle_stop (loop->ev, &loop->no_sleep);
  }
}

static void
before_sleep_cb (struct ev_loop *ev, ev_prepare *w, int revents)
{
  struct loop *loop = w->data;

  mark_thread (loop);
  if (!loop->ops->poll (loop->opaque))
    stop_no_sleep (loop);
  else if (!ev_is_active (&loop->no_sleep)) {
    ev_idle_start (ev, &loop->no_sleep);
    ev_unref (ev);
  }
}

/* Have the watchers say what was asked for.  The loop's thread. */
static void
set_polling (struct loop *loop, bool is_polled)
{
  if (loop->kind != LOOP_LENT
      || is_polled == !!ev_is_active (&loop->before_sleep))
    return;
  if (is_polled) {
    ev_prepare_start (loop->ev, &loop->before_sleep);
    ev_unref (loop->ev);
  } else {
    ev_ref (loop->ev);
    ev_prepare_stop (loop->ev, &loop->before_sleep);
    stop_no_sleep (loop);
  }
}

void
loop_set_spin (struct loop *loop, uint64_t spin_ns)
{
  atomic_store (&loop->spin_ns, spin_ns);
}

uint64_t
loop_spin_ns (const struct loop *loop)
{
  return atomic_load (&loop->spin_ns);
}

void
loop_set_polled (struct loop *loop, bool is_polled)
{
  if (atomic_exchange (&loop->polled, is_polled) != is_polled
      && loop->kind == LOOP_LENT)
    loop_kick (loop);
}

static void
kick_cb (struct ev_loop *ev, ev_io *w, int revents)
{
  struct loop *loop = w->data, *outer;
  uint64_t nr_kicks;

  mark_thread (loop);
  if (read (loop->kickfd, &nr_kicks, sizeof nr_kicks) < 0)
    return;
  if (atomic_load (&loop->quit)) {
    ev_break (ev, EVBREAK_ALL);
    return;
  }
  set_polling (loop, atomic_load (&loop->polled));
  outer = turn_begin (loop);
  turn_kicked (loop);
  turn_end (loop, outer);
}

static void
first_turn_cb (struct ev_loop *ev, ev_prepare *w, int revents)
{
  mark_thread (w->data);
  ev_ref (ev);
  ev_prepare_stop (ev, w);
}

static enum spin
look (struct loop *loop)
{
  return spin_look (clock_now_ns (&loop->clock),
                    atomic_load (&loop->deadline_ns), loop->spin_ns);
}

/* An own thread's: wait for the deadline if it is near.  True: it has come. */
static bool
spin_until_due (struct loop *loop)
{
  enum spin spin;

  do {
    if (atomic_load_explicit (&loop->quit, memory_order_relaxed))
      return false; /* the kick that says so is on its way */
    if (atomic_load_explicit (&loop->kicked, memory_order_relaxed))
      turn_kicked (loop);
    spin = look (loop);
    if (spin == SPIN_WAIT)
      spin_relax ();
  } while (spin == SPIN_WAIT);
  return spin == SPIN_DUE;
}

static void
timer_cb (struct ev_loop *ev, ev_io *w, int revents)
{
  struct loop *loop = w->data, *outer;
  uint64_t nr_expirations;

  mark_thread (loop);
  if (loop->kind == LOOP_LENT && look (loop) == SPIN_WAIT)
    return; /* unread: the next poll does not sleep */
  /* Read before looking: a deadline set meanwhile makes the fd readable
   * again. */
  if (read (loop->timerfd, &nr_expirations, sizeof nr_expirations) < 0)
    return; /* EAGAIN: the deadline was moved after the poll */
  outer = turn_begin (loop);
  loop->alarm_is_stale = true; /* it has gone off, perhaps for nothing */
  if (loop->kind == LOOP_LENT)
    loop->ops->timer_due (loop->opaque);
  else {
    while (spin_until_due (loop))
      loop->ops->timer_due (loop->opaque);
  }
  turn_end (loop, outer);
}

static void *
loop_thread (void *opaque)
{
  struct loop *loop = opaque;
  char name[16];

  snprintf (name, sizeof name, "blkmq-hctx%u", loop->index % 100000);
  pthread_setname_np (pthread_self (), name);
  /* The default slack of 50 us would be most of a short completion time. */
  prctl (PR_SET_TIMERSLACK, 1UL);
  mark_thread (loop);
  ev_run (loop->ev, 0);
  return NULL;
}

struct loop *
loop_alloc (enum loop_kind kind, struct ev_loop *ev, unsigned index,
            const struct loop_ops *ops, void *opaque)
{
  struct loop *loop = calloc (1, sizeof *loop);

  if (loop == NULL)
    return NULL;
  pthread_mutex_init (&loop->wake_lock, NULL);
  loop->kind = kind;
  loop->ev = ev;
  loop->index = index;
  clock_init_real (&loop->clock);
  atomic_init (&loop->deadline_ns, UINT64_MAX);
  loop->ops = ops;
  loop->opaque = opaque;
  loop->kickfd = -1;
  loop->timerfd = -1;
  return loop;
}

void
loop_free (struct loop *loop)
{
  if (loop == NULL)
    return;
  loop_stop (loop);
  pthread_mutex_destroy (&loop->wake_lock);
  free (loop);
}

static int
start_thread (struct loop *loop)
{
  sigset_t all, old;
  int r;

  /* Signals are the program's business: its threads take them. */
  sigfillset (&all);
  pthread_sigmask (SIG_SETMASK, &all, &old);
  r = pthread_create (&loop->thread, NULL, loop_thread, loop);
  pthread_sigmask (SIG_SETMASK, &old, NULL);
  return -r;
}

static int
open_fds (struct loop *loop)
{
  loop->kickfd = eventfd (0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (loop->kickfd < 0)
    return -errno;
  loop->timerfd = timerfd_create (CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  if (loop->timerfd < 0) {
    int r = -errno;

    close (loop->kickfd);
    return r;
  }
  return 0;
}

static void
close_fds (struct loop *loop)
{
  close (loop->kickfd);
  close (loop->timerfd);
  loop->kickfd = loop->timerfd = -1;
}

int
loop_start (struct loop *loop)
{
  int r;

  if (loop->kind == LOOP_MANUAL) {
    loop->open = true;
    loop->running = true;
    return 0;
  }

  r = open_fds (loop);
  if (r < 0)
    return r;
  if (loop->kind == LOOP_OWN) {
    loop->ev = ev_loop_new (EVBACKEND_EPOLL | EVFLAG_NOENV);
    if (loop->ev == NULL) {
      r = -EMFILE;
      goto close_fds;
    }
  }

  /* It may have been started and stopped before. */
  atomic_store (&loop->kicked, false);
  atomic_store (&loop->quit, false);
  loop->thread_slot = NULL;
  loop->alarm_is_stale = false;
  ev_io_init (&loop->kick, kick_cb, loop->kickfd, EV_READ);
  loop->kick.data = loop;
  ev_io_start (loop->ev, &loop->kick);
  ev_io_init (&loop->timer, timer_cb, loop->timerfd, EV_READ);
  loop->timer.data = loop;
  ev_io_start (loop->ev, &loop->timer);
  if (loop->kind == LOOP_LENT) {
    /* Before any callback of the first turn. */
    ev_prepare_init (&loop->first_turn, first_turn_cb);
    loop->first_turn.data = loop;
    ev_prepare_start (loop->ev, &loop->first_turn);
    /* The embedder's loop must be able to end without us. */
    ev_unref (loop->ev);
    ev_unref (loop->ev);
    ev_unref (loop->ev);
    ev_prepare_init (&loop->before_sleep, before_sleep_cb);
    loop->before_sleep.data = loop;
    ev_idle_init (&loop->no_sleep, no_sleep_cb);
    set_polling (loop, atomic_load (&loop->polled));
  }
  loop->open = true;

  if (loop->kind == LOOP_OWN) {
    r = start_thread (loop);
    if (r < 0)
      goto destroy_ev;
  }
  loop->running = true;
  return 0;

destroy_ev:
  loop->open = false;
  ev_loop_destroy (loop->ev);
  loop->ev = NULL;
close_fds:
  close_fds (loop);
  return r;
}

void
loop_stop (struct loop *loop)
{
  if (!loop->running)
    return;
  if (loop->kind == LOOP_OWN) {
    atomic_store (&loop->quit, true);
    wake (loop);
    pthread_join (loop->thread, NULL);
  }
  pthread_mutex_lock (&loop->wake_lock);
  loop->open = false;
  pthread_mutex_unlock (&loop->wake_lock);
  loop->running = false;
  if (loop->kind == LOOP_MANUAL)
    return;

  if (loop->kind == LOOP_LENT) {
    ev_ref (loop->ev);
    ev_ref (loop->ev);
    set_polling (loop, false);
    if (ev_is_active (&loop->first_turn)) {
      ev_ref (loop->ev);
      ev_prepare_stop (loop->ev, &loop->first_turn);
    }
    if (loop->thread_slot != NULL)
      thread_leave_loop (loop->thread_slot, loop->thread_id);
  }
  ev_io_stop (loop->ev, &loop->kick);
  ev_io_stop (loop->ev, &loop->timer);
  if (loop->kind == LOOP_OWN)
    ev_loop_destroy (loop->ev);
  close_fds (loop);
}

void
loop_kick (struct loop *loop)
{
  if (atomic_exchange (&loop->kicked, true) || loop->kind == LOOP_MANUAL)
    return;
  pthread_mutex_lock (&loop->wake_lock);
  if (loop->open)
    wake (loop);
  pthread_mutex_unlock (&loop->wake_lock);
}

bool
loop_is_kicked (const struct loop *loop)
{
  return atomic_load (&loop->kicked);
}

void
loop_set_deadline (struct loop *loop, uint64_t deadline_ns)
{
  if (loop->kind == LOOP_MANUAL)
    return;
  pthread_mutex_lock (&loop->wake_lock);
  atomic_store (&loop->deadline_ns, deadline_ns);
  if (turning == loop)
    loop->alarm_is_stale = true;
  else
    set_alarm_locked (loop);
  pthread_mutex_unlock (&loop->wake_lock);
}

bool
loop_turn (struct loop *loop)
{
  turn_kicked (loop);
  loop->ops->timer_due (loop->opaque);
  return atomic_load (&loop->kicked);
}

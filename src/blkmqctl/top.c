/* SPDX-License-Identifier: BSD-3-Clause
 *
 * top.c: the command top: asks a disk for its counters again and again, and
 * shows what happened in between.  One thread, which waits in one place: for
 * the time to ask, an answer, a key or a signal.  So a disk that does not
 * answer does not keep it from quitting.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "blkmqctl/ctl.h"
#include "blkmqctl/format.h"
#include "blkmqctl/memory.h"
#include "blkmqctl/sample.h"
#include "blkmqctl/screen.h"
#include "blkmqctl/view.h"

#define SILENCE_MS 3000 /* is worth a word */

enum phase {
  PHASE_IDLE,  /* until next_ms */
  PHASE_SHOW,  /* for the answer to "show" */
  PHASE_STATS, /* to "stats" */
};

struct top {
  struct ctl *ctl;
  bool live;      /* on a screen; else text, one picture after the other */
  int signals_fd; /* -1 when not live */
  enum phase phase;
  int64_t next_ms, asked_ms;
  bool no_buckets;   /* they are too many for an answer */
  bool silent;       /* the answer is late */
  uint64_t nr_shown; /* pictures with rates */
  bool done;         /* quit */
  int signal;        /* end with it; 0 is none */

  json_t *show; /* the latest answer */
  char *title, *hint;
  const char *state;
  const char **types; /* into show */
  size_t nr_types;
  struct sample before, now; /* hctxs NULL: none yet */
  struct rates total, *hctxs;
};

static int64_t
now_ms (void)
{
  struct timespec ts;

  clock_gettime (CLOCK_MONOTONIC, &ts);
  return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* ------------------------------------------------------------------------ */
/* What the disk is                                                          */

static const char *
hint_for (json_t *keys)
{
  json_t *key;
  size_t i;

  json_array_foreach (keys, i, key)
  {
    const char *name = json_string_value (json_object_get (key, "key"));

    if (name != NULL && strcmp (name, "iostats") == 0
        && json_is_true (json_object_get (key, "live")))
      return "P50 and P99 are not measured; to switch that on: "
             "blkmqctl set iostats=1";
  }
  return "P50 and P99 are measured of disks with iostats=1";
}

static enum ctl_status
take_types (struct top *top, json_t *show)
{
  enum ctl_status status;
  json_t *hctxs, *hctx;
  size_t i;

  status = ctl_array (top->ctl, show, "hctxs", &hctxs);
  if (status != CTL_DONE)
    return status;
  top->nr_types = json_array_size (hctxs);
  top->types = resize (top->types, top->nr_types, sizeof *top->types);
  json_array_foreach (hctxs, i, hctx)
  {
    top->types[i] = json_string_value (json_object_get (hctx, "type"));
    if (top->types[i] == NULL)
      top->types[i] = "default";
  }
  return CTL_DONE;
}

/* Takes over SHOW, the answer. */
static enum ctl_status
take_show (struct top *top, json_t *show)
{
  const char *name, *driver, *scheduler;
  struct ctl *ctl = top->ctl;
  char size_text[FORMAT_BYTES];
  enum ctl_status status;
  int power = 1, freezes, depth;
  json_int_t size;

  json_decref (top->show);
  top->show = show;
  status = ctl_unpack (ctl, show, "{s:s, s:s, s:I, s:s, s?:b, s:i, s:{s:i}}",
                       "name", &name, "driver", &driver, "size_bytes", &size,
                       "scheduler", &scheduler, "power", &power, "freezes",
                       &freezes, "queues", "hw_queue_depth", &depth);
  if (status == CTL_DONE)
    status = take_types (top, show);
  if (status != CTL_DONE)
    return status;

  free (top->title);
  top->title
      = make_text ("%s  %s %s, %zu hardware queue%s of %d, scheduler %s",
                   *name != '\0' ? name : "blkmq", driver,
                   format_size (size_text, (uint64_t)size), top->nr_types,
                   top->nr_types == 1 ? "" : "s", depth, scheduler);
  free (top->hint);
  top->hint = copy_text (hint_for (json_object_get (show, "keys")));
  top->state = !power ? "the power is off" : freezes > 0 ? "frozen" : "";
  return CTL_DONE;
}

/* ------------------------------------------------------------------------ */
/* What happens                                                              */

static void
compare (struct top *top)
{
  bool comparable = top->before.hctxs != NULL;

  rates_between (&top->total, &top->before,
                 comparable ? &top->before.total : NULL, &top->now,
                 &top->now.total);
  top->hctxs = resize (top->hctxs, top->now.nr_hctxs, sizeof *top->hctxs);
  for (size_t i = 0; i < top->now.nr_hctxs; i++)
    rates_between (&top->hctxs[i], &top->before,
                   i < top->before.nr_hctxs ? &top->before.hctxs[i] : NULL,
                   &top->now, &top->now.hctxs[i]);
}

/* Takes over STATS. */
static enum ctl_status
take_stats (struct top *top, json_t *stats)
{
  struct ctl *ctl = top->ctl;
  char *error;
  int rc;

  sample_free (&top->before);
  top->before = top->now;
  rc = sample_read (&top->now, stats, &error);
  json_decref (stats);
  if (rc != 0) {
    ctl_fail (ctl, CTL_PROTOCOL,
              "%s: the answer to stats is not understood: %s", ctl->client.path,
              error);
    free (error);
    return CTL_PROTOCOL;
  }
  compare (top);
  return CTL_DONE;
}

/* ------------------------------------------------------------------------ */
/* Showing it                                                                */

static void
print_picture (struct top *top, FILE *file)
{
  struct view view = {
    .title = top->title,
    .state = top->silent ? "no answer" : top->state,
    .errors = top->now.errors,
    .hint = !top->total.timed ? top->hint
            : top->no_buckets ? "P50 and P99: there are too many hardware "
                                "queues for them"
                              : "",
    .types = top->nr_types == top->now.nr_hctxs ? top->types : NULL,
    .total = &top->total,
    .hctxs = top->hctxs,
    .nr_hctxs = top->now.nr_hctxs,
    .styled = top->live,
    .foot = "",
  };
  char *foot = NULL;

  if (top->live) {
    screen_size (&view.columns, &view.rows);
    foot = make_text ("q quits; every %g s", top->ctl->delay);
    view.foot = foot;
  } else {
    view.columns = ctl_columns ();
    if (view.columns == 0)
      view.columns = 80;
  }
  view_print (&view, file);
  free (foot);
}

static void
draw (struct top *top)
{
  char *picture;
  size_t bytes;
  FILE *file;

  if (top->now.hctxs == NULL)
    return;
  if (!top->live) {
    if (!top->total.known)
      return;
    if (top->nr_shown > 0)
      putchar ('\n');
    print_picture (top, stdout);
    putchar ('\n');
    fflush (stdout);
    return;
  }
  file = open_memstream (&picture, &bytes);
  if (file == NULL)
    no_memory ();
  print_picture (top, file);
  if (fclose (file) != 0)
    no_memory ();
  screen_show (picture);
  free (picture);
}

/* ------------------------------------------------------------------------ */
/* Asking                                                                    */

static enum ctl_status
ask (struct top *top, const char *command, json_t *arguments, enum phase phase)
{
  enum ctl_status status;

  status
      = client_send (&top->ctl->client, command, top->ctl->export, arguments);
  if (status != CTL_DONE)
    return ctl_client_failed (top->ctl, status);
  top->phase = phase;
  top->asked_ms = now_ms ();
  return CTL_DONE;
}

static enum ctl_status
ask_stats (struct top *top)
{
  return ask (top, "stats", json_pack ("{s:b}", "buckets", !top->no_buckets),
              PHASE_STATS);
}

/* A picture is there: when is the next one, and is there one? */
static void
shown (struct top *top)
{
  int64_t delay_ms = llrint (top->ctl->delay * 1000);

  top->phase = PHASE_IDLE;
  /* In step, unless it is late. */
  top->next_ms += delay_ms;
  if (top->next_ms < now_ms ())
    top->next_ms = now_ms () + delay_ms;
  if (top->total.known && ++top->nr_shown == top->ctl->count)
    top->done = true;
}

/* The screen is given back before anything is said on standard error. */
static enum ctl_status
take_answer (struct top *top)
{
  enum ctl_status status;
  json_t *result;

  status = client_receive (&top->ctl->client, false, &result);
  if (status == CTL_PENDING)
    return CTL_DONE;
  if (status == CTL_REFUSED && top->ctl->client.too_long && !top->no_buckets) {
    top->no_buckets = true;
    return ask_stats (top);
  }
  if (status != CTL_DONE) {
    screen_leave ();
    return ctl_client_failed (top->ctl, status);
  }
  top->silent = false;
  if (top->phase == PHASE_SHOW) {
    status = take_show (top, result);
    if (status == CTL_DONE)
      status = ask_stats (top);
    return status;
  }
  status = take_stats (top, result);
  if (status == CTL_DONE) {
    draw (top);
    shown (top);
  }
  return status;
}

/* ------------------------------------------------------------------------ */
/* Keys and signals                                                          */

static void
take_key (struct top *top)
{
  char keys[64];
  ssize_t nr = read (STDIN_FILENO, keys, sizeof keys);

  if (nr == 0)
    top->done = true; /* the terminal is gone */
  for (ssize_t i = 0; i < nr; i++) {
    if (keys[i] == 'q' || keys[i] == 'Q')
      top->done = true;
    else if (keys[i] == '\f')
      draw (top);
  }
}

static void
take_signal (struct top *top)
{
  struct signalfd_siginfo info;

  if (read (top->signals_fd, &info, sizeof info) != sizeof info)
    return;
  switch (info.ssi_signo) {
  case SIGWINCH:
    draw (top);
    return;
  case SIGTSTP:
    screen_leave ();
    raise (SIGSTOP);
    /* fall through */
  case SIGCONT: /* somebody else may have had the terminal */
    screen_enter ();
    draw (top);
    return;
  default:
    top->signal = (int)info.ssi_signo;
    top->done = true;
  }
}

static sigset_t
signals (void)
{
  static const int numbers[]
      = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGTSTP, SIGCONT };
  sigset_t set;

  sigemptyset (&set);
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
    sigaddset (&set, numbers[i]);
  return set;
}

/* ------------------------------------------------------------------------ */
/* The loop                                                                  */

static int
time_to_wait (const struct top *top)
{
  int64_t until_ms = top->phase == PHASE_IDLE ? top->next_ms
                     : top->silent            ? INT64_MAX
                                              : top->asked_ms + SILENCE_MS;
  int64_t left_ms = until_ms == INT64_MAX ? -1 : until_ms - now_ms ();

  return until_ms == INT64_MAX ? -1 : left_ms > 0 ? (int)left_ms : 0;
}

static enum ctl_status
turn (struct top *top)
{
  struct pollfd fds[] = {
    { .fd = top->phase != PHASE_IDLE ? top->ctl->client.fd : -1,
      .events = POLLIN },
    { .fd = top->live && isatty (STDIN_FILENO) ? STDIN_FILENO : -1,
      .events = POLLIN },
    { .fd = top->signals_fd, .events = POLLIN },
  };
  int ready = poll (fds, 3, time_to_wait (top));

  if (ready == -1)
    return errno == EINTR
               ? CTL_DONE
               : ctl_fail (top->ctl, CTL_LOST, "poll: %s", strerror (errno));
  if (fds[1].revents != 0)
    take_key (top);
  if (fds[2].revents != 0)
    take_signal (top);
  if (top->done)
    return CTL_DONE;
  if (fds[0].revents != 0)
    return take_answer (top);
  if (ready == 0 && top->phase != PHASE_IDLE) {
    top->silent = true;
    if (top->live)
      draw (top);
    return CTL_DONE;
  }
  if (top->phase == PHASE_IDLE && now_ms () >= top->next_ms)
    return ask (top, "show", NULL, PHASE_SHOW);
  return CTL_DONE;
}

static void
top_free (struct top *top)
{
  sample_free (&top->before);
  sample_free (&top->now);
  json_decref (top->show);
  free (top->title);
  free (top->hint);
  free (top->types);
  free (top->hctxs);
}

enum ctl_status
ctl_top (struct ctl *ctl)
{
  struct top top = { .ctl = ctl, .signals_fd = -1, .state = "" };
  sigset_t set = signals (), before;
  enum ctl_status status;

  status = client_open (&ctl->client, ctl->path, CLIENT_CONNECT_MS);
  if (status != CTL_DONE)
    return ctl_client_failed (ctl, status);
  top.live = screen_is_there ();
  if (top.live) {
    sigprocmask (SIG_BLOCK, &set, &before);
    top.signals_fd = signalfd (-1, &set, SFD_CLOEXEC);
    screen_enter ();
  }
  top.next_ms = now_ms ();
  while (status == CTL_DONE && !top.done)
    status = turn (&top);
  screen_leave ();
  top_free (&top);
  if (top.live) {
    close (top.signals_fd);
    sigprocmask (SIG_SETMASK, &before, NULL);
  }
  /* Whoever has started this sees what has ended it. */
  if (top.signal != 0)
    raise (top.signal);
  return status;
}

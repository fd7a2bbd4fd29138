/* SPDX-License-Identifier: BSD-3-Clause
 *
 * nbd-load.c: keeps requests in flight on one connection or on several.  With
 * one it sleeps in recv, with several in epoll_wait; each connection is
 * refilled with one sendmsg for all that one recv brought.
 */

#include <config.h>

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "nbd-client.h"

/* When to stop. */
struct until {
  uint64_t end_ns;
  uint64_t requests_left; /* if nr_requests: to be issued yet */
  bool counted;
};

static void
fill_pattern (unsigned char *pattern, size_t bytes)
{
  uint64_t state = 0; /* fixed: a later run must find the same data */
  size_t i;

  for (i = 0; i < PATTERN_BYTES; i++)
    pattern[i] = (unsigned char)(next_random (&state) >> 56);
  for (; i < bytes; i++)
    pattern[i] = pattern[i - PATTERN_BYTES];
}

void
load_init (struct load *load, const struct connection *c, unsigned nr,
           const struct workload *w)
{
  size_t pattern_bytes = PATTERN_BYTES + (size_t)w->block_bytes;
  unsigned i;

  memset (load, 0, sizeof *load);
  load->workload = w;
  load->nr_pipelines = nr;
  load->received = xcalloc (1, RECEIVE_BYTES);
  load->pattern = xcalloc (1, pattern_bytes);
  fill_pattern (load->pattern, pattern_bytes);
  load->pipeline = xcalloc (nr, sizeof *load->pipeline);
  for (i = 0; i < nr; i++)
    pipeline_init (&load->pipeline[i], load, &c[i], i);

  load->epoll_fd = epoll_create1 (EPOLL_CLOEXEC);
  if (load->epoll_fd == -1)
    die ("epoll: %s", strerror (errno));
  for (i = 0; i < nr; i++) {
    struct epoll_event event = { .events = EPOLLIN, .data.u32 = i };

    if (epoll_ctl (load->epoll_fd, EPOLL_CTL_ADD, c[i].fd, &event) == -1)
      die ("epoll: %s", strerror (errno));
  }
  load_reset (load);
}

void
load_exit (struct load *load)
{
  unsigned i;

  for (i = 0; i < load->nr_pipelines; i++)
    pipeline_exit (&load->pipeline[i]);
  close (load->epoll_fd);
  free (load->pipeline);
  free (load->received);
  free (load->pattern);
}

void
load_reset (struct load *load)
{
  load->nr_done = load->bytes_done = 0;
  latency_reset (&load->latency);
}

/* True if all that is queued is sent. */
static bool
refill (struct pipeline *p, struct until *until, uint64_t now_ns)
{
  while (
      p->nr_free > 0
      && (until->counted ? until->requests_left > 0 : now_ns < until->end_ns)) {
    pipeline_queue_request (p, now_ns);
    until->requests_left -= until->counted;
  }
  return pipeline_send (p);
}

static void
run_one (struct pipeline *p, struct until *until, uint64_t now_ns)
{
  struct pollfd pfd = { .fd = p->connection->fd, .events = POLLIN | POLLOUT };

  for (;;) {
    bool all_sent = refill (p, until, now_ns);

    if (pipeline_is_empty (p))
      return;
    now_ns = pipeline_receive (p, all_sent);
    if (now_ns == 0 && !all_sent && poll (&pfd, 1, HANG_MS) == 0)
      die ("the server took no request and sent no reply for %d s",
           HANG_MS / 1000);
    if (now_ns == 0)
      now_ns = clock_ns (CLOCK_MONOTONIC);
  }
}

/* Wake up when the socket takes more, or no longer. */
static void
watch (const struct load *load, unsigned number, bool all_sent)
{
  struct pipeline *p = &load->pipeline[number];
  struct epoll_event event = {
    .events = EPOLLIN | (all_sent ? 0 : EPOLLOUT),
    .data.u32 = number,
  };

  if (p->watches_out == !all_sent)
    return;
  p->watches_out = !all_sent;
  if (epoll_ctl (load->epoll_fd, EPOLL_CTL_MOD, p->connection->fd, &event)
      == -1)
    die ("epoll: %s", strerror (errno));
}

static void
run_several (struct load *load, struct until *until, uint64_t now_ns)
{
  unsigned nr_busy = 0, i;

  for (i = 0; i < load->nr_pipelines; i++) {
    watch (load, i, refill (&load->pipeline[i], until, now_ns));
    nr_busy += !pipeline_is_empty (&load->pipeline[i]);
  }
  while (nr_busy > 0) {
    struct epoll_event events[64];
    int nr = epoll_wait (load->epoll_fd, events, 64, HANG_MS);

    if (nr == -1 && errno != EINTR)
      die ("epoll: %s", strerror (errno));
    if (nr == 0)
      die ("the server took no request and sent no reply for %d s",
           HANG_MS / 1000);
    for (int e = 0; e < nr; e++) {
      unsigned number = events[e].data.u32;
      struct pipeline *p = &load->pipeline[number];
      bool was_empty = pipeline_is_empty (p);

      now_ns = pipeline_receive (p, false);
      if (now_ns == 0)
        now_ns = clock_ns (CLOCK_MONOTONIC);
      watch (load, number, refill (p, until, now_ns));
      nr_busy -= !was_empty && pipeline_is_empty (p);
    }
  }
}

void
load_run (struct load *load, uint64_t duration_ns, uint64_t nr_requests)
{
  uint64_t now_ns = clock_ns (CLOCK_MONOTONIC);
  struct until until = {
    .end_ns = now_ns + duration_ns,
    .requests_left = nr_requests,
    .counted = nr_requests > 0,
  };

  if (load->nr_pipelines == 1)
    run_one (load->pipeline, &until, now_ns);
  else
    run_several (load, &until, now_ns);
}

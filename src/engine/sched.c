/* SPDX-License-Identifier: BSD-3-Clause
 *
 * sched.c: the table of schedulers, and the calls that are the same for all.
 * Under the hctx's lock, but for sched_finish.
 */

#include <config.h>

#include <string.h>

#include "engine/io.h"
#include "engine/merge.h"
#include "engine/request.h"
#include "engine/sched.h"

static const struct sched_ops sched_none = {
  .name = "none",
  .help = "first come, first served; only ios of one batch are merged",
};

const struct sched_ops *const sched_table[]
    = { &sched_none, &sched_mq_deadline, NULL };

const char *const sched_names[] = { "none", "mq-deadline", NULL };

static_assert (sizeof sched_table == sizeof sched_names,
               "each scheduler has a name");

const struct sched_ops *
sched_find (const char *name)
{
  for (const struct sched_ops *const *ops = sched_table; *ops != NULL; ops++) {
    if (strcmp ((*ops)->name, name) == 0)
      return *ops;
  }
  return NULL;
}

int
sched_alloc (const struct sched_ops *ops, const struct sched_options *options,
             unsigned max_requests, struct sched **s)
{
  int r;

  *s = NULL;
  if (ops->alloc == NULL)
    return 0;
  r = ops->alloc (options, max_requests, s);
  if (r < 0)
    return r;
  (*s)->ops = ops;
  atomic_init (&(*s)->nr_queued, 0);
  return 0;
}

void
sched_free (struct sched *s)
{
  if (s == NULL)
    return;
  assert (sched_nr_queued (s) == 0);
  s->ops->free (s);
}

void
sched_set_options (struct sched *s, const struct sched_options *options)
{
  s->ops->set_options (s, options);
}

void
sched_insert (struct sched *s, struct request *r, bool at_head, uint64_t now_ns)
{
  assert (r->sched.where == SCHED_NOWHERE || r->sched.where == SCHED_OUT);
  s->ops->insert (s, r, at_head, now_ns);
  atomic_fetch_add (&s->nr_queued, 1);
}

static struct request *
taken (struct sched *s, struct request *r)
{
  if (r != NULL)
    atomic_fetch_sub (&s->nr_queued, 1);
  return r;
}

bool
sched_can_dispatch (struct sched *s, uint64_t now_ns, uint64_t *again_ns)
{
  *again_ns = UINT64_MAX;
  return sched_nr_queued (s) > 0 && s->ops->can_dispatch (s, now_ns, again_ns);
}

struct request *
sched_dispatch (struct sched *s, uint64_t now_ns)
{
  return taken (s, s->ops->dispatch (s, now_ns));
}

struct request *
sched_drain (struct sched *s)
{
  return taken (s, s->ops->drain (s));
}

bool
sched_remove (struct sched *s, struct request *r)
{
  if (r->sched.where != SCHED_SORTED && r->sched.where != SCHED_LISTED)
    return false;
  s->ops->remove (s, r);
  taken (s, r);
  return true;
}

bool
sched_finish (struct sched *s, struct request *r)
{
  assert (r->sched.where == SCHED_NOWHERE || r->sched.where == SCHED_OUT);
  return r->sched.where == SCHED_OUT && s->ops->finish (s, r);
}

bool
sched_merge_io (struct sched *s, const struct blkmq_limits *limits,
                struct blkmq_io *io)
{
  enum merge_kind kind;
  struct request *r;

  /* An abort marks the io before it looks for it, under the lock, in the
   * requests: it must not enter one after that. */
  if (!merge_is_possible (io) || io_is_aborted (io))
    return false;
  r = s->ops->find_merge (s, limits, io, &kind);
  if (r == NULL)
    return false;
  s->ops->begin_merge (s, r, kind);
  merge_io (r, io, kind);
  s->ops->end_merge (s, r, kind);
  return true;
}

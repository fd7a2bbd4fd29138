/* SPDX-License-Identifier: BSD-3-Clause
 *
 * worker.c: what may block is done here, on a thread for each disk, one after
 * the other; and the freezes that clients have asked for.
 */

#include <config.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "ctl/internal.h"

int
start_thread (pthread_t *thread, const char *name, void *(*fn) (void *),
              void *opaque)
{
  sigset_t all, old;
  int error;

  sigfillset (&all);
  pthread_sigmask (SIG_SETMASK, &all, &old);
  error = pthread_create (thread, NULL, fn, opaque);
  pthread_sigmask (SIG_SETMASK, &old, NULL);
  if (error == 0)
    pthread_setname_np (*thread, name);
  return -error;
}

void
export_init (struct export *export, struct control *control,
             const struct control_export *front)
{
  export->front = front;
  export->control = control;
  pthread_mutex_init (&export->lock, NULL);
  pthread_cond_init (&export->changed, NULL);
  export->first = NULL;
  export->last = &export->first;
  export->is_stopping = false;
  export->nr_freezes = 0;
  export->has_thread = false;
  blkmq_disk_get (front->disk);
}

/* The next call; NULL: it is over. */
static struct call *
next_call (struct export *export)
{
  struct call *call = NULL;

  pthread_mutex_lock (&export->lock);
  while (!export->is_stopping && export->first == NULL)
    pthread_cond_wait (&export->changed, &export->lock);
  if (!export->is_stopping) {
    call = export->first;
    export->first = call->next;
    if (export->first == NULL)
      export->last = &export->first;
  }
  pthread_mutex_unlock (&export->lock);
  return call;
}

static void *
work (void *opaque)
{
  struct export *export = opaque;
  struct call *call;

  while ((call = next_call (export)) != NULL) {
    call_run (call);
    control_done (export->control, call);
  }
  return NULL;
}

int
export_queue (struct export *export, struct call *call)
{
  if (!export->has_thread) {
    int r = start_thread (&export->thread, "blkmq-change", work, export);

    if (r < 0)
      return r;
    export->has_thread = true;
  }
  call->next = NULL;
  pthread_mutex_lock (&export->lock);
  *export->last = call;
  export->last = &call->next;
  pthread_cond_signal (&export->changed);
  pthread_mutex_unlock (&export->lock);
  return 0;
}

bool
export_unqueue (struct export *export, struct call *call)
{
  struct call **link;
  bool found = false;

  pthread_mutex_lock (&export->lock);
  for (link = &export->first; *link != NULL; link = &(*link)->next) {
    if (*link == call) {
      *link = call->next;
      if (*link == NULL)
        export->last = link;
      found = true;
      break;
    }
  }
  pthread_mutex_unlock (&export->lock);
  return found;
}

/* ---- freezes ---- */

int
export_freeze (struct export *export, blkmq_handle *held, unsigned max)
{
  struct blkmq_disk *disk = export->front->disk;
  bool is_late;
  int nr;

  nr = blkmq_freeze (disk, held, max);
  if (nr < 0)
    return nr;
  pthread_mutex_lock (&export->lock);
  is_late = export->is_stopping;
  if (!is_late)
    export->nr_freezes++;
  pthread_mutex_unlock (&export->lock);
  if (is_late) {
    blkmq_unfreeze (disk);
    return -ESHUTDOWN;
  }
  return nr;
}

int
export_unfreeze (struct export *export)
{
  bool frozen;

  pthread_mutex_lock (&export->lock);
  frozen = export->nr_freezes > 0;
  if (frozen)
    export->nr_freezes--;
  pthread_mutex_unlock (&export->lock);
  if (!frozen)
    return -EINVAL;
  blkmq_unfreeze (export->front->disk);
  return 0;
}

unsigned
export_nr_freezes (struct export *export)
{
  unsigned nr;

  pthread_mutex_lock (&export->lock);
  nr = export->nr_freezes;
  pthread_mutex_unlock (&export->lock);
  return nr;
}

/* ---- the end ---- */

void
export_stop (struct export *export)
{
  struct call *call;

  pthread_mutex_lock (&export->lock);
  export->is_stopping = true;
  pthread_cond_signal (&export->changed);
  pthread_mutex_unlock (&export->lock);

  while ((call = export->first) != NULL) {
    export->first = call->next;
    call_free (call);
  }
  export->last = &export->first;
  while (export_unfreeze (export) == 0)
    continue;
}

void
export_exit (struct export *export)
{
  if (export->has_thread)
    pthread_join (export->thread, NULL);
  pthread_cond_destroy (&export->changed);
  pthread_mutex_destroy (&export->lock);
  blkmq_disk_put (export->front->disk);
}

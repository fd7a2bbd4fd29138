/* SPDX-License-Identifier: BSD-3-Clause
 *
 * device.c: the driver of the stress program: a medium in memory behind a
 * device that completes at once, from threads of its own, late or never, that
 * requeues, refuses, and answers twice.
 *
 * It knows of each token whether it lives, since it alone kills them; what the
 * engine says must agree.  A command is the request's pdu: in builds with
 * AddressSanitizer the engine poisons it while the request is free.  The
 * medium has no lock: who touches a block is decided by who owns the data, and
 * ThreadSanitizer watches.
 *
 * queue_rq and commit_rqs run on any thread, timeout on the hctx's, the rest
 * on the device's threads.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "stress.h"

#define MAGIC UINT64_C (0x7374726573736564)
#define NR_RECENT 64
#define BURST 16 /* commands that a device thread takes at a time */

struct device;

enum place {
  NOWHERE, /* not the device's, or in somebody's hands */
  NEW,     /* commit_rqs has not been called yet */
  READY,
  HUNG, /* until its timeout */
  NR_PLACES
};

struct command {
  uint64_t magic;
  _Atomic uint64_t holding; /* the token that lives, or 0 */

  /* The device's lock. */
  enum place place;
  struct command *next, *prev;
  struct blkmq_request *rq;
  blkmq_token token;
  uint64_t due_ns;
  bool is_held;          /* HELD was the answer to its timeout */
  _Atomic uint64_t *tag; /* where the device notes whose it is */
};

/* What is over, to be answered once more. */
struct past {
  struct blkmq_request *rq;
  blkmq_token token;
};

struct device {
  struct run *run;
  const struct shape *shape;
  struct device_counts counts;
  _Atomic bool calm, quit;
  _Atomic bool is_open;      /* from open to the end of close */
  _Atomic unsigned nr_quiet; /* depth of quiesce and freeze */
  _Atomic unsigned nr_hctxs;
  _Atomic uint64_t recent[NR_RECENT];

  pthread_mutex_t lock;
  pthread_cond_t more;
  struct command lists[NR_PLACES]; /* lock: heads */
  unsigned nr_listed[NR_PLACES];   /* lock */
  unsigned nr_serving;             /* lock: threads that are not waiting */
  struct past past[NR_RECENT];     /* lock */
  unsigned nr_past;                /* lock */
  struct past done[MAX_HCTXS];     /* lock: DONE was the answer, just now */

  _Atomic uint64_t (*tags)[MAX_DEPTH]; /* by hctx; a set's, or own_tags */
  _Atomic uint64_t own_tags[MAX_HCTXS][MAX_DEPTH];

  pthread_t threads[NR_DEVICE_THREADS];
};

static __thread struct device *opening;
static __thread unsigned init_failures, nr_init_failures;
static _Atomic unsigned nr_requests;

/* ---- lists; all with the lock ---- */

static void
list_locked (struct device *device, struct command *command, enum place place)
{
  struct command *head = &device->lists[place];

  command->place = place;
  command->next = head;
  command->prev = head->prev;
  head->prev->next = command;
  head->prev = command;
  if (++device->nr_listed[place] == 1 && place == READY)
    pthread_cond_signal (&device->more);
}

static void
unlist_locked (struct device *device, struct command *command)
{
  command->prev->next = command->next;
  command->next->prev = command->prev;
  device->nr_listed[command->place]--;
  command->place = NOWHERE;
}

static void
remember_locked (struct device *device, const struct past *past)
{
  device->past[device->nr_past++ % NR_RECENT] = *past;
}

static void
remember (struct device *device, const struct past *past)
{
  pthread_mutex_lock (&device->lock);
  remember_locked (device, past);
  pthread_mutex_unlock (&device->lock);
}

/* Until timeout has returned, a token for which it says DONE lives.  When the
 * same hctx, which asks one after the other, comes with the next (or NULL) it
 * is of the past. */
static void
say_done_locked (struct device *device, unsigned hctx, const struct past *next)
{
  struct past *done = &device->done[hctx];

  if (done->rq != NULL)
    remember_locked (device, done);
  *done = next != NULL ? *next : (struct past){ NULL, 0 };
}

/* ---- one command ---- */

static void
add (_Atomic uint64_t *counter)
{
  atomic_fetch_add_explicit (counter, 1, memory_order_relaxed);
}

/* Blocks were written, with whatever is durable by now. */
static void
note_written (struct device *device, const struct blkmq_request *rq,
              uint64_t durable_before)
{
  struct unit *unit = device->run->unit;
  uint64_t number = atomic_fetch_add (&unit->written, 1) + 1;

  for (uint64_t i = 0; i < rq->bytes / BLOCK_BYTES; i++) {
    struct block *block = &unit->blocks[rq->offset_bytes / BLOCK_BYTES + i];

    block->written = number;
    block->durable_before = durable_before;
    if (rq->flags & BLKMQ_IO_FUA)
      block->fua = number;
  }
}

/* All that was written before is durable. */
static void
flush_cache (struct device *device)
{
  struct unit *unit = device->run->unit;
  uint64_t written = unit->written, durable = unit->durable;

  while (durable < written
         && !atomic_compare_exchange_weak (&unit->durable, &durable, written))
    ;
}

static void
transfer (struct device *device, struct blkmq_request *rq)
{
  uint64_t durable = device->run->unit->durable;
  struct blkmq_segments it = blkmq_segments_begin (rq);
  char *at = device->run->unit->media + rq->offset_bytes;
  struct iovec seg;

  switch (rq->op) {
  case BLKMQ_OP_FLUSH:
    break;
  case BLKMQ_OP_READ:
    for (; blkmq_segments_next (&it, &seg); at += seg.iov_len)
      memcpy (seg.iov_base, at, seg.iov_len);
    break;
  case BLKMQ_OP_WRITE:
    for (; blkmq_segments_next (&it, &seg); at += seg.iov_len)
      memcpy (at, seg.iov_base, seg.iov_len);
    break;
  default:
    memset (at, 0, rq->bytes);
    break;
  }
  if (rq->op != BLKMQ_OP_READ && rq->op != BLKMQ_OP_FLUSH)
    note_written (device, rq, durable);
}

/* The request stops being the device's. */
static void
let_go (struct command *command, blkmq_token token)
{
  require (command->magic == MAGIC);
  if (command->tag != NULL)
    require_op (atomic_exchange (command->tag, 0), ==, token);
  require_op (atomic_exchange (&command->holding, 0), ==, token);
}

/* A driver tag is its alone for as long as we have the request.  (Not where
 * tags are replaced: what a timeout has left with us keeps its old one.) */
static void
take_tag (struct device *device, struct command *command,
          const struct blkmq_request *rq, blkmq_token token)
{
  const struct shape *shape = device->shape;
  unsigned tag = blkmq_request_tag (rq), hctx = blkmq_hctx_index (rq->hctx);

  command->tag = NULL;
  if (shape->live || shape->change)
    return;
  require_op (tag, <, shape->depth);
  if (strstr (shape->keys, "shared_tag_bitmap=1") != NULL)
    hctx = 0;
  command->tag = &device->tags[hctx][tag];
  require_op (atomic_exchange (command->tag, token), ==, 0);
}

static void
requeue (struct device *device, struct command *command,
         struct blkmq_request *rq, blkmq_token token)
{
  struct blkmq_hctx *hctx = rq->hctx;

  let_go (command, token);
  add (&device->counts.requeues); /* ahead, likewise */
  if (permille (device->shape->aside)) {
    require_op (blkmq_requeue_aside (rq, token), ==, 0);
    if (permille (500))
      blkmq_kick_requeues (hctx);
    else
      blkmq_delay_kick_requeues (hctx, rng_below (200 * US));
  } else
    require_op (blkmq_requeue (rq, token), ==, 0);
}

/* Fails for an injected error: then half of it may have been done. */
static void
complete (struct device *device, struct command *command,
          struct blkmq_request *rq, blkmq_token token)
{
  enum blkmq_status status = BLKMQ_STS_OK;

  if (!device->calm && permille (device->shape->error))
    status = BLKMQ_STS_MEDIUM;
  if (status == BLKMQ_STS_OK || permille (500))
    transfer (device, rq);
  if (status == BLKMQ_STS_OK && rq->op == BLKMQ_OP_FLUSH)
    flush_cache (device);
  let_go (command, token);
  add (&device->counts.completes); /* ahead: with it all may be over */
  require_op (blkmq_complete (rq, token, status), ==, 0);
}

/* Once more, whatever has become of the request: it must be refused. */
static void
answer_dead (struct device *device, const struct past *past)
{
  if (permille (500))
    require_op (blkmq_complete (past->rq, past->token, BLKMQ_STS_OK), ==,
                -ESTALE);
  else
    require_op (blkmq_requeue (past->rq, past->token), ==, -ESTALE);
  add (&device->counts.stale);
}

/* ---- queue_rq ---- */

static void
check_request (struct device *device, const struct blkmq_request *rq,
               struct blkmq_hctx *hctx, blkmq_token token)
{
  const struct shape *shape = device->shape;
  const struct command *command = rq->pdu;

  require (rq->driver_data == device && command->magic == MAGIC);
  require (rq->hctx == hctx && blkmq_hctx_data (hctx) == device);
  require_op (blkmq_token_hctx (token), ==, blkmq_hctx_index (hctx));
  require ((unsigned)rq->op < BLKMQ_NR_OPS);
  require_op (device->nr_quiet, ==, 0);
  require (!(rq->flags & ~(BLKMQ_IO_FUA | BLKMQ_IO_NOUNMAP)));
  require (!(rq->flags & BLKMQ_IO_FUA) || (shape->cache && shape->fua));
  if (rq->op == BLKMQ_OP_FLUSH) {
    require (rq->bytes == 0 && rq->offset_bytes == 0);
    return;
  }
  require (rq->bytes > 0 && rq->bytes % BLOCK_BYTES == 0);
  require (rq->offset_bytes % BLOCK_BYTES == 0);
  require (rq->offset_bytes + rq->bytes <= device->run->unit->media_bytes);
  require (shape->max_part_bytes == 0 || rq->bytes <= shape->max_part_bytes);
}

static enum blkmq_queue_result
refuse (struct device *device, struct blkmq_hctx *hctx, struct command *command,
        blkmq_token token, enum blkmq_queue_result result)
{
  let_go (command, token);
  add (&device->counts.busy);
  if (permille (device->shape->aside / 2))
    blkmq_delay_run_hctx (hctx, rng_below (100 * US));
  else if (permille (device->shape->aside / 2))
    blkmq_run_hctx (hctx);
  return result;
}

/* At once; perhaps with a second answer of one kind or another. */
static enum blkmq_queue_result
complete_inside (struct device *device, struct command *command,
                 struct blkmq_request *rq, blkmq_token token)
{
  struct past past = { rq, token };

  complete (device, command, rq, token);
  if (device->calm || !permille (device->shape->twice))
    return BLKMQ_QUEUED;
  if (permille (800)) {
    answer_dead (device, &past);
    return BLKMQ_QUEUED;
  }
  add (&device->counts.stale);
  return BLKMQ_BUSY_DEVICE;
}

static void
keep (struct device *device, struct command *command, struct blkmq_request *rq,
      blkmq_token token, enum place place, uint64_t delay_ns)
{
  pthread_mutex_lock (&device->lock);
  require (command->place == NOWHERE);
  command->rq = rq;
  command->token = token;
  command->is_held = false;
  command->due_ns
      = delay_ns == 0 ? 0 : unit_now_ns (device->run->unit) + delay_ns;
  list_locked (device, command, place);
  pthread_mutex_unlock (&device->lock);
}

static enum blkmq_queue_result
stress_queue_rq (struct blkmq_hctx *hctx, struct blkmq_request *rq,
                 blkmq_token token)
{
  struct device *device = blkmq_hctx_data (hctx);
  const struct shape *shape = device->shape;
  struct command *command = rq->pdu;
  enum place place = shape->commit ? NEW : READY;
  unsigned dice = (unsigned)rng_below (1000);
  uint64_t delay_ns = 0, old;

  check_request (device, rq, hctx, token);
  old = atomic_exchange (&command->holding, token);
  require_op (old, ==, 0); /* or it is here twice */
  take_tag (device, command, rq, token);
  atomic_store_explicit (&device->recent[blkmq_token_tag (token) % NR_RECENT],
                         token, memory_order_relaxed);

  if (device->calm)
    return complete_inside (device, command, rq, token);
  if (dice < shape->busy_host)
    return refuse (device, hctx, command, token, BLKMQ_BUSY_HOST);
  if (permille (shape->busy_device))
    return refuse (device, hctx, command, token, BLKMQ_BUSY_DEVICE);
  if (permille (shape->requeue / 2)) {
    requeue (device, command, rq, token);
    return BLKMQ_QUEUED;
  }
  if (permille (shape->never))
    place = HUNG;
  else if (permille (shape->late))
    delay_ns = 1 + rng_below (2 * shape->io_timeout_ns);
  else if (permille (shape->inside))
    return complete_inside (device, command, rq, token);
  keep (device, command, rq, token, place, delay_ns);
  return BLKMQ_QUEUED;
}

/* All that was queued before is for the threads now.  (Of other hctxs as well:
 * they ring for themselves, and find less.) */
static void
stress_commit_rqs (struct blkmq_hctx *hctx)
{
  struct device *device = blkmq_hctx_data (hctx);
  struct command *head = &device->lists[NEW], *command, *next;

  if (!device->shape->commit)
    return;
  pthread_mutex_lock (&device->lock);
  for (command = head->next; command != head; command = next) {
    next = command->next;
    if (blkmq_token_hctx (command->token) != blkmq_hctx_index (hctx))
      continue;
    unlist_locked (device, command);
    list_locked (device, command, READY);
  }
  pthread_cond_signal (&device->more);
  pthread_mutex_unlock (&device->lock);
}

/* ---- timeout ---- */

static enum blkmq_timeout_result
stress_timeout (struct blkmq_request *rq, blkmq_token token)
{
  struct device *device = rq->driver_data;
  struct command *command = rq->pdu;
  enum blkmq_timeout_result result = BLKMQ_TIMEOUT_RESET;
  unsigned dice = (unsigned)rng_below (100);
  const struct past asked = { rq, token };

  require (command->magic == MAGIC);
  pthread_mutex_lock (&device->lock);
  say_done_locked (device, blkmq_token_hctx (token), NULL);
  /* In the hands of one of the threads, or issued anew since. */
  if (command->place == NOWHERE || command->token != token) {
    pthread_mutex_unlock (&device->lock);
    add (&device->counts.reset);
    return BLKMQ_TIMEOUT_RESET;
  }
  require (command->rq == rq);
  if (dice < 50) {
    result = BLKMQ_TIMEOUT_DONE;
    unlist_locked (device, command);
    let_go (command, token);
    say_done_locked (device, blkmq_token_hctx (token), &asked);
  } else if (dice < 80) {
    /* It is given back late, if it is not on its way already. */
    result = BLKMQ_TIMEOUT_HELD;
    require (!command->is_held); /* not to be asked again */
    command->is_held = true;
    if (command->place != NEW) {
      unlist_locked (device, command);
      list_locked (device, command, READY);
      command->due_ns = unit_now_ns (device->run->unit) + rng_below (500 * US);
    }
  } else if (dice < 90 && command->place == HUNG) {
    unlist_locked (device, command);
    list_locked (device, command, READY);
  }
  pthread_mutex_unlock (&device->lock);
  switch (result) {
  case BLKMQ_TIMEOUT_DONE:
    add (&device->counts.done);
    break;
  case BLKMQ_TIMEOUT_RESET:
    add (&device->counts.reset);
    break;
  case BLKMQ_TIMEOUT_HELD:
    add (&device->counts.held);
    break;
  }
  return result;
}

/* ---- the device's threads ---- */

/* Take what is due, in the order of coming but for what is not due yet. */
static unsigned
take_due_locked (struct device *device, struct command **burst)
{
  struct command *head = &device->lists[READY], *command, *next;
  uint64_t now_ns = unit_now_ns (device->run->unit);
  unsigned n = 0, nr_looks = 64;

  for (command = head->next; command != head && n < BURST && nr_looks-- > 0;
       command = next) {
    next = command->next;
    if (command->due_ns > now_ns) {
      /* To the end, so that it does not hide others. */
      unlist_locked (device, command);
      list_locked (device, command, READY);
      continue;
    }
    unlist_locked (device, command);
    burst[n++] = command;
  }
  return n;
}

static void
wait_for_more_locked (struct device *device)
{
  struct timespec until;

  if (device->nr_listed[READY] == 0) {
    pthread_cond_wait (&device->more, &device->lock);
    return;
  }
  /* Some are there, and none is due. */
  if (device->shape->fast) {
    pthread_mutex_unlock (&device->lock);
    sched_yield ();
    pthread_mutex_lock (&device->lock);
    return;
  }
  clock_gettime (CLOCK_REALTIME, &until);
  until.tv_nsec += 50000;
  if (until.tv_nsec >= 1000000000) {
    until.tv_sec++;
    until.tv_nsec -= 1000000000;
  }
  pthread_cond_timedwait (&device->more, &device->lock, &until);
}

/* Where requests are replaced they may be gone, and only what comes from within
 * queue_rq finds them for certain. */
static bool
may_be_late (const struct device *device)
{
  return !device->shape->live && !device->shape->change;
}

static void
serve (struct device *device, struct command *command)
{
  struct past past = { command->rq, command->token };

  if (!device->calm && permille (device->shape->requeue / 2))
    requeue (device, command, past.rq, past.token);
  else
    complete (device, command, past.rq, past.token);
  if (may_be_late (device) && permille (device->shape->twice))
    answer_dead (device, &past);
  if (permille (50))
    remember (device, &past);
}

static bool
any_past (struct device *device, struct past *past)
{
  unsigned nr;

  pthread_mutex_lock (&device->lock);
  nr = device->nr_past < NR_RECENT ? device->nr_past : NR_RECENT;
  if (nr > 0)
    *past = device->past[rng_below (nr)];
  pthread_mutex_unlock (&device->lock);
  return nr > 0;
}

static void *
run_device (void *opaque)
{
  struct device *device = opaque;
  struct command *burst[BURST];
  struct past past;
  unsigned n = 0;

  rng_name_thread (device->run->unit->round->stream + 100
                   + device->run->unit->index);
  pthread_mutex_lock (&device->lock);
  for (;;) {
    while (!device->quit && (n = take_due_locked (device, burst)) == 0)
      wait_for_more_locked (device);
    if (device->quit) {
      pthread_mutex_unlock (&device->lock);
      return NULL;
    }
    device->nr_serving++;
    pthread_mutex_unlock (&device->lock);
    for (unsigned i = 0; i < n; i++)
      serve (device, burst[i]);
    if (may_be_late (device) && permille (device->shape->twice)
        && any_past (device, &past))
      answer_dead (device, &past);
    pthread_mutex_lock (&device->lock);
    device->nr_serving--;
  }
}

/* ---- the disk's side ---- */

static int
stress_open (const struct blkmq_config *config, uint64_t seed,
             struct blkmq_limits *limits, void **driver_data,
             struct blkmq_error *error)
{
  struct device *device = opening;

  limits->max_discard_bytes = limits->max_transfer_bytes;
  limits->max_write_zeroes_bytes = limits->max_transfer_bytes;
  limits->size_bytes = device->run->unit->media_bytes;
  limits->volatile_cache = device->shape->cache;
  limits->fua = device->shape->fua;
  *driver_data = device;
  device->is_open = true;
  for (unsigned i = 0; i < NR_DEVICE_THREADS; i++)
    require (pthread_create (&device->threads[i], NULL, run_device, device)
             == 0);
  return 0;
}

static void
stress_stop (void *driver_data)
{
  struct device *device = driver_data;

  pthread_mutex_lock (&device->lock);
  require (!device->quit); /* called once */
  device->quit = true;
  pthread_cond_broadcast (&device->more);
  pthread_mutex_unlock (&device->lock);
  for (unsigned i = 0; i < NR_DEVICE_THREADS; i++)
    require (pthread_join (device->threads[i], NULL) == 0);
  /* What it still has is the engine's, and in a tag set the next disk's. */
  for (unsigned place = NEW; place < NR_PLACES; place++) {
    struct command *head = &device->lists[place];

    while (head->next != head) {
      struct command *command = head->next;

      unlist_locked (device, command);
      let_go (command, command->token);
    }
  }
}

static void
stress_close (void *driver_data)
{
  struct device *device = driver_data;

  if (!device->quit) /* never started */
    stress_stop (driver_data);
  require_op (device->nr_hctxs, ==, 0);
  device->is_open = false;
}

static int
stress_init_hctx (struct blkmq_hctx *hctx, void *driver_data, unsigned index)
{
  struct device *device = driver_data;

  if (permille (init_failures)) {
    nr_init_failures++;
    return -ENOMEM;
  }
  require_op (blkmq_hctx_index (hctx), ==, index);
  blkmq_hctx_set_data (hctx, device);
  device->nr_hctxs++;
  return 0;
}

static void
stress_exit_hctx (struct blkmq_hctx *hctx, void *driver_data, unsigned index)
{
  struct device *device = driver_data;

  require (blkmq_hctx_data (hctx) == device);
  device->nr_hctxs--;
}

static int
stress_init_request (void *driver_data, struct blkmq_request *rq,
                     unsigned hctx_index, unsigned tag)
{
  struct command *command = rq->pdu;

  require (command->magic == 0);
  command->magic = MAGIC;
  nr_requests++;
  return 0;
}

static void
stress_exit_request (void *driver_data, struct blkmq_request *rq,
                     unsigned hctx_index, unsigned tag)
{
  struct command *command = rq->pdu;

  require (command->magic == MAGIC && command->holding == 0);
  command->magic = 0;
  nr_requests--;
}

#define STRESS_DRIVER(name_, nr_reserved_tags_)                                \
  {                                                                            \
    .name = (name_), .help = "a device with faults",                           \
    .pdu_bytes = sizeof (struct command),                                      \
    .nr_reserved_tags = (nr_reserved_tags_), .open = stress_open,              \
    .close = stress_close, .queue_rq = stress_queue_rq,                        \
    .commit_rqs = stress_commit_rqs, .timeout = stress_timeout,                \
    .stop = stress_stop, .init_hctx = stress_init_hctx,                        \
    .exit_hctx = stress_exit_hctx, .init_request = stress_init_request,        \
    .exit_request = stress_exit_request,                                       \
  }

static const struct blkmq_driver stress_driver = STRESS_DRIVER ("stress", 0),
                                 reserved_driver
                                 = STRESS_DRIVER ("stress-reserved", 2);

void
device_register (void)
{
  require_op (blkmq_driver_register (&stress_driver, NULL), ==, 0);
  require_op (blkmq_driver_register (&reserved_driver, NULL), ==, 0);
}

/* ---- the harness's side ---- */

struct device *
device_alloc (struct run *run)
{
  struct device *device = calloc (1, sizeof *device);

  require (device != NULL);
  device->run = run;
  device->shape = run->unit->round->shape;
  device->tags = run->unit->round->set != NULL ? run->unit->round->tags
                                               : device->own_tags;
  pthread_mutex_init (&device->lock, NULL);
  pthread_cond_init (&device->more, NULL);
  for (unsigned i = 0; i < NR_PLACES; i++)
    device->lists[i].next = device->lists[i].prev = &device->lists[i];
  opening = device;
  return device;
}

void
device_free (struct device *device)
{
  /* Ours may not have been the last reference to the disk: whoever changes the
   * queues of its tag set has one for as long as that takes. */
  while (device->is_open)
    pause_us (100);
  pthread_cond_destroy (&device->more);
  pthread_mutex_destroy (&device->lock);
  free (device);
}

struct device_counts *
device_counts (struct device *device)
{
  return &device->counts;
}

unsigned
device_fail_inits (unsigned permille)
{
  unsigned nr = nr_init_failures;

  init_failures = permille;
  nr_init_failures = 0;
  return nr;
}

unsigned
device_nr_requests (void)
{
  return nr_requests;
}

void
device_calm (struct device *device)
{
  device->calm = true;
}

bool
device_is_idle (struct device *device)
{
  bool is_idle;

  pthread_mutex_lock (&device->lock);
  is_idle = device->nr_serving == 0;
  pthread_mutex_unlock (&device->lock);
  return is_idle;
}

void
device_expect_quiet (struct device *device, bool quiet)
{
  if (quiet)
    device->nr_quiet++;
  else
    device->nr_quiet--;
}

void
device_check_frozen (struct device *device)
{
  pthread_mutex_lock (&device->lock);
  for (unsigned place = NEW; place < NR_PLACES; place++) {
    struct command *head = &device->lists[place], *command;

    for (command = head->next; command != head; command = command->next)
      require (command->is_held);
  }
  pthread_mutex_unlock (&device->lock);
}

blkmq_token
device_any_token (struct device *device)
{
  return atomic_load_explicit (&device->recent[rng_below (NR_RECENT)],
                               memory_order_relaxed);
}

void
device_dump (struct device *device)
{
  fprintf (stderr,
           "  device: %u new, %u ready, %u hung; quiet %u; completes %" PRIu64
           ", requeues %" PRIu64 ", busy %" PRIu64 ", stale %" PRIu64
           ", timeouts done %" PRIu64 " reset %" PRIu64 " held %" PRIu64 "\n",
           device->nr_listed[NEW], device->nr_listed[READY],
           device->nr_listed[HUNG], device->nr_quiet, device->counts.completes,
           device->counts.requeues, device->counts.busy, device->counts.stale,
           device->counts.done, device->counts.reset, device->counts.held);
}

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * slot.c: the ios of a worker, and the blocks that each of them owns.
 *
 * A slot is one io and a range of blocks that no other io touches, so that
 * what a read must find is known: what the last good write left or, after one
 * that failed, perhaps what that one has left.  A slot goes from its worker
 * to the engine and back; end_io and give_back run on any thread, and some
 * submit their io again from there.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "stress.h"

#define IO_BYTES (MAX_IO_BLOCKS * BLOCK_BYTES)

/* What a block may hold: base, or 0 if may_be_zero, or the stamp of one of the
 * writes from first to last that have failed since (if first is not 0).  0 is
 * a block of zeros. */
struct shadow {
  uint64_t base, first, last;
  bool may_be_zero;
};

struct slot {
  struct blkmq_io io;
  struct slots *slots;
  struct slot *next;
  struct run *run;
  struct blkmq_submitter *submitter;
  uint64_t first_block;
  bool chains; /* may submit itself again; then no abort may name it */
  bool is_bad; /* must be refused */
  unsigned nr_blocks, at_block;
  uint64_t stamp;          /* of the last write */
  uint64_t written_before; /* it was submitted: the unit's count */
  enum blkmq_status status;
  _Atomic unsigned nr_ends, nr_give_backs;
  _Atomic bool in_end_io, is_out;
  struct iovec segments[3];
  struct shadow shadows[MAX_IO_BLOCKS];
  char *data;
};

struct slots {
  struct worker *worker;
  struct unit *unit;
  unsigned nr;
  struct slot *slots;
  char *data;
  struct slot *idle; /* the worker's */
  unsigned nr_idle;  /* the worker's */
  _Atomic (struct slot *) returned;

  pthread_mutex_t lock;
  pthread_cond_t back;
  _Atomic int awaited; /* how many must come back to end the sleep */
};

uint64_t
slots_media_bytes (unsigned nr)
{
  return (uint64_t)nr * IO_BYTES;
}

struct slots *
slots_alloc (struct worker *worker, struct unit *unit, unsigned first,
             unsigned nr)
{
  struct slots *slots = calloc (1, sizeof *slots);

  require (slots != NULL);
  slots->worker = worker;
  slots->unit = unit;
  slots->nr = slots->nr_idle = nr;
  slots->slots = calloc (nr, sizeof slots->slots[0]);
  slots->data = calloc (nr, IO_BYTES);
  require (slots->slots != NULL && slots->data != NULL);
  pthread_mutex_init (&slots->lock, NULL);
  pthread_cond_init (&slots->back, NULL);
  for (unsigned i = 0; i < nr; i++) {
    struct slot *slot = &slots->slots[i];

    slot->slots = slots;
    slot->first_block = (uint64_t)(first + i) * MAX_IO_BLOCKS;
    slot->data = slots->data + (size_t)i * IO_BYTES;
    slot->chains = i % 4 == 3;
    slot->next = slots->idle;
    slots->idle = slot;
  }
  return slots;
}

void
slots_free (struct slots *slots)
{
  require (slots_all_idle (slots));
  pthread_cond_destroy (&slots->back);
  pthread_mutex_destroy (&slots->lock);
  free (slots->data);
  free (slots->slots);
  free (slots);
}

/* ---- blocks ---- */

static void
put_word (char *at, uint64_t value)
{
  memcpy (at, &value, sizeof value);
}

static uint64_t
get_word (const char *at)
{
  uint64_t value;

  memcpy (&value, at, sizeof value);
  return value;
}

/* The stamp and the block's number, at both ends. */
static void
stamp_blocks (struct slot *slot)
{
  for (unsigned i = 0; i < slot->nr_blocks; i++) {
    char *data = slot->data + (size_t)i * BLOCK_BYTES;
    uint64_t block = slot->first_block + slot->at_block + i;

    put_word (data, slot->stamp);
    put_word (data + 8, block);
    put_word (data + BLOCK_BYTES - 8, slot->stamp ^ block << 32);
  }
}

/* A read went well: this must be it, and now it is known. */
static void
check_blocks (struct slot *slot)
{
  for (unsigned i = 0; i < slot->nr_blocks; i++) {
    const char *data = slot->data + (size_t)i * BLOCK_BYTES;
    struct shadow *shadow = &slot->shadows[slot->at_block + i];
    uint64_t block = slot->first_block + slot->at_block + i;
    uint64_t stamp = get_word (data);
    bool is_right = stamp == shadow->base;

    if (stamp == 0) {
      is_right |= shadow->may_be_zero;
      require_op (get_word (data + 8), ==, 0);
      require_op (get_word (data + BLOCK_BYTES - 8), ==, 0);
    } else {
      is_right |= shadow->first != 0 && stamp >= shadow->first
                  && stamp <= shadow->last;
      require_op (get_word (data + 8), ==, block);
      require_op (get_word (data + BLOCK_BYTES - 8), ==, stamp ^ block << 32);
    }
    if (!is_right)
      stress_failed_numbers (__FILE__, __LINE__, "the block as it was written",
                             (int64_t)stamp, (int64_t)shadow->base);
    *shadow = (struct shadow){ .base = stamp };
  }
}

/* A write went well (is_known), or it did not and may have been done. */
static void
note_write (struct slot *slot, uint64_t stamp, bool is_known)
{
  for (unsigned i = 0; i < slot->nr_blocks; i++) {
    struct shadow *shadow = &slot->shadows[slot->at_block + i];

    if (is_known) {
      *shadow = (struct shadow){ .base = stamp };
      continue;
    }
    if (stamp == 0)
      shadow->may_be_zero = true;
    else {
      if (shadow->first == 0)
        shadow->first = stamp;
      shadow->last = stamp;
    }
  }
}

/* ---- the way back ---- */

/* What ios that are to be merged have in common. */
struct pattern {
  enum blkmq_op op;
  bool is_early;
  uint8_t prio;
  uint32_t flags;
};

static void fill (struct slot *slot, bool is_sync,
                  const struct pattern *pattern);

static void
wake (struct slots *slots)
{
  if (atomic_load (&slots->awaited) <= 0
      || atomic_fetch_sub (&slots->awaited, 1) != 1)
    return;
  pthread_mutex_lock (&slots->lock);
  pthread_cond_signal (&slots->back);
  pthread_mutex_unlock (&slots->lock);
}

static void
to_idle (struct slot *slot)
{
  struct slots *slots = slot->slots;
  struct slot *head = atomic_load (&slots->returned);

  require (atomic_exchange (&slot->is_out, false));
  do
    slot->next = head;
  while (!atomic_compare_exchange_weak (&slots->returned, &head, slot));
  wake (slots);
}

/* Io and data are ours again. */
static void
slot_back (struct slot *slot)
{
  enum blkmq_status status = slot->status;
  struct run *run = slot->run;
  enum blkmq_op op = slot->io.op;
  struct round *round = run->unit->round;

  /* Untouched if it never became a request. */
  if (!slot->is_bad
      && !(status == BLKMQ_STS_AGAIN && round->shape->max_part_bytes == 0)) {
    if (op == BLKMQ_OP_READ && status == BLKMQ_STS_OK)
      check_blocks (slot);
    else if (op == BLKMQ_OP_WRITE)
      note_write (slot, slot->stamp, status == BLKMQ_STS_OK);
    else if (op == BLKMQ_OP_DISCARD || op == BLKMQ_OP_WRITE_ZEROES)
      note_write (slot, 0, status == BLKMQ_STS_OK);
  }
  if (slot->chains && status != BLKMQ_STS_OFFLINE && !run->removed
      && round->nr_submitted < round->quota && permille (400)) {
    fill (slot, false, NULL);
    blkmq_submit (slot->submitter, &slot->io);
    return;
  }
  to_idle (slot);
}

/* It went well: what it has asked of the cache was done. */
static void
check_durable (struct slot *slot)
{
  const struct unit *unit = slot->slots->unit;
  const struct blkmq_io *io = &slot->io;
  bool is_flush = io->op == BLKMQ_OP_FLUSH || (io->flags & BLKMQ_IO_PREFLUSH);

  if (is_flush)
    require_op (unit->durable, >=, slot->written_before);
  if (io->op == BLKMQ_OP_READ)
    return;
  for (unsigned i = 0; i < slot->nr_blocks; i++) {
    const struct block *block
        = &unit->blocks[slot->first_block + slot->at_block + i];

    if (is_flush)
      require_op (block->durable_before, >=, slot->written_before);
    if (io->flags & BLKMQ_IO_FUA)
      require (block->written <= unit->durable || block->written == block->fua);
  }
}

static void
note_end (struct slot *slot, enum blkmq_status status)
{
  require_op (atomic_fetch_add (&slot->nr_ends, 1), ==, 0);
  require_op (slot->nr_give_backs, ==, 0);
  run_check_status (slot->run, slot->io.flags, slot->is_bad, status);
  run_count_end (slot->run, &slot->io, status);
  if (status == BLKMQ_STS_OK && slot->run->unit->round->shape->cache)
    check_durable (slot);
  slot->status = status;
}

static void
slot_end_io (struct blkmq_io *io, enum blkmq_status status)
{
  struct slot *slot = (struct slot *)io;

  if (io->give_back == NULL) {
    note_end (slot, status);
    if (permille (1)) /* a callback must not block, and is told so */
      require_op (blkmq_quiesce (slot->run->disk), ==, -EDEADLK);
    slot_back (slot);
    return;
  }
  slot->in_end_io = true;
  note_end (slot, status);
  slot->in_end_io = false;
}

static void
slot_give_back (struct blkmq_io *io)
{
  struct slot *slot = (struct slot *)io;

  require_op (slot->nr_ends, ==, 1);
  require (!slot->in_end_io);
  require_op (atomic_fetch_add (&slot->nr_give_backs, 1), ==, 0);
  slot->run->given_back++;
  slot_back (slot);
}

void
slot_finish_sync (struct slot *slot, int r)
{
  enum blkmq_status status;

  for (status = BLKMQ_STS_OK; status < BLKMQ_NR_STATUSES; status++) {
    if (blkmq_status_to_errno (status) == -r)
      break;
  }
  require (status < BLKMQ_NR_STATUSES);
  note_end (slot, status);
  slot_back (slot);
}

/* ---- the way there ---- */

/* The data in one to three pieces. */
static void
cut_segments (struct slot *slot)
{
  struct blkmq_io *io = &slot->io;
  size_t bytes = io->bytes, a, b;

  slot->segments[0] = (struct iovec){ slot->data, bytes };
  io->segments = slot->segments;
  io->nr_segments = 1;
  if (!permille (250))
    return;
  a = rng_below (bytes + 1);
  b = a + rng_below (bytes - a + 1);
  slot->segments[0].iov_len = a;
  slot->segments[1] = (struct iovec){ slot->data + a, b - a };
  slot->segments[2] = (struct iovec){ slot->data + b, bytes - b };
  io->nr_segments = 3;
}

static void
count_start (struct slot *slot)
{
  struct run *run = slot->run;
  const struct shape *shape = run->unit->round->shape;
  uint64_t parts = 1, most = shape->max_part_bytes;

  if (most != 0 && slot->io.bytes > most)
    parts = (slot->io.bytes + most - 1) / most;
  run->unit->round->nr_submitted++;
  run->submitted++;
  run->min_parts++;
  run->max_parts += parts;
  if (slot->io.give_back != NULL)
    run->early++;
  if (slot->is_bad)
    run->bad++;
}

/* Flags that ask something of the cache; or the whole io is nothing else. */
static void
add_barrier (struct slot *slot)
{
  struct blkmq_io *io = &slot->io;

  if (permille (500) && io->op != BLKMQ_OP_FLUSH)
    io->flags |= BLKMQ_IO_FUA; /* reads ignore it */
  if (io->op == BLKMQ_OP_WRITE && permille (500)) {
    io->flags |= BLKMQ_IO_PREFLUSH;
    if (permille (200))
      slot->nr_blocks = slot->at_block = 0;
  }
}

static void
fill (struct slot *slot, bool is_sync, const struct pattern *pattern)
{
  const struct shape *shape = slot->slots->unit->round->shape;
  struct blkmq_io *io = &slot->io;
  unsigned dice = (unsigned)rng_below (100);
  bool is_early = !is_sync && permille (400);

  memset (io, 0xa5, sizeof *io);
  io->op = dice < 45   ? BLKMQ_OP_READ
           : dice < 85 ? BLKMQ_OP_WRITE
           : dice < 90 ? BLKMQ_OP_FLUSH
           : dice < 95 ? BLKMQ_OP_DISCARD
                       : BLKMQ_OP_WRITE_ZEROES;
  slot->nr_blocks
      = 1 + (unsigned)rng_below (permille (700) ? 1 : MAX_IO_BLOCKS);
  slot->at_block = (unsigned)rng_below (MAX_IO_BLOCKS + 1 - slot->nr_blocks);
  if (io->op == BLKMQ_OP_FLUSH)
    slot->nr_blocks = slot->at_block = 0;
  io->prio = (uint8_t)rng_below (BLKMQ_NR_PRIOS);
  io->flags = permille (shape->nowait) ? BLKMQ_IO_NOWAIT : 0;
  if (shape->reserved && permille (100))
    io->flags |= BLKMQ_IO_RESERVED;
  if (permille (shape->barrier))
    add_barrier (slot);
  if (pattern != NULL) {
    io->op = pattern->op;
    io->flags = pattern->flags;
    io->prio = pattern->prio;
    is_early = pattern->is_early;
    slot->nr_blocks = MAX_IO_BLOCKS;
    slot->at_block = 0;
  }
  io->bytes = (uint64_t)slot->nr_blocks * BLOCK_BYTES;
  io->offset_bytes = slot->nr_blocks == 0
                         ? 0
                         : (slot->first_block + slot->at_block) * BLOCK_BYTES;
  slot->is_bad = permille (shape->bad);
  if (slot->is_bad)
    io->offset_bytes += 1;
  slot->written_before = slot->slots->unit->written;
  if (io->op == BLKMQ_OP_WRITE) {
    slot->stamp++;
    stamp_blocks (slot);
  }
  cut_segments (slot);
  io->end_io = slot_end_io;
  io->give_back = is_early ? slot_give_back : NULL;
  slot->nr_ends = slot->nr_give_backs = 0;
  count_start (slot);
}

static void
take_returned (struct slots *slots)
{
  struct slot *slot = atomic_exchange (&slots->returned, NULL), *next;

  for (; slot != NULL; slot = next) {
    next = slot->next;
    slot->next = slots->idle;
    slots->idle = slot;
    slots->nr_idle++;
  }
}

/* Idle no more. */
static void
begin (struct slots *slots, struct slot *slot, struct run *run,
       struct blkmq_submitter *submitter)
{
  slots->nr_idle--;
  slot->run = run;
  slot->submitter = submitter;
  require (!atomic_exchange (&slot->is_out, true));
}

struct slot *
slots_start (struct slots *slots, struct run *run,
             struct blkmq_submitter *submitter, bool is_sync)
{
  struct slot *slot;

  if (slots->idle == NULL)
    take_returned (slots);
  slot = slots->idle;
  if (slot == NULL)
    return NULL;
  slots->idle = slot->next;
  begin (slots, slot, run, submitter);
  fill (slot, is_sync, NULL);
  return slot;
}

unsigned
slots_start_run (struct slots *slots, struct run *run,
                 struct blkmq_submitter *submitter,
                 struct slot *started[MAX_RUN])
{
  static const enum blkmq_op ops[]
      = { BLKMQ_OP_READ, BLKMQ_OP_WRITE, BLKMQ_OP_WRITE, BLKMQ_OP_DISCARD };
  struct pattern pattern = { ops[rng_below (NR (ops))], permille (400),
                             (uint8_t)rng_below (BLKMQ_NR_PRIOS), 0 };
  struct slot *by_place[MAX_RUN] = { NULL }, **link, *slot;
  unsigned nr = 0;
  size_t window;

  take_returned (slots);
  if (slots->idle == NULL)
    return 0;
  window = (size_t)(slots->idle - slots->slots) / MAX_RUN;
  for (link = &slots->idle; (slot = *link) != NULL;) {
    size_t place = (size_t)(slot - slots->slots);

    if (place / MAX_RUN != window) {
      link = &slot->next;
      continue;
    }
    *link = slot->next;
    by_place[place % MAX_RUN] = slot;
  }
  for (unsigned i = 0; i < MAX_RUN; i++) {
    slot = by_place[i];
    if (slot == NULL)
      continue;
    begin (slots, slot, run, submitter);
    fill (slot, false, &pattern);
    started[nr++] = slot;
  }
  return nr;
}

struct blkmq_io *
slot_io (struct slot *slot)
{
  return &slot->io;
}

struct blkmq_io *
slots_any_io (struct slots *slots)
{
  struct slot *slot = &slots->slots[rng_below (slots->nr)];

  return slot->is_out && !slot->chains ? &slot->io : NULL;
}

bool
slots_all_idle (struct slots *slots)
{
  take_returned (slots);
  return slots->nr_idle == slots->nr;
}

void
slots_wait (struct slots *slots)
{
  struct timespec until;
  unsigned nr_out = slots->nr - slots->nr_idle;

  atomic_store (&slots->awaited, (int)(nr_out / 4 + 1));
  clock_gettime (CLOCK_REALTIME, &until);
  until.tv_nsec += 300000;
  if (until.tv_nsec >= 1000000000) {
    until.tv_sec++;
    until.tv_nsec -= 1000000000;
  }
  pthread_mutex_lock (&slots->lock);
  if (slots->awaited > 0 && atomic_load (&slots->returned) == NULL)
    pthread_cond_timedwait (&slots->back, &slots->lock, &until);
  pthread_mutex_unlock (&slots->lock);
  atomic_store (&slots->awaited, 0);
}

void
slots_dump (struct slots *slots)
{
  unsigned nr_out = 0;

  for (unsigned i = 0; i < slots->nr; i++) {
    const struct slot *slot = &slots->slots[i];

    if (!slot->is_out)
      continue;
    if (++nr_out <= 5)
      fprintf (stderr,
               "    out: %s, %" PRIu64 " bytes at %" PRIu64
               ", flags %#x, state %#x, ended %u, given back %u%s%s\n",
               blkmq_op_name (slot->io.op), slot->io.bytes,
               slot->io.offset_bytes, slot->io.flags, slot->io.priv.state,
               slot->nr_ends, slot->nr_give_backs,
               slot->io.give_back != NULL ? ", early" : "",
               slot->chains ? ", chains" : "");
  }
  fprintf (stderr, "    %u of %u ios are out\n", nr_out, slots->nr);
}

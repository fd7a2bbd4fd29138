/* SPDX-License-Identifier: BSD-3-Clause
 *
 * record.c: the flight record, see record.h.  Any thread.
 */

#include <config.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/hctx.h"
#include "engine/record.h"
#include "engine/request.h"
#include "engine/word.h"

void
record_print_word (uint64_t word, FILE *file)
{
  static const char *const states[] = { "free", "queued", "in flight", "?" };

  fprintf (file, "generation %" PRIu64 ", %s", word_gen (word),
           states[word_state (word)]);
  if (word & WORD_HELD)
    fputs (", held", file);
  if (word & WORD_ENDED)
    fputs (", ended", file);
  if (word & WORD_DEFERRED)
    fputs (", answer deferred", file);
  if (word_refs (word) > 0)
    fprintf (file, ", %u reference%s", word_refs (word),
             word_refs (word) == 1 ? "" : "s");
}

#ifndef BLKMQ_DEBUG

void
record_dump (struct request *r, FILE *file)
{
}

#else

#define BEING_WRITTEN UINT64_MAX

/* meta: what 8, argument 8, thread 32. */
#define META_ARG_SHIFT 8
#define META_THREAD_SHIFT 32

/* ---- who writes ---- */

static __thread struct {
  uint32_t id; /* 0: not known yet */
  uint64_t name[2];
} self;

/* The child of a fork is another thread. */
static void
forget_self (void)
{
  self.id = 0;
}

static void
watch_forks (void)
{
  pthread_atfork (NULL, NULL, forget_self);
}

static void
know_self (void)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  char name[16] = "";

  pthread_once (&once, watch_forks);
  pthread_getname_np (pthread_self (), name, sizeof name);
  memcpy (self.name, name, sizeof self.name);
  self.id = (uint32_t)gettid ();
}

/* ---- writing ---- */

static void
set (_Atomic uint64_t *field, uint64_t value)
{
  atomic_store_explicit (field, value, memory_order_relaxed);
}

static uint64_t
get (const _Atomic uint64_t *field)
{
  return atomic_load_explicit (field, memory_order_relaxed);
}

/* To whom the request belongs is not for the bearer of a dead token to ask: his
 * time is that of the real clock. */
static uint64_t
real_ns (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static struct record_entry *
next_entry (struct record *record, enum record_what what)
{
  if (what < RECORD_GET)
    return &record->moves[atomic_fetch_add_explicit (&record->nr_moves, 1,
                                                     memory_order_relaxed)
                          % RECORD_NR_MOVES];
  return &record->references[atomic_fetch_add_explicit (&record->nr_references,
                                                        1, memory_order_relaxed)
                             % RECORD_NR_REFERENCES];
}

void
record_move (struct request *r, enum record_what what, unsigned arg,
             uint64_t before, uint64_t after)
{
  struct record *record = &r->record;
  struct record_entry *entry = next_entry (record, what);
  uint64_t number
      = atomic_fetch_add_explicit (&record->nr, 1, memory_order_relaxed) + 1;

  if (self.id == 0)
    know_self ();
  /* Somebody is a whole round behind and not done yet: one of us must go. */
  if (atomic_exchange_explicit (&entry->number, BEING_WRITTEN,
                                memory_order_relaxed)
      == BEING_WRITTEN) {
    atomic_fetch_add_explicit (&record->nr_lost, 1, memory_order_relaxed);
    return;
  }
  atomic_thread_fence (memory_order_release); /* pairs with read_entry */
  set (&entry->when_ns, what == RECORD_STALE
                            ? real_ns ()
                            : clock_now_ns (request_hctx (r)->clock));
  set (&entry->before, before);
  set (&entry->after, after);
  set (&entry->meta, (uint64_t)what | (uint64_t)arg << META_ARG_SHIFT
                         | (uint64_t)self.id << META_THREAD_SHIFT);
  set (&entry->thread_name[0], self.name[0]);
  set (&entry->thread_name[1], self.name[1]);
  atomic_store_explicit (&entry->number, number, memory_order_release);
}

/* ---- reading ---- */

struct copy {
  uint64_t number, when_ns, before, after, meta;
  union {
    uint64_t words[2];
    char text[16];
  } thread_name;
};

static bool
read_entry (struct record_entry *entry, struct copy *copy)
{
  copy->number = atomic_load_explicit (&entry->number, memory_order_acquire);
  if (copy->number == 0 || copy->number == BEING_WRITTEN)
    return false;
  copy->when_ns = get (&entry->when_ns);
  copy->before = get (&entry->before);
  copy->after = get (&entry->after);
  copy->meta = get (&entry->meta);
  copy->thread_name.words[0] = get (&entry->thread_name[0]);
  copy->thread_name.words[1] = get (&entry->thread_name[1]);
  atomic_thread_fence (memory_order_acquire);
  return get (&entry->number) == copy->number;
}

static int
by_number (const void *a, const void *b)
{
  const struct copy *one = a, *other = b;

  return one->number < other->number ? -1 : one->number > other->number;
}

static const char *const names[NR_RECORDS] = {
  [RECORD_START] = "start",
  [RECORD_ISSUE] = "issue",
  [RECORD_BUSY] = "busy",
  [RECORD_RETURN] = "return",
  [RECORD_DROP] = "drop",
  [RECORD_COMPLETE] = "complete",
  [RECORD_TAKE_BACK] = "take back",
  [RECORD_CLAIM] = "claim",
  [RECORD_LOSE] = "lose",
  [RECORD_DEFER] = "defer",
  [RECORD_ANSWER] = "answer",
  [RECORD_TIMER_ARM] = "timer arm",
  [RECORD_TIMER_FIRE] = "timer fire",
  [RECORD_RELEASE] = "release",
  [RECORD_STALE] = "refuse",
  [RECORD_GET] = "get",
  [RECORD_PUT] = "put",
};

static const char *
name_of_arg (enum record_what what, unsigned arg)
{
  switch (what) {
  case RECORD_COMPLETE:
  case RECORD_ANSWER:
    return blkmq_status_name ((enum blkmq_status)arg);
  case RECORD_TAKE_BACK:
  case RECORD_CLAIM:
  case RECORD_LOSE:
    return blkmq_cause_name ((enum blkmq_cause)arg);
  default:
    return "";
  }
}

static void
print_copy (const struct copy *copy, FILE *file)
{
  enum record_what what = (enum record_what) (copy->meta & 0xff);
  const char *arg_name
      = name_of_arg (what, (unsigned)(copy->meta >> META_ARG_SHIFT) & 0xff);

  fprintf (file, "  %" PRIu64 " %" PRIu64 ".%09" PRIu64 " %.16s[%u] %s%s%s: ",
           copy->number, copy->when_ns / 1000000000, copy->when_ns % 1000000000,
           copy->thread_name.text, (unsigned)(copy->meta >> META_THREAD_SHIFT),
           names[what], arg_name[0] != '\0' ? " " : "", arg_name);
  if (what == RECORD_STALE)
    fprintf (file, "a token of generation %" PRIu64, word_gen (copy->before));
  else
    record_print_word (copy->before, file);
  if (copy->after != copy->before) {
    fputs (what == RECORD_STALE ? "; " : " -> ", file);
    record_print_word (copy->after, file);
  }
  fputc ('\n', file);
}

void
record_dump (struct request *r, FILE *file)
{
  struct copy copies[RECORD_NR_MOVES + RECORD_NR_REFERENCES];
  struct record *record = &r->record;
  size_t nr = 0;

  for (size_t i = 0; i < RECORD_NR_MOVES; i++)
    nr += read_entry (&record->moves[i], &copies[nr]);
  for (size_t i = 0; i < RECORD_NR_REFERENCES; i++)
    nr += read_entry (&record->references[i], &copies[nr]);
  qsort (copies, nr, sizeof copies[0], by_number);
  for (size_t i = 0; i < nr; i++)
    print_copy (&copies[i], file);
  if (get (&record->nr_lost) > 0)
    fprintf (file, "  (%" PRIu64 " more that met another in the ring)\n",
             get (&record->nr_lost));
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-conformance.c: what every driver must do, whatever it is.  Runs over
 * all drivers that are offered and all that are for tests; a new one in the
 * table is tested by being there.  The driver is reached through a wrapper
 * (wrap.c) that checks each request against the limits and can say BUSY in its
 * place.
 *
 * BLKMQ_TEST_DRIVER='DRIVER [KEY=VALUE...]' tests that one instead, which may
 * be a path: whoever writes a driver elsewhere has the suite too.
 *
 * A driver either keeps data or, like null, reads as zeros; which of the two
 * is found out by writing.
 */

#include <config.h>

#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "blkmq-driver.h"
#include "drivers/drivers.h"
#include "engine/config.h"
#include "wrap.h"

#define SIZE_BYTES (1u << 20)
#define DEPTH 8

static const struct blkmq_driver *targets[32];
static unsigned nr_targets;
static uint64_t seed;
static char given_driver[1024]; /* BLKMQ_TEST_DRIVER, cut into words */
static char *given_keys[32];    /* "KEY\0VALUE" */

/* ---- a disk over the driver under test ---- */

struct fixture {
  struct blkmq_disk *disk;
  struct blkmq_submitter *submitter;
  const struct blkmq_limits *limits;
  bool keeps_data;
  uint32_t io_flags; /* BLKMQ_IO_POLLED, with poll_queues */
};

static void
set (struct blkmq_config *config, const char *key, const char *value)
{
  struct blkmq_error error;

  if (blkmq_config_set (config, key, value, &error) < 0)
    ck_abort_msg ("%s", error.message);
}

static void
set_given_keys (struct blkmq_config *config)
{
  for (char **key = given_keys; *key != NULL; key++)
    set (config, *key, *key + strlen (*key) + 1);
}

/* Found out by writing to a disk that is nothing but the driver. */
static bool
keeps_data (unsigned target)
{
  struct blkmq_config *config = blkmq_config_alloc ();
  static const char mark[512] = "mark";
  struct blkmq_submitter *submitter;
  struct blkmq_disk *disk;
  struct blkmq_error error;
  char back[512] = "";

  ck_assert_ptr_nonnull (config);
  set (config, "driver", wrap_driver (targets[target]));
  set_given_keys (config);
  set (config, "size", "1M");
  if (blkmq_disk_alloc (config, &disk, &error) < 0
      || blkmq_disk_start (disk, &error) < 0)
    ck_abort_msg ("%s: %s", targets[target]->name, error.message);
  blkmq_config_free (config);
  submitter = blkmq_submitter_alloc (disk, 0);
  ck_assert_ptr_nonnull (submitter);
  if (blkmq_disk_limits (disk)->logical_block_bytes == 512) {
    ck_assert_int_eq (blkmq_write (submitter, mark, 512, 0, 0), 0);
    ck_assert_int_eq (blkmq_read (submitter, back, 512, 0), 0);
  }
  blkmq_disk_remove (disk);
  blkmq_submitter_free (submitter);
  blkmq_disk_put (disk);
  wrap_reset ();
  return back[0] != 0;
}

static bool
is_meant_for (unsigned target, const char *key)
{
  if (strcmp (key, "poll_queues") == 0)
    return targets[target]->poll != NULL;
  /* What it keeps would be lost, sooner or later. */
  if (strcmp (key, "cache_size") == 0 || strcmp (key, "fua") == 0)
    return keeps_data (target);
  return true;
}

/* KEYS: key, value, ..., NULL; the depth is DEPTH unless they say otherwise.
 * poll_queues is for those who poll, a cache for those who keep data. */
static struct fixture
open_fixture (unsigned target, const char *const *keys)
{
  struct blkmq_config *config = blkmq_config_alloc ();
  static const char mark[512] = "mark";
  static char back[512];
  struct blkmq_error error;
  struct fixture f;
  char seed_text[24];

  ck_assert_ptr_nonnull (config);
  wrap_reset ();
  set (config, "driver", wrap_driver (targets[target]));
  set_given_keys (config);
  set (config, "size", "1M");
  snprintf (seed_text, sizeof seed_text, "%" PRIu64, seed);
  set (config, "seed", seed_text);
  for (; keys != NULL && *keys != NULL; keys += 2) {
    if (is_meant_for (target, keys[0]))
      set (config, keys[0], keys[1]);
  }
  if (!blkmq_config_is_set (config, "hw_queue_depth"))
    set (config, "hw_queue_depth", "8");
  f.io_flags
      = blkmq_config_number (config, "poll_queues") > 0 ? BLKMQ_IO_POLLED : 0;
  if (blkmq_disk_alloc (config, &f.disk, &error) < 0
      || blkmq_disk_start (f.disk, &error) < 0)
    ck_abort_msg ("%s: %s", targets[target]->name, error.message);
  blkmq_config_free (config);
  f.submitter = blkmq_submitter_alloc (f.disk, BLKMQ_HCTX_ANY);
  ck_assert_ptr_nonnull (f.submitter);
  f.limits = blkmq_disk_limits (f.disk);
  wrap.limits = f.limits;

  f.keeps_data = false;
  if (f.limits->logical_block_bytes == 512) {
    ck_assert_int_eq (blkmq_write (f.submitter, mark, 512, 0, 0), 0);
    ck_assert_int_eq (blkmq_read (f.submitter, back, 512, 0), 0);
    f.keeps_data = back[0] != 0;
    ck_assert_int_eq (blkmq_write_zeroes (f.submitter, 512, 0, 0),
                      f.limits->max_write_zeroes_bytes ? 0 : -EOPNOTSUPP);
    if (f.limits->max_write_zeroes_bytes == 0) {
      memset (back, 0, sizeof back);
      ck_assert_int_eq (blkmq_write (f.submitter, back, 512, 0, 0), 0);
    }
  }
  return f;
}

static void
close_fixture (struct fixture *f)
{
  struct blkmq_stats stats;

  /* The last end_io may be seen before its tag is free: freeze waits. */
  ck_assert_int_eq (blkmq_freeze (f->disk, NULL, 0), 0);
  ck_assert_int_eq (blkmq_disk_stats (f->disk, BLKMQ_HCTX_ANY, &stats), 0);
  for (unsigned op = 0; op < BLKMQ_NR_OPS; op++)
    ck_assert_uint_eq (stats.in_flight[op], 0);
  ck_assert_uint_eq (stats.waiting, 0);
  ck_assert_uint_eq (stats.stale_tokens, 0);
  ck_assert_int_eq (stats.polled > 0, (f->io_flags & BLKMQ_IO_POLLED) != 0);
  ck_assert_msg (!atomic_load (&wrap.over_limits),
                 "a request was out of its limits");
  blkmq_unfreeze (f->disk);
  blkmq_disk_remove (f->disk);
  blkmq_submitter_free (f->submitter);
  blkmq_disk_put (f->disk);
}

/* ---- repeatable data ---- */

static uint64_t
next_random (uint64_t *state)
{
  /* xorshift64*, Vigna 2016; never 0. */
  uint64_t x = *state;

  x ^= x >> 12;
  x ^= x << 25;
  x ^= x >> 27;
  *state = x;
  return x * UINT64_C (0x2545f4914f6cdd1d);
}

static void
fill_random (void *buf, size_t bytes, uint64_t *state)
{
  unsigned char *p = buf;

  for (size_t i = 0; i < bytes; i++)
    p[i] = (unsigned char)(next_random (state) >> 32 | 1);
}

static bool
is_zero (const void *buf, size_t bytes)
{
  const unsigned char *p = buf;

  for (size_t i = 0; i < bytes; i++) {
    if (p[i] != 0)
      return false;
  }
  return true;
}

/* ---- asynchronous ios that count their ends ---- */

struct counted {
  struct blkmq_io io;
  struct iovec segment;
  _Atomic unsigned nr_ends, nr_give_backs;
  _Atomic int status;
  char data[4096];
};

static pthread_mutex_t ends_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;
static unsigned nr_ended; /* ends_lock */

static void
counted_end_io (struct blkmq_io *io, enum blkmq_status status)
{
  struct counted *c = (struct counted *)io;

  atomic_store (&c->status, status);
  atomic_fetch_add (&c->nr_ends, 1);
}

static void
counted_give_back (struct blkmq_io *io)
{
  struct counted *c = (struct counted *)io;

  /* Never before the answer. */
  ck_assert_uint_eq (atomic_load (&c->nr_ends), 1);
  atomic_fetch_add (&c->nr_give_backs, 1);
  pthread_mutex_lock (&ends_lock);
  nr_ended++;
  pthread_cond_broadcast (&ended);
  pthread_mutex_unlock (&ends_lock);
}

static struct counted *
counted_alloc (unsigned nr, enum blkmq_op op)
{
  struct counted *ios = calloc (nr, sizeof *ios);

  ck_assert_ptr_nonnull (ios);
  for (unsigned i = 0; i < nr; i++) {
    struct counted *c = &ios[i];

    c->segment.iov_base = c->data;
    c->segment.iov_len = sizeof c->data;
    c->io.op = op;
    c->io.offset_bytes = (i * sizeof c->data) % SIZE_BYTES;
    c->io.bytes = op == BLKMQ_OP_FLUSH ? 0 : sizeof c->data;
    if (op == BLKMQ_OP_FLUSH)
      c->io.offset_bytes = 0;
    c->io.segments = &c->segment;
    c->io.nr_segments = 1;
    c->io.end_io = counted_end_io;
    c->io.give_back = counted_give_back;
    memset (c->data, (int)(i % 255 + 1), sizeof c->data);
  }
  nr_ended = 0;
  return ios;
}

static void
wait_for_ends (unsigned nr)
{
  struct timespec limit;

  /* A hang is a failure, not a wait without end. */
  clock_gettime (CLOCK_REALTIME, &limit);
  limit.tv_sec += 60;
  pthread_mutex_lock (&ends_lock);
  while (nr_ended < nr) {
    if (pthread_cond_timedwait (&ended, &ends_lock, &limit) != 0)
      ck_abort_msg ("%u of %u ios ended", nr_ended, nr);
  }
  pthread_mutex_unlock (&ends_lock);
}

static unsigned
nr_ended_now (void)
{
  unsigned nr;

  pthread_mutex_lock (&ends_lock);
  nr = nr_ended;
  pthread_mutex_unlock (&ends_lock);
  return nr;
}

static void
check_ended_once (const struct counted *ios, unsigned nr)
{
  for (unsigned i = 0; i < nr; i++) {
    ck_assert_uint_eq (atomic_load (&ios[i].nr_ends), 1);
    ck_assert_uint_eq (atomic_load (&ios[i].nr_give_backs), 1);
  }
}

/* ---- the tests ---- */

static const char *const modes[][7] = {
  { NULL },
  { "irqmode", "softirq", NULL },
  { "irqmode", "timer", "completion_nsec", "1us", NULL },
  { "submit_queues", "3", NULL },
  { "max_sectors", "8", NULL },
  { "io_timeout", "60s", "hw_queue_depth", "1", NULL },
  { "poll_queues", "1", NULL },
  { "poll_queues", "2", "submit_queues", "2", "irqmode", "timer", NULL },
  { "scheduler", "mq-deadline", "hw_queue_depth", "4", NULL },
  { "delay_write", "1us", "media_delay_read", "1us", NULL },
  { "requeue", "1,10,0,-1", "fault", "at=media,every=7,delay=1us", NULL },
  { "cache_size", "1", NULL },
  { "cache_size", "16k", "submit_queues", "2", "fua", "0", NULL },
};
#define NR_MODES (sizeof modes / sizeof modes[0])

/* Each of these runs for every target, and some for every mode too. */
#define TARGET(i) ((unsigned)(i) / NR_MODES)
#define MODE(i) (modes[(unsigned)(i) % NR_MODES])

static struct fixture
open_mode (int i)
{
  return open_fixture (TARGET (i), MODE (i));
}

static int
read_flagged (struct fixture *f, struct blkmq_submitter *submitter, void *buf,
              size_t bytes, uint64_t offset_bytes)
{
  struct iovec segment = { buf, bytes };
  struct blkmq_io io = {
    .op = BLKMQ_OP_READ,
    .flags = f->io_flags,
    .offset_bytes = offset_bytes,
    .bytes = bytes,
    .segments = &segment,
    .nr_segments = 1,
  };

  return blkmq_submit_sync (submitter, &io);
}

START_TEST (test_round_trip_matches_a_shadow)
{
  struct fixture f = open_mode (_i);
  unsigned char *shadow = calloc (1, SIZE_BYTES);
  unsigned char *buf = malloc (SIZE_BYTES);
  uint64_t state = seed | 1;

  for (unsigned n = 0; n < 300; n++) {
    uint64_t r = next_random (&state);
    uint64_t offset = (r % (SIZE_BYTES / 512)) * 512;
    uint64_t bytes = (r >> 32) % 64 * 512 + 512;

    if (bytes > SIZE_BYTES - offset)
      bytes = SIZE_BYTES - offset;
    switch ((r >> 20) % 5) {
    case 0:
    case 1:
      fill_random (buf, bytes, &state);
      if (f.keeps_data)
        memcpy (shadow + offset, buf, bytes);
      ck_assert_int_eq (blkmq_write (f.submitter, buf, bytes, offset,
                                     (r & 1 ? BLKMQ_IO_FUA : 0) | f.io_flags),
                        0);
      break;
    case 2:
      if (f.limits->max_discard_bytes == 0)
        break;
      memset (shadow + offset, 0, bytes);
      ck_assert_int_eq (blkmq_discard (f.submitter, bytes, offset), 0);
      break;
    case 3:
      if (f.limits->max_write_zeroes_bytes == 0)
        break;
      memset (shadow + offset, 0, bytes);
      ck_assert_int_eq (
          blkmq_write_zeroes (f.submitter, bytes, offset,
                              (r & 1 ? BLKMQ_IO_NOUNMAP : 0) | f.io_flags),
          0);
      break;
    default:
      memset (buf, 0xee, bytes);
      ck_assert_int_eq (read_flagged (&f, f.submitter, buf, bytes, offset), 0);
      ck_assert_mem_eq (buf, shadow + offset, bytes);
    }
  }
  ck_assert_int_eq (blkmq_flush (f.submitter), 0);
  ck_assert_int_eq (read_flagged (&f, f.submitter, buf, SIZE_BYTES, 0), 0);
  ck_assert_mem_eq (buf, shadow, SIZE_BYTES);
  free (shadow);
  free (buf);
  close_fixture (&f);
}
END_TEST

START_TEST (test_unwritten_reads_as_zeros)
{
  struct fixture f = open_fixture ((unsigned)_i, NULL);
  char *buf = malloc (SIZE_BYTES);

  memset (buf, 0xee, SIZE_BYTES);
  ck_assert_int_eq (blkmq_read (f.submitter, buf, SIZE_BYTES, 0), 0);
  ck_assert (is_zero (buf, SIZE_BYTES));
  free (buf);
  close_fixture (&f);
}
END_TEST

START_TEST (test_out_of_bounds_is_refused)
{
  struct fixture f = open_fixture ((unsigned)_i, NULL);
  static char buf[4096];
  uint64_t queued = atomic_load (&wrap.nr_queued);

  ck_assert_int_eq (blkmq_read (f.submitter, buf, 512, SIZE_BYTES), -EINVAL);
  ck_assert_int_eq (blkmq_read (f.submitter, buf, 1024, SIZE_BYTES - 512),
                    -EINVAL);
  ck_assert_int_eq (blkmq_write (f.submitter, buf, 512, UINT64_MAX - 511, 0),
                    -EINVAL);
  ck_assert_int_eq (blkmq_discard (f.submitter, UINT64_MAX - 511, 512),
                    -EINVAL);
  ck_assert_int_eq (blkmq_write_zeroes (f.submitter, SIZE_BYTES, 512, 0),
                    -EINVAL);
  /* None of them reached the driver. */
  ck_assert_uint_eq (atomic_load (&wrap.nr_queued), queued);
  close_fixture (&f);
}
END_TEST

START_TEST (test_zero_length_and_unaligned_are_refused)
{
  struct fixture f = open_fixture ((unsigned)_i, NULL);
  static char buf[4096];
  uint64_t queued = atomic_load (&wrap.nr_queued);

  ck_assert_int_eq (blkmq_read (f.submitter, buf, 0, 0), -EINVAL);
  ck_assert_int_eq (blkmq_write (f.submitter, buf, 0, 512, 0), -EINVAL);
  ck_assert_int_eq (blkmq_discard (f.submitter, 0, 0), -EINVAL);
  ck_assert_int_eq (blkmq_write_zeroes (f.submitter, 0, 0, 0), -EINVAL);
  ck_assert_int_eq (blkmq_read (f.submitter, buf, 512, 1), -EINVAL);
  ck_assert_int_eq (blkmq_read (f.submitter, buf, 100, 512), -EINVAL);
  ck_assert_int_eq (blkmq_write (f.submitter, buf, 513, 0, 0), -EINVAL);
  ck_assert_uint_eq (atomic_load (&wrap.nr_queued), queued);
  close_fixture (&f);
}
END_TEST

START_TEST (test_last_byte_of_an_odd_size_is_reachable)
{
  struct blkmq_config *config = blkmq_config_alloc ();
  struct blkmq_error error;
  struct blkmq_submitter *submitter;
  struct blkmq_disk *disk;
  char out[100], in[100];

  wrap_reset ();
  set (config, "driver", wrap_driver (targets[_i]));
  set_given_keys (config);
  set (config, "size", "10340"); /* 20 sectors and 100 bytes */
  if (blkmq_disk_alloc (config, &disk, &error) < 0
      || blkmq_disk_start (disk, &error) < 0)
    ck_abort_msg ("%s", error.message);
  submitter = blkmq_submitter_alloc (disk, 0);
  memset (out, 0x5a, sizeof out);
  ck_assert_int_eq (blkmq_write (submitter, out, 100, 10240, 0), 0);
  ck_assert_int_eq (blkmq_read (submitter, in, 100, 10240), 0);
  ck_assert (memcmp (in, out, 100) == 0 || is_zero (in, 100));
  ck_assert_int_eq (blkmq_read (submitter, in, 99, 10240), -EINVAL);
  blkmq_submitter_free (submitter);
  blkmq_disk_put (disk);
  blkmq_config_free (config);
}
END_TEST

START_TEST (test_segments_of_any_shape)
{
  struct fixture f = open_fixture ((unsigned)_i, NULL);
  uint64_t state = seed | 1;
  char *out = malloc (65536), *in = malloc (65536);

  for (unsigned n = 0; n < 50; n++) {
    struct iovec segments[40];
    struct blkmq_io io = { .op = BLKMQ_OP_WRITE, .bytes = 65536 };
    uint64_t at = 0;
    unsigned nr = 0;

    /* Lengths that are no multiple of anything, some of them zero. */
    while (nr < 39 && at < 65536) {
      uint64_t len = next_random (&state) % 4000;

      if (nr % 7 == 3)
        len = 0;
      if (len > 65536 - at)
        len = 65536 - at;
      segments[nr].iov_base = out + at;
      segments[nr++].iov_len = len;
      at += len;
    }
    segments[nr].iov_base = out + at;
    segments[nr++].iov_len = 65536 - at;
    fill_random (out, 65536, &state);
    io.segments = segments;
    io.nr_segments = nr;
    ck_assert_int_eq (blkmq_submit_sync (f.submitter, &io), 0);
    memset (in, 0, 65536);
    for (unsigned i = 0; i < nr; i++)
      segments[i].iov_base = in + ((char *)segments[i].iov_base - out);
    io.op = BLKMQ_OP_READ;
    ck_assert_int_eq (blkmq_submit_sync (f.submitter, &io), 0);
    if (f.keeps_data)
      ck_assert_mem_eq (in, out, 65536);
    else
      ck_assert (is_zero (in, 65536));
  }
  free (out);
  free (in);
  close_fixture (&f);
}
END_TEST

START_TEST (test_segments_that_do_not_add_up_are_refused)
{
  struct fixture f = open_fixture ((unsigned)_i, NULL);
  static char data[2048];
  struct iovec segments[2] = { { data, 512 }, { data + 512, 1024 } };
  struct blkmq_io io = {
    .op = BLKMQ_OP_WRITE,
    .bytes = 1024,
    .segments = segments,
    .nr_segments = 2,
  };

  ck_assert_int_eq (blkmq_submit_sync (f.submitter, &io), -EINVAL);
  io.bytes = 2048;
  ck_assert_int_eq (blkmq_submit_sync (f.submitter, &io), -EINVAL);
  io.bytes = 1536;
  ck_assert_int_eq (blkmq_submit_sync (f.submitter, &io), 0);
  close_fixture (&f);
}
END_TEST

START_TEST (test_discard_and_zeroes_read_back_as_zeros)
{
  struct fixture f = open_fixture ((unsigned)_i, NULL);
  char *buf = malloc (65536);

  memset (buf, 0xaa, 65536);
  ck_assert_int_eq (blkmq_write (f.submitter, buf, 65536, 0, 0), 0);
  if (f.limits->max_discard_bytes != 0) {
    ck_assert_int_eq (blkmq_discard (f.submitter, 8192, 4096 + 512), 0);
    ck_assert_int_eq (blkmq_read (f.submitter, buf, 8192, 4096 + 512), 0);
    ck_assert (is_zero (buf, 8192));
  } else
    ck_assert_int_eq (blkmq_discard (f.submitter, 512, 0), -EOPNOTSUPP);
  if (f.limits->max_write_zeroes_bytes != 0) {
    ck_assert_int_eq (blkmq_write_zeroes (f.submitter, 512, 20480, 0), 0);
    ck_assert_int_eq (
        blkmq_write_zeroes (f.submitter, 512, 20992, BLKMQ_IO_NOUNMAP), 0);
    ck_assert_int_eq (blkmq_read (f.submitter, buf, 1024, 20480), 0);
    ck_assert (is_zero (buf, 1024));
  }
  /* The neighbours are as they were. */
  ck_assert_int_eq (blkmq_read (f.submitter, buf, 512, 4096), 0);
  ck_assert_int_eq (buf[0] & 0xff, f.keeps_data ? 0xaa : 0);
  ck_assert_int_eq (blkmq_read (f.submitter, buf, 512, 21504), 0);
  ck_assert_int_eq (buf[511] & 0xff, f.keeps_data ? 0xaa : 0);
  free (buf);
  close_fixture (&f);
}
END_TEST

static int
sum_extent (uint64_t offset_bytes, uint64_t bytes, unsigned type, void *opaque)
{
  uint64_t *next = opaque;

  ck_assert_uint_eq (offset_bytes, *next);
  ck_assert_uint_gt (bytes, 0);
  ck_assert_uint_eq (type & ~(BLKMQ_EXTENT_HOLE | BLKMQ_EXTENT_ZERO), 0);
  *next += bytes;
  return 0;
}

static int
stop_at_once (uint64_t offset_bytes, uint64_t bytes, unsigned type,
              void *opaque)
{
  return 42;
}

START_TEST (test_extents_cover_the_range_in_order)
{
  struct fixture f = open_fixture ((unsigned)_i, NULL);
  static const char data[4096] = "x";
  uint64_t next = 512;

  ck_assert_int_eq (blkmq_write (f.submitter, data, 4096, 65536, 0), 0);
  ck_assert_int_eq (
      blkmq_disk_extents (f.disk, 512, SIZE_BYTES - 1024, sum_extent, &next),
      0);
  ck_assert_uint_eq (next, SIZE_BYTES - 512);
  ck_assert_int_eq (
      blkmq_disk_extents (f.disk, 0, SIZE_BYTES, stop_at_once, NULL), 42);
  ck_assert_int_eq (
      blkmq_disk_extents (f.disk, 0, SIZE_BYTES + 1, sum_extent, &next),
      -EINVAL);
  close_fixture (&f);
}
END_TEST

/* Nobody else polls for an io that was submitted without waiting. */
static void
poll_for_ends (struct fixture *f, unsigned nr)
{
  struct timespec limit, now;

  clock_gettime (CLOCK_MONOTONIC, &limit);
  limit.tv_sec += 60;
  while (nr_ended_now () < nr) {
    ck_assert_int_ge (blkmq_poll (f->submitter), 0);
    clock_gettime (CLOCK_MONOTONIC, &now);
    if (now.tv_sec > limit.tv_sec)
      ck_abort_msg ("%u of %u ios ended", nr_ended_now (), nr);
  }
}

static void
submit_all_and_wait (struct fixture *f, struct counted *ios, unsigned nr)
{
  struct blkmq_batch batch;

  blkmq_batch_begin (&batch, f->submitter);
  for (unsigned i = 0; i < nr; i++) {
    /* Also polled and others in one batch. */
    if (i % 7 != 6)
      ios[i].io.flags |= f->io_flags;
    /* Single ones and batches in turn. */
    if (i % 5 < 2)
      blkmq_submit (f->submitter, &ios[i].io);
    else
      blkmq_batch_add (&batch, &ios[i].io);
    if (i % 16 == 15)
      blkmq_batch_commit (&batch);
  }
  blkmq_batch_commit (&batch);
  if (f->io_flags & BLKMQ_IO_POLLED)
    poll_for_ends (f, nr);
  else
    wait_for_ends (nr);
}

static void
run_many (struct fixture *f, unsigned nr)
{
  static const enum blkmq_op ops[]
      = { BLKMQ_OP_WRITE, BLKMQ_OP_READ, BLKMQ_OP_FLUSH };

  for (unsigned o = 0; o < 3; o++) {
    struct counted *ios = counted_alloc (nr, ops[o]);

    submit_all_and_wait (f, ios, nr);
    check_ended_once (ios, nr);
    for (unsigned i = 0; i < nr; i++) {
      ck_assert_int_eq (atomic_load (&ios[i].status), BLKMQ_STS_OK);
      if (ops[o] == BLKMQ_OP_READ)
        ck_assert_int_eq (ios[i].data[100] & 0xff,
                          f->keeps_data ? (int)(i % 255 + 1) : 0);
    }
    free (ios);
  }
}

START_TEST (test_more_ios_than_tags_all_end_once)
{
  struct fixture f = open_mode (_i);

  run_many (&f, DEPTH + 1);
  run_many (&f, DEPTH * 16);
  close_fixture (&f);
}
END_TEST

START_TEST (test_busy_loses_nothing)
{
  static const enum blkmq_queue_result how[]
      = { BLKMQ_BUSY_DEVICE, BLKMQ_BUSY_HOST };
  struct fixture f = open_mode (_i);

  for (unsigned h = 0; h < 2; h++) {
    wrap.busy_how = how[h];
    wrap.busy_every = 13;
    run_many (&f, DEPTH * 8);
    wrap.busy_every = 0;
  }
  ck_assert_uint_gt (atomic_load (&wrap.nr_refused), 0);
  close_fixture (&f);
}
END_TEST

static void
submit_one (struct fixture *f, struct counted *c)
{
  c->io.flags |= f->io_flags;
  blkmq_submit (f->submitter, &c->io);
}

START_TEST (test_removal_in_flight_ends_each_once)
{
  struct fixture f = open_mode (_i);
  struct counted *ios = counted_alloc (DEPTH * 8, BLKMQ_OP_WRITE);

  /* Some with a driver that is busy: on the queue, waiting, in flight. */
  wrap.busy_every = 7;
  for (unsigned i = 0; i < DEPTH * 8; i++)
    submit_one (&f, &ios[i]);
  blkmq_disk_remove (f.disk);
  check_ended_once (ios, DEPTH * 8);
  for (unsigned i = 0; i < DEPTH * 8; i++) {
    int status = atomic_load (&ios[i].status);

    ck_assert (status == BLKMQ_STS_OK || status == BLKMQ_STS_OFFLINE);
  }
  /* And after removal at once. */
  ck_assert_int_eq (blkmq_flush (f.submitter), -ENODEV);
  free (ios);
  blkmq_submitter_free (f.submitter);
  blkmq_disk_put (f.disk);
}
END_TEST

#define NR_THREADS 4

struct racer {
  struct fixture *f;
  unsigned index;
};

static void *
race (void *opaque)
{
  struct racer *racer = opaque;
  uint64_t base = racer->index * (SIZE_BYTES / NR_THREADS);
  uint64_t state = (seed | 1) + racer->index * 2;
  char out[4096], in[4096];
  struct blkmq_submitter *submitter
      = blkmq_submitter_alloc (racer->f->disk, BLKMQ_HCTX_ANY);

  for (unsigned n = 0; n < 300; n++) {
    uint64_t at = base + next_random (&state) % 60 * 4096;

    fill_random (out, sizeof out, &state);
    ck_assert_int_eq (
        blkmq_write (submitter, out, sizeof out, at, racer->f->io_flags), 0);
    ck_assert_int_eq (read_flagged (racer->f, submitter, in, sizeof in, at), 0);
    if (racer->f->keeps_data)
      ck_assert_mem_eq (in, out, sizeof out);
  }
  blkmq_submitter_free (submitter);
  return NULL;
}

START_TEST (test_threads_see_their_own_writes)
{
  struct fixture f = open_mode (_i);
  pthread_t threads[NR_THREADS];
  struct racer racers[NR_THREADS];

  for (unsigned i = 0; i < NR_THREADS; i++) {
    racers[i] = (struct racer){ &f, i };
    ck_assert_int_eq (pthread_create (&threads[i], NULL, race, &racers[i]), 0);
  }
  for (unsigned i = 0; i < NR_THREADS; i++)
    pthread_join (threads[i], NULL);
  close_fixture (&f);
}
END_TEST

START_TEST (test_freeze_under_io_waits_for_all)
{
  struct fixture f = open_mode (_i);
  struct counted *ios = counted_alloc (DEPTH * 4, BLKMQ_OP_WRITE);

  for (unsigned i = 0; i < DEPTH * 4; i++)
    submit_one (&f, &ios[i]);
  ck_assert_int_eq (blkmq_freeze (f.disk, NULL, 0), 0);
  /* Nothing is half way: each has ended, or has not started. */
  for (unsigned i = 0; i < DEPTH * 4; i++)
    ck_assert_uint_eq (atomic_load (&ios[i].nr_ends),
                       atomic_load (&ios[i].nr_give_backs));
  blkmq_unfreeze (f.disk);
  if (f.io_flags & BLKMQ_IO_POLLED)
    poll_for_ends (&f, DEPTH * 4);
  else
    wait_for_ends (DEPTH * 4);
  check_ended_once (ios, DEPTH * 4);
  free (ios);
  close_fixture (&f);
}
END_TEST

/* ---- */

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("conformance");
  TCase *once = tcase_create ("each driver");
  TCase *modes_case = tcase_create ("each driver in each mode");
  int targets_end = (int)nr_targets;
  int modes_end = (int)(nr_targets * NR_MODES);

  tcase_set_timeout (once, 120);
  tcase_set_timeout (modes_case, 120);
  tcase_add_loop_test (once, test_unwritten_reads_as_zeros, 0, targets_end);
  tcase_add_loop_test (once, test_out_of_bounds_is_refused, 0, targets_end);
  tcase_add_loop_test (once, test_zero_length_and_unaligned_are_refused, 0,
                       targets_end);
  tcase_add_loop_test (once, test_last_byte_of_an_odd_size_is_reachable, 0,
                       targets_end);
  tcase_add_loop_test (once, test_segments_of_any_shape, 0, targets_end);
  tcase_add_loop_test (once, test_segments_that_do_not_add_up_are_refused, 0,
                       targets_end);
  tcase_add_loop_test (once, test_discard_and_zeroes_read_back_as_zeros, 0,
                       targets_end);
  tcase_add_loop_test (once, test_extents_cover_the_range_in_order, 0,
                       targets_end);
  tcase_add_loop_test (modes_case, test_round_trip_matches_a_shadow, 0,
                       modes_end);
  tcase_add_loop_test (modes_case, test_more_ios_than_tags_all_end_once, 0,
                       modes_end);
  tcase_add_loop_test (modes_case, test_busy_loses_nothing, 0, modes_end);
  tcase_add_loop_test (modes_case, test_removal_in_flight_ends_each_once, 0,
                       modes_end);
  tcase_add_loop_test (modes_case, test_threads_see_their_own_writes, 0,
                       modes_end);
  tcase_add_loop_test (modes_case, test_freeze_under_io_waits_for_all, 0,
                       modes_end);
  suite_add_tcase (suite, once);
  suite_add_tcase (suite, modes_case);
  return suite;
}

/* The words of BLKMQ_TEST_DRIVER. */
static bool
find_given (const char *given)
{
  static const char blanks[] = " \t\n";
  struct blkmq_config *config = blkmq_config_alloc ();
  struct blkmq_error error;
  unsigned nr_keys = 0;
  char *word, *equals;

  if (config == NULL || strlen (given) >= sizeof given_driver)
    return false;
  strcpy (given_driver, given);
  word = strtok (given_driver, blanks);
  if (word == NULL || blkmq_config_set (config, "driver", word, &error) < 0) {
    fprintf (stderr, "BLKMQ_TEST_DRIVER=%s: %s\n", given,
             word != NULL ? error.message : "empty");
    return false;
  }
  targets[nr_targets++] = config_driver (config);
  while ((word = strtok (NULL, blanks)) != NULL) {
    equals = strchr (word, '=');
    if (equals == NULL
        || nr_keys == sizeof given_keys / sizeof *given_keys - 1) {
      fprintf (stderr, "BLKMQ_TEST_DRIVER=%s: no KEY=VALUE\n", given);
      return false;
    }
    *equals = '\0';
    given_keys[nr_keys++] = word;
  }
  blkmq_config_free (config);
  return true;
}

int
main (void)
{
  const char *given = getenv ("BLKMQ_SEED");
  const char *driver = getenv ("BLKMQ_TEST_DRIVER");
  SRunner *runner;
  int nr_failed;

  seed = given != NULL ? strtoull (given, NULL, 0) : (uint64_t)time (NULL);
  printf ("BLKMQ_SEED=%" PRIu64 "\n", seed);
  if (driver != NULL && !find_given (driver))
    return 1;
  for (unsigned i = 0; !driver && blkmq_builtin_drivers[i] != NULL; i++)
    targets[nr_targets++] = blkmq_builtin_drivers[i];
  for (unsigned i = 0; !driver && blkmq_test_drivers[i] != NULL; i++)
    targets[nr_targets++] = blkmq_test_drivers[i];
  for (unsigned i = 0; i < nr_targets; i++)
    printf ("driver: %s\n", targets[i]->name);

  runner = srunner_create (make_suite ());
  srunner_run_all (runner, CK_ENV);
  nr_failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return nr_failed == 0 ? 0 : 1;
}

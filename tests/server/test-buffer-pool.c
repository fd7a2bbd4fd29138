/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-buffer-pool.c: the memory of one thread of the native server: what
 * counts, who may be over the limit, and what is kept.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "../unit/harness.h"
#include "server/buffer.h"

#define KB UINT32_C (1024)
#define MB (KB * KB)

static struct buffer_pool pool;

static void
setup (void)
{
  buffer_pool_init (&pool, MB);
}

static void
teardown (void)
{
  ck_assert_uint_eq (pool.used_bytes, 0);
  buffer_pool_exit (&pool);
  ck_assert_uint_eq (pool.free_bytes, 0);
}

static struct buffer *
get (uint32_t bytes, enum buffer_use use)
{
  struct buffer *buffer = buffer_alloc (&pool, bytes, use);

  ck_assert_ptr_nonnull (buffer);
  ck_assert_uint_ge (buffer->room, bytes);
  ck_assert_uint_eq (buffer->nr_refs, 1);
  memset (buffer->data, 0xaa, buffer->room);
  return buffer;
}

static void
expect_full (uint32_t bytes, enum buffer_use use)
{
  errno = 0;
  ck_assert_ptr_null (buffer_alloc (&pool, bytes, use));
  ck_assert_int_eq (errno, EAGAIN);
}

START_TEST (test_sizes_are_powers_of_two_and_a_little_more)
{
  static const struct {
    uint32_t bytes, counted;
  } sizes[] = {
    { 1, 0 },
    { 16 * KB + BUFFER_EXTRA_BYTES, 0 },
    { 16 * KB + BUFFER_EXTRA_BYTES + 1, 32 * KB },
    { 32 * KB + BUFFER_EXTRA_BYTES, 32 * KB },
    { 33 * KB, 64 * KB },
    { 32 * MB + BUFFER_EXTRA_BYTES, 32 * MB },
    { BUFFER_MAX_BYTES + BUFFER_EXTRA_BYTES, BUFFER_MAX_BYTES },
  };

  for (unsigned i = 0; i < NR (sizes); i++) {
    struct buffer *buffer = get (sizes[i].bytes, BUFFER_FOR_INPUT);

    ck_assert_uint_eq (pool.used_bytes, sizes[i].counted);
    ck_assert_uint_eq ((uintptr_t)buffer->data % 64, 0);
    buffer_put (buffer);
    ck_assert_uint_eq (pool.used_bytes, 0);
  }
}
END_TEST

START_TEST (test_the_smallest_are_always_to_be_had)
{
  struct buffer *small[200];
  struct buffer *large[2]
      = { get (2 * MB, BUFFER_FOR_INPUT), get (2 * MB, BUFFER_FOR_REPLY) };

  pool.has_queue = true;
  for (unsigned i = 0; i < NR (small); i++)
    small[i] = get (16 * KB, i % 2 ? BUFFER_FOR_INPUT : BUFFER_FOR_REPLY);
  expect_full (17 * KB, BUFFER_FOR_INPUT);
  for (unsigned i = 0; i < NR (small); i++)
    buffer_put (small[i]);
  buffer_put (large[0]);
  buffer_put (large[1]);
}
END_TEST

/* One of each use, whatever its size; the rest waits until it has come back. */
START_TEST (test_one_of_each_use_may_be_over_the_limit)
{
  struct buffer *input, *reply, *within = get (512 * KB, BUFFER_FOR_INPUT);

  input = get (32 * MB, BUFFER_FOR_INPUT);
  expect_full (32 * KB, BUFFER_FOR_INPUT);
  reply = get (32 * KB, BUFFER_FOR_REPLY);
  expect_full (32 * KB, BUFFER_FOR_REPLY);
  ck_assert_uint_eq (pool.used_bytes, 512 * KB + 32 * MB + 32 * KB);
  buffer_put (reply);
  expect_full (32 * KB, BUFFER_FOR_INPUT);
  reply = get (64 * MB, BUFFER_FOR_REPLY);
  buffer_put (input);
  input = get (32 * KB, BUFFER_FOR_INPUT);
  buffer_put (within);
  expect_full (32 * KB, BUFFER_FOR_INPUT);
  buffer_put (reply);
  /* What is within the limit is no overdraft. */
  within = get (512 * KB, BUFFER_FOR_REPLY);
  buffer_put (input);
  buffer_put (within);
}
END_TEST

START_TEST (test_nobody_is_served_before_those_who_wait)
{
  struct buffer *first, *second;

  pool.has_queue = true;
  first = get (512 * KB, BUFFER_FOR_INPUT); /* there is enough for all */
  second = get (512 * KB, BUFFER_FOR_REPLY);
  expect_full (32 * KB, BUFFER_FOR_INPUT);
  pool.has_queue = false; /* it is the first one who asks */
  pool.has_come_back = false;
  buffer_put (first);
  ck_assert (pool.has_come_back);
  first = get (2 * MB, BUFFER_FOR_INPUT);
  buffer_put (first);
  buffer_put (second);
}
END_TEST

START_TEST (test_reference_by_reference)
{
  struct buffer *buffer = get (64 * KB, BUFFER_FOR_REPLY);

  ck_assert_ptr_eq (buffer_get (buffer), buffer);
  buffer_put (buffer);
  ck_assert_uint_eq (pool.used_bytes, 64 * KB);
  buffer_put (buffer);
  ck_assert_uint_eq (pool.used_bytes, 0);
  ck_assert_uint_eq (pool.free_bytes, 64 * KB);
}
END_TEST

/* What was over the limit is handed on, but not while others refer to it. */
START_TEST (test_who_exchanges_keeps_the_overdraft)
{
  struct buffer *old = get (2 * MB, BUFFER_FOR_INPUT), *new;

  expect_full (4 * MB, BUFFER_FOR_INPUT);
  buffer_get (old);
  ck_assert_ptr_null (buffer_exchange (&pool, 4 * MB, old));
  buffer_put (old);
  new = buffer_exchange (&pool, 4 * MB, old);
  ck_assert_ptr_nonnull (new);
  buffer_put (old);
  expect_full (4 * MB, BUFFER_FOR_INPUT);
  ck_assert_uint_eq (pool.used_bytes, 4 * MB);
  /* Refused, it is as it was. */
  pool.has_queue = true;
  ck_assert_ptr_null (buffer_exchange (&pool, 8 * MB, new));
  pool.has_queue = false;
  expect_full (8 * MB, BUFFER_FOR_INPUT);
  buffer_put (new);
  new = buffer_exchange (&pool, 8 * MB, NULL);
  ck_assert_ptr_nonnull (new);
  buffer_put (new);
}
END_TEST

START_TEST (test_what_is_not_needed_is_freed)
{
  struct buffer *buffers[4];

  for (unsigned i = 0; i < NR (buffers); i++)
    buffers[i] = get (64 * KB, BUFFER_FOR_REPLY);
  for (unsigned i = 0; i < NR (buffers); i++)
    buffer_put (buffers[i]);
  ck_assert_uint_eq (pool.free_bytes, 4 * 64 * KB);
  (void)buffer_pool_trim (&pool);
  /* From here on one is needed, again and again. */
  for (unsigned i = 0; i < 10; i++)
    buffer_put (get (64 * KB, BUFFER_FOR_REPLY));
  ck_assert (buffer_pool_trim (&pool));
  ck_assert_uint_eq (pool.free_bytes, 64 * KB);
  buffer_put (get (64 * KB, BUFFER_FOR_REPLY));
  ck_assert (buffer_pool_trim (&pool));
  ck_assert_uint_eq (pool.free_bytes, 64 * KB);
  ck_assert (!buffer_pool_trim (&pool));
  ck_assert_uint_eq (pool.free_bytes, 0);
}
END_TEST

/* Free ones count as well: those of another size go first. */
START_TEST (test_free_memory_is_within_the_limit)
{
  struct buffer *buffers[16];

  for (unsigned i = 0; i < NR (buffers); i++)
    buffers[i] = get (64 * KB, BUFFER_FOR_REPLY);
  for (unsigned i = 0; i < NR (buffers); i++)
    buffer_put (buffers[i]);
  ck_assert_uint_eq (pool.free_bytes, MB);
  buffers[0] = get (128 * KB, BUFFER_FOR_REPLY);
  ck_assert_uint_le (pool.used_bytes + pool.free_bytes, MB);
  buffer_put (buffers[0]);
}
END_TEST

/* Whatever happens: what counts is what there is. */
START_TEST (test_books_agree_at_any_time)
{
  struct buffer *buffers[64] = { NULL };
  uint64_t counted = 0;
  struct rng rng;

  rng_init (&rng, 0);
  for (unsigned i = 0; i < 20000; i++) {
    unsigned n = (unsigned)rng_below (&rng, NR (buffers));

    if (buffers[n] != NULL) {
      if (buffers[n]->size > 0)
        counted -= buffers[n]->room - BUFFER_EXTRA_BYTES;
      buffer_put (buffers[n]);
      buffers[n] = NULL;
    } else {
      uint32_t bytes
          = 1 + (uint32_t)rng_below (&rng, (16 * KB) << rng_below (&rng, 7));

      buffers[n] = buffer_alloc (&pool, bytes,
                                 rng_percent (&rng, 50) ? BUFFER_FOR_INPUT
                                                        : BUFFER_FOR_REPLY);
      if (buffers[n] != NULL) {
        require (buffers[n]->room >= bytes);
        if (buffers[n]->size > 0)
          counted += buffers[n]->room - BUFFER_EXTRA_BYTES;
      } else
        require (bytes > 16 * KB && counted > 0);
    }
    if (rng_percent (&rng, 1))
      (void)buffer_pool_trim (&pool);
    require (pool.used_bytes == counted);
    /* Two overdrafts at most, of at most a megabyte each. */
    require (counted <= 3 * MB);
  }
  for (unsigned i = 0; i < NR (buffers); i++)
    if (buffers[i] != NULL)
      buffer_put (buffers[i]);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("buffer-pool");
  TCase *tcase = harness_case (suite, "buffer-pool");

  tcase_add_checked_fixture (tcase, setup, teardown);
  tcase_add_test (tcase, test_sizes_are_powers_of_two_and_a_little_more);
  tcase_add_test (tcase, test_the_smallest_are_always_to_be_had);
  tcase_add_test (tcase, test_one_of_each_use_may_be_over_the_limit);
  tcase_add_test (tcase, test_nobody_is_served_before_those_who_wait);
  tcase_add_test (tcase, test_reference_by_reference);
  tcase_add_test (tcase, test_who_exchanges_keeps_the_overdraft);
  tcase_add_test (tcase, test_what_is_not_needed_is_freed);
  tcase_add_test (tcase, test_free_memory_is_within_the_limit);
  tcase_add_test (tcase, test_books_agree_at_any_time);
  return harness_main (suite);
}

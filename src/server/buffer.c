/* SPDX-License-Identifier: BSD-3-Clause
 *
 * buffer.c: buffers, kept by size.  The thread of the pool.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/buffer.h"

#define ALIGN 64u

/* A buffer's head is in front of its data: one allocation. */
#define HEAD_BYTES ((sizeof (struct buffer) + ALIGN - 1) / ALIGN * ALIGN)

_Static_assert(BUFFER_MIN_BYTES << (NR_BUFFER_SIZES - 1) == BUFFER_MAX_BYTES,
               "as many sizes as there are");

static uint32_t
size_bytes (unsigned size)
{
  return BUFFER_MIN_BYTES << size;
}

static unsigned
size_of (uint32_t bytes)
{
  unsigned size = 0;

  while (size_bytes (size) + BUFFER_EXTRA_BYTES < bytes)
    size++;
  return size;
}

void
buffer_pool_init (struct buffer_pool *pool, uint64_t limit_bytes)
{
  memset (pool, 0, sizeof *pool);
  pool->limit_bytes = limit_bytes;
}

static void
free_some (struct buffer_pool *pool, unsigned size, unsigned nr)
{
  for (; nr > 0; nr--) {
    struct buffer *buffer = pool->sizes[size].free;

    pool->sizes[size].free = buffer->next;
    pool->sizes[size].nr_free--;
    pool->free_bytes -= size_bytes (size);
    free (buffer);
  }
  if (pool->sizes[size].nr_free < pool->sizes[size].fewest_free)
    pool->sizes[size].fewest_free = pool->sizes[size].nr_free;
}

void
buffer_pool_exit (struct buffer_pool *pool)
{
  assert (pool->used_bytes == 0);
  for (unsigned i = 0; i < NR_BUFFER_SIZES; i++)
    free_some (pool, i, pool->sizes[i].nr_free);
}

struct buffer *
buffer_alloc (struct buffer_pool *pool, uint32_t bytes, enum buffer_use use)
{
  struct buffer **overdraft
      = use == BUFFER_FOR_INPUT ? &pool->input_overdraft : &pool->overdraft;
  unsigned size = size_of (bytes);
  struct buffer *buffer = pool->sizes[size].free;

  assert (size < NR_BUFFER_SIZES);
  if (size > 0 && pool->used_bytes + size_bytes (size) > pool->limit_bytes
      && (*overdraft != NULL || pool->has_queue)) {
    errno = EAGAIN;
    return NULL;
  }
  if (buffer != NULL) {
    pool->sizes[size].free = buffer->next;
    pool->sizes[size].nr_free--;
    pool->free_bytes -= size_bytes (size);
    if (pool->sizes[size].nr_free < pool->sizes[size].fewest_free)
      pool->sizes[size].fewest_free = pool->sizes[size].nr_free;
  } else {
    uint32_t room = size_bytes (size) + BUFFER_EXTRA_BYTES;

    /* Free ones of other sizes are of no use, but count. */
    if (pool->used_bytes + pool->free_bytes + size_bytes (size)
        > pool->limit_bytes)
      for (unsigned i = 0; i < NR_BUFFER_SIZES; i++)
        free_some (pool, i, pool->sizes[i].nr_free);
    buffer = aligned_alloc (ALIGN, HEAD_BYTES + room);
    if (buffer == NULL) {
      errno = ENOMEM; /* C does not promise it, and EAGAIN means to wait */
      return NULL;
    }
    buffer->data = (uint8_t *)buffer + HEAD_BYTES;
    buffer->room = room;
    buffer->pool = pool;
    buffer->size = size;
  }
  buffer->nr_refs = 1;
  if (size > 0) {
    pool->used_bytes += size_bytes (size);
    if (pool->used_bytes > pool->limit_bytes)
      *overdraft = buffer;
  }
  return buffer;
}

struct buffer *
buffer_exchange (struct buffer_pool *pool, uint32_t bytes,
                 const struct buffer *buffer)
{
  struct buffer *overdraft = pool->input_overdraft, *result;
  bool is_given = buffer != NULL && buffer == overdraft && buffer->nr_refs == 1;

  if (is_given)
    pool->input_overdraft = NULL;
  result = buffer_alloc (pool, bytes, BUFFER_FOR_INPUT);
  if (result == NULL && is_given)
    pool->input_overdraft = overdraft;
  return result;
}

void
buffer_free (struct buffer *buffer)
{
  struct buffer_pool *pool = buffer->pool;

  if (buffer->size > 0) {
    pool->used_bytes -= size_bytes (buffer->size);
    pool->has_come_back = true;
  }
  if (buffer == pool->overdraft)
    pool->overdraft = NULL;
  if (buffer == pool->input_overdraft)
    pool->input_overdraft = NULL;
  buffer->next = pool->sizes[buffer->size].free;
  pool->sizes[buffer->size].free = buffer;
  pool->sizes[buffer->size].nr_free++;
  pool->free_bytes += size_bytes (buffer->size);
}

bool
buffer_pool_trim (struct buffer_pool *pool)
{
  bool is_left = false;

  for (unsigned i = 0; i < NR_BUFFER_SIZES; i++) {
    free_some (pool, i, pool->sizes[i].fewest_free);
    pool->sizes[i].fewest_free = pool->sizes[i].nr_free;
    is_left |= pool->sizes[i].nr_free > 0;
  }
  return is_left;
}

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * buffer.h: counted memory for data on its way.  What a client has sent is
 * written from it, what a client has asked for is read into it, and it stays
 * until the last part of it was given back by the engine and sent: longer than
 * its connection, if need be.
 *
 * A pool and its buffers belong to one thread; nothing here is atomic.
 */

#ifndef BLKMQ_SERVER_BUFFER_H
#define BLKMQ_SERVER_BUFFER_H

#include <stdbool.h>
#include <stdint.h>

/* Buffers come in powers of two, and a little more, so that the head of a
 * request does not make one of the next size of it. */
#define BUFFER_MIN_BYTES (UINT32_C (16) << 10)
#define BUFFER_MAX_BYTES (UINT32_C (64) << 20)
#define BUFFER_EXTRA_BYTES 256u
#define NR_BUFFER_SIZES 13u

struct buffer {
  uint8_t *data;
  uint32_t room;
  uint32_t nr_refs;
  struct buffer_pool *pool;
  struct buffer *next; /* while it is free */
  unsigned size;
};

enum buffer_use {
  BUFFER_FOR_INPUT,
  BUFFER_FOR_REPLY,
};

/* Two may be over the limit, one of each use, so that there is always somebody
 * who can go on.  Memory of replies comes back by itself, when the engine and
 * the client have done their part.  Memory of input comes back when its
 * requests are taken, for which there must be memory for replies: so whoever
 * waits with the overdraft of input in his hands is the first in the queue, and
 * the first in the queue has the overdraft of replies. */
struct buffer_pool {
  uint64_t limit_bytes;
  uint64_t used_bytes; /* of those that count: all but the smallest */
  uint64_t free_bytes;
  struct buffer *overdraft, *input_overdraft; /* or NULL */
  bool has_queue;     /* somebody waits, and it is not he who asks */
  bool has_come_back; /* a buffer that counts, since the first in the queue was
                       * last seen to need more */
  struct {
    struct buffer *free; /* the last used first: its memory is still cached */
    unsigned nr_free, fewest_free;
  } sizes[NR_BUFFER_SIZES];
};

void buffer_pool_init (struct buffer_pool *pool, uint64_t limit_bytes);

/* All of its buffers are free. */
void buffer_pool_exit (struct buffer_pool *pool);

/* One of at least BYTES (at most BUFFER_MAX_BYTES + BUFFER_EXTRA_BYTES), with
 * one reference.  NULL with errno EAGAIN: over the limit, and what is in use
 * comes back; or ENOMEM.  The smallest size does not count, so that who needs
 * little never waits for who needs much.  */
struct buffer *buffer_alloc (struct buffer_pool *pool, uint32_t bytes,
                             enum buffer_use use);

/* The same for input, from who has BUFFER so far and gives it back then: its
 * overdraft, if it is one, may become the new one's. */
struct buffer *buffer_exchange (struct buffer_pool *pool, uint32_t bytes,
                                const struct buffer *buffer);

/* Free the memory that was not needed since the last call.  True if there is
 * free memory left. */
bool buffer_pool_trim (struct buffer_pool *pool);

void buffer_free (struct buffer *buffer); /* buffer_put's */

static inline struct buffer *
buffer_get (struct buffer *buffer)
{
  buffer->nr_refs++;
  return buffer;
}

static inline void
buffer_put (struct buffer *buffer)
{
  if (--buffer->nr_refs == 0)
    buffer_free (buffer);
}

#endif /* BLKMQ_SERVER_BUFFER_H */

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * nbd-client.h: what the files of the bench's NBD client share.  nbd-connect.c
 * negotiates, nbd-transmit.c keeps requests in flight on one connection,
 * nbd-load.c on all of them, nbd-pipeline.c is the program.  One thread; errors
 * end the program (die).
 */

#ifndef BENCH_NBD_CLIENT_H
#define BENCH_NBD_CLIENT_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

#include "latency.h"

#define MAX_DEPTH 1024 /* of each connection */
#define MAX_CONNECTIONS 1024
#define MAX_BLOCK_BYTES (32u << 20) /* every server takes this much */
#define HANG_MS 30000               /* a server silent for so long is dead */

/* ------------------------------------------------------------------------ */
/* The protocol                                                              */
/* https://github.com/NetworkBlockDevice/nbd, doc/proto.md                   */

#define NBD_MAGIC UINT64_C (0x4e42444d41474943)        /* "NBDMAGIC" */
#define NBD_OPTION_MAGIC UINT64_C (0x49484156454f5054) /* "IHAVEOPT" */
#define NBD_OPTION_REPLY_MAGIC UINT64_C (0x0003e889045565a9)
#define NBD_FLAG_FIXED_NEWSTYLE 0x1 /* server's and client's */
#define NBD_FLAG_NO_ZEROES 0x2
#define NBD_OPT_GO 7
#define NBD_REP_ACK 1
#define NBD_REP_INFO 3
#define NBD_REP_IS_ERROR (UINT32_C (1) << 31)
#define NBD_INFO_EXPORT 0
#define NBD_INFO_BLOCK_SIZE 3
#define NBD_FLAG_READ_ONLY 0x2 /* of the export */

#define NBD_REQUEST_MAGIC UINT32_C (0x25609513)
#define NBD_REQUEST_BYTES 28
#define NBD_SIMPLE_REPLY_MAGIC UINT32_C (0x67446698)
#define NBD_SIMPLE_REPLY_BYTES 16
#define NBD_CMD_READ 0
#define NBD_CMD_WRITE 1
#define NBD_CMD_DISC 2

static inline void
put16 (unsigned char *p, uint16_t v)
{
  v = htobe16 (v);
  memcpy (p, &v, sizeof v);
}

static inline void
put32 (unsigned char *p, uint32_t v)
{
  v = htobe32 (v);
  memcpy (p, &v, sizeof v);
}

static inline void
put64 (unsigned char *p, uint64_t v)
{
  v = htobe64 (v);
  memcpy (p, &v, sizeof v);
}

static inline uint16_t
get16 (const unsigned char *p)
{
  uint16_t v;

  memcpy (&v, p, sizeof v);
  return be16toh (v);
}

static inline uint32_t
get32 (const unsigned char *p)
{
  uint32_t v;

  memcpy (&v, p, sizeof v);
  return be32toh (v);
}

static inline uint64_t
get64 (const unsigned char *p)
{
  uint64_t v;

  memcpy (&v, p, sizeof v);
  return be64toh (v);
}

/* ------------------------------------------------------------------------ */
/* nbd-connect.c                                                             */

/* A connection in its transmission phase, and what the server said of it. */
struct connection {
  int fd;
  uint64_t device_bytes;
  bool read_only;
  uint32_t min_block_bytes;
  uint32_t max_block_bytes;
};

void connection_open (struct connection *c, const char *socket_path,
                      const char *export_name);
void connection_close (struct connection *c);

/* ------------------------------------------------------------------------ */
/* nbd-transmit.c                                                            */

struct load;

/* What the requests are. */
struct workload {
  enum { OP_READ, OP_WRITE, OP_RANDRW } op;
  bool sequential;
  bool to_the_end; /* sequential: also the device's last, shorter block */
  bool verify;
  unsigned depth;
  uint32_t block_bytes;
  uint64_t seed;
};

struct slot {
  uint64_t cookie; /* of the request in flight here, 0 if none */
  uint64_t sent_ns;
  uint64_t offset;
  uint32_t bytes;
  uint16_t command;
};

/* A connection's requests. */
struct pipeline {
  struct load *load;
  const struct connection *connection;

  struct slot *slot; /* depth of them */
  unsigned *free;    /* a stack of slot numbers */
  unsigned nr_free;
  uint64_t nr_issued;
  uint64_t random; /* state of next_random */
  uint64_t next_offset;

  /* What is to be sent: pieces of `header' and the load's pattern, oldest
   * first.  A header is used again after depth requests: its earlier use was
   * sent, or more than depth would be in flight.
   */
  unsigned char *header;
  struct iovec *iov; /* 2 * depth */
  size_t nr_iov;
  size_t first_iov;
  bool watches_out; /* the epoll also tells when the socket takes more */

  /* The start of a header, whose end has not come yet. */
  unsigned char partial[NBD_SIMPLE_REPLY_BYTES];
  size_t nr_partial;
  struct slot *payload_of; /* the read whose data is next in the stream */
  uint32_t payload_left;
};

/* The NUMBER-th of the load's connections. */
void pipeline_init (struct pipeline *p, struct load *load,
                    const struct connection *c, unsigned number);
void pipeline_exit (struct pipeline *p);

void pipeline_queue_request (struct pipeline *p, uint64_t now_ns);
bool pipeline_is_empty (const struct pipeline *p);

/* Send what the socket takes without waiting: to wait here while the server
 * waits for us to take its replies would be for ever.  True if all is sent.
 */
bool pipeline_send (struct pipeline *p);

/* Take what is there and parse all of it.  Waits for something to come if
 * that is asked for.  Returns the time of arrival, 0 if nothing came.
 */
uint64_t pipeline_receive (struct pipeline *p, bool wait);

/* ------------------------------------------------------------------------ */
/* nbd-load.c                                                                */

struct load {
  const struct workload *workload;
  struct pipeline *pipeline;
  unsigned nr_pipelines;
  int epoll_fd; /* of all connections, if there are several */

  unsigned char *pattern;  /* what is written, see there */
  unsigned char *received; /* between recv and its end, for all connections */

  /* What was done since the last load_reset. */
  uint64_t nr_done;
  uint64_t bytes_done;
  struct latency latency;
};

void load_init (struct load *load, const struct connection *c, unsigned nr,
                const struct workload *w);
void load_exit (struct load *load);

/* Forget what was counted so far. */
void load_reset (struct load *load);

/* Keep the pipelines full for so long, or until nr_requests (if not 0) are
 * issued, then let them run empty.  Starts and ends with nothing in flight, so
 * that all the work of these requests, and of no others, lies in between.
 */
void load_run (struct load *load, uint64_t duration_ns, uint64_t nr_requests);

/* What is written, and with `verify' expected back, depends on the place only:
 * byte i of the device is pattern[i % PATTERN_BYTES].  So a device stays the
 * same however often it is written and in any order, and the payload of any
 * write is one piece of one buffer, which is a block longer.  Seventeen pages:
 * not a power of two, so that a wrong offset shows, and few enough to stay in
 * the cache.
 */
#define PATTERN_BYTES (17u * 4096)

#define RECEIVE_BYTES (256 * 1024)

/* splitmix64 (Steele, Lea and Flood, 2014). */
static inline uint64_t
next_random (uint64_t *state)
{
  uint64_t z = (*state += UINT64_C (0x9e3779b97f4a7c15));

  z = (z ^ (z >> 30)) * UINT64_C (0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C (0x94d049bb133111eb);
  return z ^ (z >> 31);
}

/* ------------------------------------------------------------------------ */
/* nbd-pipeline.c                                                            */

void die (const char *fmt, ...)
    __attribute__ ((format (printf, 1, 2), noreturn));
void *xcalloc (size_t n, size_t bytes);
uint64_t clock_ns (clockid_t clock);

#endif /* BENCH_NBD_CLIENT_H */

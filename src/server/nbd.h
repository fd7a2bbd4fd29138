/* SPDX-License-Identifier: BSD-3-Clause
 *
 * nbd.h: the NBD protocol on the wire: numbers, and fields in network order.
 * Names are those of the protocol's text (NetworkBlockDevice/nbd,
 * doc/proto.md).
 */

#ifndef BLKMQ_SERVER_NBD_H
#define BLKMQ_SERVER_NBD_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

/* ---- handshake ---- */

#define NBD_MAGIC UINT64_C (0x4e42444d41474943)      /* "NBDMAGIC" */
#define NBD_OPTS_MAGIC UINT64_C (0x49484156454f5054) /* "IHAVEOPT" */
#define NBD_REP_MAGIC UINT64_C (0x3e889045565a9)

/* Handshake flags, and the client's, which have the same bits. */
#define NBD_FLAG_FIXED_NEWSTYLE (1u << 0)
#define NBD_FLAG_NO_ZEROES (1u << 1)

enum {
  NBD_OPT_EXPORT_NAME = 1,
  NBD_OPT_ABORT = 2,
  NBD_OPT_LIST = 3,
  NBD_OPT_STARTTLS = 5,
  NBD_OPT_INFO = 6,
  NBD_OPT_GO = 7,
  NBD_OPT_STRUCTURED_REPLY = 8,
  NBD_OPT_LIST_META_CONTEXT = 9,
  NBD_OPT_SET_META_CONTEXT = 10,
};

enum {
  NBD_REP_ACK = 1,
  NBD_REP_SERVER = 2,
  NBD_REP_INFO = 3,
  NBD_REP_META_CONTEXT = 4,
};

#define NBD_REP_ERR(n) ((UINT32_C (1) << 31) + (n))
#define NBD_REP_ERR_UNSUP NBD_REP_ERR (1)
#define NBD_REP_ERR_POLICY NBD_REP_ERR (2)
#define NBD_REP_ERR_INVALID NBD_REP_ERR (3)
#define NBD_REP_ERR_PLATFORM NBD_REP_ERR (4)
#define NBD_REP_ERR_TLS_REQD NBD_REP_ERR (5)
#define NBD_REP_ERR_UNKNOWN NBD_REP_ERR (6)
#define NBD_REP_ERR_SHUTDOWN NBD_REP_ERR (7)
#define NBD_REP_ERR_BLOCK_SIZE_REQD NBD_REP_ERR (8)
#define NBD_REP_ERR_TOO_BIG NBD_REP_ERR (9)

enum {
  NBD_INFO_EXPORT = 0,
  NBD_INFO_NAME = 1,
  NBD_INFO_DESCRIPTION = 2,
  NBD_INFO_BLOCK_SIZE = 3,
};

/* A string's length, e.g. of an export's name. */
#define NBD_MAX_STRING_BYTES 4096u

/* Transmission flags. */
#define NBD_FLAG_HAS_FLAGS (1u << 0)
#define NBD_FLAG_READ_ONLY (1u << 1)
#define NBD_FLAG_SEND_FLUSH (1u << 2)
#define NBD_FLAG_SEND_FUA (1u << 3)
#define NBD_FLAG_ROTATIONAL (1u << 4)
#define NBD_FLAG_SEND_TRIM (1u << 5)
#define NBD_FLAG_SEND_WRITE_ZEROES (1u << 6)
#define NBD_FLAG_SEND_DF (1u << 7)
#define NBD_FLAG_CAN_MULTI_CONN (1u << 8)
#define NBD_FLAG_SEND_CACHE (1u << 10)
#define NBD_FLAG_SEND_FAST_ZERO (1u << 11)

/* ---- transmission ---- */

#define NBD_REQUEST_MAGIC UINT32_C (0x25609513)
#define NBD_SIMPLE_REPLY_MAGIC UINT32_C (0x67446698)
#define NBD_STRUCTURED_REPLY_MAGIC UINT32_C (0x668e33ef)

#define NBD_REQUEST_BYTES 28u
#define NBD_SIMPLE_REPLY_BYTES 16u
#define NBD_CHUNK_BYTES 20u /* the head of a structured reply's chunk */

enum {
  NBD_CMD_READ = 0,
  NBD_CMD_WRITE = 1,
  NBD_CMD_DISC = 2,
  NBD_CMD_FLUSH = 3,
  NBD_CMD_TRIM = 4,
  NBD_CMD_CACHE = 5,
  NBD_CMD_WRITE_ZEROES = 6,
  NBD_CMD_BLOCK_STATUS = 7,
};

#define NBD_CMD_FLAG_FUA (1u << 0)
#define NBD_CMD_FLAG_NO_HOLE (1u << 1)
#define NBD_CMD_FLAG_DF (1u << 2)
#define NBD_CMD_FLAG_REQ_ONE (1u << 3)
#define NBD_CMD_FLAG_FAST_ZERO (1u << 4)

#define NBD_REPLY_FLAG_DONE (1u << 0)

enum {
  NBD_REPLY_TYPE_NONE = 0,
  NBD_REPLY_TYPE_OFFSET_DATA = 1,
  NBD_REPLY_TYPE_OFFSET_HOLE = 2,
  NBD_REPLY_TYPE_BLOCK_STATUS = 5,
  NBD_REPLY_TYPE_ERROR = (1 << 15) + 1,
  NBD_REPLY_TYPE_ERROR_OFFSET = (1 << 15) + 2,
};

/* Of base:allocation. */
#define NBD_STATE_HOLE (1u << 0)
#define NBD_STATE_ZERO (1u << 1)

enum {
  NBD_EPERM = 1,
  NBD_EIO = 5,
  NBD_ENOMEM = 12,
  NBD_EINVAL = 22,
  NBD_ENOSPC = 28,
  NBD_EOVERFLOW = 75,
  NBD_ENOTSUP = 95,
  NBD_ESHUTDOWN = 108,
};

/* ---- fields, at any address ---- */

static inline uint16_t
nbd_get16 (const uint8_t *p)
{
  uint16_t value;

  memcpy (&value, p, sizeof value);
  return be16toh (value);
}

static inline uint32_t
nbd_get32 (const uint8_t *p)
{
  uint32_t value;

  memcpy (&value, p, sizeof value);
  return be32toh (value);
}

static inline uint64_t
nbd_get64 (const uint8_t *p)
{
  uint64_t value;

  memcpy (&value, p, sizeof value);
  return be64toh (value);
}

static inline void
nbd_put16 (uint8_t *p, uint16_t value)
{
  value = htobe16 (value);
  memcpy (p, &value, sizeof value);
}

static inline void
nbd_put32 (uint8_t *p, uint32_t value)
{
  value = htobe32 (value);
  memcpy (p, &value, sizeof value);
}

static inline void
nbd_put64 (uint8_t *p, uint64_t value)
{
  value = htobe64 (value);
  memcpy (p, &value, sizeof value);
}

#endif /* BLKMQ_SERVER_NBD_H */

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fuzz-transmit.c: a connection to the whole server, over a socketpair: one for
 * each input, from the handshake to its end.
 *
 *     byte 0       handshake (enum handshake) and disk
 *     byte 1       MODE_*, and how long the pieces are that are sent
 *     byte 2       with MODE_NO_MEMORY: the allocation that fails
 *     the rest     raw bytes, or records of RECORD_BYTES, a request each
 *
 * What comes back is well-formed and answers what was asked, once; whoever has
 * sent only what is a request has each of them answered before the end.  But
 * where requests take their time, what was not begun when the client ended its
 * side may be left undone, depending on the clock.
 *
 * This thread is client and server in turn, so that an input does the same each
 * time, and that who waits for something that will never happen is found out at
 * once.
 */

#include <config.h>

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "disks.h"
#include "fuzz.h"
#include "server/internal.h"
#include "server/log.h"
#include "server/nbd.h"

#define MAX_REQUESTS 64
#define RECORD_BYTES 10u
#define MAX_SENT_BYTES (4u << 20)
#define MAX_HEARD_BYTES (32u << 20)
#define MAX_DATA_BYTES                                                         \
  (512u << 10) /* of one write; what is longer ends early */

enum handshake {
  HANDSHAKE_RAW, /* what is sent has none but its own */
  HANDSHAKE_NAME,
  HANDSHAKE_GO,
  HANDSHAKE_STRUCTURED,
  HANDSHAKE_CONTEXT,
  NR_HANDSHAKES
};

#define MODE_PIECES 0x0f /* in pieces of 2^n bytes; 0: all at once */
#define MODE_RAW 0x10    /* raw bytes after the handshake */
#define MODE_GONE 0x20   /* closes when all is sent, and reads nothing */
#define MODE_DEAF 0x40   /* reads nothing before all is sent or stuck */

#define MODE_NO_MEMORY 0x80

/* Of a record's flags; the others are NBD's. */
#define RECORD_ALIGNED 0x80
#define RECORD_RAW                                                             \
  0x40 /* not a request: so many bytes of the input, which the                 \
        * server may understand in its own way */

/* One thing that was asked, whose cookie is its number. */
struct question {
  uint16_t type;
  uint64_t offset_bytes;
  uint32_t bytes;
  uint64_t nr_heard_bytes; /* of a read */
  bool is_refused, is_answered;
};

static struct exports *exports;
static struct server *server;
static struct worker *worker; /* its only one */

static struct {
  bool is_structured;
  bool is_plain; /* nothing but requests was sent */
  bool is_late;  /* its requests take their time */
  bool has_raw;
  bool has_disc;
  unsigned nr_expected; /* requests before a DISC */
  struct question requests[MAX_REQUESTS];
  unsigned nr_requests;
  uint8_t sent[MAX_SENT_BYTES], heard[MAX_HEARD_BYTES];
  size_t nr_sent, nr_heard;
} client;

/* ---- what fails in the server: the linker sends its calls here */

static unsigned fail_memory_at; /* the n-th from now; 0: none */
static bool is_in_server;

static bool
fails (void)
{
  if (!is_in_server || fail_memory_at == 0 || --fail_memory_at > 0)
    return false;
  errno = ENOMEM;
  return true;
}

/* __wrap_NAME and __real_NAME are the linker's names. */
void *__real_malloc (size_t bytes);
void *__wrap_malloc (size_t bytes);
void *__real_calloc (size_t nr, size_t bytes);
void *__wrap_calloc (size_t nr, size_t bytes);
void *__real_realloc (void *p, size_t bytes);
void *__wrap_realloc (void *p, size_t bytes);
void *__real_aligned_alloc (size_t alignment, size_t bytes);
void *__wrap_aligned_alloc (size_t alignment, size_t bytes);

void *
__wrap_malloc (size_t bytes)
{
  return fails () ? NULL : __real_malloc (bytes);
}

void *
__wrap_calloc (size_t nr, size_t bytes)
{
  return fails () ? NULL : __real_calloc (nr, bytes);
}

void *
__wrap_realloc (void *p, size_t bytes)
{
  return fails () ? NULL : __real_realloc (p, bytes);
}

void *
__wrap_aligned_alloc (size_t alignment, size_t bytes)
{
  return fails () ? NULL : __real_aligned_alloc (alignment, bytes);
}

/* ---- the server ---- */

static void
end_server (void)
{
  worker_self = NULL;
  exports_remove (exports);
  server_free (server);
  exports_free (exports);
}

/* Its threads are never started. */
int
LLVMFuzzerInitialize (int *argc, char ***argv)
{
  struct server_options options = { .nr_threads = 1 };
  struct blkmq_error error = { "" };

  log_set_level (LOG_LEVEL_ERROR);
  exports = disks_alloc ();
  options.exports = exports;
  options.limits = server_default_limits;
  options.limits.max_request_bytes = 256u << 10;
  options.limits.max_buffer_bytes = 2u << 20;
  options.limits.handshake_timeout_ms = 0;
  options.limits.stall_timeout_ms = 0;
  require (server_alloc (&options, &server, &error) == 0);
  require (exports_start (exports, &error) == 0);
  worker = worker_self = server->workers[0];
  atexit (end_server);
  return 0;
}

/* Does the engine have anything of it? */
static bool
is_busy (void)
{
  for (unsigned i = 0; i < NR_DISKS; i++)
    if (worker->shares[i].nr_busy > 0)
      return true;
  return false;
}

/* Nothing is due to happen before the client does something: it has done all
 * that it can do if HAS_MOVED is false for a while. */
#define MAX_IDLE_TURNS 8

static unsigned nr_idle;

static void
turn (bool has_moved)
{
  nr_idle = has_moved || is_busy () ? 0 : nr_idle + 1;
  require (nr_idle <= MAX_IDLE_TURNS);
  is_in_server = true;
  worker_turn (worker, !has_moved && is_busy ());
  is_in_server = false;
}

/* ---- what is sent ---- */

static uint8_t *
add (size_t bytes)
{
  uint8_t *p = client.sent + client.nr_sent;

  require (bytes <= sizeof client.sent - client.nr_sent);
  client.nr_sent += bytes;
  return p;
}

static void
add_bytes (const void *bytes, size_t nr)
{
  uint8_t *p = add (nr);

  if (nr > 0)
    memcpy (p, bytes, nr);
}

static uint8_t *
add_option (uint32_t option, size_t bytes)
{
  uint8_t *p = add (16 + bytes);

  nbd_put64 (p, NBD_OPTS_MAGIC);
  nbd_put32 (p + 8, option);
  nbd_put32 (p + 12, (uint32_t)bytes);
  return p + 16;
}

static void
add_handshake (enum handshake handshake, const char *name)
{
  static const char context[] = "base:allocation";
  uint32_t name_bytes = (uint32_t)strlen (name);
  uint32_t context_bytes = sizeof context - 1;
  uint8_t *p;

  nbd_put32 (add (4), NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
  if (handshake == HANDSHAKE_NAME) {
    memcpy (add_option (NBD_OPT_EXPORT_NAME, name_bytes), name, name_bytes);
    return;
  }
  if (handshake >= HANDSHAKE_STRUCTURED)
    add_option (NBD_OPT_STRUCTURED_REPLY, 0);
  if (handshake == HANDSHAKE_CONTEXT) {
    p = add_option (NBD_OPT_SET_META_CONTEXT, 12 + name_bytes + context_bytes);
    nbd_put32 (p, name_bytes);
    memcpy (p + 4, name, name_bytes);
    nbd_put32 (p + 4 + name_bytes, 1);
    nbd_put32 (p + 8 + name_bytes, context_bytes);
    memcpy (p + 12 + name_bytes, context, context_bytes);
  }
  p = add_option (NBD_OPT_GO, 6 + name_bytes);
  nbd_put32 (p, name_bytes);
  memcpy (p + 4, name, name_bytes);
  nbd_put16 (p + 4 + name_bytes, 0);
}

/* False: it is not all there, nothing can follow. */
static bool
add_data (uint32_t bytes)
{
  uint32_t nr = bytes < MAX_DATA_BYTES ? bytes : MAX_DATA_BYTES;

  if (nr > sizeof client.sent - client.nr_sent - NBD_REQUEST_BYTES)
    nr = 0;
  memset (add (nr), (int)client.nr_requests, nr);
  return nr == bytes;
}

/* False: nothing can follow. */
static bool
add_request (const uint8_t record[RECORD_BYTES])
{
  struct question *request = &client.requests[client.nr_requests];
  uint8_t *p = add (NBD_REQUEST_BYTES);

  memset (request, 0, sizeof *request);
  request->type = record[0];
  request->offset_bytes = nbd_get32 (record + 2);
  request->bytes = nbd_get32 (record + 6);
  if (record[1] & RECORD_ALIGNED) {
    request->offset_bytes &= 0x3f000;
    request->bytes = (request->bytes & 0x3f000) + 4096;
  }
  nbd_put32 (p, NBD_REQUEST_MAGIC);
  nbd_put16 (p + 4, record[1] & 0x3f);
  nbd_put16 (p + 6, request->type);
  nbd_put64 (p + 8, client.nr_requests);
  nbd_put64 (p + 16, request->offset_bytes);
  nbd_put32 (p + 24, request->bytes);

  client.nr_requests++;
  if (request->type == NBD_CMD_DISC)
    client.has_disc = true;
  client.nr_expected += !client.has_disc;
  if (request->type != NBD_CMD_WRITE || add_data (request->bytes))
    return true;
  client.is_plain = false; /* it may be refused, or waited for */
  return false;
}

static void
add_records (const uint8_t *input, size_t bytes)
{
  while (bytes >= RECORD_BYTES && client.nr_requests < MAX_REQUESTS
         && client.nr_sent + NBD_REQUEST_BYTES < sizeof client.sent) {
    const uint8_t *record = input;

    input += RECORD_BYTES;
    bytes -= RECORD_BYTES;
    if (record[1] & RECORD_RAW) {
      size_t nr = record[0] < bytes ? record[0] : bytes;

      client.is_plain = false;
      client.has_raw = true;
      if (nr > sizeof client.sent - client.nr_sent)
        return;
      add_bytes (input, nr);
      input += nr;
      bytes -= nr;
    } else if (!add_request (record))
      return;
  }
}

/* ---- what is heard ---- */

struct heard {
  const uint8_t *p;
  size_t left;
};

/* NULL: the connection has ended in here. */
static const uint8_t *
hear (struct heard *heard, size_t nr)
{
  const uint8_t *p = heard->p;

  if (heard->left < nr) {
    require (!client.is_plain);
    heard->left = 0;
    return NULL;
  }
  heard->p += nr;
  heard->left -= nr;
  return p;
}

/* What is still to be answered. */
static struct question *
find_request (uint64_t cookie)
{
  require (cookie < client.nr_requests);
  require (!client.requests[cookie].is_answered);
  return &client.requests[cookie];
}

static void
end_request (struct question *request)
{
  request->is_answered = true;
  if (request->type == NBD_CMD_READ && !request->is_refused)
    require (request->nr_heard_bytes == request->bytes);
}

static bool
hear_simple (struct heard *heard)
{
  const uint8_t *p = hear (heard, NBD_SIMPLE_REPLY_BYTES);
  struct question *request;

  if (p == NULL)
    return false;
  request = find_request (nbd_get64 (p + 8));
  request->is_refused = nbd_get32 (p + 4) != 0;
  if (request->type == NBD_CMD_READ) {
    require (!client.is_structured);
    if (!request->is_refused) {
      if (hear (heard, request->bytes) == NULL)
        return false;
      request->nr_heard_bytes = request->bytes;
    }
  }
  end_request (request);
  return true;
}

static void
check_range (const struct question *request, uint64_t offset_bytes,
             uint64_t bytes)
{
  require (request->type == NBD_CMD_READ);
  require (bytes > 0);
  require (offset_bytes >= request->offset_bytes);
  require (bytes <= request->offset_bytes + request->bytes - offset_bytes);
}

static void
check_chunk (struct question *request, unsigned type, const uint8_t *p,
             uint32_t bytes)
{
  switch (type) {
  case NBD_REPLY_TYPE_NONE:
    require (bytes == 0);
    break;
  case NBD_REPLY_TYPE_OFFSET_DATA:
    require (bytes > 8);
    check_range (request, nbd_get64 (p), bytes - 8);
    request->nr_heard_bytes += bytes - 8;
    break;
  case NBD_REPLY_TYPE_OFFSET_HOLE:
    require (bytes == 12);
    check_range (request, nbd_get64 (p), nbd_get32 (p + 8));
    request->nr_heard_bytes += nbd_get32 (p + 8);
    break;
  case NBD_REPLY_TYPE_BLOCK_STATUS:
    require (request->type == NBD_CMD_BLOCK_STATUS);
    require (bytes >= 12 && bytes % 8 == 4);
    for (uint32_t i = 4; i < bytes; i += 8)
      require (nbd_get32 (p + i) > 0 && nbd_get32 (p + i + 4) < 4);
    break;
  case NBD_REPLY_TYPE_ERROR:
  case NBD_REPLY_TYPE_ERROR_OFFSET:
    require (bytes >= 6 && nbd_get32 (p) != 0);
    require (nbd_get16 (p + 4) + 6u <= bytes);
    request->is_refused = true;
    break;
  default:
    require (!"a type of chunk that there is");
  }
}

static bool
hear_chunk (struct heard *heard)
{
  const uint8_t *head = hear (heard, NBD_CHUNK_BYTES), *p;
  struct question *request;

  if (head == NULL)
    return false;
  require (client.is_structured);
  request = find_request (nbd_get64 (head + 8));
  p = hear (heard, nbd_get32 (head + 16));
  if (p == NULL)
    return false;
  check_chunk (request, nbd_get16 (head + 6), p, nbd_get32 (head + 16));
  if (nbd_get16 (head + 4) & NBD_REPLY_FLAG_DONE)
    end_request (request);
  return true;
}

/* What the handshake was answered; it is fuzzed elsewhere. */
static bool
hear_handshake (struct heard *heard, enum handshake handshake)
{
  const uint8_t *p = hear (heard, 18);

  if (p == NULL || handshake == HANDSHAKE_NAME)
    return p != NULL && hear (heard, 10) != NULL;
  for (;;) {
    p = hear (heard, 20);
    if (p == NULL || hear (heard, nbd_get32 (p + 16)) == NULL)
      return false;
    if (nbd_get32 (p + 8) == NBD_OPT_GO && nbd_get32 (p + 12) == NBD_REP_ACK)
      return true;
  }
}

static void
check_heard (enum handshake handshake)
{
  struct heard heard = { client.heard, client.nr_heard };

  if (!hear_handshake (&heard, handshake))
    return;
  while (heard.left >= 4) {
    uint32_t magic = nbd_get32 (heard.p);

    require (magic == NBD_SIMPLE_REPLY_MAGIC
             || magic == NBD_STRUCTURED_REPLY_MAGIC);
    if (!(magic == NBD_SIMPLE_REPLY_MAGIC ? hear_simple (&heard)
                                          : hear_chunk (&heard)))
      return;
  }
  if (!client.is_plain)
    return;
  require (heard.left == 0);
  for (unsigned i = 0; i < client.nr_requests; i++)
    require (client.requests[i].is_answered == (i < client.nr_expected)
             || (client.is_late && !client.requests[i].is_answered));
}

/* ---- the connection ---- */

#define MAX_PIECES 256u

struct talk {
  int fd;
  size_t nr_sent, piece_bytes;
  bool sends, is_deaf, is_over;
};

/* True if it moves. */
static bool
send_some (struct talk *talk)
{
  size_t nr = client.nr_sent - talk->nr_sent;
  ssize_t r;

  if (nr > talk->piece_bytes)
    nr = talk->piece_bytes;
  r = send (talk->fd, client.sent + talk->nr_sent, nr,
            MSG_NOSIGNAL | MSG_DONTWAIT);
  if (r < 0 && errno != EAGAIN)
    talk->sends = false; /* what was answered is still to be heard */
  if (r > 0)
    talk->nr_sent += (size_t)r;
  return r > 0;
}

static bool
hear_some (struct talk *talk)
{
  ssize_t r = recv (talk->fd, client.heard + client.nr_heard,
                    sizeof client.heard - client.nr_heard, MSG_DONTWAIT);

  if (r > 0)
    client.nr_heard += (size_t)r;
  require (client.nr_heard < sizeof client.heard);
  if (r == 0 || (r < 0 && errno != EAGAIN))
    talk->is_over = true;
  return r != -1 || errno != EAGAIN;
}

/* Until the server closes, or it is our turn to. */
static void
talk_to_server (int fd, unsigned mode)
{
  struct talk talk = { .fd = fd, .sends = true };

  talk.piece_bytes
      = mode & MODE_PIECES ? (size_t)1 << (mode & MODE_PIECES) : SIZE_MAX;
  /* Not for ever, if there is much to be sent. */
  if (talk.piece_bytes < client.nr_sent / MAX_PIECES)
    talk.piece_bytes = client.nr_sent / MAX_PIECES;
  talk.is_deaf = (mode & (MODE_DEAF | MODE_GONE)) != 0;
  for (;;) {
    bool has_moved = false;

    if (talk.sends && talk.nr_sent < client.nr_sent)
      has_moved = send_some (&talk);
    /* Who does not listen gets stuck when the server has to stop reading. */
    if (!has_moved || !talk.sends) {
      if (mode & MODE_GONE)
        return;
      has_moved |= talk.is_deaf;
      talk.is_deaf = false;
    }
    if (talk.sends && talk.nr_sent == client.nr_sent) {
      shutdown (fd, SHUT_WR);
      talk.sends = talk.is_deaf = false;
      has_moved = true;
    }
    if (!talk.is_deaf)
      has_moved |= hear_some (&talk);
    if (talk.is_over)
      return;
    turn (has_moved);
  }
}

/* A connection takes with it all that it had. */
static void
check_nothing_is_left (void)
{
  while (server_nr_connections (server) > 0)
    turn (false);
  require (worker->buffers.used_bytes == 0);
  require (TAILQ_EMPTY (&worker->waiting) && !worker->buffers.has_queue);
  require (TAILQ_EMPTY (&worker->ready) && worker->nr_polled == 0);
  require (!is_busy ());
}

static void
connect_and_talk (unsigned mode)
{
  int fds[2];

  require (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
  nr_idle = 0;
  is_in_server = true;
  server_add_connection (server, fds[0], "fuzzer");
  is_in_server = false;
  talk_to_server (fds[1], mode);
  close (fds[1]);
  check_nothing_is_left ();
}

int
LLVMFuzzerTestOneInput (const uint8_t *input, size_t bytes)
{
  enum handshake handshake;
  const char *disk;
  unsigned mode;

  if (bytes < 2)
    return 0;
  handshake = (enum handshake) (input[0] % NR_HANDSHAKES);
  disk = disk_names[input[0] / NR_HANDSHAKES % NR_DISKS];
  mode = input[1];
  client.nr_sent = client.nr_heard = 0;
  client.nr_requests = client.nr_expected = 0;
  client.is_structured = handshake >= HANDSHAKE_STRUCTURED;
  client.is_plain = client.has_disc = client.has_raw = false;
  client.is_late = strcmp (disk, "late") == 0;
  input += 2;
  bytes -= 2;
  if (bytes > MAX_SENT_BYTES / 2)
    bytes = MAX_SENT_BYTES / 2;
  if ((mode & MODE_NO_MEMORY) && bytes > 0) {
    fail_memory_at = *input++;
    bytes--;
  }

  if (handshake != HANDSHAKE_RAW)
    add_handshake (handshake, disk);
  if (handshake == HANDSHAKE_RAW || (mode & MODE_RAW))
    add_bytes (input, bytes);
  else {
    client.is_plain = !(mode & (MODE_GONE | MODE_NO_MEMORY));
    add_records (input, bytes);
  }
  connect_and_talk (mode);
  fail_memory_at = 0;
  if (handshake != HANDSHAKE_RAW && !(mode & (MODE_RAW | MODE_GONE))
      && !client.has_raw)
    check_heard (handshake);
  return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * internal.h: what the files of the native server share, by the file that owns
 * it.
 *
 *     server.c      threads as a whole, limits, drain          any thread
 *     worker.c      one thread: loop, mail, clock
 *     spin.c        how it waits
 *     connection.c  one client: its life, who waits for whom   its worker
 *     limits.c      how long it may take                       its worker
 *     handshake.c   until it has chosen an export              its worker
 *     input.c       bytes that have come                       its worker
 *     check.c       requests that may not be                   its worker
 *     transmit.c    requests, taken and submitted              its worker
 *     reply.c       answers                                    its worker
 *     sparse.c      holes: block status, reads                 its worker
 *     output.c      bytes to be sent                           its worker
 *     transport.[ch] how they come and go, TLS                 its worker
 *
 * A connection lives on one worker's thread; only what the engine calls
 * (command_end_io, command_give_back) runs on any thread, and goes there by
 * mail if it is another one.  No locks but the worker's for new connections.
 */

#ifndef BLKMQ_SERVER_INTERNAL_H
#define BLKMQ_SERVER_INTERNAL_H

#include <ev.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/uio.h>

#include "blkmq.h"
#include "front/exports.h"
#include "server/buffer.h"
#include "server/log.h"
#include "server/negotiate.h"
#include "server/server.h"
#include "server/tls.h"

struct connection;
struct worker;

/* ---- server.c ---- */

struct server {
  struct exports *exports;
  struct server_limits limits;
  uint64_t busy_poll_ns;
  enum negotiation_tls tls;
  const struct access *access;
  pthread_mutex_t tls_lock;
  struct tls_credentials *tls_credentials; /* under tls_lock; may be NULL */
  struct worker **workers;
  unsigned nr_workers;
  unsigned nr_started;
  _Atomic unsigned nr_connections; /* until their memory is freed */
  _Atomic bool is_draining;
  unsigned next_worker; /* the thread that adds connections */
  void (*drained) (void *opaque);
  void *drained_opaque;
  void (*idle) (void *opaque);
  void *idle_opaque;
};

/* Any thread.  With a reference; NULL: there are none. */
struct tls_credentials *server_get_tls (struct server *server);

/* A connection's memory is free. */
void server_connection_is_gone (struct server *server);

/* ---- worker.c ---- */

/* Of one disk, on one thread. */
struct share {
  unsigned depth;   /* of its hctx */
  unsigned nr_busy; /* connections that have something in flight */
};

TAILQ_HEAD (connections, connection);

struct worker {
  struct server *server;
  unsigned index;
  pthread_t thread;
  struct ev_loop *loop;
  struct share *shares; /* one for each export */
  unsigned next_hctx;   /* of the next connection, among those of the thread */

  struct connections connections;
  struct connections ready;   /* those that have something to do now */
  struct connections waiting; /* for buffers, in order */
  struct connections polled;  /* those that have something in flight that ends
                               * only when somebody polls */
  unsigned nr_polled;
  bool serves_waiting;
  struct buffer_pool buffers;
  struct command *free_commands;
  struct slab *slabs;
  struct tls_scratch *tls_scratch; /* from the first connection under TLS on */

  /* From other threads. */
  ev_async wake;
  struct command *_Atomic mail; /* the last sent first */
  pthread_mutex_t lock;
  struct newcomer *newcomers; /* under lock */
  _Atomic bool must_drain, must_abort, must_cut_off, must_stop, must_answer;
  _Atomic unsigned nr_connections; /* newcomers included */

  ev_timer tick; /* looks at limits in time and frees memory; runs while there
                  * is anything of that kind */
  bool is_draining;

  /* spin.c's */
  uint64_t spin_until_ns; /* 0: no spin */
  uint64_t turned_ns;     /* the loop, last */
  unsigned spin_skip, spin_backoff;
  bool had_traffic;
};

/* The worker whose thread this is, or NULL. */
extern _Thread_local struct worker *worker_self;

struct worker *worker_alloc (struct server *server, unsigned index);
int worker_start (struct worker *worker);
void worker_stop (struct worker *worker); /* joins */
/* The disks were removed: takes the mail that came after the end. */
void worker_free (struct worker *worker);

/* Once round its loop.  Its thread does nothing else. */
void worker_turn (struct worker *worker, bool may_sleep);

/* Any thread. */
int worker_add_connection (struct worker *worker, int fd, const char *name);
void worker_wake (struct worker *worker);
void worker_send (struct command *command);

/* CONNECTION has something to do: connection_run is called before the loop
 * sleeps. */
void worker_make_ready (struct connection *connection);

/* CONNECTION is run again when buffers have come back. */
void worker_wait_for_buffers (struct connection *connection);

void worker_want_tick (struct worker *worker);

struct command *worker_command_alloc (struct worker *worker); /* or NULL */
void worker_command_free (struct worker *worker, struct command *command);

/* ---- spin.c ---- */

/* Turn the loop once; it sleeps if it MAY_SLEEP and nothing is expected soon.
 */
void spin_or_sleep (struct worker *worker, bool may_sleep);

/* ---- connection.c ---- */

/* A stretch of bytes to be sent; holds one reference to the buffer. */
struct out {
  uint8_t *base;
  uint32_t bytes;
  struct buffer *buffer;
};

enum connection_phase {
  PHASE_NEGOTIATION,
  PHASE_TRANSMISSION,
  PHASE_FAREWELL,  /* nothing more is read; closes when all is answered */
  PHASE_LINGERING, /* all was answered, the client was told of the end; what it
                    * still sends is thrown away until it goes as well, or for
                    * a moment */
  PHASE_CLOSED,    /* memory is kept for what the engine has not given back */
};

struct connection {
  TAILQ_ENTRY (connection) link, ready_link, waiting_link, polled_link;
  struct worker *worker;
  ev_io io; /* reading and writing */
  enum connection_phase phase;
  bool is_ready, is_waiting; /* on the worker's lists */
  bool is_running;           /* connection_run is under way */
  bool is_eof;               /* the client sends nothing more, or nothing more
                              * is read */
  bool must_linger;          /* the server ends, and not the client */
  bool must_refuse;          /* and it has waited long enough */

  struct negotiation *negotiation; /* until transmission */
  struct tls_session *tls;         /* or NULL: without */

  const struct export *export;
  const struct blkmq_limits *limits;
  struct blkmq_submitter *submitter;
  struct share *share;
  uint32_t io_flags; /* of each io */
  bool structured_replies;
  bool context_allocation;

  /* Received and not yet taken: [in_start, in_end) of IN. */
  struct buffer *in;
  uint32_t in_start, in_end;
  uint32_t in_wanted_bytes; /* the first request is so long, head included */
  uint32_t in_size_bytes;   /* of the next buffer: grows with what comes */
  uint64_t discard_bytes;   /* data of a refused write, still to come */

  /* Where answers are made, and those to be sent. */
  struct buffer *reply;
  uint32_t reply_end, reply_size_bytes;
  struct out *outs; /* a ring; a power of two */
  uint32_t outs_room, first_out, nr_outs;
  uint64_t out_bytes;

  unsigned nr_commands;        /* that the engine has not given back */
  ev_tstamp opened_s, moved_s; /* moved: sent or received */
  ev_tstamp sent_s;            /* or found that the socket is full */
  char name[];
};

/* Both take FD.  NULL: no memory; FD is closed. */
struct connection *connection_open (struct worker *worker, int fd,
                                    const char *name);

/* Do all that can be done now: take requests, submit, send; then wait for what
 * is missing.  May free CONNECTION. */
void connection_run (struct connection *connection);

/* The same, first taking input for which there were no buffers. */
void connection_resume (struct connection *connection);

/* Waits for nothing but its client's next request? */
bool connection_is_at_rest (const struct connection *connection);

/* Has the client sent something?  Then serve it.  Only at rest; may free
 * CONNECTION. */
void connection_poll (struct connection *connection);

/* Read no more, answer what was read, let the client take its leave, close. */
void connection_say_farewell (struct connection *connection);

/* Abort what is in flight, and refuse what was read and is not; all with an
 * answer. */
void connection_abort (struct connection *connection);

/* At once, with a line in the log.  CONNECTION is freed by
 * connection_run, when the engine has given back all. */
void connection_close (struct connection *connection, enum log_level level,
                       const char *format, ...)
    __attribute__ ((format (printf, 3, 4)));

/* A command of it begins, and is over. */
void connection_get_command (struct connection *connection);
void connection_put_command (struct connection *connection);

/* ---- limits.c ---- */

/* Is it against a limit in time? Closes it then.  False if there is no limit
 * that it could run into. */
bool connection_check_time (struct connection *connection, ev_tstamp now_s);

/* Frees what it does not need when nothing moves. */
void connection_trim (struct connection *connection, ev_tstamp now_s);

/* ---- handshake.c ---- */

/* Take what the client sends.  May close. */
void handshake_receive (struct connection *connection);

/* Send what there is to say, and go on to transmission if all was said.  May
 * close. */
void handshake_run (struct connection *connection);

void handshake_end (struct connection *connection);

/* ---- input.c ---- */

/* What has come, as far as there is room for it.  May close. */
void input_receive (struct connection *connection);

/* NR is what transport_recv has returned.  True if it has brought something;
 * else the connection may be closed. */
bool input_has_come (struct connection *connection, ssize_t nr);

/* Has the client closed the socket, or is it dead? */
bool input_is_cut (const struct connection *connection);

/* Will it send nothing more than what has come already? */
bool input_has_ended (const struct connection *connection);

/* The client sends nothing more, and has not said farewell.  If it has closed
 * the socket altogether there is nobody to answer to.  Otherwise, over TCP, it
 * looks the same as one that has said its last word and waits for the answers:
 * those are sent.  But what it has asked for is aborted, as far as it is not
 * done: the kernel's client ends a connection like that, and sends a write that
 * hangs again on another one; the first one must not be done after it.  May
 * close. */
void input_abandon (struct connection *connection);

/* To a small buffer, if that is enough. */
void input_shrink (struct connection *connection);

/* ---- output.c ---- */

/* BYTES at BASE are to be sent; takes a reference of its own to BUFFER.  False:
 * no memory, and the connection is closed. */
bool output_add (struct connection *connection, uint8_t *base, uint32_t bytes,
                 struct buffer *buffer);

/* Send all that the socket takes.  Closes if the client is gone. */
void output_send (struct connection *connection);

void output_drop (struct connection *connection);

/* ---- check.c ---- */

struct request {
  uint16_t flags, type;
  uint64_t cookie, offset_bytes;
  uint32_t bytes;
};

#define NR_TEXT_BYTES 128

/* NBD's error, and in TEXT why; 0 if all is well. */
uint32_t request_check (const struct connection *connection,
                        const struct request *request,
                        char text[NR_TEXT_BYTES]);

bool request_has_data (const struct request *request);

/* ---- transmit.c ---- */

/* One request on its way. */
struct command {
  struct blkmq_io io;
  struct iovec segment;
  struct connection *connection;
  struct command *next; /* free, or in the mail */
  struct buffer *data;  /* what the engine reads or writes, or NULL */
  uint8_t *reply;       /* room for the head of the answer, and for a read the
                         * data right behind it */
  struct buffer *reply_buffer;
  uint64_t cookie, offset_bytes;
  uint32_t bytes;
  uint16_t type, flags;
  uint8_t status; /* enum blkmq_status, once it was ended */
  bool is_ended, is_given_back;
  _Atomic uint32_t mail; /* MAIL_* */
};

#define COMMANDS_A_SLAB 32u

/* Memory for some, until the worker is freed. */
struct slab {
  struct slab *next;
  struct command commands[COMMANDS_A_SLAB];
};

#define MAIL_ENDED (1u << 0)
#define MAIL_GIVEN_BACK (1u << 1)
#define MAIL_SENT (1u << 2) /* it is in the worker's mail */

/* Take requests from the input, as many as may be, and submit them.  False if
 * there was none to take; the connection may be closed by then. */
bool transmit (struct connection *connection);

/* Is there a request that could be taken if only there were tags, room... */
bool transmit_has_request (const struct connection *connection);

/* By mail. */
void command_was_mailed (struct command *command, uint32_t mail);

/* ---- reply.c ---- */

#define SERVER_ENDS "the server ends"

/* Room for BYTES of an answer, with a reference to its buffer.  NULL as
 * buffer_alloc. */
uint8_t *reply_reserve (struct connection *connection, uint32_t bytes,
                        struct buffer **buffer);

/* Room at the head of an answer to a read. */
uint32_t reply_head_bytes (const struct connection *connection, uint16_t type);

/* Answer COMMAND, whose status is known. */
void reply_to_command (struct command *command);

/* Answer a request that never became a command: ERROR is NBD's. */
void reply_error (struct connection *connection, uint64_t cookie,
                  uint32_t error, const char *text);

/* The head of a chunk whose payload has BYTES. */
void reply_put_chunk (uint8_t *p, uint64_t cookie, unsigned flags,
                      unsigned type, uint32_t bytes);

/* ---- sparse.c ---- */

/* Answer with the extents of a range. */
void reply_block_status (struct connection *connection, uint64_t cookie,
                         uint64_t offset_bytes, uint32_t bytes, bool only_one);

/* Answer a read of which parts may be holes.  False: it has none, nothing was
 * sent. */
bool reply_sparse_read (struct command *command);

#endif /* BLKMQ_SERVER_INTERNAL_H */

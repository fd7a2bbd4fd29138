/* SPDX-License-Identifier: BSD-3-Clause
 *
 * internal.h: what the files of the control server share.
 *
 * The server's thread has the loop, the clients and their requests.  A request
 * that may block is lent to the worker thread of its export, which is one to
 * each export that ever needed one, and comes back by the list of those done.
 * So a disk that hangs holds up nobody who does not want to change that disk.
 *
 * Locks, in the order in which they may be taken: export.lock, control.lock.
 * No call of libblkmq is made under either.
 */

#ifndef BLKMQ_CTL_INTERNAL_H
#define BLKMQ_CTL_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <ev.h>
#include <jansson.h>

#include "blkmq-control.h"
#include "ctl/control.h"
#include "front/unix-socket.h"

#define PROTOCOL_VERSION 1

/* Of one request, with its newline. */
#define MAX_LINE_BYTES 65536u
#define MAX_CLIENTS 32u

/* The most that one answer lists. */
#define MAX_INFLIGHT 10000u
#define MAX_BUCKETS 65536u

struct call;

/* ---- server.c ---- */

struct control {
  struct unix_socket socket;
  double stall_s, silent_s;
  struct export *exports;
  size_t nr_exports;

  pthread_t thread;
  bool is_open, is_running; /* those who start and stop */
  _Atomic bool quit;
  int wakefd; /* an eventfd; libev aborts when it cannot have its own */

  /* The server's thread. */
  struct ev_loop *loop;
  ev_io accepting;
  ev_timer accept_again;
  ev_io wake;
  struct client *clients; /* the oldest first */
  unsigned nr_clients;

  pthread_mutex_t lock;
  struct call *done; /* lock: what the workers have done, the latest first */
};

/* ---- client.c: lines in, lines out ---- */

struct client {
  struct control *control;
  struct client *next, **link;
  int fd;
  ev_io readable, writable;
  ev_timer next_turn; /* there is a whole line, and others had their turn */
  ev_timer stall;
  double active_s; /* when it last asked, by the loop's clock */
  bool has_asked;
  bool is_eof;     /* it will send no more */
  bool is_closing; /* once what there is to say was said */

  struct call *call; /* under way, or NULL */

  char *out; /* what is to be sent: from OUT_START to OUT_END */
  size_t out_start, out_end, out_room;

  /* What was received and not looked at: from IN_START to IN_END.  There is no
   * newline before IN_SCAN. */
  size_t in_start, in_scan, in_end;
  char in[MAX_LINE_BYTES];
};

/* Takes FD, in any case. */
void client_open (struct control *control, int fd);
void client_close (struct client *client);
/* Nobody is there any more to read answers. */
bool client_is_gone (const struct client *client);
bool client_is_idle (const struct client *client);
/* The answer of client->call, which is free now. */
void client_answer (struct client *client, struct call *call);

/* ---- worker.c ---- */

struct export
{
  const struct control_export *front;
  struct control *control;

  pthread_mutex_t lock;
  pthread_cond_t changed;
  struct call *first, **last; /* lock: not begun */
  bool is_stopping;           /* lock */
  unsigned nr_freezes;        /* lock: that clients asked for */
  bool has_thread;            /* the server's thread; later who frees */
  pthread_t thread;
};

void export_init (struct export *export, struct control *control,
                  const struct control_export *front);
/* Begin no more calls, and undo the freezes. */
void export_stop (struct export *export);
/* Wait for the last one. */
void export_exit (struct export *export);

/* Lend CALL to the worker; -errno if there cannot be one. */
int export_queue (struct export *export, struct call *call);
/* Take CALL back, if it was not begun yet. */
bool export_unqueue (struct export *export, struct call *call);

/* Freezes of clients.  -EINVAL: there is none to undo. */
int export_freeze (struct export *export, blkmq_handle *held, unsigned max);
int export_unfreeze (struct export *export);
unsigned export_nr_freezes (struct export *export);

/* Any thread: the server's thread will answer CALL. */
void control_done (struct control *control, struct call *call);

/* Start a thread that takes no signals. */
int start_thread (pthread_t *thread, const char *name, void *(*fn) (void *),
                  void *opaque);

/* ---- call.c: a request and its answer ---- */

/* A request whose member names and types were checked. */
struct call {
  struct call *next;     /* whoever has the call */
  struct client *client; /* NULL: gone; the server's thread */
  struct control *control;
  struct export *export; /* NULL: the command is about none */
  const struct command *command;
  json_t *request; /* NULL: it could not be read */
  json_t *result;
  int error; /* 0 or a positive errno, with MESSAGE */
  struct blkmq_error message;
};

/* NULL: no memory. */
struct call *call_alloc (struct client *client);
void call_free (struct call *call);

/* Read LINE and check it.  False: there is an error to answer. */
bool call_parse (struct call *call, const char *line, size_t line_bytes);

void call_run (struct call *call);

/* The answer, with a newline; free it.  NULL: no memory. */
char *call_answer (struct call *call, size_t *bytes);

/* Fail with ERROR (positive); returns -ERROR. */
int call_fail (struct call *call, int error, const char *format, ...)
    __attribute__ ((format (printf, 3, 4)));

/* RESULT, which is the call's from now on, if all went well; else -ENOMEM. */
int call_give (struct call *call, json_t *result, bool ok);

static inline struct blkmq_disk *
call_disk (const struct call *call)
{
  return call->export->front->disk;
}

void set_error (struct blkmq_error *error, const char *format, ...)
    __attribute__ ((format (printf, 2, 3)));

/* ---- command.c: the table ---- */

enum member_type {
  MEMBER_BOOL,
  MEMBER_NUMBER, /* 1 to 2^63 - 1, or as the command says */
  MEMBER_STRING,
  MEMBER_STRINGS, /* an array of them */
  MEMBER_SETTINGS /* an array of {"key":string,"value":string} */
};

struct member {
  const char *name;
  enum member_type type;
  bool required;
  uint64_t max; /* of a number */
};

#define MAX_MEMBERS 2

struct command {
  const char *name;
  /* 0, or a negative errno with call->message. */
  int (*run) (struct call *call);
  bool has_export; /* takes "export" */
  bool blocks;     /* belongs on a worker */
  struct member members[MAX_MEMBERS];
};

extern const struct command commands[];
extern const size_t nr_commands;

/* show.c */
int command_exports (struct call *call);
int command_show (struct call *call);
int command_get (struct call *call);

/* change.c */
int command_set (struct call *call);
int command_reset_stats (struct call *call);
int command_freeze (struct call *call);
int command_unfreeze (struct call *call);

/* fault.c */
int command_fault_add (struct call *call);
int command_fault_delete (struct call *call);
int command_fault_list (struct call *call);
int command_power (struct call *call);

/* stats.c */
int command_stats (struct call *call);
int command_inflight (struct call *call);

/* ---- json.c: what jansson does not have ---- */

/* TEXT as JSON; bytes that are not UTF-8 become '?'.  NULL gives null. */
json_t *json_text (const char *text);
/* A number that JSON's readers can have: at most 2^63 - 1. */
json_t *json_count (uint64_t n);
json_t *json_handle (blkmq_handle handle);

/* Add to an object or array, and own VALUE in any case.  *OK becomes false when
 * VALUE is NULL or there is no memory. */
void put (bool *ok, json_t *object, const char *name, json_t *value);
void append (bool *ok, json_t *array, json_t *value);

#endif /* BLKMQ_CTL_INTERNAL_H */

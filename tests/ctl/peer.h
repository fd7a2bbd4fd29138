/* SPDX-License-Identifier: BSD-3-Clause
 *
 * peer.h: a control server over the harness' disks, and the other end of its
 * socket, well-behaved or not.
 */

#ifndef BLKMQ_TESTS_CTL_PEER_H
#define BLKMQ_TESTS_CTL_PEER_H

#include <jansson.h>

#include "../unit/harness.h"
#include "ctl/control.h"

/* ---- the server ---- */

#define MAX_BEDS 2

struct server {
  char dir[64]; /* its own, under /tmp: the path of a socket is short */
  char path[96];
  struct bed *beds[MAX_BEDS];
  struct control_export exports[MAX_BEDS];
  size_t nr_beds;
  unsigned silent_ms; /* as in struct control_options */
  struct control *control;
};

/* Disks with threads and the scripted driver, which completes at once unless
 * the script says otherwise; named "" and "second".  Set the scripts between
 * alloc and open.  STALL_MS as in struct control_options. */
struct server *server_alloc (size_t nr_beds);
void server_open (struct server *server, const char *keys, unsigned stall_ms);
/* alloc and open: one disk. */
struct server *server_start (const char *keys);
/* Stop, remove the disks and see that nothing is left. */
void server_stop (struct server *server);

/* control_open and control_start at PATH over SERVER's disks. */
struct control *server_listen (struct server *server, const char *path,
                               unsigned stall_ms, struct blkmq_error *error);

/* ---- the client ---- */

struct peer {
  int fd;
  char *in;
  size_t in_end, in_room;
};

/* Without looking at the greeting. */
struct peer *peer_connect (struct server *server);
/* And with. */
struct peer *peer_open (struct server *server);
void peer_close (struct peer *peer);

/* False: the server has closed the connection. */
bool peer_send (struct peer *peer, const char *bytes, size_t nr);
bool peer_say (struct peer *peer, const char *text);

/* The next line, to be freed; NULL: the server has closed the connection. */
char *peer_line (struct peer *peer);
/* The next line as an object. */
json_t *peer_answer (struct peer *peer);
#define assert_closed(peer)                                                    \
  do {                                                                         \
    char *line_ = peer_line (peer);                                            \
    ck_assert_ptr_null (line_);                                                \
  } while (0)

/* Say TEXT and a newline; the result of the answer, which must be good. */
json_t *peer_ask (struct peer *peer, const char *text);
/* The same for a command without arguments, when the answer does not matter. */
void peer_do (struct peer *peer, const char *command);

/* Say TEXT and a newline; the answer must be an error of this name, whose
 * message has PART. */
void peer_is_refused (struct peer *peer, const char *text, const char *name,
                      const char *part);
/* The next answer is such an error. */
void peer_gets_error (struct peer *peer, const char *name, const char *part);

/* A member of a member ...: "total.ios.read". */
json_t *json_at (json_t *value, const char *path);
json_int_t number_at (json_t *value, const char *path);
const char *text_at (json_t *value, const char *path);

#endif /* BLKMQ_TESTS_CTL_PEER_H */

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * rig.h: what the tests of the native server share: a server in this process,
 * whose log, memory and descriptors can be looked at, and clients that speak to
 * it over sockets, byte by byte.
 *
 * The test's thread is the one that the server's own functions are for.  A
 * client belongs to one thread; its sockets block.
 */

#ifndef BLKMQ_TESTS_RIG_H
#define BLKMQ_TESTS_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../unit/harness.h"
#include "front/exports.h"
#include "server/nbd.h"
#include "server/server.h"
#include "server/tls.h"

/* ---- the server ---- */

struct rig {
  struct server_options options; /* two threads; the test may change them */
  struct exports *exports;
  struct server *server;
  struct tls_credentials *tls; /* until it is started */
  unsigned nr_fds, nr_clients;
  _Atomic unsigned nr_drained; /* calls */
};

void rig_init (struct rig *rig);

/* What its clients are shown under TLS: before rig_start, and again at any
 * time. options.tls is the test's. */
void rig_load_tls (struct rig *rig, const struct tls_files *files);

/* KEYS: "size=1M irqmode=timer". */
void rig_start (struct rig *rig, const char *keys);

/* Drain, wait for it, stop, and see that nothing is left: no descriptor, no
 * command, no request in the engine. */
void rig_end (struct rig *rig);

/* The same for a test that has drained, or does not want to. */
void rig_stop (struct rig *rig);

void rig_drain (struct rig *rig);

/* The first. */
struct blkmq_disk *rig_disk (const struct rig *rig);

/* A rule of faults, by its id.  rig_nr_held: requests that hang of it. */
uint64_t rig_add_fault (struct rig *rig, const char *rule);
void rig_delete_fault (struct rig *rig, uint64_t id);
uint64_t rig_nr_held (struct rig *rig, uint64_t id);

/* Nothing is in the engine, and no connection but NR is left. */
void rig_await_idle (struct rig *rig, unsigned nr);

/* Requests that the engine has, of all disks, those that wait for a tag
 * included. */
unsigned rig_nr_in_engine (struct rig *rig);

unsigned nr_open_fds (void);

/* How many lines were logged that have PART. */
unsigned nr_logged (const char *part);

/* ---- clients ---- */

enum {
  CLIENT_STRUCTURED = 1 << 0,
  CLIENT_CONTEXT = 1 << 1, /* base:allocation; structured as well */
  CLIENT_TCP = 1 << 2,
};

struct client {
  int fd;
  bool structured;
  uint64_t size_bytes;
  uint16_t transmission_flags;
  uint8_t *data; /* of the latest answer */
  size_t data_room;
};

/* Only connected. */
int rig_connect (struct rig *rig);
int rig_connect_tcp (struct rig *rig);

/* What a client of those features says until transmission. */
size_t put_handshake (uint8_t *p, unsigned features);
size_t put_handshake_to (uint8_t *p, unsigned features, const char *name);

/* In transmission. */
void client_open (struct client *client, struct rig *rig, unsigned features);

void client_open_export (struct client *client, struct rig *rig,
                         unsigned features, const char *name);

/* Takes FD, which is connected. */
void client_begin (struct client *client, int fd, unsigned features);

void client_close (struct client *client);

/* All of it; the other side may be gone. */
bool send_all (int fd, const void *bytes, size_t nr);
void client_send (struct client *client, const void *bytes, size_t nr);

/* The server has received all that was sent; not over TCP. */
void client_await_received (const struct client *client);

/* False: the server has closed. */
bool client_receive (struct client *client, void *bytes, size_t nr);
bool client_is_closed (struct client *client);

void put_request (uint8_t *p, unsigned type, unsigned flags, uint64_t cookie,
                  uint64_t offset_bytes, uint32_t bytes);
void client_ask (struct client *client, unsigned type, unsigned flags,
                 uint64_t cookie, uint64_t offset_bytes, uint32_t bytes);
void client_write (struct client *client, unsigned flags, uint64_t cookie,
                   uint64_t offset_bytes, const void *data, uint32_t bytes);

/* A simple answer to a read does not say how long it is: the cookie does. */
#define READ_COOKIE(bytes, n) ((uint64_t)(bytes) << 32 | (n))

#define MAX_ANSWER_EXTENTS 4096
#define MAX_ANSWER_PIECES 64

struct answer {
  uint64_t cookie;
  uint32_t error;
  char text[256];
  const uint8_t *data; /* of a read: the client's, until the next answer */
  uint32_t bytes;
  unsigned nr_chunks, nr_data_chunks, nr_holes;
  struct {
    uint64_t offset_bytes;
    uint32_t bytes;
    bool is_hole;
  } pieces[MAX_ANSWER_PIECES]; /* the chunks of a read, where there are any */
  unsigned nr_pieces;
  unsigned nr_extents;
  struct {
    uint32_t bytes, type;
  } extents[MAX_ANSWER_EXTENTS];
};

/* The next one; all of its chunks.  False: the server has closed. */
bool client_try_answer (struct client *client, struct answer *answer);
void client_answer (struct client *client, struct answer *answer);

/* The next answer is that to COOKIE, and has this error. */
void client_expect (struct client *client, uint64_t cookie, uint32_t error);

/* Asks, and expects. */
void client_do (struct client *client, unsigned type, unsigned flags,
                uint64_t offset_bytes, uint32_t bytes, uint32_t error);
void client_do_write (struct client *client, uint64_t offset_bytes,
                      const void *data, uint32_t bytes, uint32_t error);
void client_check (struct client *client, uint64_t offset_bytes,
                   const void *data, uint32_t bytes);

#endif /* BLKMQ_TESTS_RIG_H */

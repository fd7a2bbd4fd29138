/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tls-client.h: a client under TLS whose bytes go where its test wants them:
 * all at once, one by one, a part of them only.  The server has one user, whose
 * key both know.
 *
 * A client belongs to one thread; its socket blocks.
 */

#ifndef BLKMQ_TESTS_TLS_CLIENT_H
#define BLKMQ_TESTS_TLS_CLIENT_H

#include <gnutls/gnutls.h>

#include "rig.h"

#define TLS_USER "alice"

struct tls_client {
  int fd;
  gnutls_session_t session;
  gnutls_psk_client_credentials_t credentials;

  /* How it sends. */
  bool one_by_one; /* and waits for each byte to be received */
  bool keeps;      /* it does not: what it would have sent is kept */
  uint8_t kept[1 << 17];
  size_t nr_kept;
};

/* Of all tests' servers: before rig_start.  The file is gone after rig_start.
 */
void rig_use_tls (struct rig *rig, enum negotiation_tls tls);

/* Takes FD, which is connected; greets, and asks for TLS. */
void tls_client_begin (struct tls_client *client, int fd);

/* Without greeting: TLS' own handshake comes next.  PRIORITY, NAME or KEY may
 * be NULL: the usual one. */
void tls_client_init (struct tls_client *client, int fd, const char *priority,
                      const char *name, const char *key);

/* 0, or gnutls' error. */
int tls_client_shake_hands (struct tls_client *client);

/* All of that, and in transmission on the default export. */
void tls_client_open (struct tls_client *client, struct rig *rig,
                      const char *priority);

/* A record for each call, as far as it fits one. */
void tls_client_send (struct tls_client *client, const void *bytes, size_t nr);

/* What was kept. */
void tls_client_send_kept (struct tls_client *client, size_t nr);

/* 0, or why there is nothing more: GNUTLS_E_PREMATURE_TERMINATION, or
 * GNUTLS_E_SESSION_EOF after a close_notify. */
int tls_client_receive (struct tls_client *client, void *bytes, size_t nr);

/* Without a word. */
void tls_client_vanish (struct tls_client *client);

#endif /* BLKMQ_TESTS_TLS_CLIENT_H */

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tls.h: TLS, by gnutls: what the server shows and demands (tls.c, tls-psk.c),
 * and one connection under it (tls-session.c, tls-record.c).
 *
 * Credentials do not change once they are loaded, are counted, and may be used
 * by all threads.  A session and a scratch belong to one thread.
 */

#ifndef BLKMQ_SERVER_TLS_H
#define BLKMQ_SERVER_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "blkmq.h"

/* ---- credentials ---- */

/* Strings stay the caller's.  One of certificates and psk is given. */
struct tls_files {
  const char *certificates; /* a directory, or NULL */
  const char *psk;          /* a file, or NULL */
  const char *priority;     /* gnutls' string of algorithms, or NULL */
  bool verify_peer;         /* clients must have a certificate of the CA's */
};

struct tls_credentials;

/* Reads the files; warns in the log of those that others can read, and of a
 * certificate whose time is not now.  One reference.  Negative errno with
 * ERROR, which names option and file.  Any thread. */
int tls_credentials_load (const struct tls_files *files,
                          struct tls_credentials **credentials,
                          struct blkmq_error *error);

/* Any thread.  Putting NULL is nothing. */
struct tls_credentials *
tls_credentials_get (struct tls_credentials *credentials);
void tls_credentials_put (struct tls_credentials *credentials);

/* ---- one connection ---- */

/* What sessions of one thread need while they are at work. */
struct tls_scratch;

struct tls_scratch *tls_scratch_alloc (void); /* NULL: no memory */
void tls_scratch_free (struct tls_scratch *scratch);

struct tls_session;

/* On FD, which stays the caller's, and is there until the session is freed.
 * Takes a reference of its own to CREDENTIALS.  NULL: no memory. */
struct tls_session *tls_session_alloc (struct tls_credentials *credentials,
                                       int fd, struct tls_scratch *scratch);
void tls_session_free (struct tls_session *session); /* NULL is nothing */

/* One step of the handshake.  0: it is done.  -EAGAIN: wait until something
 * comes, or can be sent if tls_session_has_unsent.  Others: it has failed; the
 * client was told if it can be; tls_session_error says why, "" if the client
 * has only gone. */
int tls_session_handshake (struct tls_session *session);

/* As recv does it: 0 is the end, of the session or of the socket.  -1 with
 * EPROTO: the client broke the protocol, see tls_session_error. */
ssize_t tls_session_recv (struct tls_session *session, void *bytes,
                          size_t room);

/* Can recv be called at once, without anything to come on the socket? */
bool tls_session_has_held (const struct tls_session *session);

/* Only a part of a record has come. */
bool tls_session_is_half_way (const struct tls_session *session);

/* Much as sendmsg: how many of these bytes were handed to the socket, all of
 * them as a rule.  0: something moves, but what is under way is not all sent
 * yet.  -1 with EAGAIN: nothing moves.  After both the next call must begin
 * with the same bytes. */
ssize_t tls_session_send (struct tls_session *session, const struct iovec *iovs,
                          size_t nr_iovs);

/* There is something to be sent that is not of the caller's bytes, or is what
 * is left of them.  tls_session_flush sends it: as tls_session_send of
 * nothing, but 0 is: all of it was sent. */
bool tls_session_has_unsent (const struct tls_session *session);
int tls_session_flush (struct tls_session *session);

/* Has the socket taken or given anything since this was asked last? */
bool tls_session_has_moved (struct tls_session *session);

/* Say that nothing more will be sent (close_notify), once; then flush. */
void tls_session_say_bye (struct tls_session *session);

/* Why it has failed, for the log. */
const char *tls_session_error (const struct tls_session *session);

/* ---- who the client is ---- */

enum tls_identity {
  TLS_IDENTITY_NONE, /* it did not have to say; anybody */
  TLS_IDENTITY_X509, /* a certificate, which was verified */
  TLS_IDENTITY_PSK,
};

enum tls_identity tls_session_identity_type (const struct tls_session *session);

/* Once the handshake is done: the certificate's subject, as certtool -i and RFC
 * 4514 have it ("CN=laptop,O=Example"), or the name of the key; neither has a
 * NUL.  NULL: TLS_IDENTITY_NONE.  The session's. */
const char *tls_session_identity (const struct tls_session *session);

/* "TLS1.3, AES-256-GCM": for the log. */
const char *tls_session_describe (const struct tls_session *session, char *buf,
                                  size_t buf_bytes);

#endif /* BLKMQ_SERVER_TLS_H */

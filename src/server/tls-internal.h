/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tls-internal.h: what the files of tls.h share, by the file that owns it.
 */

#ifndef BLKMQ_SERVER_TLS_INTERNAL_H
#define BLKMQ_SERVER_TLS_INTERNAL_H

#include <gnutls/gnutls.h>
#include <stdatomic.h>

#include "server/tls.h"

/* ---- tls.c ---- */

/* Whole in memory, with a NUL behind it that is no part of it. */
struct tls_file {
  char *data;
  size_t bytes;
};

/* -EINVAL, with ERROR: "OPTION=PATH: NAME: " and what is wrong.  NAME may be
 * NULL. */
int tls_refuse (struct blkmq_error *error, const char *option, const char *path,
                const char *name, const char *format, ...)
    __attribute__ ((format (printf, 5, 6)));

/* PATH, or NAME in it; negative errno with ERROR.  One that others can read is
 * warned of, if it IS_SECRET. */
int tls_file_read (struct tls_file *file, const char *option, const char *path,
                   const char *name, bool is_secret, struct blkmq_error *error);
void tls_file_free (struct tls_file *file);

struct tls_credentials {
  _Atomic unsigned nr_refs;
  gnutls_priority_t priority;
  bool verify_peer;
  gnutls_certificate_credentials_t certificates; /* or NULL */
  gnutls_psk_server_credentials_t psk;           /* or NULL */
  struct tls_keys *keys;                         /* with psk */
};

/* ---- tls-psk.c ---- */

/* Users and their keys. */
struct tls_keys;

int tls_keys_load (const char *path, struct tls_keys **keys,
                   struct blkmq_error *error);
void tls_keys_free (struct tls_keys *keys); /* NULL is nothing */

struct tls_key {
  const char *name;
  const uint8_t *bytes;
  size_t nr;
};

/* NULL: there is no such user.  NAME need not be text. */
const struct tls_key *tls_keys_find (const struct tls_keys *keys,
                                     const void *name, size_t name_bytes);

/* ---- tls-session.c ---- */

/* The longest record's payload, and more than what is around it. */
#define TLS_RECORD_BYTES 16384u
#define TLS_RECORD_EXTRA_BYTES 2048u
#define TLS_RECORD_HEAD_BYTES 5u

/* So much goes to the socket at once, and comes from it. */
#define TLS_OUT_BYTES (UINT32_C (128) << 10)
#define TLS_IN_BYTES (UINT32_C (64) << 10)

struct tls_scratch {
  uint8_t in[TLS_IN_BYTES];           /* as received */
  uint8_t gathered[TLS_RECORD_BYTES]; /* what becomes one record */
  uint8_t out[TLS_OUT_BYTES];         /* records */
  uint32_t out_bytes;
};

struct tls_session {
  gnutls_session_t gnutls;
  struct tls_credentials *credentials;
  struct tls_scratch *scratch;
  int fd;
  uint32_t record_bytes; /* the most that one record takes */
  bool is_up, has_moved, said_bye;

  /* What has come and gnutls has not asked for: [in_at, in_end) of IN, which
   * is the scratch's while the session is at work and something comes, else
   * HELD. */
  uint8_t *in, *held;
  uint32_t in_at, in_end;
  /* Of the record that comes: its head, as far as gnutls has it, and how much
   * is to come behind that. */
  uint8_t head[TLS_RECORD_HEAD_BYTES];
  uint32_t head_bytes, left_bytes;
  /* What is said after the last byte: 0 or an error of gnutls'. */
  bool has_ended;
  int ending;

  /* Records that the socket has not taken: [unsent_at, unsent_end). */
  uint8_t *unsent;
  uint32_t unsent_at, unsent_end;
  /* They have so many of the caller's bytes, who was not told yet. */
  size_t encrypted_bytes;

  enum tls_identity identity_type;
  char *identity;
  char error[256];
};

/* Why it has failed: an error of gnutls'. */
void tls_session_fail (struct tls_session *session, int error);

/* The same, to the client, which may have an alert for it. */
void tls_session_tell (struct tls_session *session, int error);

/* ---- tls-record.c ---- */

/* gnutls' ways to the socket, by way of the scratch. */
ssize_t tls_pull (gnutls_transport_ptr_t opaque, void *bytes, size_t room);
int tls_pull_timeout (gnutls_transport_ptr_t opaque, unsigned ms);
ssize_t tls_push (gnutls_transport_ptr_t opaque, const void *bytes, size_t nr);

/* Begin to work with the scratch; what is held is there to be pulled. */
void tls_work_begin (struct tls_session *session);

/* What comes now; nothing was left to be pulled.  As recv. */
ssize_t tls_work_receive (struct tls_session *session);

/* What is left of the scratch becomes the session's: 0, or -ENOMEM.  What was
 * pushed is sent first, as far as the socket takes it; errors of that are seen
 * by who sends next. */
int tls_work_end (struct tls_session *session);

#endif /* BLKMQ_SERVER_TLS_INTERNAL_H */

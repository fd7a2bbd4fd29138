/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tls-session.c: one connection under TLS: how it begins, who the client is,
 * and how it ends.  tls-record.c has what lies between.
 *
 * The connection's worker.
 */

#include <config.h>

#include <errno.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/tls-internal.h"

struct tls_scratch *
tls_scratch_alloc (void)
{
  return malloc (sizeof (struct tls_scratch));
}

void
tls_scratch_free (struct tls_scratch *scratch)
{
  if (scratch != NULL)
    explicit_bzero (scratch, sizeof *scratch);
  free (scratch);
}

/* ------------------------------------------------------------------------ */
/* Life                                                                      */

static int
set_credentials (struct tls_session *session)
{
  const struct tls_credentials *credentials = session->credentials;
  /* One that says what it is for must be for clients. */
  static gnutls_typed_vdata_st purpose
      = { .type = GNUTLS_DT_KEY_PURPOSE_OID,
          .data = (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_CLIENT };
  int r;

  r = gnutls_priority_set (session->gnutls, credentials->priority);
  if (r < 0)
    return r;
  if (credentials->psk != NULL)
    return gnutls_credentials_set (session->gnutls, GNUTLS_CRD_PSK,
                                   credentials->psk);
  r = gnutls_credentials_set (session->gnutls, GNUTLS_CRD_CERTIFICATE,
                              credentials->certificates);
  if (r < 0 || !credentials->verify_peer)
    return r;
  gnutls_certificate_server_set_request (session->gnutls, GNUTLS_CERT_REQUIRE);
  gnutls_session_set_verify_cert2 (session->gnutls, &purpose, 1, 0);
  return 0;
}

struct tls_session *
tls_session_alloc (struct tls_credentials *credentials, int fd,
                   struct tls_scratch *scratch)
{
  struct tls_session *session = calloc (1, sizeof *session);

  if (session == NULL)
    return NULL;
  session->credentials = tls_credentials_get (credentials);
  session->scratch = scratch;
  session->fd = fd;
  /* Without tickets nobody resumes a session: each client is looked at. */
  if (gnutls_init (&session->gnutls, GNUTLS_SERVER | GNUTLS_NONBLOCK
                                         | GNUTLS_NO_SIGNAL | GNUTLS_NO_TICKETS)
      < 0) {
    session->gnutls = NULL;
    goto fail;
  }
  if (set_credentials (session) < 0)
    goto fail;
  gnutls_session_set_ptr (session->gnutls, session);
  gnutls_transport_set_ptr (session->gnutls, session);
  gnutls_transport_set_pull_function (session->gnutls, tls_pull);
  gnutls_transport_set_pull_timeout_function (session->gnutls,
                                              tls_pull_timeout);
  gnutls_transport_set_push_function (session->gnutls, tls_push);
  return session;

fail:
  tls_session_free (session);
  return NULL;
}

void
tls_session_free (struct tls_session *session)
{
  if (session == NULL)
    return;
  if (session->gnutls != NULL)
    gnutls_deinit (session->gnutls);
  tls_credentials_put (session->credentials);
  free (session->held);
  free (session->unsent);
  free (session->identity);
  free (session);
}

/* ------------------------------------------------------------------------ */
/* Failures                                                                  */

static void
describe_verification (struct tls_session *session)
{
  unsigned status = gnutls_session_get_verify_cert_status (session->gnutls);
  gnutls_datum_t text;

  if (gnutls_certificate_verification_status_print (status, GNUTLS_CRT_X509,
                                                    &text, 0)
      < 0)
    return;
  snprintf (session->error, sizeof session->error, "%.*s",
            (int)strcspn ((const char *)text.data, "\n"),
            (const char *)text.data);
  for (size_t nr = strlen (session->error);
       nr > 0 && session->error[nr - 1] == ' '; nr--)
    session->error[nr - 1] = '\0';
  gnutls_free (text.data);
}

void
tls_session_fail (struct tls_session *session, int error)
{
  const char *alert;

  snprintf (session->error, sizeof session->error, "%s",
            gnutls_strerror (error));
  switch (error) {
  case GNUTLS_E_PREMATURE_TERMINATION:
    session->error[0] = '\0';
    break;
  case GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR:
    describe_verification (session);
    break;
  case GNUTLS_E_FATAL_ALERT_RECEIVED:
  case GNUTLS_E_WARNING_ALERT_RECEIVED:
    alert = gnutls_alert_get_name (gnutls_alert_get (session->gnutls));
    if (alert != NULL)
      snprintf (session->error, sizeof session->error, "the client says: %s",
                alert);
    break;
  case GNUTLS_E_REHANDSHAKE:
    snprintf (session->error, sizeof session->error,
              "the client wants to renegotiate, which is not allowed");
    break;
  default:
    break;
  }
}

void
tls_session_tell (struct tls_session *session, int error)
{
  switch (error) {
  case GNUTLS_E_PREMATURE_TERMINATION:
  case GNUTLS_E_FATAL_ALERT_RECEIVED:
    break;
  case GNUTLS_E_REHANDSHAKE:
    (void)gnutls_alert_send (session->gnutls, GNUTLS_AL_WARNING,
                             GNUTLS_A_NO_RENEGOTIATION);
    break;
  default:
    (void)gnutls_alert_send_appropriate (session->gnutls, error);
    break;
  }
}

const char *
tls_session_error (const struct tls_session *session)
{
  return session->error;
}

/* ------------------------------------------------------------------------ */
/* Who the client is                                                         */

/* Only one that was verified is looked at. */
static int
take_subject (struct tls_session *session)
{
  const gnutls_datum_t *certificates;
  gnutls_x509_crt_t certificate;
  gnutls_datum_t name;
  unsigned nr;
  int r;

  certificates = gnutls_certificate_get_peers (session->gnutls, &nr);
  if (certificates == NULL || nr == 0)
    return GNUTLS_E_NO_CERTIFICATE_FOUND;
  r = gnutls_x509_crt_init (&certificate);
  if (r < 0)
    return r;
  r = gnutls_x509_crt_import (certificate, &certificates[0],
                              GNUTLS_X509_FMT_DER);
  if (r >= 0)
    r = gnutls_x509_crt_get_dn3 (certificate, &name, 0);
  gnutls_x509_crt_deinit (certificate);
  if (r < 0)
    return r;
  session->identity = strndup ((const char *)name.data, name.size);
  if (session->identity == NULL)
    r = GNUTLS_E_MEMORY_ERROR;
  else if (strlen (session->identity) != name.size)
    r = GNUTLS_E_ASN1_DER_ERROR;
  gnutls_free (name.data);
  session->identity_type = TLS_IDENTITY_X509;
  return r;
}

static int
take_identity (struct tls_session *session)
{
  const char *user;

  if (session->credentials->psk != NULL) {
    user = gnutls_psk_server_get_username (session->gnutls);
    if (user == NULL)
      return GNUTLS_E_INSUFFICIENT_CREDENTIALS;
    session->identity = strdup (user);
    session->identity_type = TLS_IDENTITY_PSK;
    return session->identity != NULL ? 0 : GNUTLS_E_MEMORY_ERROR;
  }
  return session->credentials->verify_peer ? take_subject (session) : 0;
}

enum tls_identity
tls_session_identity_type (const struct tls_session *session)
{
  return session->identity_type;
}

const char *
tls_session_identity (const struct tls_session *session)
{
  return session->identity;
}

const char *
tls_session_describe (const struct tls_session *session, char *buf,
                      size_t buf_bytes)
{
  const char *version = gnutls_protocol_get_name (
      gnutls_protocol_get_version (session->gnutls));
  const char *cipher
      = gnutls_cipher_get_name (gnutls_cipher_get (session->gnutls));

  snprintf (buf, buf_bytes, "%s, %s", version != NULL ? version : "TLS",
            cipher != NULL ? cipher : "unknown cipher");
  return buf;
}

/* ------------------------------------------------------------------------ */
/* The handshake                                                             */

/* As far as it goes with what has come.  0, -EAGAIN, or an error of gnutls'. */
static int
advance (struct tls_session *session)
{
  uint32_t at;
  int r;

  for (;;) {
    at = session->in_at;
    r = gnutls_handshake (session->gnutls);
    if (r == GNUTLS_E_SUCCESS)
      r = take_identity (session);
    if (r >= 0 || (gnutls_error_is_fatal (r) && r != GNUTLS_E_AGAIN))
      return r;
    if (session->in_at == session->in_end)
      return -EAGAIN;
    if (session->in_at == at)
      return GNUTLS_E_INTERNAL_ERROR; /* it goes neither on nor back */
  }
}

int
tls_session_handshake (struct tls_session *session)
{
  ssize_t nr = 1;
  int r;

  tls_work_begin (session);
  if (session->in_at == session->in_end)
    nr = tls_work_receive (session);
  if (nr > 0)
    r = advance (session);
  else
    r = nr < 0 && (errno == EAGAIN || errno == EINTR)
            ? -EAGAIN
            : GNUTLS_E_PREMATURE_TERMINATION;
  if (r == 0) {
    session->is_up = true;
    session->record_bytes
        = (uint32_t)gnutls_record_get_max_size (session->gnutls);
    if (session->record_bytes > TLS_RECORD_BYTES)
      session->record_bytes = TLS_RECORD_BYTES;
  } else if (r != -EAGAIN) {
    tls_session_fail (session, r);
    tls_session_tell (session, r);
    r = -EPROTO;
  }
  if (tls_work_end (session) < 0) {
    tls_session_fail (session, GNUTLS_E_MEMORY_ERROR);
    return -ENOMEM;
  }
  return r;
}

void
tls_session_say_bye (struct tls_session *session)
{
  if (!session->is_up || session->said_bye)
    return;
  session->said_bye = true;
  tls_work_begin (session);
  (void)gnutls_bye (session->gnutls, GNUTLS_SHUT_WR);
  (void)tls_work_end (session);
}

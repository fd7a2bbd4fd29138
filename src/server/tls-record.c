/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tls-record.c: bytes under TLS.  Between gnutls and the socket is the thread's
 * scratch: what has come is received at once and pulled record by record, and
 * records are pushed one behind the other and sent at once.  So gnutls never
 * waits in the middle of anything, and what the socket does not take, or gnutls
 * not yet, becomes the session's own.
 *
 * The connection's worker.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "server/tls-internal.h"

/* ------------------------------------------------------------------------ */
/* From the socket                                                           */

/* What gnutls gets, so that it is known whether a record is complete. */
static void
follow_record (struct tls_session *session, const uint8_t *bytes, size_t nr)
{
  while (nr > 0) {
    size_t taken = TLS_RECORD_HEAD_BYTES - session->head_bytes;

    if (taken > 0) {
      taken = taken < nr ? taken : nr;
      memcpy (session->head + session->head_bytes, bytes, taken);
      session->head_bytes += (uint32_t)taken;
      if (session->head_bytes == TLS_RECORD_HEAD_BYTES)
        session->left_bytes
            = (uint32_t)session->head[3] << 8 | session->head[4];
    } else {
      taken = session->left_bytes < nr ? session->left_bytes : nr;
      session->left_bytes -= (uint32_t)taken;
    }
    if (session->head_bytes == TLS_RECORD_HEAD_BYTES
        && session->left_bytes == 0)
      session->head_bytes = 0;
    bytes += taken;
    nr -= taken;
  }
}

ssize_t
tls_pull (gnutls_transport_ptr_t opaque, void *bytes, size_t room)
{
  struct tls_session *session = opaque;
  size_t nr = session->in_end - session->in_at;

  if (nr == 0) {
    gnutls_transport_set_errno (session->gnutls, EAGAIN);
    return -1;
  }
  if (nr > room)
    nr = room;
  memcpy (bytes, session->in + session->in_at, nr);
  follow_record (session, bytes, nr);
  session->in_at += (uint32_t)nr;
  return (ssize_t)nr;
}

/* There is no other time than now. */
int
tls_pull_timeout (gnutls_transport_ptr_t opaque, unsigned ms)
{
  const struct tls_session *session = opaque;

  return session->in_at < session->in_end;
}

ssize_t
tls_work_receive (struct tls_session *session)
{
  ssize_t nr
      = recv (session->fd, session->scratch->in, TLS_IN_BYTES, MSG_DONTWAIT);

  if (nr > 0) {
    session->in = session->scratch->in;
    session->in_at = 0;
    session->in_end = (uint32_t)nr;
    session->has_moved = true;
  }
  return nr;
}

static int
keep_in (struct tls_session *session)
{
  uint32_t nr = session->in_end - session->in_at;

  if (nr > 0 && session->in == session->held)
    return 0;
  free (session->held);
  session->held = NULL;
  if (nr > 0) {
    session->held = malloc (nr);
    if (session->held == NULL)
      return -ENOMEM;
    memcpy (session->held, session->in + session->in_at, nr);
  }
  session->in = session->held;
  session->in_at = 0;
  session->in_end = nr;
  return 0;
}

/* ------------------------------------------------------------------------ */
/* To the socket                                                             */

ssize_t
tls_push (gnutls_transport_ptr_t opaque, const void *bytes, size_t nr)
{
  struct tls_session *session = opaque;
  struct tls_scratch *scratch = session->scratch;

  if (nr > TLS_OUT_BYTES - scratch->out_bytes) {
    gnutls_transport_set_errno (session->gnutls, ENOBUFS);
    return -1;
  }
  memcpy (scratch->out + scratch->out_bytes, bytes, nr);
  scratch->out_bytes += (uint32_t)nr;
  return (ssize_t)nr;
}

/* How many the socket has taken, or a negative errno. */
static ssize_t
put (struct tls_session *session, const uint8_t *bytes, uint32_t nr)
{
  ssize_t r;

  do
    r = send (session->fd, bytes, nr, MSG_NOSIGNAL | MSG_DONTWAIT);
  while (r < 0 && errno == EINTR);
  session->has_moved |= r > 0;
  return r < 0 ? -errno : r;
}

static int
put_unsent (struct tls_session *session)
{
  ssize_t nr;

  while (session->unsent_at < session->unsent_end) {
    nr = put (session, session->unsent + session->unsent_at,
              session->unsent_end - session->unsent_at);
    if (nr < 0)
      return (int)nr;
    session->unsent_at += (uint32_t)nr;
  }
  free (session->unsent);
  session->unsent = NULL;
  session->unsent_at = session->unsent_end = 0;
  return 0;
}

/* Behind what there is already. */
static int
keep_out (struct tls_session *session, const uint8_t *bytes, uint32_t nr)
{
  uint32_t before = session->unsent_end - session->unsent_at;
  uint8_t *unsent = malloc (before + nr);

  if (unsent == NULL)
    return -ENOMEM;
  if (before > 0)
    memcpy (unsent, session->unsent + session->unsent_at, before);
  memcpy (unsent + before, bytes, nr);
  free (session->unsent);
  session->unsent = unsent;
  session->unsent_at = 0;
  session->unsent_end = before + nr;
  return 0;
}

/* All that there is: 0, -EAGAIN, or another negative errno. */
static int
put_all (struct tls_session *session)
{
  struct tls_scratch *scratch = session->scratch;
  int r = put_unsent (session);
  uint32_t at = 0;
  ssize_t nr = 0;

  while (r == 0 && at < scratch->out_bytes) {
    nr = put (session, scratch->out + at, scratch->out_bytes - at);
    if (nr < 0)
      r = (int)nr;
    else
      at += (uint32_t)nr;
  }
  if (r == -EAGAIN && at < scratch->out_bytes
      && keep_out (session, scratch->out + at, scratch->out_bytes - at) < 0)
    r = -ENOMEM;
  scratch->out_bytes = 0;
  return r;
}

/* ------------------------------------------------------------------------ */
/* Work                                                                      */

void
tls_work_begin (struct tls_session *session)
{
  session->scratch->out_bytes = 0;
}

int
tls_work_end (struct tls_session *session)
{
  if (session->scratch->out_bytes > 0 && put_all (session) == -ENOMEM)
    return -ENOMEM;
  return keep_in (session);
}

/* ------------------------------------------------------------------------ */
/* Reading                                                                   */

/* As much as has come and there is room for. */
static size_t
decrypt (struct tls_session *session, uint8_t *bytes, size_t room)
{
  size_t nr = 0;
  uint32_t at;
  ssize_t r;

  while (nr < room
         && (session->in_at < session->in_end
             || gnutls_record_check_pending (session->gnutls) > 0)) {
    at = session->in_at;
    r = gnutls_record_recv (session->gnutls, bytes + nr, room - nr);
    if (r > 0) {
      nr += (size_t)r;
      continue;
    }
    /* Half a record, or something that is not for us. */
    if (r < 0 && r != GNUTLS_E_REHANDSHAKE && !gnutls_error_is_fatal ((int)r)
        && (session->in_at > at || session->in_at == session->in_end))
      continue;
    session->has_ended = true;
    session->ending = (int)r;
    break;
  }
  return nr;
}

static ssize_t
say_ending (struct tls_session *session)
{
  if (session->ending == 0 || session->ending == GNUTLS_E_PREMATURE_TERMINATION)
    return 0;
  tls_session_fail (session, session->ending);
  errno = EPROTO;
  return -1;
}

ssize_t
tls_session_recv (struct tls_session *session, void *bytes, size_t room)
{
  size_t nr;
  ssize_t r;

  if (session->has_ended)
    return say_ending (session);
  tls_work_begin (session);
  if (session->in_at == session->in_end
      && gnutls_record_check_pending (session->gnutls) == 0) {
    r = tls_work_receive (session);
    if (r <= 0)
      return r;
  }
  nr = decrypt (session, bytes, room);
  if (session->has_ended && session->ending < 0)
    tls_session_tell (session, session->ending);
  if (tls_work_end (session) < 0) {
    errno = ENOMEM;
    return -1;
  }
  if (nr > 0)
    return (ssize_t)nr;
  if (session->has_ended)
    return say_ending (session);
  errno = EAGAIN;
  return -1;
}

bool
tls_session_has_held (const struct tls_session *session)
{
  return session->in_at < session->in_end || session->has_ended
         || gnutls_record_check_pending (session->gnutls) > 0;
}

bool
tls_session_is_half_way (const struct tls_session *session)
{
  return session->head_bytes > 0;
}

/* ------------------------------------------------------------------------ */
/* Writing                                                                   */

/* Where we are in what is to be sent. */
struct place {
  const struct iovec *iovs;
  size_t nr;
  size_t at; /* in the first */
};

static void
pass (struct place *place, size_t bytes)
{
  place->at += bytes;
  while (place->nr > 0 && place->at >= place->iovs->iov_len) {
    place->at -= place->iovs->iov_len;
    place->iovs++;
    place->nr--;
  }
}

/* What becomes the next record: a stretch as it is, if it fills one or is the
 * last, or several that are gathered. */
static const uint8_t *
next_piece (const struct tls_session *session, const struct place *place,
            uint32_t *bytes)
{
  uint8_t *gathered = session->scratch->gathered;
  const uint8_t *base = (const uint8_t *)place->iovs->iov_base + place->at;
  size_t nr = place->iovs->iov_len - place->at;
  struct place next = *place;
  uint32_t have = 0;

  if (nr >= session->record_bytes || place->nr == 1) {
    *bytes = nr < session->record_bytes ? (uint32_t)nr : session->record_bytes;
    return base;
  }
  while (next.nr > 0 && have < session->record_bytes) {
    base = (const uint8_t *)next.iovs->iov_base + next.at;
    nr = next.iovs->iov_len - next.at;
    if (nr > session->record_bytes - have)
      nr = session->record_bytes - have;
    memcpy (gathered + have, base, nr);
    have += (uint32_t)nr;
    pass (&next, nr);
  }
  *bytes = have;
  return gathered;
}

/* As much as the scratch takes.  Bytes, or an error of gnutls'. */
static ssize_t
encrypt (struct tls_session *session, struct place place)
{
  uint32_t longest = session->record_bytes + TLS_RECORD_EXTRA_BYTES;
  size_t done = 0;

  pass (&place, 0);
  while (place.nr > 0
         && session->scratch->out_bytes + longest <= TLS_OUT_BYTES) {
    uint32_t bytes;
    const uint8_t *piece = next_piece (session, &place, &bytes);
    ssize_t nr = gnutls_record_send (session->gnutls, piece, bytes);

    if (nr <= 0)
      return nr < 0 ? nr : GNUTLS_E_INTERNAL_ERROR;
    done += (size_t)nr;
    pass (&place, (size_t)nr);
  }
  return (ssize_t)done;
}

/* What send says when the socket has not taken all. */
static ssize_t
not_all (const struct tls_session *session, int error, bool has_moved)
{
  if (error == -EAGAIN && has_moved)
    return 0;
  errno = -error;
  return -1;
}

ssize_t
tls_session_send (struct tls_session *session, const struct iovec *iovs,
                  size_t nr_iovs)
{
  bool had_moved = session->has_moved;
  size_t encrypted = session->encrypted_bytes;
  ssize_t bytes;
  int r;

  session->has_moved = false;
  tls_work_begin (session);
  r = put_all (session);
  if (r == 0 && encrypted > 0) {
    session->has_moved = true;
    session->encrypted_bytes = 0;
    return (ssize_t)encrypted;
  }
  if (r < 0) {
    bytes = not_all (session, r, session->has_moved);
    session->has_moved |= had_moved;
    return bytes;
  }

  bytes = encrypt (session, (struct place){ iovs, nr_iovs, 0 });
  if (bytes < 0) {
    tls_session_fail (session, (int)bytes);
    errno = EPROTO;
    return -1;
  }
  r = put_all (session);
  if (r < 0) {
    session->encrypted_bytes = (size_t)bytes;
    bytes = not_all (session, r, session->has_moved);
  }
  session->has_moved |= had_moved;
  return bytes;
}

bool
tls_session_has_unsent (const struct tls_session *session)
{
  return session->unsent_at < session->unsent_end;
}

int
tls_session_flush (struct tls_session *session)
{
  tls_work_begin (session);
  return put_all (session);
}

bool
tls_session_has_moved (struct tls_session *session)
{
  bool has_moved = session->has_moved;

  session->has_moved = false;
  return has_moved;
}

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tls-client.c: the client's side of TLS.
 */

#include <config.h>

#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tls-client.h"

#define KEY "00112233445566778899aabbccddeeff"

static char keys_path[] = "/tmp/blkmq-keys.XXXXXX";

void
rig_use_tls (struct rig *rig, enum negotiation_tls tls)
{
  static const char line[] = TLS_USER ":" KEY "\n";
  char path[sizeof keys_path];
  int fd;

  memcpy (path, keys_path, sizeof path);
  fd = mkstemp (path);
  require (fd >= 0);
  require (write (fd, line, sizeof line - 1) == sizeof line - 1);
  close (fd);
  rig_load_tls (rig, &(struct tls_files){ .psk = path });
  unlink (path);
  rig->options.tls = tls;
}

/* ------------------------------------------------------------------------ */
/* Bytes                                                                     */

static ssize_t
push (gnutls_transport_ptr_t opaque, const void *bytes, size_t nr)
{
  struct tls_client *client = opaque;
  const uint8_t *p = bytes;
  int left;

  if (client->keeps) {
    require (nr <= sizeof client->kept - client->nr_kept);
    memcpy (client->kept + client->nr_kept, bytes, nr);
    client->nr_kept += nr;
    return (ssize_t)nr;
  }
  for (size_t i = 0; client->one_by_one && i < nr; i++) {
    if (!send_all (client->fd, p + i, 1))
      break;
    await (ioctl (client->fd, SIOCOUTQ, &left) == 0 && left == 0);
  }
  /* Who reads finds out that the server is gone. */
  if (!client->one_by_one)
    (void)send_all (client->fd, bytes, nr);
  return (ssize_t)nr;
}

static ssize_t
pull (gnutls_transport_ptr_t opaque, void *bytes, size_t room)
{
  struct tls_client *client = opaque;
  ssize_t nr = recv (client->fd, bytes, room, 0);

  require (nr >= 0 || errno == ECONNRESET);
  return nr < 0 ? 0 : nr;
}

/* ------------------------------------------------------------------------ */

void
tls_client_init (struct tls_client *client, int fd, const char *priority,
                 const char *name, const char *key)
{
  gnutls_datum_t datum;

  memset (client, 0, sizeof *client);
  client->fd = fd;
  key = key != NULL ? key : KEY;
  datum = (gnutls_datum_t){ (unsigned char *)(uintptr_t)key,
                            (unsigned)strlen (key) };
  require (gnutls_psk_allocate_client_credentials (&client->credentials) == 0);
  require (gnutls_psk_set_client_credentials (client->credentials,
                                              name != NULL ? name : TLS_USER,
                                              &datum, GNUTLS_PSK_KEY_HEX)
           == 0);
  require (gnutls_init (&client->session, GNUTLS_CLIENT) == 0);
  require (gnutls_priority_set_direct (
               client->session,
               priority != NULL ? priority : "NORMAL:+ECDHE-PSK:+DHE-PSK:+PSK",
               NULL)
           == 0);
  require (gnutls_credentials_set (client->session, GNUTLS_CRD_PSK,
                                   client->credentials)
           == 0);
  gnutls_transport_set_ptr (client->session, client);
  gnutls_transport_set_push_function (client->session, push);
  gnutls_transport_set_pull_function (client->session, pull);
}

void
tls_client_begin (struct tls_client *client, int fd)
{
  uint8_t bytes[4 + 16], answer[18 + 20];
  struct client plain = { .fd = fd };

  nbd_put32 (bytes, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
  nbd_put64 (bytes + 4, NBD_OPTS_MAGIC);
  nbd_put32 (bytes + 12, NBD_OPT_STARTTLS);
  nbd_put32 (bytes + 16, 0);
  require (send_all (fd, bytes, sizeof bytes));
  require (client_receive (&plain, answer, sizeof answer));
  require (nbd_get64 (answer + 18) == NBD_REP_MAGIC);
  require (nbd_get32 (answer + 26) == NBD_OPT_STARTTLS);
  require (nbd_get32 (answer + 30) == NBD_REP_ACK);
  require (nbd_get32 (answer + 34) == 0);
}

int
tls_client_shake_hands (struct tls_client *client)
{
  int r;

  do
    r = gnutls_handshake (client->session);
  while (r < 0 && !gnutls_error_is_fatal (r));
  return r;
}

void
tls_client_open (struct tls_client *client, struct rig *rig,
                 const char *priority)
{
  int fd = rig_connect (rig);
  uint8_t option[16], answer[10];

  tls_client_begin (client, fd);
  tls_client_init (client, fd, priority, NULL, NULL);
  require (tls_client_shake_hands (client) == 0);
  nbd_put64 (option, NBD_OPTS_MAGIC);
  nbd_put32 (option + 8, NBD_OPT_EXPORT_NAME);
  nbd_put32 (option + 12, 0);
  tls_client_send (client, option, sizeof option);
  require (tls_client_receive (client, answer, sizeof answer) == 0);
}

void
tls_client_send (struct tls_client *client, const void *bytes, size_t nr)
{
  const uint8_t *p = bytes;

  while (nr > 0) {
    ssize_t n = gnutls_record_send (client->session, p, nr);

    require (n > 0);
    p += n;
    nr -= (size_t)n;
  }
}

void
tls_client_send_kept (struct tls_client *client, size_t nr)
{
  require (nr <= client->nr_kept);
  (void)send_all (client->fd, client->kept, nr);
  memmove (client->kept, client->kept + nr, client->nr_kept - nr);
  client->nr_kept -= nr;
}

int
tls_client_receive (struct tls_client *client, void *bytes, size_t nr)
{
  uint8_t *p = bytes;

  while (nr > 0) {
    ssize_t n = gnutls_record_recv (client->session, p, nr);

    if (n == 0)
      return GNUTLS_E_SESSION_EOF;
    if (n < 0 && gnutls_error_is_fatal ((int)n))
      return (int)n;
    if (n > 0) {
      p += n;
      nr -= (size_t)n;
    }
  }
  return 0;
}

void
tls_client_vanish (struct tls_client *client)
{
  close (client->fd);
  if (client->session != NULL)
    gnutls_deinit (client->session);
  if (client->credentials != NULL)
    gnutls_psk_free_client_credentials (client->credentials);
}

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tls.c: what the server shows to clients under TLS, and what it demands from
 * them: files, read once and for all.
 *
 * Any thread; what was loaded does not change, but for its references.
 */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <gnutls/x509.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "server/log.h"
#include "server/tls-internal.h"
#include "text.h"

#define CERTIFICATES "--tls-certificates"
#define PRIORITY "--tls-priority"

#define CA_FILE "ca-cert.pem"
#define CRL_FILE "ca-crl.pem"
#define CERTIFICATE_FILE "server-cert.pem"
#define KEY_FILE "server-key.pem"

#define MAX_FILE_BYTES (4u << 20)

/* Whatever else is asked for: nothing older than TLS 1.2. */
#define NO_OLD_VERSIONS ":-VERS-SSL3.0:-VERS-TLS1.0:-VERS-TLS1.1:-VERS-DTLS-ALL"

/* With a key of this session's own, so that who gets to know the user's later
 * cannot read what was said before. */
#define PSK_EXCHANGES ":+ECDHE-PSK:+DHE-PSK"

/* With these keys AES-256 cannot be had in TLS 1.3, and ChaCha20 comes next;
 * but AES is several times as fast where the processor has it, as most have. */
#define PSK_ORDER ":-CHACHA20-POLY1305:+CHACHA20-POLY1305:%SERVER_PRECEDENCE"

/* ------------------------------------------------------------------------ */
/* Messages and files                                                        */

static struct text
begin_message (struct blkmq_error *error, const char *option, const char *path,
               const char *name)
{
  struct text text = text_begin_error (error);

  text_add (&text, "%s=", option);
  text_add_path (&text, path);
  text_add (&text, ": ");
  if (name != NULL)
    text_add (&text, "%s: ", name);
  return text;
}

int
tls_refuse (struct blkmq_error *error, const char *option, const char *path,
            const char *name, const char *format, ...)
{
  struct text text = begin_message (error, option, path, name);
  char why[256];
  va_list args;

  va_start (args, format);
  vsnprintf (why, sizeof why, format, args);
  va_end (args);
  text_add (&text, "%s", why);
  return -EINVAL;
}

static void
warn (const char *option, const char *path, const char *name, const char *what)
{
  struct blkmq_error message;

  tls_refuse (&message, option, path, name, "%s", what);
  log_warning ("%s", message.message);
}

/* Negative errno. */
static int
read_all (struct tls_file *file, int fd)
{
  size_t room = 4096;
  ssize_t nr;
  char *data;

  do {
    room *= 2;
    if (room > MAX_FILE_BYTES)
      return -EFBIG;
    data = malloc (room);
    if (data == NULL)
      return -ENOMEM;
    if (file->bytes > 0)
      memcpy (data, file->data, file->bytes);
    tls_file_free (&(struct tls_file){ file->data, file->bytes });
    file->data = data;
    do {
      nr = read (fd, data + file->bytes, room - 1 - file->bytes);
      if (nr > 0)
        file->bytes += (size_t)nr;
    } while (nr > 0 || (nr < 0 && errno == EINTR));
    if (nr < 0)
      return -errno;
  } while (file->bytes == room - 1);
  data[file->bytes] = '\0';
  return 0;
}

int
tls_file_read (struct tls_file *file, const char *option, const char *path,
               const char *name, bool is_secret, struct blkmq_error *error)
{
  char *full = NULL;
  struct stat stat;
  int fd = -1, r;

  *file = (struct tls_file){ .data = NULL };
  if (name != NULL && asprintf (&full, "%s/%s", path, name) < 0) {
    full = NULL;
    errno = ENOMEM;
  } else
    fd = open (full != NULL ? full : path, O_RDONLY | O_CLOEXEC);
  free (full);
  r = fd < 0 || fstat (fd, &stat) < 0 ? -errno : read_all (file, fd);
  if (fd >= 0)
    close (fd);
  if (r < 0) {
    tls_file_free (file);
    tls_refuse (error, option, path, name, "%s", strerror (-r));
    return r;
  }
  if (is_secret && (stat.st_mode & S_IROTH) != 0)
    warn (option, path, name, "everybody on this machine can read it");
  return 0;
}

void
tls_file_free (struct tls_file *file)
{
  if (file->data != NULL)
    explicit_bzero (file->data, file->bytes);
  free (file->data);
  *file = (struct tls_file){ .data = NULL };
}

static gnutls_datum_t
datum_of (const struct tls_file *file)
{
  return (gnutls_datum_t){ (unsigned char *)file->data, (unsigned)file->bytes };
}

/* ------------------------------------------------------------------------ */
/* Algorithms                                                                */

static int
load_priority (struct tls_credentials *credentials,
               const struct tls_files *files, struct blkmq_error *error)
{
  const char *given = files->priority, *wrong = NULL;
  const unsigned *versions;
  char *string;
  int r;

  if (given == NULL)
    given = "NORMAL";
  if (asprintf (&string, "%s%s%s%s", given, NO_OLD_VERSIONS,
                files->psk != NULL ? PSK_EXCHANGES : "",
                files->psk != NULL && files->priority == NULL ? PSK_ORDER : "")
      < 0)
    return tls_refuse (error, PRIORITY, given, NULL, "out of memory");
  r = gnutls_priority_init (&credentials->priority, string, &wrong);
  if (r < 0) {
    credentials->priority = NULL;
    tls_refuse (error, PRIORITY, given, NULL,
                "%s; gnutls_priority_init(3) "
                "says what is allowed",
                gnutls_strerror (r));
  }
  free (string);
  if (r < 0)
    return -EINVAL;
  if (gnutls_priority_protocol_list (credentials->priority, &versions) <= 0)
    return tls_refuse (error, PRIORITY, given, NULL,
                       "allows neither TLS 1.2 nor TLS 1.3; one of them is "
                       "needed");
  return 0;
}

/* ------------------------------------------------------------------------ */
/* Certificates                                                              */

static void
warn_of_time (const struct tls_files *files, const char *what, time_t when)
{
  char text[128], date[64] = "?";
  struct tm tm;

  if (gmtime_r (&when, &tm) != NULL)
    strftime (date, sizeof date, "%Y-%m-%d %H:%M:%S UTC", &tm);
  snprintf (text, sizeof text, "%s %s: clients that look will refuse it", what,
            date);
  warn (CERTIFICATES, files->certificates, CERTIFICATE_FILE, text);
}

/* The server's own, which is the first of its chain. */
static void
check_time (const struct tls_credentials *credentials,
            const struct tls_files *files)
{
  time_t now = time (NULL), begin, end;
  gnutls_x509_crt_t certificate;
  gnutls_datum_t datum;

  if (gnutls_certificate_get_crt_raw (credentials->certificates, 0, 0, &datum)
          < 0
      || gnutls_x509_crt_init (&certificate) < 0)
    return;
  if (gnutls_x509_crt_import (certificate, &datum, GNUTLS_X509_FMT_DER) >= 0) {
    begin = gnutls_x509_crt_get_activation_time (certificate);
    end = gnutls_x509_crt_get_expiration_time (certificate);
    if (end != (time_t)-1 && end < now)
      warn_of_time (files, "has expired at", end);
    else if (begin != (time_t)-1 && begin > now)
      warn_of_time (files, "is not valid before", begin);
  }
  gnutls_x509_crt_deinit (certificate);
}

static int
load_own (struct tls_credentials *credentials, const struct tls_files *files,
          struct blkmq_error *error)
{
  struct tls_file certificate, key = { .data = NULL };
  gnutls_datum_t certificate_datum, key_datum;
  int r;

  r = tls_file_read (&certificate, CERTIFICATES, files->certificates,
                     CERTIFICATE_FILE, false, error);
  if (r == 0)
    r = tls_file_read (&key, CERTIFICATES, files->certificates, KEY_FILE, true,
                       error);
  if (r == 0) {
    certificate_datum = datum_of (&certificate);
    key_datum = datum_of (&key);
    r = gnutls_certificate_set_x509_key_mem2 (credentials->certificates,
                                              &certificate_datum, &key_datum,
                                              GNUTLS_X509_FMT_PEM, NULL, 0);
    if (r < 0)
      r = tls_refuse (error, CERTIFICATES, files->certificates, NULL,
                      CERTIFICATE_FILE " and " KEY_FILE ": %s",
                      gnutls_strerror (r));
  }
  tls_file_free (&certificate);
  tls_file_free (&key);
  return r < 0 ? r : 0;
}

/* Of CAs, or of what they have revoked.  Both functions return how many there
 * were. */
static int
load_list (struct tls_credentials *credentials, const struct tls_files *files,
           const char *name,
           int set (gnutls_certificate_credentials_t certificates,
                    const gnutls_datum_t *datum, gnutls_x509_crt_fmt_t format),
           struct blkmq_error *error)
{
  struct tls_file file;
  gnutls_datum_t datum;
  int r;

  r = tls_file_read (&file, CERTIFICATES, files->certificates, name, false,
                     error);
  if (r < 0)
    return r;
  datum = datum_of (&file);
  r = set (credentials->certificates, &datum, GNUTLS_X509_FMT_PEM);
  tls_file_free (&file);
  if (r > 0)
    return 0;
  return tls_refuse (error, CERTIFICATES, files->certificates, name, "%s",
                     r < 0 ? gnutls_strerror (r) : "there is none in it");
}

static int
load_certificates (struct tls_credentials *credentials,
                   const struct tls_files *files, struct blkmq_error *error)
{
  int r;

  r = gnutls_certificate_allocate_credentials (&credentials->certificates);
  if (r < 0) {
    credentials->certificates = NULL;
    return tls_refuse (error, CERTIFICATES, files->certificates, NULL, "%s",
                       gnutls_strerror (r));
  }
  r = load_own (credentials, files, error);
  if (r < 0)
    return r;
  check_time (credentials, files);
  gnutls_certificate_set_known_dh_params (credentials->certificates,
                                          GNUTLS_SEC_PARAM_MEDIUM);
  if (!files->verify_peer)
    return 0;
  r = load_list (credentials, files, CA_FILE,
                 gnutls_certificate_set_x509_trust_mem, error);
  if (r < 0)
    return r;
  r = load_list (credentials, files, CRL_FILE,
                 gnutls_certificate_set_x509_crl_mem, error);
  return r == -ENOENT ? 0 : r;
}

/* ------------------------------------------------------------------------ */
/* Keys of users                                                             */

/* Of a user that is not there gnutls takes a key at random, so that nobody
 * learns by trying who is. */
#define NO_SUCH_USER 1

static int
give_key (gnutls_session_t gnutls, const gnutls_datum_t *name,
          gnutls_datum_t *given)
{
  const struct tls_session *session = gnutls_session_get_ptr (gnutls);
  const struct tls_key *key
      = tls_keys_find (session->credentials->keys, name->data, name->size);

  if (key == NULL)
    return NO_SUCH_USER;
  given->data = gnutls_malloc (key->nr);
  if (given->data == NULL)
    return -1;
  memcpy (given->data, key->bytes, key->nr);
  given->size = (unsigned)key->nr;
  return 0;
}

static int
load_psk (struct tls_credentials *credentials, const struct tls_files *files,
          struct blkmq_error *error)
{
  int r;

  r = tls_keys_load (files->psk, &credentials->keys, error);
  if (r < 0)
    return r;
  r = gnutls_psk_allocate_server_credentials (&credentials->psk);
  if (r < 0) {
    credentials->psk = NULL;
    return tls_refuse (error, "--tls-psk", files->psk, NULL, "%s",
                       gnutls_strerror (r));
  }
  gnutls_psk_set_server_known_dh_params (credentials->psk,
                                         GNUTLS_SEC_PARAM_MEDIUM);
  gnutls_psk_set_server_credentials_function2 (credentials->psk, give_key);
  return 0;
}

/* ------------------------------------------------------------------------ */
/* Life                                                                      */

int
tls_credentials_load (const struct tls_files *files,
                      struct tls_credentials **result,
                      struct blkmq_error *error)
{
  struct tls_credentials *credentials = calloc (1, sizeof *credentials);
  int r;

  if (credentials == NULL) {
    struct text text = text_begin_error (error);

    text_add (&text, "TLS: out of memory");
    return -ENOMEM;
  }
  credentials->nr_refs = 1;
  credentials->verify_peer = files->verify_peer;
  r = load_priority (credentials, files, error);
  if (r == 0)
    r = files->psk != NULL ? load_psk (credentials, files, error)
                           : load_certificates (credentials, files, error);
  if (r < 0) {
    tls_credentials_put (credentials);
    return r;
  }
  *result = credentials;
  return 0;
}

struct tls_credentials *
tls_credentials_get (struct tls_credentials *credentials)
{
  atomic_fetch_add_explicit (&credentials->nr_refs, 1, memory_order_relaxed);
  return credentials;
}

void
tls_credentials_put (struct tls_credentials *credentials)
{
  if (credentials == NULL || atomic_fetch_sub (&credentials->nr_refs, 1) > 1)
    return;
  if (credentials->certificates != NULL)
    gnutls_certificate_free_credentials (credentials->certificates);
  if (credentials->psk != NULL)
    gnutls_psk_free_server_credentials (credentials->psk);
  tls_keys_free (credentials->keys);
  if (credentials->priority != NULL)
    gnutls_priority_deinit (credentials->priority);
  free (credentials);
}

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-control-socket.c: the control socket in the file system: who may connect
 * to it, what it replaces, and what it leaves behind.
 */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "peer.h"

static void
assert_refused (struct server *server, const char *path, const char *part)
{
  struct blkmq_error error;

  ck_assert_ptr_null (server_listen (server, path, 0, &error));
  ck_assert_msg (strstr (error.message, part) != NULL, "no '%s' in: %s", part,
                 error.message);
  ck_assert_msg (strstr (error.message, "control=") != NULL, "%s",
                 error.message);
}

static void
path_in (struct server *server, const char *name, char path[128])
{
  snprintf (path, 128, "%s/%s", server->dir, name);
}

/* A socket of a server that was killed. */
static void
leave_stale (const char *path)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

  require (strlen (path) < sizeof address.sun_path);
  strcpy (address.sun_path, path);
  require (bind (fd, (struct sockaddr *)&address, sizeof address) == 0);
  require (listen (fd, 1) == 0);
  close (fd);
}

START_TEST (test_socket_is_private_whatever_the_umask)
{
  mode_t masks[] = { 0, 0777, 022 };
  mode_t old;
  struct stat st;

  for (size_t i = 0; i < NR (masks); i++) {
    struct server *server = server_alloc (1);

    old = umask (masks[i]);
    server_open (server, "", 0);
    umask (old);
    ck_assert_int_eq (stat (server->path, &st), 0);
    ck_assert (S_ISSOCK (st.st_mode));
    ck_assert_uint_eq (st.st_mode & 07777 & ~0600u, 0);
    server_stop (server);
  }
}
END_TEST

START_TEST (test_stale_socket_is_replaced)
{
  struct server *server = server_alloc (1);

  leave_stale (server->path);
  server_open (server, "", 0);
  peer_close (peer_open (server));
  server_stop (server);
}
END_TEST

START_TEST (test_socket_in_use_is_not_replaced)
{
  struct server *server = server_start ("");

  assert_refused (server, server->path, "another server listens there");
  peer_close (peer_open (server));
  server_stop (server);
}
END_TEST

START_TEST (test_what_is_no_socket_is_not_replaced)
{
  struct server *server = server_start ("");
  char path[128], link[128], text[8] = "";
  int fd;

  path_in (server, "file", path);
  fd = open (path, O_RDWR | O_CREAT | O_EXCL, 0600);
  require (fd >= 0 && write (fd, "kept", 4) == 4);
  assert_refused (server, path, "not a socket");
  require (pread (fd, text, sizeof text, 0) == 4);
  ck_assert_str_eq (text, "kept");
  close (fd);

  /* Nor what only leads to one. */
  path_in (server, "link", link);
  require (symlink (server->path, link) == 0);
  assert_refused (server, link, "not a socket");
  ck_assert_int_eq (unlink (link), 0);
  ck_assert_int_eq (unlink (path), 0);

  require (mkdir (path, 0700) == 0);
  assert_refused (server, path, "not a socket");
  ck_assert_int_eq (rmdir (path), 0);
  server_stop (server);
}
END_TEST

/* Two who start at once must not remove each other's socket. */
START_TEST (test_stale_socket_stays_while_another_looks_at_it)
{
  struct server *server = server_start ("");
  char path[128];
  struct stat st;
  int fd;

  path_in (server, "stale", path);
  leave_stale (path);
  fd = open (server->dir, O_RDONLY | O_DIRECTORY);
  require (fd >= 0 && flock (fd, LOCK_EX) == 0);
  assert_refused (server, path, "cannot be locked");
  ck_assert_int_eq (lstat (path, &st), 0);
  close (fd);
  ck_assert_int_eq (unlink (path), 0);
  server_stop (server);
}
END_TEST

START_TEST (test_path_must_fit_an_address)
{
  struct server *server = server_start ("");
  char path[200];

  memset (path, 'x', sizeof path);
  path[sizeof path - 1] = '\0';
  assert_refused (server, path, "1 to 107 bytes");
  assert_refused (server, "", "1 to 107 bytes");
  server_stop (server);
}
END_TEST

START_TEST (test_path_needs_its_directory)
{
  struct server *server = server_start ("");
  char path[128];

  path_in (server, "none/control", path);
  assert_refused (server, path, strerror (ENOENT));
  server_stop (server);
}
END_TEST

/* server_stop sees that it is gone as a rule. */
START_TEST (test_socket_that_is_anothers_stays)
{
  struct server *server = server_start ("");
  struct stat st;

  require (unlink (server->path) == 0);
  leave_stale (server->path);
  control_stop (server->control);
  ck_assert_int_eq (lstat (server->path, &st), 0);
  ck_assert (S_ISSOCK (st.st_mode));
  require (unlink (server->path) == 0);
  server_stop (server);
}
END_TEST

/* Whoever connects before the server is served when it is. */
START_TEST (test_socket_is_open_before_it_is_served)
{
  struct server *server = server_alloc (1);
  struct control_options options;
  struct blkmq_error error;
  struct control *control;
  struct peer *early;

  control = control_open (server->path, &error);
  ck_assert_ptr_nonnull (control);
  control_free (control);
  ck_assert_int_eq (access (server->path, F_OK), -1);

  server_open (server, "", 0);
  control_free (server->control);
  server->control = control_open (server->path, &error);
  early = peer_connect (server);
  ck_assert (peer_say (early, "{\"command\":\"exports\"}"));
  options
      = (struct control_options){ .exports = server->exports, .nr_exports = 1 };
  ck_assert_int_eq (control_start (server->control, &options, &error), 0);
  json_decref (peer_answer (early)); /* the greeting */
  json_decref (peer_answer (early));
  peer_close (early);
  server_stop (server);
}
END_TEST

START_TEST (test_stop_disconnects_clients)
{
  struct server *server = server_start ("");
  struct peer *idle = peer_open (server), *silent = peer_connect (server);

  control_stop (server->control);
  assert_closed (idle);
  /* This one may never have been let in. */
  free (peer_line (silent));
  peer_close (idle);
  peer_close (silent);
  server_stop (server);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("control-socket");
  TCase *tc = harness_case (suite, "socket");

  tcase_add_test (tc, test_socket_is_private_whatever_the_umask);
  tcase_add_test (tc, test_stale_socket_is_replaced);
  tcase_add_test (tc, test_socket_in_use_is_not_replaced);
  tcase_add_test (tc, test_what_is_no_socket_is_not_replaced);
  tcase_add_test (tc, test_stale_socket_stays_while_another_looks_at_it);
  tcase_add_test (tc, test_path_must_fit_an_address);
  tcase_add_test (tc, test_path_needs_its_directory);
  tcase_add_test (tc, test_socket_that_is_anothers_stays);
  tcase_add_test (tc, test_socket_is_open_before_it_is_served);
  tcase_add_test (tc, test_stop_disconnects_clients);
  return harness_main (suite);
}

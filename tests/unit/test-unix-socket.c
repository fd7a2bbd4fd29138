/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-unix-socket.c: when a socket begins to listen, which is when clients can
 * connect, it has its mode and its owner already.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "front/unix-socket.h"
#include "harness.h"

static struct stat seen; /* of the socket, by who called listen */
static int connect_error;
static unsigned nr_listens;
static char dir[] = "/tmp/blkmq-test.XXXXXX", path[64];

int __real_listen (int fd, int backlog);
int __wrap_listen (int fd, int backlog);

/* Stands in for listen in unix-socket.c. */
int
__wrap_listen (int fd, int backlog)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  int client = socket (AF_UNIX, SOCK_STREAM, 0);

  nr_listens++;
  ck_assert_int_eq (lstat (path, &seen), 0);
  strcpy (address.sun_path, path);
  connect_error
      = connect (client, (struct sockaddr *)&address, sizeof address) < 0
            ? errno
            : 0;
  close (client);
  return __real_listen (fd, backlog);
}

static void
make_dir (void)
{
  ck_assert_ptr_nonnull (mkdtemp (dir));
  snprintf (path, sizeof path, "%s/socket", dir);
}

static void
remove_dir (void)
{
  unlink (path);
  rmdir (dir);
}

static void
open_with (const struct unix_rights *rights, bool is_private)
{
  struct unix_socket unix_socket = { .option = "--unix=",
                                     .path = path,
                                     .is_private = is_private,
                                     .rights = rights,
                                     .backlog = 1 };
  struct blkmq_error error = { "" };
  struct stat st;
  unsigned nr_before = nr_listens;

  ck_assert_msg (unix_socket_open (&unix_socket, &error) == 0, "%s",
                 error.message);
  ck_assert_uint_eq (nr_listens, nr_before + 1);
  /* Nobody could connect until then, whatever the rights were. */
  ck_assert_msg (connect_error == ECONNREFUSED || connect_error == EACCES, "%s",
                 strerror (connect_error));
  /* And nothing changed from then on. */
  ck_assert_int_eq (lstat (path, &st), 0);
  ck_assert_uint_eq (st.st_mode, seen.st_mode);
  ck_assert_uint_eq (st.st_uid, seen.st_uid);
  ck_assert_uint_eq (st.st_gid, seen.st_gid);
  ck_assert (S_ISSOCK (st.st_mode));
  unix_socket_close (&unix_socket);
  ck_assert_int_eq (access (path, F_OK), -1);
}

START_TEST (test_it_has_its_mode_before_it_listens)
{
  static const mode_t masks[] = { 0, 0022, 0077, 0777 };
  static const mode_t modes[] = { 0777, 0666, 0660, 0600, 0 };

  for (size_t i = 0; i < NR (masks); i++) {
    umask (masks[i]);
    for (size_t j = 0; j < NR (modes); j++) {
      open_with (&(struct unix_rights){ .has_mode = true, .mode = modes[j] },
                 false);
      ck_assert_uint_eq (seen.st_mode & 07777, modes[j]);
      ck_assert_uint_eq (umask (masks[i]), masks[i]);
    }
    open_with (NULL, false);
    ck_assert_uint_eq (seen.st_mode & 07777, 0777 & ~masks[i]);
    open_with (NULL, true);
    ck_assert_uint_eq (seen.st_mode & 07777, 0600 & ~masks[i]);
  }
}
END_TEST

START_TEST (test_it_has_its_owner_before_it_listens)
{
  /* Only root can give it to others. */
  bool is_root = geteuid () == 0;
  struct unix_rights rights = { .has_owner = true,
                                .has_group = true,
                                .owner = is_root ? 4242 : geteuid (),
                                .group = is_root ? 4243 : getegid () };

  open_with (&rights, false);
  ck_assert_uint_eq (seen.st_uid, rights.owner);
  ck_assert_uint_eq (seen.st_gid, rights.group);
  rights.has_owner = false;
  rights.has_mode = true;
  rights.mode = 0620;
  open_with (&rights, false);
  ck_assert_uint_eq (seen.st_uid, geteuid ());
  ck_assert_uint_eq (seen.st_gid, rights.group);
  ck_assert_uint_eq (seen.st_mode & 07777, 0620);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("unix-socket");
  TCase *tcase = harness_case (suite, "rights");

  tcase_add_checked_fixture (tcase, make_dir, remove_dir);
  tcase_add_test (tcase, test_it_has_its_mode_before_it_listens);
  tcase_add_test (tcase, test_it_has_its_owner_before_it_listens);
  return harness_main (suite);
}

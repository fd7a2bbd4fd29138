/* SPDX-License-Identifier: BSD-3-Clause
 *
 * admission.c: who has connected, and may he?  A Unix socket's client is the
 * user and the groups that it had when it connected, any other one its address.
 * The main thread.
 */

#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/admission.h"
#include "server/log.h"
#include "server/names.h"

/* Of those who are refused so many have a line of their own, in so long. */
#define MAX_SHOWN 10u
#define WINDOW_S 10

/* ------------------------------------------------------------------------ */
/* Lines                                                                     */

static void
tell_hidden (struct admission *admission, const char *when)
{
  if (admission->nr_hidden > 0)
    log_warning ("%u more %s refused%s", admission->nr_hidden,
                 admission->nr_hidden == 1 ? "was" : "were", when);
}

static void
on_window (struct ev_loop *loop, ev_timer *watcher, int events)
{
  struct admission *admission = watcher->data;

  if (admission->nr_hidden > 0)
    ev_timer_again (loop, watcher);
  else
    ev_timer_stop (loop, watcher);
  tell_hidden (admission, ", in 10 s");
  admission->nr_shown = admission->nr_hidden = 0;
}

/* Has who is refused now a line of his own? */
static bool
is_shown (struct admission *admission)
{
  if (!ev_is_active (&admission->window))
    ev_timer_again (admission->loop, &admission->window);
  if (admission->nr_shown < MAX_SHOWN) {
    admission->nr_shown++;
    return true;
  }
  admission->nr_hidden++;
  return false;
}

void
admission_start (struct admission *admission, struct ev_loop *loop,
                 const struct access *access)
{
  _Static_assert(WINDOW_S == 10, "the message says so");
  *admission = (struct admission){ .access = access, .loop = loop };
  ev_timer_init (&admission->window, on_window, 0, WINDOW_S);
  admission->window.data = admission;
}

void
admission_stop (struct admission *admission)
{
  if (admission->loop == NULL)
    return;
  ev_timer_stop (admission->loop, &admission->window);
  tell_hidden (admission, "");
  admission->loop = NULL;
}

/* ------------------------------------------------------------------------ */
/* Users                                                                     */

/* All groups of FD's client, of which FIRST is one, to be freed; and their
 * number.  NULL with errno. */
static gid_t *
groups_of (int fd, gid_t first, size_t *nr)
{
  socklen_t bytes = 0;
  gid_t *gids;
  int error;

  /* First their number is asked.  They do not change any more. */
  if (getsockopt (fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &bytes) < 0
      && errno != ERANGE)
    return NULL;
  gids = malloc (bytes + sizeof gids[0]);
  if (gids == NULL)
    return NULL;
  if (getsockopt (fd, SOL_SOCKET, SO_PEERGROUPS, gids, &bytes) < 0) {
    error = errno;
    free (gids);
    errno = error;
    return NULL;
  }
  *nr = bytes / sizeof gids[0];
  gids[(*nr)++] = first;
  return gids;
}

static void
refuse_user (struct admission *admission, uid_t uid, const char *name)
{
  const struct access *access = admission->access;
  const char *lists = "neither in --allow-uid nor in a group of --allow-gid";
  struct named_user user;
  char number[16];

  if (!is_shown (admission))
    return;
  if (access->nr_gids == 0)
    lists = "not in --allow-uid";
  else if (access->nr_uids == 0)
    lists = "not in a group of --allow-gid";
  snprintf (number, sizeof number, "%lu", (unsigned long)uid);
  if (names_find_user (number, &user) < 0)
    user.name[0] = '\0';
  log_warning ("%s: refused: the user%s%s is %s", name,
               user.name[0] != '\0' ? " " : "", user.name, lists);
}

static bool
check_user (struct admission *admission, int fd, const char *name)
{
  const struct access *access = admission->access;
  struct ucred peer;
  socklen_t bytes = sizeof peer;
  gid_t *gids = NULL;
  size_t nr_gids = 0;
  bool may;

  if (access->nr_uids == 0 && access->nr_gids == 0)
    return true;
  if (getsockopt (fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) < 0
      || (access->nr_gids > 0
          && (gids = groups_of (fd, peer.gid, &nr_gids)) == NULL)) {
    if (is_shown (admission))
      log_warning ("%s: refused: cannot tell who it is: %s", name,
                   strerror (errno));
    return false;
  }
  may = access_allows_user (access, peer.uid, gids, nr_gids);
  free (gids);
  if (!may)
    refuse_user (admission, peer.uid, name);
  return may;
}

/* ------------------------------------------------------------------------ */

bool
admission_check (struct admission *admission, int fd,
                 const struct sockaddr *address, const char *name)
{
  int domain = AF_UNSPEC;
  socklen_t bytes = sizeof domain;

  /* A Unix socket's client may have no address. */
  if (getsockopt (fd, SOL_SOCKET, SO_DOMAIN, &domain, &bytes) == 0
      && domain == AF_UNIX)
    return check_user (admission, fd, name);
  if (access_allows_address (admission->access, address))
    return true;
  if (is_shown (admission))
    log_warning ("%s: refused: the address is not in --allow-from", name);
  return false;
}

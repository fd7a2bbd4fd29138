/* SPDX-License-Identifier: BSD-3-Clause
 *
 * peer.c: the other side of a control socket, that does what a script says:
 *
 *   peer SOCKET <SCRIPT
 *
 * It serves one connection and then ends.  Each line of the script is
 *
 *   > TEXT   send TEXT and a newline
 *   + TEXT   send TEXT without one
 *   <        receive a line, and print it
 *   = TEXT   receive a line, which must be TEXT
 *   wait     wait until the other side has closed
 *
 * After the last one it closes.  The socket is there as soon as it can be
 * connected to.  Exit status: 0, or 1 and a message.
 */

#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void __attribute__ ((noreturn)) fail (const char *what)
{
  fprintf (stderr, "peer: %s: %s\n", what, strerror (errno));
  exit (1);
}

static int
listen_at (const char *path)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  int fd = socket (AF_UNIX, SOCK_STREAM, 0);
  char temporary[sizeof address.sun_path];

  /* It gets its name when it listens. */
  if (fd == -1
      || (size_t)snprintf (temporary, sizeof temporary, "%s.new", path)
             >= sizeof temporary)
    fail (path);
  strcpy (address.sun_path, temporary);
  if (bind (fd, (struct sockaddr *)&address, sizeof address) == -1
      || listen (fd, 1) == -1 || rename (temporary, path) == -1)
    fail (path);
  return fd;
}

/* What the other side does not take any more is its own business. */
static void
transmit (int fd, const char *text, size_t bytes)
{
  while (bytes > 0) {
    ssize_t nr = send (fd, text, bytes, MSG_NOSIGNAL);

    if (nr <= 0)
      return;
    text += nr;
    bytes -= (size_t)nr;
  }
}

static char *
receive (FILE *from)
{
  static char *line;
  static size_t size;
  ssize_t nr = getline (&line, &size, from);

  if (nr <= 0)
    fail ("the other side has closed");
  if (line[nr - 1] == '\n')
    line[nr - 1] = '\0';
  return line;
}

static void
play (int fd, FILE *script)
{
  FILE *from = fdopen (fd, "r");
  char *line = NULL;
  size_t size = 0;
  ssize_t nr;

  if (from == NULL)
    fail ("fdopen");
  while ((nr = getline (&line, &size, script)) > 0) {
    if (strncmp (line, "> ", 2) == 0)
      transmit (fd, line + 2, (size_t)nr - 2);
    else if (strncmp (line, "+ ", 2) == 0)
      transmit (fd, line + 2, (size_t)nr - 3);
    else if (strcmp (line, "<\n") == 0) {
      puts (receive (from));
      fflush (stdout);
    } else if (strncmp (line, "= ", 2) == 0) {
      const char *got = receive (from);

      line[nr - 1] = '\0';
      if (strcmp (got, line + 2) != 0) {
        fprintf (stderr, "peer: received %s\npeer: and not  %s\n", got,
                 line + 2);
        exit (1);
      }
    } else if (strcmp (line, "wait\n") == 0) {
      while (fgetc (from) != EOF)
        continue;
    } else {
      fprintf (stderr, "peer: not understood: %s", line);
      exit (1);
    }
  }
  free (line);
  fclose (from);
}

int
main (int argc, char **argv)
{
  int listener, fd;

  if (argc != 2) {
    fputs ("usage: peer SOCKET <SCRIPT\n", stderr);
    return 1;
  }
  listener = listen_at (argv[1]);
  fd = accept (listener, NULL, NULL);
  if (fd == -1)
    fail ("accept");
  close (listener);
  unlink (argv[1]);
  play (fd, stdin);
  return 0;
}

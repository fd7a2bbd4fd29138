/* SPDX-License-Identifier: BSD-3-Clause
 *
 * screen.c: the terminal.  One thread; no signal handler enters.
 */

#include <config.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "blkmqctl/memory.h"
#include "blkmqctl/screen.h"

#define ENTER "\033[?1049h\033[H\033[2J"
#define HIDE_CURSOR "\033[?25l"
#define LEAVE "\033[0m\033[?25h\033[?1049l"

static bool entered, has_keys;
static struct termios before;

bool
screen_is_there (void)
{
  const char *term = getenv ("TERM");

  return isatty (STDOUT_FILENO) && term != NULL && *term != '\0'
         && strcmp (term, "dumb") != 0;
}

/* The terminal may be slow, or set to not block by who had it before. */
static void
write_all (const char *text, size_t bytes)
{
  struct pollfd pollfd = { .fd = STDOUT_FILENO, .events = POLLOUT };

  while (bytes > 0) {
    ssize_t nr = write (STDOUT_FILENO, text, bytes);

    if (nr == -1 && errno == EAGAIN)
      poll (&pollfd, 1, -1);
    else if (nr == -1 && errno != EINTR)
      return;
    if (nr > 0) {
      text += nr;
      bytes -= (size_t)nr;
    }
  }
}

void
screen_enter (void)
{
  static bool registered;
  struct termios raw;

  if (!registered)
    atexit (screen_leave);
  registered = true;
  /* Keys come one by one and are not shown; Ctrl-C stays a signal. */
  if (!entered)
    has_keys = tcgetattr (STDIN_FILENO, &before) == 0;
  if (has_keys) {
    raw = before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    tcsetattr (STDIN_FILENO, TCSADRAIN, &raw);
  }
  /* Not twice: with the screen a terminal keeps where the cursor was. */
  if (!entered)
    write_all (ENTER, strlen (ENTER));
  write_all (HIDE_CURSOR, strlen (HIDE_CURSOR));
  entered = true;
}

void
screen_leave (void)
{
  if (!entered)
    return;
  entered = false;
  write_all (LEAVE, strlen (LEAVE));
  if (has_keys)
    tcsetattr (STDIN_FILENO, TCSADRAIN, &before);
}

void
screen_size (unsigned *columns, unsigned *rows)
{
  struct winsize size;

  *columns = 80;
  *rows = 24;
  if (ioctl (STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0
      && size.ws_row > 0) {
    *columns = size.ws_col;
    *rows = size.ws_row;
  }
}

void
screen_show (const char *picture)
{
  size_t bytes;
  char *text;
  FILE *file = open_memstream (&text, &bytes);

  if (file == NULL)
    no_memory ();
  /* Home; of each line what is left of an older one is erased. */
  fputs ("\033[H", file);
  for (; *picture != '\0'; picture++)
    fputs (*picture == '\n' ? "\033[K\r\n" : (char[2]){ *picture }, file);
  fputs ("\033[K\033[J", file);
  if (fclose (file) != 0)
    no_memory ();
  write_all (text, bytes);
  free (text);
}

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * log.c: lines on stderr, in a file or to syslog.  Any thread, but for what
 * log.h says is the main thread's.
 */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "front/path.h"
#include "server/log.h"
#include "text.h"

#define MAX_MESSAGE_BYTES 4096u
#define FILE_MODE 0640

const char *const log_level_names[NR_LOG_LEVELS + 1]
    = { "error", "warning", "info", "debug", NULL };

static const int priorities[NR_LOG_LEVELS]
    = { LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

static enum log_level shown = LOG_LEVEL_INFO;
static bool is_journal;            /* stderr is */
static _Atomic bool leaves_stderr; /* to others */
static bool uses_syslog;
static int file_fd = -1; /* the same number for good, whatever it opens */
static char *file_path;

/* ------------------------------------------------------------------------ */
/* Where to                                                                  */

void
log_find_journal (void)
{
  const char *stream = getenv ("JOURNAL_STREAM");
  uintmax_t device, inode;
  struct stat st;

  is_journal = stream != NULL
               && sscanf (stream, "%ju:%ju", &device, &inode) == 2
               && fstat (STDERR_FILENO, &st) == 0 && st.st_dev == device
               && st.st_ino == inode;
}

void
log_set_level (enum log_level level)
{
  shown = level;
}

bool
log_has_level (enum log_level level)
{
  return level <= shown;
}

static int
fail (const char *path, int error, struct blkmq_error *to)
{
  struct text text = text_begin_error (to);

  text_add (&text, "--log-file=");
  text_add_path (&text, path);
  text_add (&text, ": %s", strerror (error));
  return -error;
}

/* Whoever may read the log learns who its clients are. */
static int
open_file (const char *path)
{
  return open (path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY,
               FILE_MODE);
}

int
log_open_file (const char *path, struct blkmq_error *error)
{
  file_path = path_absolute (path);
  if (file_path == NULL)
    return fail (path, errno, error);
  file_fd = open_file (file_path);
  return file_fd < 0 ? fail (path, errno, error) : 0;
}

int
log_reopen (struct blkmq_error *error)
{
  int fd, r = 0;

  if (file_fd < 0)
    return 1;
  fd = open_file (file_path);
  if (fd < 0)
    return fail (file_path, errno, error);
  /* At once: other threads write there meanwhile. */
  if (dup3 (fd, file_fd, O_CLOEXEC) < 0)
    r = fail (file_path, errno, error);
  close (fd);
  return r;
}

void
log_open_syslog (void)
{
  openlog ("blkmqd", LOG_PID | LOG_NDELAY, LOG_DAEMON);
  uses_syslog = true;
}

void
log_leave_stderr (void)
{
  if (file_fd >= 0 || uses_syslog)
    atomic_store (&leaves_stderr, true);
}

void
log_close (void)
{
  if (file_fd >= 0)
    close (file_fd);
  file_fd = -1;
  free (file_path);
  file_path = NULL;
  if (uses_syslog)
    closelog ();
  uses_syslog = false;
}

/* ------------------------------------------------------------------------ */
/* Lines                                                                     */

/* Names come from clients.  UTF-8 stays as it is. */
static size_t
escape (char *line, const char *message)
{
  size_t nr = 0;

  for (; *message != '\0'; message++) {
    unsigned char c = (unsigned char)*message;

    if (c < 0x20 || c == 0x7f)
      nr += (size_t)sprintf (line + nr, "\\x%02x", c);
    else
      line[nr++] = (char)c;
  }
  line[nr] = '\0';
  return nr;
}

/* "2026-01-31T23:59:59.999Z ": whatever the time zone, and in order when they
 * are sorted.  0 bytes if there is no such time. */
static size_t
print_time (char *text, size_t size)
{
  struct timespec now;
  struct tm tm;
  size_t nr;

  clock_gettime (CLOCK_REALTIME, &now);
  if (gmtime_r (&now.tv_sec, &tm) == NULL)
    return 0;
  nr = strftime (text, size, "%Y-%m-%dT%H:%M:%S", &tm);
  return nr
         + (size_t)snprintf (text + nr, size - nr, ".%03ldZ ",
                             now.tv_nsec / 1000000);
}

/* There is nobody to tell that nobody can be told. */
static void
write_line (int fd, const char *prefix, size_t prefix_bytes, const char *text,
            size_t bytes)
{
  struct iovec parts[] = { { (void *)(uintptr_t)prefix, prefix_bytes },
                           { (void *)(uintptr_t)text, bytes },
                           { (char[]){ '\n' }, 1 } };

  (void)!writev (fd, parts, sizeof parts / sizeof parts[0]);
}

static size_t
print_level (char *prefix, enum log_level level)
{
  if (level == LOG_LEVEL_INFO)
    return (size_t)sprintf (prefix, "blkmqd: ");
  return (size_t)sprintf (prefix, "blkmqd: %s: ", log_level_names[level]);
}

void
log_line (enum log_level level, const char *format, ...)
{
  char message[MAX_MESSAGE_BYTES], text[4 * MAX_MESSAGE_BYTES], prefix[96];
  int error = errno;
  size_t bytes, nr;
  va_list args;

  if (!log_has_level (level))
    return;
  va_start (args, format);
  vsnprintf (message, sizeof message, format, args);
  va_end (args);
  bytes = escape (text, message);

  if (!atomic_load (&leaves_stderr)) {
    nr = is_journal ? (size_t)sprintf (prefix, "<%d>", priorities[level])
                    : print_level (prefix, level);
    write_line (STDERR_FILENO, prefix, nr, text, bytes);
  }
  if (file_fd >= 0) {
    nr = print_time (prefix, sizeof prefix / 2);
    nr += print_level (prefix + nr, level);
    write_line (file_fd, prefix, nr, text, bytes);
  }
  if (uses_syslog)
    syslog (priorities[level], "%s", text);
  errno = error;
}

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * log.h: what blkmqd tells its operator: a line a message, on stderr, in a file
 * or to syslog.  Any thread, several at once; a line is one write.
 */

#ifndef BLKMQ_SERVER_LOG_H
#define BLKMQ_SERVER_LOG_H

#include <stdbool.h>

#include "blkmq.h"

enum log_level {
  LOG_LEVEL_ERROR = 0, /* blkmqd cannot do what it was asked to */
  LOG_LEVEL_WARNING,   /* a client was refused or cut off */
  LOG_LEVEL_INFO,      /* what it serves, and where */
  LOG_LEVEL_DEBUG,     /* connections, and requests that failed */
  NR_LOG_LEVELS
};

/* NULL-terminated: "error", "warning", ... */
extern const char *const log_level_names[NR_LOG_LEVELS + 1];

/* ---- the main thread, before others run ---- */

/* First of all: is stderr systemd's journal?  Lines then begin with their
 * priority, as sd-daemon(3) has it, and with nothing that the journal adds. */
void log_find_journal (void);

/* The default is LOG_LEVEL_INFO. */
void log_set_level (enum log_level level);

/* Add to the file at PATH, each line with its time.  stderr has the same until
 * log_leave_stderr.  Negative errno with ERROR. */
int log_open_file (const char *path, struct blkmq_error *error);

/* The same with syslog(3). */
void log_open_syslog (void);

/* ---- the main thread ---- */

/* If there is a file or syslog: stderr is left to others. */
void log_leave_stderr (void);

/* The file may have been moved away: go on in one of its name.  No line is
 * lost.  Negative errno with ERROR, and it goes on in the one that there was;
 * 1 if there is no file. */
int log_reopen (struct blkmq_error *error);

void log_close (void);

/* ---- any thread ---- */

bool log_has_level (enum log_level level);

/* A line: "blkmqd: LEVEL: MESSAGE\n" (without LEVEL for info), cut off at 4096
 * bytes; bytes that would disturb a terminal are escaped.  Does not touch
 * errno. */
void log_line (enum log_level level, const char *format, ...)
    __attribute__ ((format (printf, 2, 3)));

#define log_error(...) log_line (LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line (LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_line (LOG_LEVEL_INFO, __VA_ARGS__)
/* Its arguments are evaluated only if it is shown. */
#define log_debug(...)                                                         \
  (log_has_level (LOG_LEVEL_DEBUG) ? log_line (LOG_LEVEL_DEBUG, __VA_ARGS__)   \
                                   : (void)0)

#endif /* BLKMQ_SERVER_LOG_H */

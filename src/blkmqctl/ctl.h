/* SPDX-License-Identifier: BSD-3-Clause
 *
 * ctl.h: what the commands of blkmqctl share.  One thread.
 */

#ifndef BLKMQ_BLKMQCTL_CTL_H
#define BLKMQ_BLKMQCTL_CTL_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "blkmqctl/client.h"

/* One run of the program: what the command line says, and the connection. */
struct ctl {
  const char *path;   /* of the socket */
  const char *export; /* NULL: the default one */
  const char *name;   /* of the command, for messages */
  char **args;        /* of the command */
  int nr_args;
  bool json, live;
  double delay;   /* of top, in seconds */
  uint64_t count; /* of top; 0: for ever */
  uint64_t max;   /* of inflight; 0: as many as the server says */
  struct client client;
};

/* The commands; the program exits with what they return, and they have said on
 * standard error why that is not CTL_DONE. */
enum ctl_status ctl_exports (struct ctl *ctl);
enum ctl_status ctl_show (struct ctl *ctl);
enum ctl_status ctl_get (struct ctl *ctl);
enum ctl_status ctl_set (struct ctl *ctl);
enum ctl_status ctl_stats (struct ctl *ctl);
enum ctl_status ctl_top (struct ctl *ctl);
enum ctl_status ctl_fault (struct ctl *ctl);
enum ctl_status ctl_power (struct ctl *ctl);
enum ctl_status ctl_freeze (struct ctl *ctl);
enum ctl_status ctl_unfreeze (struct ctl *ctl);
enum ctl_status ctl_inflight (struct ctl *ctl);
enum ctl_status ctl_reset_stats (struct ctl *ctl);

/* ---- for the commands ---- */

/* Print "blkmqctl: NAME: ..." and return STATUS. */
enum ctl_status ctl_fail (struct ctl *ctl, enum ctl_status status,
                          const char *format, ...)
    __attribute__ ((format (printf, 3, 4)));

/* The same with what the client says. */
enum ctl_status ctl_client_failed (struct ctl *ctl, enum ctl_status status);

/* Connect, unless it is so already, ask, and wait for the answer.  Takes over
 * ARGUMENTS; *RESULT is the caller's. */
enum ctl_status ctl_call (struct ctl *ctl, const char *command,
                          json_t *arguments, json_t **result);

/* The same for a command whose result is for --json only: it is printed with
 * that, else nothing is. */
enum ctl_status ctl_do (struct ctl *ctl, const char *command,
                        json_t *arguments);

/* Take members out of RESULT as json_unpack does. */
#define ctl_unpack(ctl, result, ...)                                           \
  ctl_unpacked (ctl, client_unpack (&(ctl)->client, result, __VA_ARGS__))
enum ctl_status ctl_unpacked (struct ctl *ctl, enum ctl_status status);

/* The member NAME, which has to be an array; it stays RESULT's. */
enum ctl_status ctl_array (struct ctl *ctl, json_t *result, const char *name,
                           json_t **array);

/* The result as the server gave it. */
void ctl_print_json (const json_t *result);

/* Columns that a table may have: the terminal's or COLUMNS, else 0, which is
 * any number. */
unsigned ctl_columns (void);

#endif /* BLKMQ_BLKMQCTL_CTL_H */

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * options-internal.h: what the files of options.h share, by the file that owns
 * it.
 */

#ifndef BLKMQ_SERVER_OPTIONS_INTERNAL_H
#define BLKMQ_SERVER_OPTIONS_INTERNAL_H

#include "engine/config.h"
#include "server/options.h"

/* ---- options-table.c: what there is ---- */

#define OPTIONS_DEFAULT_MAX_THREADS 8
#define OPTIONS_REQUEST_UNIT_BYTES (UINT64_C (64) << 10)

enum {
  OPT_CONFIG,
  OPT_CHECK,
  OPT_UNIX,
  OPT_TCP,
  OPT_UNIX_MODE,
  OPT_UNIX_OWNER,
  OPT_ALLOW_UID,
  OPT_ALLOW_GID,
  OPT_ALLOW_FROM,
  OPT_ALLOW_IDENTITY,
  OPT_USER,
  OPT_GROUP,
  OPT_STDIO,
  OPT_RUN,
  OPT_DAEMON,
  OPT_PIDFILE,
  OPT_LOG_LEVEL,
  OPT_LOG_FILE,
  OPT_SYSLOG,
  OPT_THREADS,
  OPT_BUSY_POLL,
  OPT_MAX_CONNECTIONS,
  OPT_MAX_REQUEST,
  OPT_MAX_BUFFERS,
  OPT_HANDSHAKE_TIMEOUT,
  OPT_IDLE_TIMEOUT,
  OPT_STALL_TIMEOUT,
  OPT_DRAIN_TIMEOUT,
  OPT_TLS,
  OPT_TLS_CERTIFICATES,
  OPT_TLS_PSK,
  OPT_TLS_VERIFY_PEER,
  OPT_TLS_PRIORITY,
  NR_OPTIONS,
  OPT_HELP = NR_OPTIONS,
  OPT_VERSION,
};

struct option_row {
  struct blkmq_key key; /* its name begins with "--" */
  const char *value;    /* what --help calls it; NULL: the option has none, and
                         * its number is 1 if it is given */
  bool may_repeat;
  bool not_in_file; /* of the command line only */
};

extern const struct option_row option_rows[NR_OPTIONS];

struct option_values {
  bool given[NR_OPTIONS];
  uint64_t numbers[NR_OPTIONS];    /* in their key's unit; sizes in bytes */
  const char *strings[NR_OPTIONS]; /* as given, last; or NULL */
  /* Given on the command line, which counts more than the file, whose values
   * are being set. */
  bool outranks_file[NR_OPTIONS];
};

void options_set_defaults (struct option_values *values);

/* ---- options.c ---- */

/* VALUE as it was given, which stays where it is; for an option that has none
 * NULL, or from a file a BOOL.  -EINVAL or -ENOMEM, with ERROR, which begins
 * with the option as the command line has it: "--NAME". */
int options_set (struct options *options, struct option_values *values,
                 unsigned option, const char *value, struct blkmq_error *error);

/* A copy that lives as long as OPTIONS; NULL: no memory. */
const char *options_keep (struct options *options, const char *text);

/* ---- options-help.c ---- */

void options_print_help (void);

/* ---- options-access.c ---- */

/* Take VALUE, if it is an OPTION of that kind.  -EINVAL or -ENOMEM with ERROR.
 */
int options_access_take (struct options *options, unsigned option,
                         const char *value, struct blkmq_error *error);

/* When all were taken: do they go together? */
enum options_result options_access_check (struct options *options,
                                          const struct option_values *values);

/* ---- options-check.c ---- */

/* Do the values go together?  Puts them into OPTIONS. */
enum options_result options_check (struct options *options,
                                   struct option_values *values);

/* ---- options-tls.c ---- */

/* The same, of those that begin with --tls. */
enum options_result options_check_tls (struct options *options,
                                       const struct option_values *values);

#endif /* BLKMQ_SERVER_OPTIONS_INTERNAL_H */

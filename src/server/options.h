/* SPDX-License-Identifier: BSD-3-Clause
 *
 * options.h: the command line of blkmqd, with the file that it names.  One
 * thread, before others run.
 */

#ifndef BLKMQ_SERVER_OPTIONS_H
#define BLKMQ_SERVER_OPTIONS_H

#include <stdbool.h>

#include "front/unix-socket.h"
#include "server/access.h"
#include "server/privileges.h"
#include "server/server.h"
#include "server/tls.h"

/* One --unix or --tcp. */
struct address_option {
  bool is_tcp;
  const char *value;
};

/* Strings are the command line's own, or among those that were kept. */
struct options {
  /* Keys are taken, not checked as a whole.  Free it, whatever happens. */
  struct exports *exports;

  struct address_option *addresses; /* in the order of the command line */
  unsigned nr_addresses;
  struct unix_rights unix_rights; /* of each --unix */
  struct access access;
  struct privileges privileges;
  unsigned nr_passed;           /* addresses that others listen at for us */
  const char *config_file;      /* or NULL */
  struct config_places *places; /* of what stands in it */
  bool is_check;                /* nothing is to be served */
  const char *pidfile;          /* or NULL */
  const char *command;          /* of --run, or NULL */
  const char *log_file;         /* or NULL */
  bool uses_syslog;
  bool is_stdio;
  bool is_daemon;
  unsigned nr_threads;
  unsigned busy_poll_us;
  struct server_limits limits;
  unsigned drain_timeout_ms; /* 0: never */
  enum negotiation_tls tls;
  struct tls_files tls_files; /* unless tls is off */

  char **kept;
  size_t nr_kept;
};

enum options_result {
  OPTIONS_SERVE,
  OPTIONS_DONE,  /* --help or --version was answered */
  OPTIONS_WRONG, /* a message was logged */
};

/* Also sets the level of the log.  NR_PASSED sockets there are already. */
enum options_result options_parse (struct options *options, unsigned nr_passed,
                                   int argc, char **argv);

/* Says on stderr what is wrong with the exports: ERROR is exports_check's. With
 * its line, if it is in the file. */
void options_explain (const struct options *options,
                      const struct blkmq_error *error);

/* Says on stdout what would be served.  After exports_check. */
void options_print (const struct options *options);

/* Does every client have to show a certificate or a key? */
bool options_tls_asks_identity (const struct options *options);

void options_free (struct options *options);

#endif /* BLKMQ_SERVER_OPTIONS_H */

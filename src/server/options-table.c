/* SPDX-License-Identifier: BSD-3-Clause
 *
 * options-table.c: blkmqd's options and their defaults.  The main thread,
 * before others run.
 */

#include <config.h>

#include <sched.h>

#include "server/log.h"
#include "server/options-internal.h"

#define DEFAULT_BUSY_POLL_US 20
#define DEFAULT_DRAIN_TIMEOUT_MS 10000
#define MAX_TIMEOUT_MS (24 * 3600 * 1000)

/* In the order of enum negotiation_tls. */
static const char *const tls_words[] = { "off", "on", "require", NULL };

const struct option_row option_rows[NR_OPTIONS] = {
  [OPT_CONFIG] = {
      .value = "FILE",
      .not_in_file = true,
      .key = { .name = "--config",
               .type = BLKMQ_KEY_STRING,
               .help = "options and exports, as in blkmqd.conf(5)" },
  },
  [OPT_CHECK] = {
      .not_in_file = true,
      .key = { .name = "--check",
               .type = BLKMQ_KEY_BOOL,
               .help = "say what is wrong, or would be served; serve nothing" },
  },
  [OPT_UNIX] = {
      .may_repeat = true,
      .value = "PATH",
      .key = { .name = "--unix",
               .type = BLKMQ_KEY_STRING,
               .help = "listen on a Unix socket; may be given again" },
  },
  [OPT_TCP] = {
      .may_repeat = true,
      .value = "HOST:PORT",
      .key = { .name = "--tcp",
               .type = BLKMQ_KEY_STRING,
               .help = "listen on a TCP port; may be given again" },
  },
  [OPT_UNIX_MODE] = {
      .value = "OCTAL",
      .key = { .name = "--unix-mode",
               .type = BLKMQ_KEY_STRING,
               .help = "mode of Unix sockets; else as the umask says" },
  },
  [OPT_UNIX_OWNER] = {
      .value = "USER:GROUP",
      .key = { .name = "--unix-owner",
               .type = BLKMQ_KEY_STRING,
               .help = "owner of Unix sockets; also USER or :GROUP" },
  },
  [OPT_ALLOW_UID] = {
      .may_repeat = true,
      .value = "USER",
      .key = { .name = "--allow-uid",
               .type = BLKMQ_KEY_STRING,
               .help = "only these may connect to Unix sockets" },
  },
  [OPT_ALLOW_GID] = {
      .may_repeat = true,
      .value = "GROUP",
      .key = { .name = "--allow-gid",
               .type = BLKMQ_KEY_STRING,
               .help = "only who is in one of these, likewise" },
  },
  [OPT_ALLOW_FROM] = {
      .may_repeat = true,
      .value = "ADDRESS",
      .key = { .name = "--allow-from",
               .type = BLKMQ_KEY_STRING,
               .help = "only from there, or ADDRESS/PREFIX, over TCP" },
  },
  [OPT_ALLOW_IDENTITY] = {
      .may_repeat = true,
      .value = "PATTERN",
      .key = { .name = "--allow-identity",
               .type = BLKMQ_KEY_STRING,
               .help = "only these certificates or keys of TLS" },
  },
  [OPT_USER] = {
      .value = "USER",
      .key = { .name = "--user",
               .type = BLKMQ_KEY_STRING,
               .help = "become this user when all is open" },
  },
  [OPT_GROUP] = {
      .value = "GROUP",
      .key = { .name = "--group",
               .type = BLKMQ_KEY_STRING,
               .help = "instead of the group of --user" },
  },
  [OPT_STDIO] = {
      .not_in_file = true,
      .key = { .name = "--stdio",
               .help = "serve the one client on stdin and stdout" },
  },
  [OPT_RUN] = {
      .value = "COMMAND",
      .not_in_file = true,
      .key = { .name = "--run",
               .type = BLKMQ_KEY_STRING,
               .help = "serve while a shell runs this, with $uri" },
  },
  [OPT_DAEMON] = {
      .not_in_file = true,
      .key = { .name = "--daemon",
               .help = "go to the background when it serves" },
  },
  [OPT_PIDFILE] = {
      .value = "FILE",
      .key = { .name = "--pidfile",
               .type = BLKMQ_KEY_STRING,
               .help = "write the process id there when ready" },
  },
  [OPT_LOG_LEVEL] = {
      .value = "LEVEL",
      .key = { .name = "--log-level",
               .type = BLKMQ_KEY_ENUM,
               .words = log_level_names,
               .help = "error, warning, info or debug" },
  },
  [OPT_LOG_FILE] = {
      .value = "FILE",
      .key = { .name = "--log-file",
               .type = BLKMQ_KEY_STRING,
               .help = "log there; SIGHUP opens it anew" },
  },
  [OPT_SYSLOG] = {
      .key = { .name = "--syslog", .help = "log to syslog" },
  },
  [OPT_THREADS] = {
      .value = "N",
      .key = { .name = "--threads",
               .type = BLKMQ_KEY_INT,
               .min = 1,
               .max = SERVER_MAX_THREADS,
               .help = "threads that serve" },
  },
  [OPT_BUSY_POLL] = {
      .value = "TIME",
      .key = { .name = "--busy-poll",
               .type = BLKMQ_KEY_TIME,
               .unit = "us",
               .max = 1000,
               .help = "longest wait awake for a request" },
  },
  [OPT_MAX_CONNECTIONS] = {
      .value = "N",
      .key = { .name = "--max-connections",
               .type = BLKMQ_KEY_INT,
               .min = 1,
               .max = 1000000,
               .help = "further clients are refused" },
  },
  [OPT_MAX_REQUEST] = {
      .value = "SIZE",
      .key = { .name = "--max-request",
               .type = BLKMQ_KEY_SIZE,
               .unit = "bytes",
               .min = OPTIONS_REQUEST_UNIT_BYTES,
               .max = UINT64_C (32) << 20,
               .help = "longest read or write" },
  },
  [OPT_MAX_BUFFERS] = {
      .value = "SIZE",
      .key = { .name = "--max-buffers",
               .type = BLKMQ_KEY_SIZE,
               .unit = "bytes",
               .min = 2 * OPTIONS_REQUEST_UNIT_BYTES,
               .max = INT64_MAX,
               .help = "most data on its way at once" },
  },
  [OPT_HANDSHAKE_TIMEOUT] = {
      .value = "TIME",
      .key = { .name = "--handshake-timeout",
               .type = BLKMQ_KEY_TIME,
               .unit = "ms",
               .max = MAX_TIMEOUT_MS,
               .help = "from connect to the first request" },
  },
  [OPT_IDLE_TIMEOUT] = {
      .value = "TIME",
      .key = { .name = "--idle-timeout",
               .type = BLKMQ_KEY_TIME,
               .unit = "ms",
               .max = MAX_TIMEOUT_MS,
               .help = "for a client that asks nothing" },
  },
  [OPT_STALL_TIMEOUT] = {
      .value = "TIME",
      .key = { .name = "--stall-timeout",
               .type = BLKMQ_KEY_TIME,
               .unit = "ms",
               .max = MAX_TIMEOUT_MS,
               .help = "for a client that stops in the middle" },
  },
  [OPT_DRAIN_TIMEOUT] = {
      .value = "TIME",
      .key = { .name = "--drain-timeout",
               .type = BLKMQ_KEY_TIME,
               .unit = "ms",
               .max = MAX_TIMEOUT_MS,
               .help = "at the end, for what is in flight" },
  },
  [OPT_TLS] = {
      .value = "MODE",
      .key = { .name = "--tls",
               .type = BLKMQ_KEY_ENUM,
               .words = tls_words,
               .help = "off, on or require" },
  },
  [OPT_TLS_CERTIFICATES] = {
      .value = "DIR",
      .key = { .name = "--tls-certificates",
               .type = BLKMQ_KEY_STRING,
               .help = "server-cert.pem, server-key.pem" },
  },
  [OPT_TLS_PSK] = {
      .value = "FILE",
      .key = { .name = "--tls-psk",
               .type = BLKMQ_KEY_STRING,
               .help = "users and their keys" },
  },
  [OPT_TLS_VERIFY_PEER] = {
      .key = { .name = "--tls-verify-peer",
               .type = BLKMQ_KEY_BOOL,
               .help = "clients need a certificate" },
  },
  [OPT_TLS_PRIORITY] = {
      .value = "STRING",
      .key = { .name = "--tls-priority",
               .type = BLKMQ_KEY_STRING,
               .help = "algorithms, as gnutls has them" },
  },
};

/* One for each CPU, but no more than this.  Who has more CPUs than that wants
 * some of them for the clients. */
static unsigned
default_threads (void)
{
  cpu_set_t cpus;
  int nr = 1;

  /* It fails where there are more CPUs than a cpu_set_t has. */
  if (sched_getaffinity (0, sizeof cpus, &cpus) == 0)
    nr = CPU_COUNT (&cpus);
  else
    nr = OPTIONS_DEFAULT_MAX_THREADS;
  return (unsigned)(nr < OPTIONS_DEFAULT_MAX_THREADS
                        ? nr
                        : OPTIONS_DEFAULT_MAX_THREADS);
}

void
options_set_defaults (struct option_values *values)
{
  const struct server_limits *limits = &server_default_limits;
  uint64_t *numbers = values->numbers;

  *values = (struct option_values){ .numbers = { 0 } };
  numbers[OPT_LOG_LEVEL] = LOG_LEVEL_INFO;
  numbers[OPT_THREADS] = default_threads ();
  numbers[OPT_BUSY_POLL] = DEFAULT_BUSY_POLL_US;
  numbers[OPT_MAX_CONNECTIONS] = limits->max_connections;
  numbers[OPT_MAX_REQUEST] = limits->max_request_bytes;
  numbers[OPT_MAX_BUFFERS] = limits->max_buffer_bytes;
  numbers[OPT_HANDSHAKE_TIMEOUT] = limits->handshake_timeout_ms;
  numbers[OPT_IDLE_TIMEOUT] = limits->idle_timeout_ms;
  numbers[OPT_STALL_TIMEOUT] = limits->stall_timeout_ms;
  numbers[OPT_DRAIN_TIMEOUT] = DEFAULT_DRAIN_TIMEOUT_MS;
  numbers[OPT_TLS] = NEGOTIATION_TLS_OFF;
}

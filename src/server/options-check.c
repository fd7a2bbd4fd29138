/* SPDX-License-Identifier: BSD-3-Clause
 *
 * options-check.c: whether values of options go together.  The main thread,
 * before others run.
 */

#include <config.h>

#include <inttypes.h>

#include "server/log.h"
#include "server/options-internal.h"

#define MIN_BUFFERS_BYTES (UINT64_C (1) << 20) /* of a thread */

/* What every thread must have for itself. */
static uint64_t
least_buffers (const struct option_values *values)
{
  uint64_t bytes = 2 * values->numbers[OPT_MAX_REQUEST];

  return (bytes > MIN_BUFFERS_BYTES ? bytes : MIN_BUFFERS_BYTES)
         * values->numbers[OPT_THREADS];
}

static enum options_result
check_limits (struct option_values *values)
{
  uint64_t *numbers = values->numbers;

  if (numbers[OPT_MAX_REQUEST] % OPTIONS_REQUEST_UNIT_BYTES != 0) {
    log_error ("--max-request=%" PRIu64 ": must be a multiple of 64k",
               numbers[OPT_MAX_REQUEST]);
    return OPTIONS_WRONG;
  }
  if (numbers[OPT_MAX_BUFFERS] >= least_buffers (values))
    return OPTIONS_SERVE;
  if (values->given[OPT_MAX_BUFFERS]) {
    log_error ("--max-buffers=%" PRIu64 ": too small; must be at least %" PRIu64
               ", two of the longest requests (--max-request), or 1M if they "
               "are shorter, for each of %" PRIu64 " threads",
               numbers[OPT_MAX_BUFFERS], least_buffers (values),
               numbers[OPT_THREADS]);
    return OPTIONS_WRONG;
  }
  numbers[OPT_MAX_BUFFERS] = least_buffers (values);
  return OPTIONS_SERVE;
}

/* Where clients come from. */
static enum options_result
check_addresses (struct options *options)
{
  unsigned nr = options->nr_addresses + options->nr_passed;

  if (options->is_stdio && (nr > 0 || options->command != NULL)) {
    log_error ("--stdio: there is one client; neither --unix, --tcp nor --run "
               "goes with it, nor sockets that are passed");
    return OPTIONS_WRONG;
  }
  /* Sockets that are passed are not there yet when a file is checked. */
  if (nr == 0 && !options->is_stdio && options->command == NULL
      && !options->is_check) {
    log_error ("nobody could connect: say --unix=PATH, --tcp=HOST:PORT, "
               "--stdio or --run=COMMAND");
    return OPTIONS_WRONG;
  }
  return OPTIONS_SERVE;
}

static enum options_result
check_daemon (const struct options *options)
{
  if (!options->is_daemon)
    return OPTIONS_SERVE;
  if (options->is_stdio || options->command != NULL) {
    log_error ("--daemon: neither --stdio nor --run goes with it, which end "
               "with who started them");
    return OPTIONS_WRONG;
  }
  if (options->log_file == NULL && !options->uses_syslog) {
    log_error ("--daemon: nobody could see messages: say --log-file=FILE or "
               "--syslog");
    return OPTIONS_WRONG;
  }
  return OPTIONS_SERVE;
}

enum options_result
options_check (struct options *options, struct option_values *values)
{
  const uint64_t *numbers = values->numbers;

  if (check_limits (values) != OPTIONS_SERVE)
    return OPTIONS_WRONG;
  options->is_check = numbers[OPT_CHECK] != 0;
  options->command = values->strings[OPT_RUN];
  options->log_file = values->strings[OPT_LOG_FILE];
  options->uses_syslog = numbers[OPT_SYSLOG] != 0;
  options->pidfile = values->strings[OPT_PIDFILE];
  options->is_stdio = numbers[OPT_STDIO] != 0;
  options->is_daemon = numbers[OPT_DAEMON] != 0;
  if (check_addresses (options) != OPTIONS_SERVE
      || check_daemon (options) != OPTIONS_SERVE)
    return OPTIONS_WRONG;
  if (options_check_tls (options, values) != OPTIONS_SERVE
      || options_access_check (options, values) != OPTIONS_SERVE)
    return OPTIONS_WRONG;
  options->nr_threads = (unsigned)numbers[OPT_THREADS];
  options->busy_poll_us = (unsigned)numbers[OPT_BUSY_POLL];
  options->drain_timeout_ms = (unsigned)numbers[OPT_DRAIN_TIMEOUT];
  options->limits = (struct server_limits){
    .max_connections = (unsigned)numbers[OPT_MAX_CONNECTIONS],
    .max_request_bytes = (uint32_t)numbers[OPT_MAX_REQUEST],
    .max_buffer_bytes = numbers[OPT_MAX_BUFFERS],
    .handshake_timeout_ms = (unsigned)numbers[OPT_HANDSHAKE_TIMEOUT],
    .idle_timeout_ms = (unsigned)numbers[OPT_IDLE_TIMEOUT],
    .stall_timeout_ms = (unsigned)numbers[OPT_STALL_TIMEOUT],
  };
  log_set_level ((enum log_level)numbers[OPT_LOG_LEVEL]);
  return OPTIONS_SERVE;
}

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * options.c: the command line of blkmqd.  One table: --help derives from it,
 * and values are parsed as those of keys are.  The main thread, before others
 * run.
 */

#include <config.h>

#include <getopt.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/config.h"
#include "front/help.h"
#include "server/listen.h"
#include "server/log.h"
#include "server/options.h"

/* Threads by default: one for each CPU, but no more than this.  Who has more
 * CPUs than that wants some of them for the clients. */
#define DEFAULT_MAX_THREADS 8
#define DEFAULT_BUSY_POLL_US 20
#define DEFAULT_DRAIN_TIMEOUT_MS 10000

#define MAX_TIMEOUT_MS (24 * 3600 * 1000)
#define REQUEST_UNIT_BYTES (UINT64_C (64) << 10)
#define MIN_BUFFERS_BYTES (UINT64_C (1) << 20) /* of a thread */

enum {
  OPT_UNIX,
  OPT_TCP,
  OPT_RUN,
  OPT_PIDFILE,
  OPT_LOG_LEVEL,
  OPT_THREADS,
  OPT_BUSY_POLL,
  OPT_MAX_CONNECTIONS,
  OPT_MAX_REQUEST,
  OPT_MAX_BUFFERS,
  OPT_HANDSHAKE_TIMEOUT,
  OPT_IDLE_TIMEOUT,
  OPT_STALL_TIMEOUT,
  OPT_DRAIN_TIMEOUT,
  NR_OPTIONS,
  OPT_HELP = NR_OPTIONS,
  OPT_VERSION,
};

static const struct {
  struct blkmq_key key;
  const char *value; /* what --help calls it */
} table[NR_OPTIONS] = {
  [OPT_UNIX] = {
      .value = "PATH",
      .key = { .name = "--unix",
               .type = BLKMQ_KEY_STRING,
               .help = "listen on a Unix socket; may be given again" },
  },
  [OPT_TCP] = {
      .value = "HOST:PORT",
      .key = { .name = "--tcp",
               .type = BLKMQ_KEY_STRING,
               .help = "listen on a TCP port; may be given again" },
  },
  [OPT_RUN] = {
      .value = "COMMAND",
      .key = { .name = "--run",
               .type = BLKMQ_KEY_STRING,
               .help = "serve while a shell runs this, with $uri" },
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
               .min = REQUEST_UNIT_BYTES,
               .max = UINT64_C (32) << 20,
               .help = "longest read or write" },
  },
  [OPT_MAX_BUFFERS] = {
      .value = "SIZE",
      .key = { .name = "--max-buffers",
               .type = BLKMQ_KEY_SIZE,
               .unit = "bytes",
               .min = 2 * REQUEST_UNIT_BYTES,
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
};

struct values {
  bool given[NR_OPTIONS];
  uint64_t numbers[NR_OPTIONS]; /* in their key's unit; sizes in bytes */
};

/* ------------------------------------------------------------------------ */
/* Defaults                                                                  */

static unsigned
default_threads (void)
{
  cpu_set_t cpus;
  int nr = 1;

  /* It fails where there are more CPUs than a cpu_set_t has. */
  if (sched_getaffinity (0, sizeof cpus, &cpus) == 0)
    nr = CPU_COUNT (&cpus);
  else
    nr = DEFAULT_MAX_THREADS;
  return (unsigned)(nr < DEFAULT_MAX_THREADS ? nr : DEFAULT_MAX_THREADS);
}

/* What every thread must have for itself. */
static uint64_t
least_buffers (const struct values *values)
{
  uint64_t bytes = 2 * values->numbers[OPT_MAX_REQUEST];

  return (bytes > MIN_BUFFERS_BYTES ? bytes : MIN_BUFFERS_BYTES)
         * values->numbers[OPT_THREADS];
}

static void
set_defaults (struct values *values)
{
  const struct server_limits *limits = &server_default_limits;
  uint64_t *numbers = values->numbers;

  *values = (struct values){ .numbers = { 0 } };
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
}

/* ------------------------------------------------------------------------ */
/* --help                                                                    */

/* "64M", "10s", "debug": as it would be given. */
static void
print_number (const struct blkmq_key *key, uint64_t number)
{
  static const char *const units[] = { "", "k", "M", "G", "T", "P", "E" };
  const char *unit = "";
  unsigned i = 0;

  switch (key->type) {
  case BLKMQ_KEY_ENUM:
    printf ("%s", key->words[number]);
    return;
  case BLKMQ_KEY_SIZE:
    while (number > 0 && number % 1024 == 0 && i < 6) {
      number /= 1024;
      i++;
    }
    unit = units[i];
    break;
  case BLKMQ_KEY_TIME:
    if (number > 0) {
      unit = key->unit;
      if (strcmp (unit, "ms") == 0 && number % 1000 == 0) {
        number /= 1000;
        unit = "s";
      }
    }
    break;
  default:
    break;
  }
  printf ("%" PRIu64 "%s", number, unit);
}

static void
print_help (void)
{
  static const struct help_default queues
      = { "submit_queues", "the number of threads" };
  struct values values;

  set_defaults (&values);
  puts ("usage: blkmqd [OPTION...] [size=]SIZE [KEY=VALUE...]\n"
        "              [export=NAME [KEY=VALUE...]]...\n"
        "Serve block devices with settable behaviour over NBD.\n");
  for (unsigned i = 0; i < NR_OPTIONS; i++) {
    const struct blkmq_key *key = &table[i].key;
    int columns = printf ("  %s=%s", key->name, table[i].value);

    printf ("%*s%s", columns < 29 ? 29 - columns : 1, "", key->help);
    if (i == OPT_THREADS)
      printf (" (default: CPUs, at most %d)", DEFAULT_MAX_THREADS);
    else if (key->type != BLKMQ_KEY_STRING) {
      printf (" (default ");
      print_number (key, values.numbers[i]);
      printf (")");
    }
    puts ("");
  }
  puts ("  --help, --version\n"
        "\n"
        "A TIME of 0 is none.  Keys:\n");
  help_print_keys (stdout, &queues);
  puts ("\n"
        "Exit status: 0 told to end, 1 failed, 2 wrong usage; with --run that "
        "of\nthe command.  blkmqd(8) has examples.");
}

/* ------------------------------------------------------------------------ */
/* Parsing                                                                   */

static enum options_result
wrong_usage (const struct blkmq_error *error)
{
  log_error ("%s", error->message);
  return OPTIONS_WRONG;
}

static enum options_result
take_value (struct options *options, struct values *values, unsigned option,
            const char *value)
{
  const struct blkmq_key *key = &table[option].key;
  bool is_address = option == OPT_UNIX || option == OPT_TCP;
  struct blkmq_error error;
  struct text text;

  if (values->given[option] && !is_address) {
    text = text_begin_error (&error);
    text_add (&text, "%s=", key->name);
    text_add_value (&text, value);
    text_add (&text, ": given twice; once is allowed");
    return wrong_usage (&error);
  }
  values->given[option] = true;
  if (key_parse (key, value, &values->numbers[option], &error) < 0
      || (option == OPT_TCP && listeners_check_tcp (value, &error) < 0))
    return wrong_usage (&error);
  if (is_address)
    options->addresses[options->nr_addresses++]
        = (struct address_option){ option == OPT_TCP, value };
  else if (option == OPT_RUN)
    options->command = value;
  else if (option == OPT_PIDFILE)
    options->pidfile = value;
  return OPTIONS_SERVE;
}

/* "KEY=VALUE", or a size alone. */
static enum options_result
take_word (struct options *options, const char *word)
{
  const char *equals = strchr (word, '=');
  struct blkmq_error error = { "" };
  char *key;
  int r;

  if (equals == NULL) {
    r = exports_set (options->exports, "size", word, &error);
    return r < 0 ? wrong_usage (&error) : OPTIONS_SERVE;
  }
  key = strndup (word, (size_t)(equals - word));
  if (key == NULL) {
    log_error ("the command line: out of memory");
    return OPTIONS_WRONG;
  }
  r = exports_set (options->exports, key, equals + 1, &error);
  free (key);
  return r < 0 ? wrong_usage (&error) : OPTIONS_SERVE;
}

static enum options_result
check_limits (struct values *values)
{
  uint64_t *numbers = values->numbers;

  if (numbers[OPT_MAX_REQUEST] % REQUEST_UNIT_BYTES != 0) {
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

static enum options_result
check (struct options *options, struct values *values)
{
  const uint64_t *numbers = values->numbers;

  if (check_limits (values) != OPTIONS_SERVE)
    return OPTIONS_WRONG;
  if (options->nr_addresses == 0 && options->command == NULL) {
    log_error ("nobody could connect: say --unix=PATH, --tcp=HOST:PORT or "
               "--run=COMMAND");
    return OPTIONS_WRONG;
  }
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

static enum options_result
parse (struct options *options, struct values *values, int argc, char **argv)
{
  struct option names[NR_OPTIONS + 3] = { { 0 } };
  enum options_result result = OPTIONS_SERVE;
  int option;

  for (int i = 0; i < NR_OPTIONS; i++)
    names[i] = (struct option){ table[i].key.name + 2, required_argument, NULL,
                                256 + i };
  names[NR_OPTIONS]
      = (struct option){ "help", no_argument, NULL, 256 + OPT_HELP };
  names[NR_OPTIONS + 1]
      = (struct option){ "version", no_argument, NULL, 256 + OPT_VERSION };

  while (result == OPTIONS_SERVE
         && (option = getopt_long (argc, argv, "", names, NULL)) != -1) {
    if (option == 256 + OPT_HELP) {
      print_help ();
      return OPTIONS_DONE;
    }
    if (option == 256 + OPT_VERSION) {
      puts ("blkmqd " PACKAGE_VERSION);
      return OPTIONS_DONE;
    }
    if (option == '?') /* getopt has said what is wrong */
      return OPTIONS_WRONG;
    result = take_value (options, values, (unsigned)option - 256, optarg);
  }
  for (int i = optind; i < argc && result == OPTIONS_SERVE; i++)
    result = take_word (options, argv[i]);
  return result == OPTIONS_SERVE ? check (options, values) : result;
}

void
options_point_to_help (void)
{
  fputs ("Try 'blkmqd --help'.\n", stderr);
}

enum options_result
options_parse (struct options *options, int argc, char **argv)
{
  enum options_result result;
  struct values values;

  *options = (struct options){
    .exports = exports_alloc (),
    .addresses = calloc ((size_t)argc + 1, sizeof (struct address_option)),
  };
  if (options->exports == NULL || options->addresses == NULL) {
    log_error ("the command line: out of memory");
    return OPTIONS_WRONG;
  }
  set_defaults (&values);
  result = parse (options, &values, argc, argv);
  if (result == OPTIONS_WRONG)
    options_point_to_help ();
  return result;
}

void
options_free (struct options *options)
{
  exports_free (options->exports);
  free (options->addresses);
}

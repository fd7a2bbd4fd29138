/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkmqctl.c: the program that looks at a running disk and changes it: its
 * command line, and which command is done by whom.  One thread.
 */

#include <config.h>

#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blkmqctl/ctl.h"

/* Options that not all commands take. */
enum {
  TAKES_JSON = 1,
  TAKES_LIVE = 2,
  TAKES_RATE = 4, /* -d and -n */
  TAKES_MAX = 8,
};

struct command {
  const char *name;
  const char *arguments;
  const char *help;
  int min_args, max_args; /* -1: any number */
  unsigned takes;
  enum ctl_status (*run) (struct ctl *ctl);
};

static const struct command commands[] = {
  { "show", "[KEY...]", "the disk and its keys, or all about some keys", 0, -1,
    TAKES_JSON, ctl_show },
  { "get", "[KEY...]", "values alone; --live: of what set can change", 0, -1,
    TAKES_JSON | TAKES_LIVE, ctl_get },
  { "set", "KEY=VALUE...", "change keys, all of them or none", 1, -1,
    TAKES_JSON, ctl_set },
  { "stats", "", "counters and latencies since the start", 0, 0, TAKES_JSON,
    ctl_stats },
  { "top", "", "what happens now; -d SECONDS, -n COUNT; q quits", 0, 0,
    TAKES_RATE, ctl_top },
  { "fault", "add RULE", "add a rule of the fault layer, print its id", 1, -1,
    TAKES_JSON, ctl_fault },
  { "fault", "del ID...", "delete rules; what hangs goes on", 1, -1, TAKES_JSON,
    ctl_fault },
  { "fault", "list", "rules, and how often each has hit", 1, -1, TAKES_JSON,
    ctl_fault },
  { "power", "on|off", "cut the power of the disk, or bring it back", 1, 1,
    TAKES_JSON, ctl_power },
  { "freeze", "", "wait for what is in flight, begin nothing new", 0, 0,
    TAKES_JSON, ctl_freeze },
  { "unfreeze", "", "undo one freeze", 0, 0, TAKES_JSON, ctl_unfreeze },
  { "inflight", "", "the requests that there are; --max N of them", 0, 0,
    TAKES_JSON | TAKES_MAX, ctl_inflight },
  { "reset-stats", "", "count from 0 again", 0, 0, TAKES_JSON,
    ctl_reset_stats },
  { "exports", "", "the disks that are behind the socket", 0, 0, TAKES_JSON,
    ctl_exports },
};

#define NR_COMMANDS (sizeof commands / sizeof commands[0])

static void
print_help (void)
{
  puts ("usage: blkmqctl [OPTION...] COMMAND [ARGUMENT...]\n"
        "Look at a running blkmq disk and change it, through its control "
        "socket.\n");
  for (size_t i = 0; i < NR_COMMANDS; i++) {
    const struct command *command = &commands[i];
    int columns
        = printf ("  %s%s%s", command->name,
                  *command->arguments != '\0' ? " " : "", command->arguments);

    printf ("%*s%s\n", columns < 22 ? 22 - columns : 1, "", command->help);
  }
  puts ("\n"
        "  -s, --socket=PATH   the socket (default: $BLKMQ_CONTROL)\n"
        "      --export=NAME   the disk (default: the one without a name)\n"
        "      --json          print what the server answers; for programs\n"
        "      --help, --version\n"
        "\n"
        "Exit status: 0 done, 1 refused, 2 wrong usage, 3 no connection,\n"
        "4 an answer that is not understood.  blkmqctl(1) has examples.");
}

static enum ctl_status __attribute__ ((format (printf, 1, 2)))
wrong_usage (const char *format, ...)
{
  va_list args;

  fputs ("blkmqctl: ", stderr);
  va_start (args, format);
  vfprintf (stderr, format, args);
  va_end (args);
  fputs ("\nTry 'blkmqctl --help'.\n", stderr);
  return CTL_USAGE;
}

/* ------------------------------------------------------------------------ */
/* The command line                                                          */

enum { OPT_EXPORT = 256, OPT_JSON, OPT_LIVE, OPT_MAX, OPT_HELP, OPT_VERSION };

static const struct option options[] = {
  { "socket", required_argument, NULL, 's' },
  { "delay", required_argument, NULL, 'd' },
  { "count", required_argument, NULL, 'n' },
  { "export", required_argument, NULL, OPT_EXPORT },
  { "json", no_argument, NULL, OPT_JSON },
  { "live", no_argument, NULL, OPT_LIVE },
  { "max", required_argument, NULL, OPT_MAX },
  { "help", no_argument, NULL, OPT_HELP },
  { "version", no_argument, NULL, OPT_VERSION },
  { 0 },
};

/* True for a whole number from 1. */
static bool
parse_count (const char *text, uint64_t *count)
{
  char *end;

  errno = 0;
  *count = strtoull (text, &end, 10);
  return *text >= '0' && *text <= '9' && *end == '\0' && errno == 0
         && *count > 0 && *count <= INT64_MAX;
}

static bool
parse_delay (const char *text, double *delay)
{
  char *end;

  *delay = strtod (text, &end);
  return end != text && *end == '\0' && isfinite (*delay) && *delay >= 0.1
         && *delay <= 3600;
}

/* One option.  GIVEN collects those that not all commands take. */
static enum ctl_status
take_option (struct ctl *ctl, int option, unsigned *given)
{
  switch (option) {
  case 's':
    ctl->path = optarg;
    break;
  case OPT_EXPORT:
    ctl->export = optarg;
    break;
  case OPT_JSON:
    ctl->json = true;
    *given |= TAKES_JSON;
    break;
  case OPT_LIVE:
    ctl->live = true;
    *given |= TAKES_LIVE;
    break;
  case 'd':
    *given |= TAKES_RATE;
    if (!parse_delay (optarg, &ctl->delay))
      return wrong_usage ("-d %s: must be a number of seconds from 0.1 to 3600",
                          optarg);
    break;
  case 'n':
    *given |= TAKES_RATE;
    if (!parse_count (optarg, &ctl->count))
      return wrong_usage ("-n %s: must be a whole number from 1", optarg);
    break;
  case OPT_MAX:
    *given |= TAKES_MAX;
    if (!parse_count (optarg, &ctl->max))
      return wrong_usage ("--max %s: must be a whole number from 1", optarg);
    break;
  default: /* getopt has said what is wrong */
    return wrong_usage ("that is not understood");
  }
  return CTL_DONE;
}

static const struct command *
find_command (const char *name)
{
  for (size_t i = 0; i < NR_COMMANDS; i++) {
    if (strcmp (commands[i].name, name) == 0)
      return &commands[i];
  }
  return NULL;
}

static enum ctl_status
check_usage (const struct ctl *ctl, const struct command *command,
             unsigned given)
{
  unsigned wrong = given & ~command->takes;

  if (wrong != 0)
    return wrong_usage ("%s has no %s", command->name,
                        wrong & TAKES_JSON   ? "--json"
                        : wrong & TAKES_LIVE ? "--live"
                        : wrong & TAKES_MAX  ? "--max"
                                             : "-d and no -n");
  if (ctl->nr_args < command->min_args)
    return wrong_usage ("%s: say %s", command->name,
                        strcmp (command->name, "fault") == 0
                            ? "add, del or list"
                            : command->arguments);
  if (command->max_args >= 0 && ctl->nr_args > command->max_args)
    return wrong_usage ("%s: '%s' is one argument too many", command->name,
                        ctl->args[command->max_args]);
  if (ctl->path == NULL || *ctl->path == '\0')
    return wrong_usage ("which disk?  Say -s PATH, the control socket, or set "
                        "BLKMQ_CONTROL");
  return CTL_DONE;
}

static enum ctl_status
run (struct ctl *ctl, int argc, char **argv)
{
  const struct command *command;
  enum ctl_status status;
  unsigned given = 0;
  int option;

  while ((option = getopt_long (argc, argv, "s:d:n:", options, NULL)) != -1) {
    if (option == OPT_HELP) {
      print_help ();
      return CTL_DONE;
    }
    if (option == OPT_VERSION) {
      puts ("blkmqctl " PACKAGE_VERSION);
      return CTL_DONE;
    }
    status = take_option (ctl, option, &given);
    if (status != CTL_DONE)
      return status;
  }
  if (optind == argc)
    return wrong_usage ("say what to do");
  ctl->name = argv[optind];
  ctl->args = argv + optind + 1;
  ctl->nr_args = argc - optind - 1;
  command = find_command (ctl->name);
  if (command == NULL)
    return wrong_usage ("there is no command '%s'", ctl->name);
  status = check_usage (ctl, command, given);
  return status == CTL_DONE ? command->run (ctl) : status;
}

int
main (int argc, char **argv)
{
  struct ctl ctl = { .client.fd = -1, .delay = 1 };
  enum ctl_status status;

  setlocale (LC_CTYPE, "");
  ctl.path = getenv ("BLKMQ_CONTROL");
  status = run (&ctl, argc, argv);
  client_close (&ctl.client);
  if (fflush (stdout) != 0 || ferror (stdout)) {
    fprintf (stderr, "blkmqctl: cannot write: %s\n", strerror (errno));
    if (status == CTL_DONE)
      status = CTL_REFUSED;
  }
  return (int)status;
}

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * nbd-pipeline.c: a bare pipelining NBD client that measures a server: keeps
 * requests in flight over a Unix socket or several and reports rate, latency,
 * and CPU time a request.  One thread.
 *
 * The first error, refused request or reply that does not fit ends it with a
 * message and status 1: what it prints was measured without any.
 */

#include <config.h>

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "nbd-client.h"

#define FILL_BLOCK_BYTES (1u << 20)
#define FILL_DEPTH 8

struct options {
  const char *socket_path;
  const char *export_name;
  unsigned nr_connections;
  struct workload workload;
  bool fill;
  uint64_t duration_ns;
  uint64_t nr_requests; /* not 0: instead of duration_ns */
  uint64_t warmup_ns;
  pid_t server_pid; /* 0: not told */
  bool human;
};

struct result {
  uint64_t device_bytes;
  uint64_t nr_requests;
  uint64_t bytes;
  uint64_t elapsed_ns;
  uint64_t client_cpu_ns;
  uint64_t server_cpu_ns;
  const struct latency *latency;
};

static void complain (const char *fmt, va_list ap)
    __attribute__ ((format (printf, 1, 0)));

static void
complain (const char *fmt, va_list ap)
{
  fputs ("nbd-pipeline: ", stderr);
  vfprintf (stderr, fmt, ap);
  fputc ('\n', stderr);
}

void
die (const char *fmt, ...)
{
  va_list ap;

  va_start (ap, fmt);
  complain (fmt, ap);
  va_end (ap);
  exit (EXIT_FAILURE);
}

void *
xcalloc (size_t n, size_t bytes)
{
  void *p = calloc (n, bytes);

  if (p == NULL)
    die ("out of memory");
  return p;
}

uint64_t
clock_ns (clockid_t clock)
{
  struct timespec ts;

  if (clock_gettime (clock, &ts) == -1)
    die ("clock_gettime: %s", strerror (errno));
  return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* ------------------------------------------------------------------------ */
/* Options                                                                   */

static const char usage[]
    = "usage: nbd-pipeline --unix SOCKET [option ...]\n"
      "Keeps requests in flight to an NBD server, and reports what it\n"
      "measured as JSON.\n"
      "  -u, --unix SOCKET     the server's Unix socket\n"
      "  -e, --export NAME     export (default: the empty name)\n"
      "  -o, --op OP           read (default), write, or randrw: half of each\n"
      "  -a, --access HOW      random (default) or sequential\n"
      "  -b, --block SIZE      bytes a request; k and M allowed (default 4k)\n"
      "  -d, --depth N         requests in flight, 1 to 1024 (default 32)\n"
      "  -C, --connections N   so many connections, each of that depth, 1 to\n"
      "                        1024 (default 1); the client remains one "
      "thread\n"
      "  -t, --time SECONDS    how long to measure (default 1)\n"
      "  -n, --requests N      measure so many requests instead\n"
      "  -w, --warmup SECONDS  run so long before measuring (default 0.1)\n"
      "  -f, --fill            write the whole device once, in order and in\n"
      "                        requests of 1 MiB, and report that: what was\n"
      "                        never written is a hole, and fast to read\n"
      "  -c, --verify          compare what is read with what --fill and any\n"
      "                        write put there\n"
      "  -s, --seed N          of offsets and of randrw's choice (default 1)\n"
      "  -p, --server-pid PID  report this process's CPU time a request, too\n"
      "  -v, --human           report for people\n"
      "  -h, --help            this text\n"
      "Status: 0 if all requests succeeded, 1 after an error, 2 for wrong\n"
      "options.\n";

static void bad_option (const char *fmt, ...)
    __attribute__ ((format (printf, 1, 2), noreturn));

static void
bad_option (const char *fmt, ...)
{
  va_list ap;

  va_start (ap, fmt);
  complain (fmt, ap);
  va_end (ap);
  fputs ("Try `nbd-pipeline --help'.\n", stderr);
  exit (2);
}

static uint64_t
parse_number (const char *name, const char *text, uint64_t min, uint64_t max)
{
  unsigned long long v;
  unsigned shift;
  char *end;

  errno = 0;
  v = strtoull (text, &end, 10);
  shift = *end == 'k' || *end == 'K' ? 10 : *end == 'M' ? 20 : 0;
  if (shift > 0)
    end++;
  if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0
      || v > UINT64_MAX >> shift || v << shift < min || v << shift > max)
    bad_option ("--%s=%s: allowed is a number from %" PRIu64 " to %" PRIu64,
                name, text, min, max);
  return (uint64_t)v << shift;
}

static uint64_t
parse_seconds (const char *name, const char *text, double min)
{
  char *end;
  double v = strtod (text, &end);

  if (end == text || *end != '\0' || !(v >= min && v <= 86400))
    bad_option ("--%s=%s: allowed are %g to 86400 seconds", name, text, min);
  return (uint64_t)(v * 1e9);
}

/* Which of the words it is; after the last one comes NULL. */
static int
parse_word (const char *name, const char *text, const char *const *word)
{
  char allowed[64] = "";
  int i;

  for (i = 0; word[i] != NULL; i++) {
    if (strcmp (word[i], text) == 0)
      return i;
    strcat (strcat (allowed, i > 0 ? ", " : ""), word[i]);
  }
  bad_option ("--%s=%s: allowed are %s", name, text, allowed);
}

static const char *const op_word[] = { "read", "write", "randrw", NULL };
static const char *const access_word[] = { "random", "sequential", NULL };

static void
parse_options (int argc, char **argv, struct options *o)
{
  static const char shorts[] = "u:e:o:a:b:d:C:t:n:w:fcs:p:vh";
  static const struct option longs[] = {
    { "unix", required_argument, NULL, 'u' },
    { "export", required_argument, NULL, 'e' },
    { "op", required_argument, NULL, 'o' },
    { "access", required_argument, NULL, 'a' },
    { "block", required_argument, NULL, 'b' },
    { "depth", required_argument, NULL, 'd' },
    { "connections", required_argument, NULL, 'C' },
    { "time", required_argument, NULL, 't' },
    { "requests", required_argument, NULL, 'n' },
    { "warmup", required_argument, NULL, 'w' },
    { "fill", no_argument, NULL, 'f' },
    { "verify", no_argument, NULL, 'c' },
    { "seed", required_argument, NULL, 's' },
    { "server-pid", required_argument, NULL, 'p' },
    { "human", no_argument, NULL, 'v' },
    { "help", no_argument, NULL, 'h' },
    { 0 },
  };
  struct workload *w = &o->workload;
  int c;

  while ((c = getopt_long (argc, argv, shorts, longs, NULL)) != -1) {
    switch (c) {
    case 'u':
      o->socket_path = optarg;
      break;
    case 'e':
      if (strlen (optarg) > 4096)
        bad_option ("--export: a name has at most 4096 bytes");
      o->export_name = optarg;
      break;
    case 'o':
      w->op = (unsigned)parse_word ("op", optarg, op_word);
      break;
    case 'a':
      w->sequential = parse_word ("access", optarg, access_word) == 1;
      break;
    case 'b':
      w->block_bytes
          = (uint32_t)parse_number ("block", optarg, 1, MAX_BLOCK_BYTES);
      break;
    case 'd':
      w->depth = (unsigned)parse_number ("depth", optarg, 1, MAX_DEPTH);
      break;
    case 'C':
      o->nr_connections
          = (unsigned)parse_number ("connections", optarg, 1, MAX_CONNECTIONS);
      break;
    case 't':
      o->duration_ns = parse_seconds ("time", optarg, 0.001);
      break;
    case 'n':
      o->nr_requests = parse_number ("requests", optarg, 1, UINT32_MAX);
      break;
    case 'w':
      o->warmup_ns = parse_seconds ("warmup", optarg, 0);
      break;
    case 'f':
      o->fill = true;
      break;
    case 'c':
      w->verify = true;
      break;
    case 's':
      w->seed = parse_number ("seed", optarg, 0, UINT64_MAX);
      break;
    case 'p':
      o->server_pid = (pid_t)parse_number ("server-pid", optarg, 1, INT32_MAX);
      break;
    case 'v':
      o->human = true;
      break;
    case 'h':
      fputs (usage, stdout);
      exit (EXIT_SUCCESS);
    default:
      bad_option ("what is wrong is said above");
    }
  }
  if (optind < argc)
    bad_option ("%s: only options are expected", argv[optind]);
  if (o->socket_path == NULL)
    bad_option ("--unix is missing");
  if (w->op == OP_RANDRW && w->sequential)
    bad_option ("--op=randrw: allowed is --access=random only");
  if (o->fill) {
    w->op = OP_WRITE;
    w->sequential = w->to_the_end = true;
    w->block_bytes = FILL_BLOCK_BYTES;
    w->depth = FILL_DEPTH;
    o->nr_connections = 1;
    o->warmup_ns = 0;
  }
  if (w->verify && w->op == OP_WRITE)
    bad_option ("--verify: a write reads nothing that could be compared");
}

/* ------------------------------------------------------------------------ */
/* Measurement                                                               */

static struct result
measure (struct load *load, const struct options *o)
{
  /* Here nothing is in flight, but a thread's CPU time is brought up to date
   * when it goes to sleep, and the server's may still be about to.
   */
  const struct timespec settle = { .tv_nsec = 2000000 };
  struct result r = { 0 };
  clockid_t server_clock = 0;
  int err;

  /* What utime + stime of /proc/PID/stat tell in ticks of 10 ms, this clock
   * tells in nanoseconds: the sum over all threads, those gone included.
   */
  if (o->server_pid != 0
      && (err = clock_getcpuclockid (o->server_pid, &server_clock)) != 0)
    die ("CPU clock of process %ld: %s", (long)o->server_pid, strerror (err));

  nanosleep (&settle, NULL);
  load_reset (load);
  if (o->server_pid != 0)
    r.server_cpu_ns = clock_ns (server_clock);
  r.client_cpu_ns = clock_ns (CLOCK_PROCESS_CPUTIME_ID);
  r.elapsed_ns = clock_ns (CLOCK_MONOTONIC);

  load_run (load, o->duration_ns, o->nr_requests);

  r.elapsed_ns = clock_ns (CLOCK_MONOTONIC) - r.elapsed_ns;
  r.client_cpu_ns = clock_ns (CLOCK_PROCESS_CPUTIME_ID) - r.client_cpu_ns;
  nanosleep (&settle, NULL);
  if (o->server_pid != 0)
    r.server_cpu_ns = clock_ns (server_clock) - r.server_cpu_ns;
  r.nr_requests = load->nr_done;
  r.bytes = load->bytes_done;
  r.device_bytes = load->pipeline[0].connection->device_bytes;
  r.latency = &load->latency;
  return r;
}

static double
us (uint64_t ns)
{
  return (double)ns / 1e3;
}

static void
report_json (const struct options *o, const struct result *r)
{
  const struct workload *w = &o->workload;
  const struct latency *l = r->latency;
  double seconds = (double)r->elapsed_ns / 1e9;
  double n = (double)r->nr_requests;

  printf ("{\"op\": \"%s\", \"access\": \"%s\", \"block_bytes\": %" PRIu32
          ", \"connections\": %u, \"depth\": %u, \"seed\": %" PRIu64
          ", \"verified\": %s,\n",
          op_word[w->op], access_word[w->sequential], w->block_bytes,
          o->nr_connections, w->depth, w->seed, w->verify ? "true" : "false");
  printf (" \"device_bytes\": %" PRIu64 ", \"requests\": %" PRIu64
          ", \"bytes\": %" PRIu64 ", \"seconds\": %.6f,\n"
          " \"rate\": %.1f, \"bytes_per_second\": %.0f, \"errors\": 0,\n",
          r->device_bytes, r->nr_requests, r->bytes, seconds, n / seconds,
          (double)r->bytes / seconds);
  printf (" \"client_cpu_us_per_request\": %.4f, \"client_cpu_busy\": %.4f,\n",
          us (r->client_cpu_ns) / n,
          (double)r->client_cpu_ns / (double)r->elapsed_ns);
  if (o->server_pid != 0)
    printf (" \"server_cpu_us_per_request\": %.4f, "
            "\"server_cpu_busy\": %.4f,\n",
            us (r->server_cpu_ns) / n,
            (double)r->server_cpu_ns / (double)r->elapsed_ns);
  printf (" \"latency_us\": {\"min\": %.3f, \"mean\": %.3f, \"p50\": %.3f, "
          "\"p99\": %.3f, \"p99.9\": %.3f, \"max\": %.3f}}\n",
          us (l->min_ns), us (l->sum_ns) / n, us (latency_percentile (l, 0.5)),
          us (latency_percentile (l, 0.99)), us (latency_percentile (l, 0.999)),
          us (l->max_ns));
}

static void
report_human (const struct options *o, const struct result *r)
{
  const struct workload *w = &o->workload;
  const struct latency *l = r->latency;
  double seconds = (double)r->elapsed_ns / 1e9;
  double n = (double)r->nr_requests;

  printf ("%s %s, %" PRIu32 " bytes, connections %u, depth %u, seed %" PRIu64
          ", data %s\n",
          access_word[w->sequential], op_word[w->op], w->block_bytes,
          o->nr_connections, w->depth, w->seed,
          w->verify ? "verified" : "not verified");
  printf ("  %" PRIu64 " requests in %.3f s: %.0f/s, %.1f MiB/s, no errors\n",
          r->nr_requests, seconds, n / seconds,
          (double)r->bytes / seconds / 1048576);
  printf ("  CPU a request: client %.3f us", us (r->client_cpu_ns) / n);
  if (o->server_pid != 0)
    printf (", server %.3f us", us (r->server_cpu_ns) / n);
  printf ("\n  latency: p50 %.1f us, p99 %.1f us, p99.9 %.1f us, "
          "max %.1f us\n",
          us (latency_percentile (l, 0.5)), us (latency_percentile (l, 0.99)),
          us (latency_percentile (l, 0.999)), us (l->max_ns));
}

static void
check_connection (const struct connection *c, const struct options *o)
{
  const struct workload *w = &o->workload;

  if (w->op != OP_READ && c->read_only)
    die ("the export is read-only");
  if (w->block_bytes % c->min_block_bytes != 0
      || w->block_bytes > c->max_block_bytes)
    die ("blocks of %" PRIu32 " bytes: the server wants multiples of %" PRIu32
         " up to %" PRIu32,
         w->block_bytes, c->min_block_bytes, c->max_block_bytes);
  if (c->device_bytes < w->block_bytes && !o->fill)
    die ("the device has only %" PRIu64 " bytes", c->device_bytes);
}

int
main (int argc, char **argv)
{
  static struct load load; /* its histogram is large for a stack */
  struct options o = {
    .export_name = "",
    .nr_connections = 1,
    .workload = { .op = OP_READ, .depth = 32, .block_bytes = 4096, .seed = 1 },
    .duration_ns = 1000000000,
    .warmup_ns = 100000000,
  };
  struct connection *c;
  struct result r;
  unsigned i;

  parse_options (argc, argv, &o);
  c = xcalloc (o.nr_connections, sizeof *c);
  for (i = 0; i < o.nr_connections; i++) {
    connection_open (&c[i], o.socket_path, o.export_name);
    check_connection (&c[i], &o);
  }
  if (o.fill)
    o.nr_requests = (c->device_bytes + FILL_BLOCK_BYTES - 1) / FILL_BLOCK_BYTES;

  load_init (&load, c, o.nr_connections, &o.workload);
  if (o.warmup_ns > 0)
    load_run (&load, o.warmup_ns, 0);
  r = measure (&load, &o);
  for (i = 0; i < o.nr_connections; i++)
    connection_close (&c[i]);
  if (o.human)
    report_human (&o, &r);
  else
    report_json (&o, &r);
  load_exit (&load);
  free (c);
  if (fflush (stdout) != 0 || ferror (stdout))
    die ("standard output: %s", strerror (errno));
  return EXIT_SUCCESS;
}

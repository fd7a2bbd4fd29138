/* SPDX-License-Identifier: BSD-3-Clause
 *
 * nbdreq.c: send chosen NBD requests, one after the other, and hold each
 * answer against the expected one.  A tool for the shell tests, where other
 * clients stand in the way: they round unaligned requests, refuse what the
 * server did not offer, or hide the error.  One thread.
 *
 *   nbdreq URI REQUEST...
 *   nbdreq [ COMMAND ARGUMENT... ] REQUEST...
 *
 * The second form runs a server that speaks NBD on its standard input and
 * output.
 *
 * A REQUEST is VERB,ARGUMENT,...[=ERROR].  Numbers are in bytes; K, M, G and T
 * after them are powers of 1024, and an offset may be "end-N": that far from
 * the end of the disk.  ERROR is the name of the errno that is expected, e.g.
 * EINVAL; without it the request must succeed.
 *
 *   read,OFFSET,LENGTH
 *   check,OFFSET,LENGTH,BYTE          read; every byte must be BYTE
 *   write,OFFSET,LENGTH,BYTE[,fua]    fill with BYTE
 *   trim,OFFSET,LENGTH[,fua]
 *   zero,OFFSET,LENGTH[,fua][,nohole][,fast]
 *   cache,OFFSET,LENGTH
 *   flush
 *   size,BYTES                        the disk's size must be BYTES
 *   minimum,BYTES                     the minimum block size must be BYTES
 *   hold                              wait until standard input ends
 *
 * Every answer is printed.  Exit status: 0 when all are as expected, 1 when
 * not or when the connection broke, 2 for a mistake in the arguments.
 */

#define _GNU_SOURCE 1 /* strerrorname_np */

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libnbd.h>

#define MAX_WORDS 8

static struct nbd_handle *nbd;
static uint64_t size_bytes;

static void __attribute__ ((noreturn, format (printf, 1, 2)))
usage_error (const char *fmt, ...)
{
  va_list ap;

  fprintf (stderr, "nbdreq: ");
  va_start (ap, fmt);
  vfprintf (stderr, fmt, ap);
  va_end (ap);
  fprintf (stderr, "\n");
  exit (2);
}

static uint64_t
parse_number (const char *word)
{
  static const char suffixes[] = "KMGT";
  uint64_t number;
  char *end;

  if (strncmp (word, "end-", 4) == 0)
    return size_bytes - parse_number (word + 4);
  errno = 0;
  number = strtoull (word, &end, 0);
  if (errno == 0 && end != word && *end != '\0') {
    const char *suffix = strchr (suffixes, *end);

    if (suffix != NULL) {
      number <<= 10 * (suffix - suffixes + 1);
      end++;
    }
  }
  if (errno != 0 || end == word || *end != '\0')
    usage_error ("%s is not a number", word);
  return number;
}

static uint32_t
parse_flag (const char *word)
{
  if (strcmp (word, "fua") == 0)
    return LIBNBD_CMD_FLAG_FUA;
  if (strcmp (word, "nohole") == 0)
    return LIBNBD_CMD_FLAG_NO_HOLE;
  if (strcmp (word, "fast") == 0)
    return LIBNBD_CMD_FLAG_FAST_ZERO;
  usage_error ("%s is not a flag: fua, nohole, fast", word);
}

static unsigned char
parse_byte (const char *word)
{
  uint64_t byte = parse_number (word);

  if (byte > 255)
    usage_error ("%s is not a byte", word);
  return (unsigned char)byte;
}

/* 0, or -1 when one is different; the first one is printed. */
static int
compare (const unsigned char *data, uint64_t bytes, uint64_t offset,
         unsigned char expected)
{
  for (uint64_t i = 0; i < bytes; i++) {
    if (data[i] != expected) {
      printf ("byte %" PRIu64 " is 0x%02x, not 0x%02x: ", offset + i, data[i],
              expected);
      return -1;
    }
  }
  return 0;
}

static const struct verb {
  const char *name;
  unsigned min_words, max_words; /* the verb included */
} verbs[] = {
  { "read", 3, 3 },    { "check", 4, 4 }, { "write", 4, 5 }, { "trim", 3, 4 },
  { "zero", 3, 6 },    { "cache", 3, 3 }, { "flush", 1, 1 }, { "size", 2, 2 },
  { "minimum", 2, 2 }, { "hold", 1, 1 },
};

static void
check_words (char *const words[], unsigned nr_words)
{
  for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
    if (strcmp (words[0], verbs[i].name) == 0) {
      if (nr_words < verbs[i].min_words || nr_words > verbs[i].max_words)
        usage_error ("%s has the wrong number of arguments", words[0]);
      return;
    }
  }
  usage_error ("%s is not a request", words[0]);
}

/* 0: done.  -1: libnbd or the server refused, see nbd_get_errno.  -2: it was
 * done, and the outcome is wrong.
 */
static int
do_request (char *const words[], unsigned nr_words)
{
  const char *verb = words[0];
  uint64_t offset, bytes;
  unsigned char *data;
  unsigned first_flag;
  uint32_t flags = 0;
  int r = -1;

  check_words (words, nr_words);
  if (strcmp (verb, "flush") == 0)
    return nbd_flush (nbd, 0);
  if (strcmp (verb, "hold") == 0) {
    while (getchar () != EOF)
      ;
    return 0;
  }
  if (strcmp (verb, "size") == 0)
    return parse_number (words[1]) == size_bytes ? 0 : -2;
  if (strcmp (verb, "minimum") == 0)
    return (int64_t)parse_number (words[1])
                   == nbd_get_block_size (nbd, LIBNBD_SIZE_MINIMUM)
               ? 0
               : -2;

  offset = parse_number (words[1]);
  bytes = parse_number (words[2]);
  first_flag
      = strcmp (verb, "write") == 0 || strcmp (verb, "check") == 0 ? 4 : 3;
  for (unsigned i = first_flag; i < nr_words; i++)
    flags |= parse_flag (words[i]);

  if (strcmp (verb, "trim") == 0)
    return nbd_trim (nbd, bytes, offset, flags);
  if (strcmp (verb, "zero") == 0)
    return nbd_zero (nbd, bytes, offset, flags);
  if (strcmp (verb, "cache") == 0)
    return nbd_cache (nbd, bytes, offset, flags);

  data = malloc (bytes > 0 ? bytes : 1);
  if (data == NULL)
    usage_error ("no memory for %s bytes", words[2]);
  if (strcmp (verb, "write") == 0) {
    memset (data, parse_byte (words[3]), bytes);
    r = nbd_pwrite (nbd, data, bytes, offset, flags);
  } else {
    unsigned char expected = nr_words > 3 ? parse_byte (words[3]) : 0;

    /* What the server fails to fill in must not look right. */
    memset (data, (unsigned char)~expected, bytes);
    r = nbd_pread (nbd, data, bytes, offset, 0);
    if (r == 0 && nr_words > 3 && compare (data, bytes, offset, expected) == -1)
      r = -2;
  }
  free (data);
  return r;
}

/* True if the outcome is the expected one. */
static bool
run_request (const char *request)
{
  char *copy = strdup (request), *rest, *expected, *words[MAX_WORDS];
  const char *outcome = "ok";
  unsigned nr_words = 0;
  bool as_expected;
  int r, err;

  if (copy == NULL)
    usage_error ("no memory");
  expected = strchr (copy, '=');
  if (expected != NULL)
    *expected++ = '\0';
  for (char *word = strtok_r (copy, ",", &rest); word != NULL;
       word = strtok_r (NULL, ",", &rest)) {
    if (nr_words == MAX_WORDS)
      usage_error ("%s has too many words", request);
    words[nr_words++] = word;
  }
  if (nr_words == 0)
    usage_error ("an empty request");

  r = do_request (words, nr_words);
  if (r == -1) {
    err = nbd_get_errno ();
    outcome = strerrorname_np (err);
    if (outcome == NULL)
      outcome = "an error without errno";
  } else if (r == -2)
    outcome = "not what was expected";
  as_expected = strcmp (outcome, expected != NULL ? expected : "ok") == 0;
  printf ("%s: %s%s\n", request, outcome, as_expected ? "" : " (WRONG)");
  if (r == -1 && !as_expected)
    printf ("%s\n", nbd_get_error ());
  fflush (stdout);
  free (copy);
  return as_expected;
}

/* Connect to what ARGV names.  The index of the first request, or -1. */
static int
connect_to_server (char *argv[])
{
  int end = 1;

  if (argv[1] == NULL)
    usage_error ("usage: nbdreq URI REQUEST...");
  if (strcmp (argv[1], "[") != 0)
    return nbd_connect_uri (nbd, argv[1]) == -1 ? -1 : 2;
  while (argv[end] != NULL && strcmp (argv[end], "]") != 0)
    end++;
  if (argv[end] == NULL || end == 2)
    usage_error ("[ must be followed by a command and ]");
  argv[end] = NULL;
  return nbd_connect_command (nbd, &argv[2]) == -1 ? -1 : end + 1;
}

int
main (int argc, char *argv[])
{
  bool as_expected = true;
  int64_t size;
  int first = -1;

  nbd = nbd_create ();
  if (nbd == NULL)
    usage_error ("%s", nbd_get_error ());
  /* Send what a well-behaved client would not: the server must cope. */
  if (nbd_set_strict_mode (nbd, 0) == -1
      || (first = connect_to_server (argv)) == -1
      || (size = nbd_get_size (nbd)) == -1) {
    fprintf (stderr, "nbdreq: %s\n", nbd_get_error ());
    return EXIT_FAILURE;
  }
  size_bytes = (uint64_t)size;

  for (int i = first; i < argc; i++)
    as_expected = run_request (argv[i]) && as_expected;

  if (nbd_shutdown (nbd, 0) == -1) {
    fprintf (stderr, "nbdreq: %s\n", nbd_get_error ());
    as_expected = false;
  }
  nbd_close (nbd);
  return as_expected ? EXIT_SUCCESS : EXIT_FAILURE;
}

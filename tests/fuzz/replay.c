/* SPDX-License-Identifier: BSD-3-Clause
 *
 * replay.c: a fuzzer's target over files, where there is no libFuzzer: each
 * argument is a file, or a directory of files.  One thread.
 */

#include <config.h>

#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>

#include "fuzz.h"

#define MAX_INPUT_BYTES (1u << 20)

static unsigned nr_replayed;

static void
replay_file (const char *path)
{
  uint8_t *input = malloc (MAX_INPUT_BYTES), *copy;
  FILE *file = fopen (path, "rb");
  size_t bytes;

  if (file == NULL || input == NULL) {
    perror (path);
    exit (1);
  }
  bytes = fread (input, 1, MAX_INPUT_BYTES, file);
  fclose (file);
  /* So that a sanitizer sees who reads past the end. */
  copy = malloc (bytes);
  require (copy != NULL || bytes == 0);
  for (size_t i = 0; i < bytes; i++)
    copy[i] = input[i];
  free (input);
  fprintf (stderr, "%s\n", path);
  LLVMFuzzerTestOneInput (copy, bytes);
  free (copy);
  nr_replayed++;
}

static void
replay_directory (const char *path)
{
  DIR *directory = opendir (path);
  struct dirent *entry;
  char name[4096];

  if (directory == NULL) {
    perror (path);
    exit (1);
  }
  while ((entry = readdir (directory)) != NULL)
    if (entry->d_name[0] != '.') {
      snprintf (name, sizeof name, "%s/%s", path, entry->d_name);
      replay_file (name);
    }
  closedir (directory);
}

int
main (int argc, char **argv)
{
  LLVMFuzzerInitialize (&argc, &argv);
  for (int i = 1; i < argc; i++) {
    struct stat st;

    if (stat (argv[i], &st) == 0 && S_ISDIR (st.st_mode))
      replay_directory (argv[i]);
    else
      replay_file (argv[i]);
  }
  printf ("%u inputs\n", nr_replayed);
  return nr_replayed > 0 ? 0 : 1;
}

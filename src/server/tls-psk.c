/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tls-psk.c: users and the keys that they share with the server, from a file as
 * psktool(1) makes it: a line each, "NAME:KEY", the key in hexadecimal.
 *
 * Any thread; what was loaded does not change.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/tls-internal.h"

#define OPTION "--tls-psk"

/* What gnutls has room for, and psktool makes. */
#define MAX_NAME_BYTES 128u
#define MIN_KEY_BYTES 16u
#define MAX_KEY_BYTES 64u

struct tls_keys {
  struct tls_file file; /* names and keys are in it */
  size_t nr, room;
  struct tls_key *keys; /* sorted by name */
};

static int
digit (char c)
{
  if (c >= '0' && c <= '9')
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  if (c >= 'A' && c <= 'F')
    return c - 'A' + 10;
  return -1;
}

/* In place.  Returns how many bytes, or -1: no such number. */
static int
read_hex (char *text)
{
  size_t nr = strlen (text) / 2;

  if (strlen (text) % 2 != 0)
    return -1;
  for (size_t i = 0; i < nr; i++) {
    int high = digit (text[2 * i]), low = digit (text[2 * i + 1]);

    if (high < 0 || low < 0)
      return -1;
    text[i] = (char)(high * 16 + low);
  }
  return (int)nr;
}

/* What is wrong with LINE, or NULL; the key is added. */
static const char *
take_line (struct tls_keys *keys, char *line)
{
  char *colon = strchr (line, ':');
  int nr;

  if (line[0] == '#')
    return "a name in hexadecimal, or a comment; neither is allowed";
  if (colon == NULL)
    return "must be NAME:KEY, as psktool(1) makes it";
  *colon = '\0';
  if (colon == line || colon - line > (ptrdiff_t)MAX_NAME_BYTES)
    return "the name must have 1 to 128 bytes";
  nr = read_hex (colon + 1);
  if (nr < 0)
    return "the key is no hexadecimal number of whole bytes";
  if ((unsigned)nr < MIN_KEY_BYTES || (unsigned)nr > MAX_KEY_BYTES)
    return "the key must have 16 to 64 bytes";
  if (keys->nr == keys->room) {
    size_t room = keys->room > 0 ? 2 * keys->room : 16;
    struct tls_key *more
        = reallocarray (keys->keys, room, sizeof keys->keys[0]);

    if (more == NULL)
      return strerror (ENOMEM);
    keys->keys = more;
    keys->room = room;
  }
  keys->keys[keys->nr++]
      = (struct tls_key){ line, (const uint8_t *)colon + 1, (size_t)nr };
  return NULL;
}

static int
compare (const void *a, const void *b)
{
  const struct tls_key *key_a = a, *key_b = b;

  return strcmp (key_a->name, key_b->name);
}

static int
parse (struct tls_keys *keys, const char *path, struct blkmq_error *error)
{
  char *rest = keys->file.data, *line;
  const char *wrong;
  unsigned number = 0;

  if (strlen (keys->file.data) != keys->file.bytes)
    return tls_refuse (error, OPTION, path, NULL, "has a NUL byte");
  while ((line = strsep (&rest, "\n")) != NULL) {
    number++;
    line[strcspn (line, "\r")] = '\0';
    if (line[0] == '\0')
      continue;
    wrong = take_line (keys, line);
    if (wrong != NULL)
      return tls_refuse (error, OPTION, path, NULL, "line %u: %s", number,
                         wrong);
  }
  if (keys->nr == 0)
    return tls_refuse (error, OPTION, path, NULL,
                       "has no line NAME:KEY, as psktool(1) makes it");
  qsort (keys->keys, keys->nr, sizeof keys->keys[0], compare);
  for (size_t i = 1; i < keys->nr; i++)
    if (strcmp (keys->keys[i - 1].name, keys->keys[i].name) == 0)
      return tls_refuse (error, OPTION, path, NULL, "has the name \"%s\" twice",
                         keys->keys[i].name);
  return 0;
}

int
tls_keys_load (const char *path, struct tls_keys **result,
               struct blkmq_error *error)
{
  struct tls_keys *keys = calloc (1, sizeof *keys);
  int r;

  if (keys == NULL) {
    tls_refuse (error, OPTION, path, NULL, "%s", strerror (ENOMEM));
    return -ENOMEM;
  }
  r = tls_file_read (&keys->file, OPTION, path, NULL, true, error);
  if (r == 0)
    r = parse (keys, path, error);
  if (r < 0) {
    tls_keys_free (keys);
    return r;
  }
  *result = keys;
  return 0;
}

void
tls_keys_free (struct tls_keys *keys)
{
  if (keys == NULL)
    return;
  tls_file_free (&keys->file);
  free (keys->keys);
  free (keys);
}

const struct tls_key *
tls_keys_find (const struct tls_keys *keys, const void *name, size_t name_bytes)
{
  char text[MAX_NAME_BYTES + 1];
  struct tls_key wanted = { .name = text };

  if (name_bytes > MAX_NAME_BYTES || memchr (name, '\0', name_bytes) != NULL)
    return NULL;
  memcpy (text, name, name_bytes);
  text[name_bytes] = '\0';
  return bsearch (&wanted, keys->keys, keys->nr, sizeof keys->keys[0], compare);
}

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * keys.c: the table of the front end's own keys, and what their values may be.
 * Constant data: any thread.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "engine/config.h"
#include "front/keys.h"

/* NBD's limit for a string (NBD_MAX_STRING). */
#define MAX_TEXT_BYTES 4096

static const char text_allowed[]
    = "UTF-8 without control characters, of at most 4096 bytes";

const struct blkmq_key front_keys[NR_FRONT_KEYS] = {
  [FRONT_EXPORT] = {
      .name = "export",
      .type = BLKMQ_KEY_STRING,
      .help = "begin another disk, of that name; keys that follow are its own",
  },
  [FRONT_DESCRIPTION] = {
      .name = "description",
      .type = BLKMQ_KEY_STRING,
      .help = "what clients are told of an export (a line about the disk)",
  },
  [FRONT_SHARED_TAGS] = {
      .name = "shared_tags",
      .type = BLKMQ_KEY_BOOL,
      .default_value = "0",
      .help = "hw_queue_depth is for all exports together",
  },
  [FRONT_CONTROL] = {
      .name = "control",
      .type = BLKMQ_KEY_STRING,
      .help = "the path of a socket on which the disks are controlled",
  },
};

enum front_key
front_key_find (const char *name)
{
  unsigned key = 0;

  while (key < NR_FRONT_KEYS && strcmp (front_keys[key].name, name) != 0)
    key++;
  return (enum front_key)key;
}

bool
front_key_is_server_wide (enum front_key key)
{
  return key != FRONT_EXPORT && key != FRONT_DESCRIPTION;
}

static bool
is_client_text (enum front_key key)
{
  return key == FRONT_EXPORT || key == FRONT_DESCRIPTION;
}

/* RFC 3629: the shortest form, no surrogates, up to U+10FFFF. */
size_t
front_character_bytes (const char *text)
{
  const unsigned char *p = (const unsigned char *)text;
  size_t nr_more = *p >= 0xf0 ? 3 : *p >= 0xe0 ? 2 : 1;
  unsigned min = nr_more == 3 ? 0x10000 : nr_more == 2 ? 0x800 : 0xa0;
  unsigned code;

  if (*p < 0x80)
    return *p >= 0x20 && *p != 0x7f;
  if (*p < 0xc2 || *p > 0xf4)
    return 0;
  code = *p & (0x3fu >> nr_more);
  for (size_t i = 1; i <= nr_more; i++) {
    if ((p[i] & 0xc0) != 0x80)
      return 0;
    code = code << 6 | (p[i] & 0x3f);
  }
  if (code < min || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
    return 0;
  return 1 + nr_more;
}

/* NULL, or what is wrong. */
static const char *
check_text (const char *value)
{
  const char *p = value;
  size_t bytes;

  if (strlen (value) > MAX_TEXT_BYTES)
    return "too long";
  for (; *p != '\0'; p += bytes) {
    bytes = front_character_bytes (p);
    if (bytes == 0)
      return "not plain text";
  }
  return NULL;
}

int
front_key_check (enum front_key key, const char *value,
                 struct blkmq_error *error)
{
  const char *wrong = is_client_text (key) ? check_text (value) : NULL;
  struct text text;
  uint64_t number;

  if (wrong == NULL)
    return key_parse (&front_keys[key], value, &number, error);
  text = text_begin_error (error);
  text_add (&text, "%s=", front_keys[key].name);
  text_add_value (&text, value);
  text_add (&text, ": %s; must be %s", wrong, text_allowed);
  return -EINVAL;
}

int
front_for_each_key (int (*fn) (const struct blkmq_driver *driver,
                               const struct blkmq_key *key, void *opaque),
                    void *opaque)
{
  int r = blkmq_for_each_key (fn, opaque);

  for (unsigned key = 0; key < NR_FRONT_KEYS && r == 0; key++)
    r = fn (NULL, &front_keys[key], opaque);
  return r;
}

void
front_key_allowed (const struct blkmq_key *key, char *buf, size_t buf_bytes)
{
  struct text text = text_begin (buf, buf_bytes);

  if (key == &front_keys[FRONT_EXPORT] || key == &front_keys[FRONT_DESCRIPTION])
    text_add (&text, "%s", text_allowed);
  else
    blkmq_key_allowed (key, buf, buf_bytes);
}

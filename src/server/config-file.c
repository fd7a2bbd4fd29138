/* SPDX-License-Identifier: BSD-3-Clause
 *
 * config-file.c: the file of --config.  inih finds keys, values and comments;
 * what it does not tell is done here: on which line that was, that a section
 * has begun, and that something was no line at all.  It keeps 49 bytes of a
 * section's name, and so names are taken from the line.  The main thread,
 * before others run.
 */

#include <config.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/config-file.h"
#include "server/log.h"

#define MAX_LINE_BYTES 65536
#define MAX_ERRORS 20

enum section_kind {
  SECTION_NONE,    /* none has begun */
  SECTION_REFUSED, /* what is in it is not looked at */
  SECTION_SERVER,
  SECTION_DEFAULTS,
  SECTION_EXPORT,
};

struct parser {
  struct options *options;
  struct option_values *values;
  struct exports *exports;
  const char *path;

  const char *at, *end; /* of what was not read yet */
  unsigned line;
  bool expects_key; /* the line must be one that the handler sees */

  enum section_kind kind;
  const char *section;                 /* "[export a]"; NULL: none has begun */
  const char *prefix;                  /* of messages about the export, or "" */
  unsigned server_line, defaults_line; /* 0: not seen */
  unsigned nr_errors;
};

/* ------------------------------------------------------------------------ */
/* What is wrong                                                             */

static void
wrong (struct parser *p, const char *message)
{
  p->nr_errors++;
  if (p->nr_errors > MAX_ERRORS)
    return;
  if (p->section != NULL)
    log_error ("%s:%u: %s: %s", p->path, p->line, p->section, message);
  else
    log_error ("%s:%u: %s", p->path, p->line, message);
  if (p->nr_errors == MAX_ERRORS)
    log_error ("%s: that is enough", p->path);
}

static void
wrong_key (struct parser *p, const char *name, const char *value,
           const char *what)
{
  struct blkmq_error error;
  struct text text = text_begin_error (&error);

  text_add_value (&text, name);
  text_add (&text, "=");
  text_add_value (&text, value);
  text_add (&text, ": %s", what);
  wrong (p, error.message);
}

/* Without the words in front that say what the section does. */
static void
wrong_inside (struct parser *p, const struct blkmq_error *error)
{
  const char *message = error->message;
  size_t bytes = strlen (p->prefix);

  if (bytes > 0 && strncmp (message, p->prefix, bytes) == 0)
    message += bytes;
  wrong (p, message);
}

static void
no_memory (struct parser *p)
{
  wrong (p, "out of memory");
}

/* ------------------------------------------------------------------------ */
/* Keys                                                                      */

static int
is_key (const struct blkmq_driver *driver, const struct blkmq_key *key,
        void *opaque)
{
  return strcmp (key->name, opaque) == 0;
}

/* Of a disk, as far as drivers are known. */
static bool
is_disk_key (const char *name)
{
  return front_for_each_key (is_key, (void *)(uintptr_t)name) != 0;
}

/* Its index, or NR_OPTIONS. */
static unsigned
find_option (const char *name)
{
  unsigned i = 0;

  while (i < NR_OPTIONS && strcmp (option_rows[i].key.name + 2, name) != 0)
    i++;
  return i;
}

static void
unknown_option (struct parser *p, const char *name, const char *value)
{
  char known[1024];
  struct text text = text_begin (known, sizeof known);

  text_add (&text, "unknown option; options are ");
  for (unsigned i = 0; i < NR_OPTIONS; i++)
    if (!option_rows[i].not_in_file)
      text_add (&text, "%s, ", option_rows[i].key.name + 2);
  text_add (&text, "%s, %s", front_keys[FRONT_CONTROL].name,
            front_keys[FRONT_SHARED_TAGS].name);
  wrong_key (p, name, value, known);
}

static bool
add_place (struct parser *p, const char *key, const char *value)
{
  struct config_place place = {
    .section = p->section,
    .prefix = p->prefix,
    .line = p->line,
  };

  if (key != NULL) {
    place.key = options_keep (p->options, key);
    place.value = options_keep (p->options, value);
    if (place.key == NULL || place.value == NULL)
      return false;
  }
  return config_places_add (&p->options->places, &place);
}

static void
set_key (struct parser *p, const char *name, const char *value)
{
  struct blkmq_error error = { "" };

  if (front_key_find (name) == FRONT_EXPORT)
    wrong_key (p, name, value,
               "an export has a section of its own, [export NAME]");
  else if (find_option (name) < NR_OPTIONS && !is_disk_key (name))
    wrong_key (p, name, value, "an option, not a key; must stand in [blkmqd]");
  else if (exports_set (p->exports, name, value, &error) < 0)
    wrong_inside (p, &error);
  else if (!add_place (p, name, value))
    no_memory (p);
}

static void
set_option (struct parser *p, const char *name, const char *value)
{
  unsigned option = find_option (name);
  enum front_key key = front_key_find (name);
  struct blkmq_error error = { "" };
  const char *kept;

  if (option == NR_OPTIONS && key != NR_FRONT_KEYS
      && front_key_is_server_wide (key)) {
    if (exports_set_server_value (p->exports, key, value, &error) < 0)
      wrong (p, error.message);
    return;
  }
  if (option == NR_OPTIONS && is_disk_key (name)) {
    wrong_key (p, name, value,
               "a key of disks; must stand in [defaults] or [export NAME]");
    return;
  }
  if (strcmp (name, "help") == 0 || strcmp (name, "version") == 0
      || (option < NR_OPTIONS && option_rows[option].not_in_file)) {
    wrong_key (p, name, value, "is for the command line only");
    return;
  }
  if (option == NR_OPTIONS) {
    unknown_option (p, name, value);
    return;
  }
  kept = options_keep (p->options, value);
  if (kept == NULL)
    no_memory (p);
  else if (options_set (p->options, p->values, option, kept, &error) < 0)
    wrong (p, error.message + strlen ("--"));
}

/* inih's: a line is KEY=VALUE. */
static int
handle (void *opaque, const char *section, const char *name, const char *value)
{
  struct parser *p = opaque;

  p->expects_key = false;
  switch (p->kind) {
  case SECTION_NONE:
    wrong_key (p, name, value,
               "stands before any section; must come after [blkmqd], "
               "[defaults] or [export NAME]");
    break;
  case SECTION_REFUSED:
    break;
  case SECTION_SERVER:
    set_option (p, name, value);
    break;
  case SECTION_DEFAULTS:
  case SECTION_EXPORT:
    set_key (p, name, value);
    break;
  }
  return 1;
}

/* ------------------------------------------------------------------------ */
/* Sections                                                                  */

static void
refuse_section (struct parser *p, const char *what)
{
  wrong (p, what);
  p->kind = SECTION_REFUSED;
}

/* Those that there can be one of. */
static void
begin_single (struct parser *p, enum section_kind kind, unsigned *first)
{
  char again[64];

  p->kind = kind;
  if (*first != 0) {
    snprintf (again, sizeof again, "a second time, first on line %u", *first);
    refuse_section (p, again);
  } else if (kind == SECTION_DEFAULTS && exports_nr (p->exports) > 0)
    refuse_section (p, "must come before the first export");
  else
    *first = p->line;
}

static void
begin_export (struct parser *p, const char *name)
{
  struct blkmq_error error = { "" };
  char given[96];
  struct text text = text_begin (given, sizeof given);

  if (strcmp (name, "\"\"") == 0) {
    refuse_section (p, "quotes would be part of the name; the default export, "
                       "whose name is empty, is [export]");
    return;
  }
  text_add (&text, "export=");
  text_add_value (&text, name);
  text_add (&text, ": ");
  p->prefix = given;
  if (exports_set (p->exports, front_keys[FRONT_EXPORT].name, name, &error)
      < 0) {
    wrong_inside (p, &error);
    p->prefix = "";
    p->kind = SECTION_REFUSED;
    return;
  }
  p->prefix = exports_at (p->exports, exports_nr (p->exports) - 1)->prefix;
  p->kind = SECTION_EXPORT;
}

/* INSIDE: what stands in the brackets. */
static void
begin_section (struct parser *p, const char *inside)
{
  const char *name = inside + strlen ("export");

  if (strcmp (inside, "blkmqd") == 0)
    begin_single (p, SECTION_SERVER, &p->server_line);
  else if (strcmp (inside, "defaults") == 0)
    begin_single (p, SECTION_DEFAULTS, &p->defaults_line);
  else if (strncmp (inside, "export", strlen ("export")) == 0
           && (*name == '\0' || isspace ((unsigned char)*name))) {
    while (isspace ((unsigned char)*name))
      name++;
    begin_export (p, name);
  } else
    refuse_section (p, "unknown section; must be [blkmqd], [defaults], "
                       "[export NAME] or, for the default export, [export]");
}

/* TEXT: "[...", without blanks around it. */
static void
take_section (struct parser *p, const char *text, size_t bytes)
{
  char *copy = strndup (text, bytes), *inside = NULL;
  size_t nr = bytes - 1;

  p->section = NULL;
  p->prefix = "";
  p->kind = SECTION_REFUSED;
  if (text[bytes - 1] != ']' || bytes == 1) {
    wrong (p, "a line that begins with [ must end with ]; a comment has a line "
              "of its own");
    goto free_copy;
  }
  if (copy != NULL) {
    p->section = options_keep (p->options, copy);
    inside = copy + 1;
    while (nr > 1 && isspace ((unsigned char)copy[nr - 1]))
      nr--;
    copy[nr] = '\0';
    while (isspace ((unsigned char)*inside))
      inside++;
  }
  if (p->section == NULL) {
    no_memory (p);
    goto free_copy;
  }
  begin_section (p, inside);
  if (p->kind != SECTION_REFUSED && !add_place (p, NULL, NULL))
    no_memory (p);

free_copy:
  free (copy);
}

/* ------------------------------------------------------------------------ */
/* Lines                                                                     */

/* The line that begins at TEXT. */
static void
take_line (struct parser *p, const char *text, size_t bytes, char *buf,
           size_t room)
{
  buf[0] = '\0';
  p->expects_key = false;
  if (memchr (text, '\0', bytes) != NULL) {
    wrong (p, "a byte of value 0; must be text");
    return;
  }
  if (bytes >= room) {
    struct blkmq_error error;
    struct text message = text_begin_error (&error);

    text_add (&message, "%zu bytes; a line may have at most %zu", bytes,
              room - 1);
    wrong (p, error.message);
    return;
  }
  while (bytes > 0 && isspace ((unsigned char)text[bytes - 1]))
    bytes--;
  while (bytes > 0 && isspace ((unsigned char)*text)) {
    text++;
    bytes--;
  }
  if (bytes > 0 && *text == '[')
    take_section (p, text, bytes);
  else
    p->expects_key
        = bytes > 0 && strchr (ini_start_comment_prefixes, *text) == NULL;
  memcpy (buf, text, bytes);
  buf[bytes] = '\0';
}

/* inih's: it wants another line. */
static char *
read_line (char *buf, int room, void *opaque)
{
  struct parser *p = opaque;
  size_t bytes = (size_t)(p->end - p->at);
  const char *text = p->at, *newline;

  if (p->expects_key && p->kind != SECTION_REFUSED)
    wrong (p, "neither KEY=VALUE nor [SECTION] nor a comment, which begins "
              "with # or ;");
  if (bytes == 0 || p->nr_errors >= MAX_ERRORS)
    return NULL;
  newline = memchr (text, '\n', bytes);
  if (newline != NULL)
    bytes = (size_t)(newline - text);
  p->at += newline != NULL ? bytes + 1 : bytes;
  p->line++;
  take_line (p, text, bytes, buf, (size_t)room);
  return buf;
}

enum options_result
config_file_parse (struct options *options, struct option_values *values,
                   struct exports *exports, const char *path, const char *text,
                   size_t bytes)
{
  static const char byte_order_mark[] = { '\xef', '\xbb', '\xbf' };
  struct parser p = {
    .options = options,
    .values = values,
    .exports = exports,
    .path = path,
    .at = text,
    .end = text + bytes,
    .prefix = "",
  };

  if (bytes >= sizeof byte_order_mark
      && memcmp (text, byte_order_mark, sizeof byte_order_mark) == 0)
    p.at += sizeof byte_order_mark;
  /* Otherwise it cuts long lines and values with " ;" in them, and takes a line
   * that is indented for more of the value before it. */
  ini_use_stack = false;
  ini_allow_realloc = false;
  ini_initial_alloc = MAX_LINE_BYTES;
  ini_max_line = MAX_LINE_BYTES;
  ini_allow_multiline = false;
  ini_allow_inline_comments = false;
  ini_allow_no_value = false;
  ini_stop_on_first_error = false;
  if (ini_parse_stream (read_line, &p, handle, &p) == -2)
    no_memory (&p);
  return p.nr_errors == 0 ? OPTIONS_SERVE : OPTIONS_WRONG;
}

/* ------------------------------------------------------------------------ */
/* The file                                                                  */

/* 0 with what stands in it, to be freed; or a negative errno. */
static int
read_all (int fd, char **text, size_t *bytes)
{
  size_t room = 0;
  char *larger;
  ssize_t r;

  for (*bytes = 0;; *bytes += (size_t)r) {
    if (*bytes == room) {
      room = room == 0 ? 65536 : 2 * room;
      larger = realloc (*text, room);
      if (larger == NULL)
        return -ENOMEM;
      *text = larger;
    }
    r = read (fd, *text + *bytes, room - *bytes);
    if (r == 0)
      return 0;
    if (r < 0)
      return -errno;
    if (*bytes + (size_t)r > CONFIG_FILE_MAX_BYTES)
      return -EFBIG;
  }
}

enum options_result
config_file_read (struct options *options, struct option_values *values,
                  struct exports *exports, const char *path)
{
  enum options_result result = OPTIONS_WRONG;
  int fd = open (path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  int r = fd < 0 ? -errno : 0;
  char *text = NULL;
  size_t bytes = 0;

  if (r == 0)
    r = read_all (fd, &text, &bytes);
  if (r == -EFBIG)
    log_error ("--config=%s: too large; must be at most %u bytes", path,
               CONFIG_FILE_MAX_BYTES);
  else if (r < 0)
    log_error ("--config=%s: %s", path, strerror (-r));
  else
    result = config_file_parse (options, values, exports, path, text, bytes);
  free (text);
  if (fd >= 0)
    close (fd);
  return result;
}

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * matrix.c: the configurations of the stress program.  Constant data: any
 * thread.
 *
 * A dimension is a line of the table, and its choices are words: KEY=VALUE is
 * the engine's, @NAME=NUMBER the harness's own.  Every combination is a
 * configuration.  There are too many to walk through them: each dimension goes
 * through its choices again and again, in an order that is drawn each time, so
 * that a few rounds see all choices and many see most pairs.
 */

#include <config.h>

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stress.h"

#define MAX_CHOICES 5

/* What is true unless a choice says otherwise. */
#define DEFAULTS                                                               \
  "@disks=1 @power=0 @iodepth=32 @commit=0 @fast=0 @inside=500 @late=0 "       \
  "@never=0 @requeue=0 @busy_device=0 @busy_host=0 @error=0 @twice=0 "         \
  "@abort=0 @nowait=50 @bad=2 @sync=20 @control=1 @set=0 @more_requests=0 "    \
  "@live=0 @change=0 @runs=0 @cache=0 @fua=0 @barrier=0 @reserved=0 @aside=0 " \
  "@settings=0"

static const struct dimension {
  const char *name;
  const char *choices[MAX_CHOICES];
} dimensions[] = {
  { "irqmode",
    { "irqmode=none", "irqmode=softirq",
      "irqmode=timer completion_nsec=20us" } },
  { "depth",
    { "hw_queue_depth=1", "hw_queue_depth=4", "hw_queue_depth=64",
      "hw_queue_depth=1024" } },
  { "queues", { "submit_queues=1", "submit_queues=3" } },
  { "io depth", { "@iodepth=6", "@iodepth=48", "@iodepth=1024" } },
  { "faults",
    { "", "@requeue=100 @busy_device=20 @busy_host=1 @error=20 @twice=20",
      "io_timeout=2 @never=500 @requeue=100 @error=10 @twice=5",
      "io_timeout=3 @never=20 @late=100 @requeue=50 @busy_device=10 "
      "@busy_host=1 @error=20 @twice=10 @abort=20" } },
  { "splitting", { "", "max_sectors=2" } },
  { "disks", { "", "", "@disks=2", "@disks=2 @set=1", "@disks=3 @set=1" } },
  { "tag bitmap", { "", "", "shared_tag_bitmap=1" } },
  { "power", { "", "@power=3" } },
  /* Without controllers and keeper nobody makes good a lost wake-up. */
  { "control", { "", "", "@control=0" } },
  { "doorbell", { "", "@commit=1 @inside=100" } },
  /* Timeouts of the real clock take milliseconds; the fast one is turned by a
   * thread, with the loops. */
  { "clock", { "", "@fast=1" } },
  { "scheduler",
    { "", "scheduler=mq-deadline",
      "scheduler=mq-deadline read_expire=1 write_expire=2 prio_aging_expire=3 "
      "fifo_batch=4",
      "@change=1" } },
  { "nr_requests", { "", "@more_requests=37" } },
  { "live queues", { "", "@live=1" } },
  { "merges", { "", "@runs=300", "@runs=300 nomerges=1" } },
  { "cache",
    { "", "@barrier=50", "@cache=1 @barrier=100",
      "@cache=1 @fua=1 @barrier=100" } },
  { "reserved tags", { "", "", "@reserved=2" } },
  { "requeues", { "", "@aside=500" } },
  { "iostats", { "", "iostats=1" } },
  /* Layers, which are only there for the way that requests take. */
  { "layers",
    { "", "", "delay_write=20us media_delay_read=10us", "live=1 @settings=1",
      "mbps=1000 iops=100000" } },
  { "blocking", { "", "", "blocking=1" } },
};

static const struct word {
  const char *name;
  size_t offset;
} words[] = {
#define WORD(name)                                                             \
  {                                                                            \
#name, offsetof(struct shape, name)                                        \
  }
  WORD (disks),       WORD (power),     WORD (iodepth),  WORD (commit),
  WORD (fast),        WORD (inside),    WORD (late),     WORD (never),
  WORD (requeue),     WORD (busy_host), WORD (error),    WORD (twice),
  WORD (busy_device), WORD (abort),     WORD (nowait),   WORD (bad),
  WORD (sync),        WORD (control),   WORD (set),      WORD (more_requests),
  WORD (live),        WORD (change),    WORD (runs),     WORD (cache),
  WORD (fua),         WORD (barrier),   WORD (reserved), WORD (aside),
  WORD (settings),
#undef WORD
};

static unsigned
nr_choices (const struct dimension *dimension)
{
  unsigned n = 0;

  while (n < MAX_CHOICES && dimension->choices[n] != NULL)
    n++;
  return n;
}

uint64_t
matrix_nr (void)
{
  uint64_t n = 1;

  for (size_t i = 0; i < NR (dimensions); i++)
    n *= nr_choices (&dimensions[i]);
  return n;
}

static void
append (char *to, size_t bytes, const char *word)
{
  size_t used = strlen (to);

  require (used + strlen (word) + 2 <= bytes);
  snprintf (to + used, bytes - used, "%s%s", used > 0 ? " " : "", word);
}

static void
set_own (struct shape *shape, const char *name, unsigned value)
{
  for (size_t i = 0; i < NR (words); i++) {
    if (strcmp (name, words[i].name) == 0) {
      *(unsigned *)(void *)((char *)shape + words[i].offset) = value;
      return;
    }
  }
  fprintf (stderr, "stress: no such word in the matrix: @%s\n", name);
  abort ();
}

static void
add_words (struct shape *shape, const char *choice)
{
  char copy[640], *save, *word;

  snprintf (copy, sizeof copy, "%s", choice);
  for (word = strtok_r (copy, " ", &save); word != NULL;
       word = strtok_r (NULL, " ", &save)) {
    if (word[0] != '@') {
      append (shape->keys, sizeof shape->keys, word);
      continue;
    }
    char *value = strchr (word, '=');

    require (value != NULL);
    *value = '\0';
    set_own (shape, word + 1, (unsigned)strtoul (value + 1, NULL, 10));
  }
}

static void
set_key (struct blkmq_config *config, const char *key, const char *value)
{
  struct blkmq_error error;

  if (blkmq_config_set (config, key, value, &error) < 0) {
    fprintf (stderr, "stress: %s\n", error.message);
    abort ();
  }
}

struct blkmq_config *
matrix_config (const struct shape *shape, unsigned queues, unsigned depth)
{
  struct blkmq_config *config = blkmq_config_alloc ();
  char copy[sizeof shape->keys], number[16], *save, *word;

  require (config != NULL);
  memcpy (copy, shape->keys, sizeof copy);
  for (word = strtok_r (copy, " ", &save); word != NULL;
       word = strtok_r (NULL, " ", &save)) {
    char *value = strchr (word, '=');

    require (value != NULL);
    *value++ = '\0';
    if (queues != 0 && strcmp (word, "submit_queues") == 0) {
      snprintf (number, sizeof number, "%u", queues);
      value = number;
    } else if (depth != 0 && strcmp (word, "hw_queue_depth") == 0) {
      snprintf (number, sizeof number, "%u", depth);
      value = number;
    }
    set_key (config, word, value);
  }
  return config;
}

static void
read_keys (struct shape *shape)
{
  struct blkmq_config *config = matrix_config (shape, 0, 0);

  shape->depth = (unsigned)blkmq_config_number (config, "hw_queue_depth");
  shape->queues = (unsigned)blkmq_config_number (config, "submit_queues");
  shape->io_timeout_ns = blkmq_config_number (config, "io_timeout") * MS;
  shape->max_part_bytes
      = (uint32_t)blkmq_config_number (config, "max_sectors") * 512;
  shape->may_be_kept = blkmq_config_number (config, "irqmode") == 2
                       || shape->settings
                       || blkmq_config_number (config, "delay_write") != 0;
  shape->may_refuse
      = shape->settings || blkmq_config_number (config, "iops") != 0;
  shape->is_shared
      = shape->set || blkmq_config_number (config, "shared_tag_bitmap");
  shape->may_merge = !blkmq_config_number (config, "nomerges");
  shape->may_grow
      = shape->may_merge
        && (shape->change || blkmq_config_number (config, "scheduler") != 0);
  shape->iostats = blkmq_config_number (config, "iostats");
  require (shape->queues <= MAX_HCTXS && shape->disks <= MAX_DISKS);
  blkmq_config_free (config);
}

/* Where one choice asks for something of another: the depth for the tags that
 * are reserved of it, the number of requests for twice the depth. */
static void
reconcile (struct shape *shape)
{
  char *at = strstr (shape->keys, "hw_queue_depth="), word[40];
  unsigned depth = (unsigned)strtoul (strchr (at, '=') + 1, NULL, 10);

  if (depth <= shape->reserved) {
    /* One digit takes the place of another. */
    require (depth < 10 && shape->reserved + 1 < 10);
    depth = shape->reserved + 1;
    *(strchr (at, '=') + 1) = (char)('0' + depth);
  }
  if (shape->more_requests > 0) {
    snprintf (word, sizeof word, "nr_requests=%u",
              2 * depth + shape->more_requests);
    append (shape->keys, sizeof shape->keys, word);
  }
  append (shape->keys, sizeof shape->keys,
          shape->reserved ? "driver=stress-reserved" : "driver=stress");
  append (shape->keys, sizeof shape->keys, "size=64M");
}

/* Which of NR choices dimension INDEX has in round NUMBER: that of its cycle
 * through all of them, in the order that was drawn for this one. */
static unsigned
choice_of (unsigned number, unsigned index, unsigned nr)
{
  unsigned order[MAX_CHOICES], cycle = (number - 1) / nr;

  rng_name_thread (((uint64_t)cycle << 8 | index) << 40);
  for (unsigned i = 0; i < nr; i++) {
    unsigned j = (unsigned)rng_below (i + 1);

    order[i] = order[j];
    order[j] = i;
  }
  return order[(number - 1) % nr];
}

/* Half of all requests time out and a tenth is requeued, under each scheduler:
 * these are the first rounds of any run, whatever its seed. */
static const char *
pinned (unsigned number, const struct dimension *dimension)
{
  static const char *const schedulers[]
      = { "", "scheduler=mq-deadline", "@change=1" };

  if (number > NR (schedulers))
    return NULL;
  if (strcmp (dimension->name, "scheduler") == 0)
    return schedulers[number - 1];
  if (strcmp (dimension->name, "faults") == 0)
    return dimension->choices[2];
  if (strcmp (dimension->name, "control") == 0)
    return "";
  if (strcmp (dimension->name, "depth") == 0)
    return "hw_queue_depth=64";
  return NULL;
}

void
matrix_shape (unsigned number, struct shape *shape)
{
  memset (shape, 0, sizeof *shape);
  add_words (shape, DEFAULTS);
  for (unsigned i = 0; i < NR (dimensions); i++) {
    const struct dimension *dimension = &dimensions[i];
    const char *choice = pinned (number, dimension);

    if (choice == NULL)
      choice
          = dimension->choices[choice_of (number, i, nr_choices (dimension))];
    add_words (shape, choice);
    if (choice[0] != '\0')
      append (shape->name, sizeof shape->name, choice);
  }
  reconcile (shape);
  read_keys (shape);
}

/* So many that the round takes a fraction of a second: ten times as many where
 * many are in flight.  With timeouts at the real clock's pace, a tag whose
 * request the device forgets is out of use for some ten milliseconds. */
uint64_t
matrix_quota (const struct shape *shape)
{
  uint64_t tags = (uint64_t)shape->depth * shape->queues * shape->disks;
  uint64_t ios = (uint64_t)shape->iodepth * shape->disks;
  uint64_t slow = shape->never + shape->late, quota;

  if (tags > ios)
    tags = ios;
  quota = tags >= 48 ? 200000 : 20000;
  /* Where nobody waits for the others there is time for most. */
  if (tags >= 48 && shape->iodepth >= 1024 && !shape->fast)
    quota *= 8;
  /* Where nothing makes it wait a request costs least. */
  if (shape->busy_host == 0 && slow == 0 && shape->requeue == 0)
    quota *= 4;
  if (shape->busy_host > 0 || (slow > 0 && shape->fast))
    quota /= 2;
  if (slow > 0 && !shape->fast && quota > tags * 16000 / slow)
    quota = tags * 16000 / slow;
  return quota;
}

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fault-setup.c: the keys of the fault layer, its checks of a configuration,
 * and how its two places are opened.  Threads that allocate disks and change
 * them.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "text.h"
#include "fault.h"
#include "layers.h"

/* ---- keys ---- */

/* Those of the strings first. */
enum { RULES = FAULT_NR_STRINGS, NR_KEYS };

#define STRING_KEY(name_, what)                                                \
  {                                                                            \
    .name = name_, .type = BLKMQ_KEY_STRING, .help = what, .live = true        \
  }

static const struct blkmq_key keys[NR_KEYS] = {
  [FAULT_TIMEOUT]
  = STRING_KEY ("timeout", "fault string: requests that never complete"),
  [FAULT_REQUEUE]
  = STRING_KEY ("requeue", "fault string: requests that are sent "
                           "back, refused and requeued in turn"),
  [FAULT_INIT_HCTX]
  = STRING_KEY ("init_hctx", "fault string: hardware queues that "
                             "cannot be set up"),
  [RULES] = { .name = "fault",
              .type = BLKMQ_KEY_STRING,
              .help = "rules of faults, with ; between them: "
                      "blkmq-layers(7)" },
};

/* ---- configuration ---- */

static int
parse_strings (const struct blkmq_config *config,
               struct fault_terms terms[FAULT_NR_STRINGS],
               struct blkmq_error *error)
{
  int r = 0;

  for (unsigned n = 0; n < FAULT_NR_STRINGS && r == 0; n++)
    r = fault_string_parse (keys[n].name,
                            blkmq_config_string (config, keys[n].name),
                            &terms[n], error);
  return r;
}

static int
for_each_rule (const struct blkmq_config *config,
               int (*fn) (const struct fault_rule *rule, unsigned index,
                          void *opaque, struct blkmq_error *error),
               void *opaque, struct blkmq_error *error)
{
  const char *list = blkmq_config_string (config, keys[RULES].name);

  if (list == NULL || *list == '\0')
    return 0;
  return fault_rules_parse (list, fn, opaque, error);
}

static int
takes_rule (const struct fault_rule *rule, unsigned index, void *opaque,
            struct blkmq_error *error)
{
  return 0;
}

static int
fault_check (const struct blkmq_config *config, struct blkmq_error *error)
{
  struct fault_terms terms[FAULT_NR_STRINGS];
  struct text text;
  int r = parse_strings (config, terms, error);

  if (r == 0)
    r = for_each_rule (config, takes_rule, NULL, error);
  if (r < 0)
    return r;
  if (!fault_terms_are_on (&terms[FAULT_TIMEOUT])
      || blkmq_config_number (config, "io_timeout") > 0)
    return 0;
  text = text_begin_error (error);
  text_add (&text, "timeout=");
  text_add_value (&text, blkmq_config_string (config, "timeout"));
  text_add (&text, ": contradicts io_timeout=0; needs an io_timeout, without "
                   "which nothing would end such a request");
  return -EINVAL;
}

static int
is_of_place (const struct fault_rule *rule, unsigned index, void *opaque,
             struct blkmq_error *error)
{
  const enum fault_place *place = opaque;

  return rule->place == *place ? -EEXIST : 0;
}

/* With live=1 rules may come at any time: no more than a load until then. */
static bool
is_wanted (const struct blkmq_config *config, enum fault_place place)
{
  return blkmq_config_number (config, "live") != 0
         || for_each_rule (config, is_of_place, &place, NULL) == -EEXIST;
}

/* A string that is set to nothing is for later. */
static bool
bus_is_wanted (const struct blkmq_config *config)
{
  for (unsigned n = 0; n < FAULT_NR_STRINGS; n++) {
    if (blkmq_config_is_set (config, keys[n].name))
      return true;
  }
  return is_wanted (config, FAULT_BUS);
}

static bool
media_is_wanted (const struct blkmq_config *config)
{
  return is_wanted (config, FAULT_MEDIA);
}

/* ---- the two places ---- */

/* Each draws from a stream of its own; those of rules are named by their ids.
 */
static void
set_string (struct fault *fault, unsigned n, const struct fault_terms *terms)
{
  fault_when_init (&fault->strings[n], terms, fault->seed, UINT64_MAX - n);
}

/* Counted over both places, so that each is the only one with its id. */
static int
add_first (const struct fault_rule *rule, unsigned index, void *opaque,
           struct blkmq_error *error)
{
  struct fault *fault = opaque;

  return rule->place == fault->place ? fault_add (fault, rule, index + 1, error)
                                     : 0;
}

static void
fault_close (void *data)
{
  struct fault *fault = data;

  fault_held_exit (&fault->held);
  pthread_rwlock_destroy (&fault->rules_lock);
  free (fault);
}

/* TERMS: NULL: the place has no strings. */
static int
open_at (enum fault_place place, const struct fault_terms *terms,
         const struct blkmq_config *config, uint64_t seed,
         const struct blkmq_limits *limits, void **data,
         struct blkmq_error *error)
{
  static const struct fault_terms off = { .every = 1 };
  struct fault *fault = calloc (1, sizeof *fault);
  pthread_rwlockattr_t attr;
  int r;

  if (fault == NULL)
    return -ENOMEM;
  fault->place = place;
  fault->seed = seed;
  fault->nr_sectors = (limits->size_bytes - 1) / 512 + 1;
  /* Else those who dispatch could keep a rule out for ever. */
  pthread_rwlockattr_init (&attr);
  pthread_rwlockattr_setkind_np (&attr,
                                 PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
  pthread_rwlock_init (&fault->rules_lock, &attr);
  pthread_rwlockattr_destroy (&attr);
  fault_held_init (&fault->held);
  for (unsigned n = 0; n < FAULT_NR_STRINGS; n++)
    set_string (fault, n, terms != NULL ? &terms[n] : &off);
  fault_arm_locked (fault);
  r = for_each_rule (config, add_first, fault, error);
  if (r < 0) {
    fault_close (fault);
    return r;
  }
  *data = fault;
  return 0;
}

static int
bus_open (const struct blkmq_config *config, uint64_t seed,
          struct blkmq_limits *limits, void **data, struct blkmq_error *error)
{
  struct fault_terms terms[FAULT_NR_STRINGS];
  int r = parse_strings (config, terms, error);

  return r < 0 ? r
               : open_at (FAULT_BUS, terms, config, seed, limits, data, error);
}

static int
media_open (const struct blkmq_config *config, uint64_t seed,
            struct blkmq_limits *limits, void **data, struct blkmq_error *error)
{
  return open_at (FAULT_MEDIA, NULL, config, seed, limits, data, error);
}

static bool
is_same (const struct fault_terms *a, const struct fault_terms *b)
{
  return a->every == b->every && a->after == b->after && a->times == b->times
         && a->probability == b->probability;
}

/* A string that stays goes on counting. */
static int
bus_change (void *data, const struct blkmq_config *config,
            struct blkmq_error *error)
{
  struct fault *fault = data;
  struct fault_terms terms[FAULT_NR_STRINGS];
  int r = parse_strings (config, terms, error);

  if (r < 0)
    return r;
  pthread_rwlock_wrlock (&fault->rules_lock);
  for (unsigned n = 0; n < FAULT_NR_STRINGS; n++) {
    if (!is_same (&fault->strings[n].terms, &terms[n]))
      set_string (fault, n, &terms[n]);
  }
  fault_arm_locked (fault);
  pthread_rwlock_unlock (&fault->rules_lock);
  return 0;
}

/* What both places have. */
#define FAULT_OPS                                                              \
  .pdu_bytes = sizeof (struct fault_pdu), .close = fault_close,                \
  .queue_rq = fault_queue_rq, .complete = fault_complete,                      \
  .timeout = fault_timeout, .abort = fault_abort, .stop = fault_stop,          \
  .power = fault_power, .add_fault = fault_add_fault,                          \
  .delete_fault = fault_delete_fault, .for_each_fault = fault_for_each_fault

const struct blkmq_driver blkmq_layer_fault_bus = {
  .name = "fault",
  .help = "requests fail, hang or are late, as rules say",
  .keys = keys,
  .nr_keys = NR_KEYS,
  .is_wanted = bus_is_wanted,
  .check = fault_check,
  .open = bus_open,
  .init_hctx = fault_init_hctx,
  .change = bus_change,
  FAULT_OPS,
};

const struct blkmq_driver blkmq_layer_fault_media = {
  .name = "media-fault",
  .help = "the same, of what reaches the media",
  .is_wanted = media_is_wanted,
  .open = media_open,
  FAULT_OPS,
};

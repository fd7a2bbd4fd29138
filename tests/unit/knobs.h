/* SPDX-License-Identifier: BSD-3-Clause
 *
 * knobs.h: null_blk's knobs, a row each, and how one sees that a value is in
 * force: by what the disk does, and not by what it says.
 */

#ifndef BLKMQ_TESTS_KNOBS_H
#define BLKMQ_TESTS_KNOBS_H

#include "harness.h"

/* A value, and what there is to be seen of it.  An effect can be looked for
 * again and again, and leaves the disk as it was. */
struct knob_value {
  const char *value;
  const char *reads; /* what reads back; NULL: the value */
  void (*effect) (struct bed *bed, uint64_t wanted);
  uint64_t wanted;
};

/* A value that is refused. */
struct knob_refusal {
  const char *value;
  const char *part;    /* of the message, behind key and value */
  const char *instead; /* other keys than the row's, or NULL */
};

struct knob {
  const char *name;   /* null_blk's */
  const char *key;    /* what it is called here; NULL: the same */
  const char *driver; /* NULL: "scripted" */
  const char *with;   /* other keys, that this one needs, or NULL */
  bool has_threads;   /* and the real clock */

  /* By default; its value is what leads back there, NULL: the key must be
   * given. */
  struct knob_value unset;
  struct knob_value start;
  struct knob_value live; /* value NULL: it is not live */
  struct knob_refusal refused[5];
};

/* ---- effects: WANTED is what the value stands for ---- */

void size_is (struct bed *bed, uint64_t bytes);
void block_is (struct bed *bed, uint64_t bytes);
void requests_have_at_most (struct bed *bed, uint64_t sectors);
void requests_have_gaps (struct bed *bed, uint64_t wanted);
void is_rotational (struct bed *bed, uint64_t wanted);

void submitters_have_hctxs (struct bed *bed, uint64_t nr);
void polled_ios_have_hctxs (struct bed *bed, uint64_t nr);
void hctx_has_in_flight (struct bed *bed, uint64_t nr);
void two_hctxs_have_in_flight (struct bed *bed, uint64_t nr);
void waiting_are_sorted (struct bed *bed, uint64_t wanted);

void ends_where_the_driver_is (struct bed *bed, uint64_t unused);
void ends_at_a_turn (struct bed *bed, uint64_t unused);
void ends_after (struct bed *bed, uint64_t ns);
void driver_blocks_the_submitter (struct bed *bed, uint64_t wanted);

void data_is_kept (struct bed *bed, uint64_t wanted);
void discards (struct bed *bed, uint64_t wanted);
void cache_has_pages (struct bed *bed, uint64_t nr);
void fua_passes_the_cache (struct bed *bed, uint64_t wanted);
void has_power (struct bed *bed, uint64_t wanted);
void data_takes (struct bed *bed, uint64_t ns_a_mib);

/* Sectors FIRST to LAST alone. */
#define SECTORS(first, last) ((uint64_t)(first) << 32 | (last))
#define NO_SECTORS SECTORS (1, 0)
void is_bad (struct bed *bed, uint64_t sectors);
void bad_is_hit (struct bed *bed, uint64_t times);
void good_before_bad_is_done (struct bed *bed, uint64_t sectors);

void each_nth_times_out (struct bed *bed, uint64_t n);
void each_nth_is_sent_back (struct bed *bed, uint64_t n);
void new_hctxs_fail (struct bed *bed, uint64_t wanted);

#endif /* BLKMQ_TESTS_KNOBS_H */

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkmq-control.h: what looks at a running disk from outside and changes it:
 * settings, faults, power.  It is what a control socket or a test needs; who
 * only does I/O needs blkmq.h alone.
 *
 * All of these may be called on any thread that holds a reference to the disk,
 * while it is started.  Those that say "blocks" return -EDEADLK from a callback
 * or on an hctx's thread.
 */

#ifndef BLKMQ_CONTROL_H
#define BLKMQ_CONTROL_H

#include "blkmq.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------ */
/* Settings                                                                  */

struct blkmq_setting {
  const char *key, *value; /* as blkmq_config_set takes them */
};

/* Change all SETTINGS, of keys that are live (struct blkmq_key), to their new
 * values, in one go and under one freeze: no request sees some of them changed
 * and others not.  What is changed is of the disk; queues and depth, of all
 * disks that share its tags.  Either all are changed or, on an error, none:
 * -EINVAL (no such key, one that is not live, a bad value, a contradiction, a
 * key twice; ERROR says which), -ENOMEM, or what a driver or layer returned.
 * -ENODEV: the disk is removed.  Blocks.
 *
 * A layer can be switched on only in a disk whose configuration had live=1;
 * without it only those that the configuration asked for are there.
 */
BLKMQ_PUBLIC int blkmq_disk_set (struct blkmq_disk *disk,
                                 const struct blkmq_setting *settings,
                                 size_t nr_settings, struct blkmq_error *error);

/* The value in force of KEY, as text that blkmq_disk_set would take, cut off
 * to fit BUF and always terminated; of a key that has neither value nor default
 * it is "".  Returns the length of the whole text, as snprintf; -EINVAL: no
 * such key.
 */
BLKMQ_PUBLIC int blkmq_disk_get_key (struct blkmq_disk *disk, const char *key,
                                     char *buf, size_t buf_bytes,
                                     struct blkmq_error *error);

/* The keys that this disk has: the engine's, the layers' and its driver's. A
 * non-zero return of FN stops and is returned. */
BLKMQ_PUBLIC int
blkmq_disk_for_each_key (struct blkmq_disk *disk,
                         int (*fn) (const struct blkmq_key *key, void *opaque),
                         void *opaque);

/* ------------------------------------------------------------------------ */
/* Faults                                                                    */

/* A rule of the fault layer (blkmq-layers(7) has the syntax). */
struct blkmq_fault {
  uint64_t id;      /* of this disk; never used again */
  const char *rule; /* as it could be given again; lives for the call of FN */
  uint64_t hits;    /* requests that it was done to */
  uint64_t nr_held; /* that hang because of it now */
};

/* -EINVAL: RULE is none, ERROR says why.  -ENOSPC: there are as many as can
 * be.  -EOPNOTSUPP: the disk has no fault layer (see live=1).  *ID is set.
 * Takes effect for requests that reach the layer from now on. */
BLKMQ_PUBLIC int blkmq_disk_add_fault (struct blkmq_disk *disk,
                                       const char *rule, uint64_t *id,
                                       struct blkmq_error *error);

/* What hangs because of it goes on: end_io may run in here.  -ENOENT: there is
 * none of that id. */
BLKMQ_PUBLIC int blkmq_disk_delete_fault (struct blkmq_disk *disk, uint64_t id,
                                          struct blkmq_error *error);

/* Those of the bus, then those of the media, both in the order in which they
 * were added, which is the one in which they are tried.  A non-zero return of
 * FN stops and is returned.  FN must not change faults. */
BLKMQ_PUBLIC int blkmq_disk_for_each_fault (
    struct blkmq_disk *disk,
    int (*fn) (const struct blkmq_fault *fault, void *opaque), void *opaque);

/* ------------------------------------------------------------------------ */
/* Power                                                                     */

/* Cut the power: what is in flight or waits ends with BLKMQ_STS_OFFLINE, what
 * comes is refused with it, and what a volatile cache holds and had not to keep
 * is lost.  What was flushed, or written with FUA, stays.  Or bring the disk
 * back.  Neither changes any setting.  0 if it is so already.  Blocks, until
 * nothing is in flight any more, but for what a timeout has left with the
 * driver.  -ENODEV: the disk is removed.
 */
BLKMQ_PUBLIC int blkmq_disk_set_power (struct blkmq_disk *disk, bool on,
                                       struct blkmq_error *error);
BLKMQ_PUBLIC bool blkmq_disk_has_power (const struct blkmq_disk *disk);

/* ------------------------------------------------------------------------ */
/* Counters                                                                  */

/* From now on blkmq_disk_stats and blkmq_disk_latency count from 0; but for
 * what is there at the moment (in_flight, waiting).  What ends meanwhile may be
 * counted before or after.  The minima and maxima of histograms are from now on
 * as exact as their buckets.  0 or -ENOMEM. */
BLKMQ_PUBLIC int blkmq_disk_reset_stats (struct blkmq_disk *disk);

#ifdef __cplusplus
}
#endif

#endif /* BLKMQ_CONTROL_H */

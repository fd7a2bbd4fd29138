/* SPDX-License-Identifier: BSD-3-Clause
 *
 * front/exports.h: the disks that a server serves, and the words by which they
 * are asked for.
 *
 *     key=value ... [export=NAME key=value ... [export=NAME ...]]
 *
 * Keys before the first export= are defaults for all, keys after one belong to
 * it and count more than a default.  The empty name is the default export.
 * Without any export= the defaults are the one disk, whatever name a client
 * asks for.
 *
 * One thread fills in, checks, sets up, starts, removes and frees, in that
 * order.  From start to remove any thread may read and find.
 */

#ifndef BLKMQ_FRONT_EXPORTS_H
#define BLKMQ_FRONT_EXPORTS_H

#include "blkmq.h"
#include "front/keys.h"

#define EXPORTS_MAX 1024
#define EXPORT_DESCRIPTION_BYTES 4097

struct exports;

/* To be read only. */
struct export
{
  const char *name;            /* "": the default export */
  const char *description;     /* that was given, or NULL */
  const char *prefix;          /* of messages: "export=NAME: "; "" if the name
                                * was not given */
  struct blkmq_config *config; /* complete, from exports_check on */
  struct blkmq_disk *disk;     /* from exports_set_up on */
};

/* NULL: no memory. */
struct exports *exports_alloc (void);

/* Also puts the disks, started or not.  NULL is nothing. */
void exports_free (struct exports *exports);

/* One more KEY=VALUE, in the order of the command line.  -EINVAL or -ENOMEM,
 * with ERROR, which names the export as well; nothing has changed then. */
int exports_set (struct exports *exports, const char *key, const char *value,
                 struct blkmq_error *error);

/* A server-wide key, wherever it stands.  Fails as exports_set does. */
int exports_set_server_value (struct exports *exports, enum front_key key,
                              const char *value, struct blkmq_error *error);

/* What OVER says counts more than what EXPORTS does, key by key: its defaults
 * than the other's, what it says of an export than the other says of the one of
 * that name; further ones come last.  A default of OVER that an export has a
 * value of its own for would be without effect there, and is refused.  Neither
 * is checked yet; OVER stays as it is.  Fails as exports_set does, but EXPORTS
 * may have changed: all that is left to do is to free. */
int exports_overlay (struct exports *exports, const struct exports *over,
                     struct blkmq_error *error);

/* A default of the server's own: counts less than whatever was given of KEY.
 * When all keys were given.  Fails as exports_set does. */
int exports_set_default (struct exports *exports, const char *key,
                         const char *value, struct blkmq_error *error);

/* All keys were given: is each export complete, and do they go together?  Once.
 * -EINVAL or -ENOMEM: all that is left to do is to free. */
int exports_check (struct exports *exports, struct blkmq_error *error);

/* Allocate all disks, and with shared_tags=1 their tag set.  Runs no thread, so
 * a fork may follow.  On an error there is no disk. */
int exports_set_up (struct exports *exports, struct blkmq_error *error);

/* Start all disks.  On an error none runs, and they cannot be started again. */
int exports_start (struct exports *exports, struct blkmq_error *error);

/* Remove all disks.  Blocks. */
void exports_remove (struct exports *exports);

unsigned exports_nr (const struct exports *exports);
const struct export *exports_at (const struct exports *exports, unsigned index);

/* What a client means who asks for NAME; NULL: there is none, ERROR says
 * which there are.  Takes a time that grows with their number: once a
 * connection. */
const struct export *exports_find (const struct exports *exports,
                                   const char *name, struct blkmq_error *error);

/* What clients are told of it: the description that was given, or else a line
 * about the disk as it is now.  In BUF, cut off to fit and always terminated;
 * EXPORT_DESCRIPTION_BYTES are enough. */
void export_describe (const struct export *export, char *buf, size_t buf_bytes);

/* The value of a server-wide key as it was given, or NULL. */
const char *exports_server_value (const struct exports *exports,
                                  enum front_key key);

/* From exports_check on: true if *SEED was drawn, since no seed= was given that
 * is for all.  As a default of all, it repeats this run. */
bool exports_drew_seed (const struct exports *exports, uint64_t *seed);

#endif /* BLKMQ_FRONT_EXPORTS_H */

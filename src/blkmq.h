/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkmq.h: what a program that embeds a disk reads: configuration, disks,
 * submitters, ios, handles, control and counters.  A driver author reads
 * blkmq-driver.h as well.
 *
 * Caveats, before anything else:
 *
 *  - An io, its segment array and its data belong to the engine from
 *    submission until they are given back.  Without a give_back callback that
 *    moment is end_io; with one it is give_back, and end_io may come earlier
 *    (see struct blkmq_io).
 *  - end_io and give_back run on whatever thread ends the request: the
 *    submitter's own, another submitter's, an hctx's, or a driver's.  They
 *    must not block.  Submitting from inside them is allowed and does not
 *    recurse.
 *  - The blocking calls (marked "blocks") return -EDEADLK when called from a
 *    callback or on the thread of an hctx, because they would wait for
 *    themselves.
 *  - Functions return 0 or a negative errno unless they say otherwise.
 *  - After fork(2) only the parent may use a started disk: threads do not
 *    follow.  Start a disk after the fork.
 *
 * Terms are those of the Linux block layer (Documentation/block/blk-mq.rst).
 */

#ifndef BLKMQ_H
#define BLKMQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define BLKMQ_PUBLIC __attribute__ ((visibility ("default")))
#else
#define BLKMQ_PUBLIC
#endif

struct blkmq_config;
struct blkmq_disk;
struct blkmq_driver;
struct blkmq_hctx;
struct blkmq_request;
struct blkmq_submitter;
struct blkmq_tag_set;
struct ev_loop; /* libev's */

/* ------------------------------------------------------------------------ */
/* Errors and statuses                                                       */

/* A message for a person: what failed, with which value, what is allowed.
 * Every function that takes one accepts NULL.
 */
struct blkmq_error {
  char message[2048];
};

/* How a request ended.  One value per BLK_STS_* of the kernel that matters
 * here (include/linux/blk_types.h), and two of our own.
 */
enum blkmq_status {
  BLKMQ_STS_OK = 0,
  BLKMQ_STS_NOTSUPP,  /* the driver does not know this operation: EOPNOTSUPP */
  BLKMQ_STS_TIMEOUT,  /* io_timeout ended it: ETIMEDOUT */
  BLKMQ_STS_NOSPC,    /* no room, e.g. memory_limit: ENOSPC */
  BLKMQ_STS_RESOURCE, /* an allocation failed: ENOMEM */
  BLKMQ_STS_IOERR,    /* any other failure of the device: EIO */
  BLKMQ_STS_MEDIUM,   /* the medium is bad at this place: ENODATA */
  BLKMQ_STS_AGAIN,    /* BLKMQ_IO_NOWAIT and no tag was free: EAGAIN */
  BLKMQ_STS_OFFLINE,  /* the disk was removed, or has no power: ENODEV */
  BLKMQ_STS_INVAL,    /* out of bounds, unaligned or malformed: EINVAL */
  BLKMQ_STS_READONLY, /* the disk is read-only: EROFS (ours) */
  BLKMQ_STS_ABORTED,  /* the submitter gave it up: ECANCELED (ours) */
  BLKMQ_NR_STATUSES
};

/* The errno (positive) of a status; 0 for BLKMQ_STS_OK. */
BLKMQ_PUBLIC int blkmq_status_to_errno (enum blkmq_status status);

/* A static lower-case name: "ok", "timeout", ... */
BLKMQ_PUBLIC const char *blkmq_status_name (enum blkmq_status status);

/* ------------------------------------------------------------------------ */
/* Configuration                                                             */

enum blkmq_key_type {
  BLKMQ_KEY_BOOL,   /* 1/0, true/false, yes/no, on/off */
  BLKMQ_KEY_INT,    /* a decimal number */
  BLKMQ_KEY_SIZE,   /* bytes; suffixes b s k M G T P E as nbdkit's */
  BLKMQ_KEY_TIME,   /* suffixes ns us ms s; fractions are allowed with one */
  BLKMQ_KEY_ENUM,   /* one of a list of words, or the word's number */
  BLKMQ_KEY_STRING, /* anything */
};

/* One key, as its owner (the engine, a driver) declares it.  Parsing, help,
 * --dump-plugin and the checks of the manual derive from this table.
 */
struct blkmq_key {
  const char *name;
  enum blkmq_key_type type;
  /* Of a bare number: "bytes", "MiB", "ns", "ms", ..., or NULL.  A size is in
   * bytes all the same: its bounds, and blkmq_config_number. */
  const char *unit;
  const char *default_value; /* parsed like a user's; NULL: unset */
  uint64_t min, max;         /* inclusive, in the unit; for numbers only */
  bool power_of_two;         /* for numbers only */
  const char *const *words;  /* BLKMQ_KEY_ENUM: NULL-terminated */
  const char *help;          /* one line */
  bool required; /* blkmq_config_check wants it given; no default then */
  bool live;     /* blkmq_disk_set can change it while the disk runs */
};

/* A set of keys and values.  Not thread-safe: one thread at a time.
 *
 * blkmq_config_set parses VALUE at once.  -EINVAL: unknown key, bad value,
 * value out of bounds or key given twice; ERROR names the key, the value and
 * what is allowed, and the configuration is as it was.  A driver's own keys
 * are known once driver= was set; before that whatever could be a key is kept,
 * and checked by blkmq_config_check.  -ENOMEM.
 *
 * A driver= with a slash in its value is the path of a shared object that has
 * a driver (BLKMQ_DRIVER_EXPORT in blkmq-driver.h).  It is loaded here, once,
 * and stays in the process: its code runs from now on, so whoever may set the
 * key may run anything.  May block, on the file.
 */
BLKMQ_PUBLIC struct blkmq_config *blkmq_config_alloc (void);
BLKMQ_PUBLIC void blkmq_config_free (struct blkmq_config *config);
BLKMQ_PUBLIC int blkmq_config_set (struct blkmq_config *config, const char *key,
                                   const char *value,
                                   struct blkmq_error *error);

/* Check the whole: required keys, contradictions between keys, keys that the
 * chosen driver does not have.  blkmq_disk_alloc calls it too.
 */
BLKMQ_PUBLIC int blkmq_config_check (struct blkmq_config *config,
                                     struct blkmq_error *error);

/* The value in force (the default when it was not set), in the key's unit, but
 * a size in bytes; words of an enumeration as their index.  The key must exist
 * and, for blkmq_config_number, be a number: anything else is a programmer's
 * error.
 * blkmq_config_string returns NULL for a string that was not set; the memory
 * is the configuration's and lives until the next set.
 */
BLKMQ_PUBLIC uint64_t blkmq_config_number (const struct blkmq_config *config,
                                           const char *key);
BLKMQ_PUBLIC const char *blkmq_config_string (const struct blkmq_config *config,
                                              const char *key);
BLKMQ_PUBLIC bool blkmq_config_is_set (const struct blkmq_config *config,
                                       const char *key);

/* All keys there are: the engine's and the layers' first (driver NULL), then
 * each driver's. Stops at the first non-zero return of FN and returns it.
 */
BLKMQ_PUBLIC int
blkmq_for_each_key (int (*fn) (const struct blkmq_driver *driver,
                               const struct blkmq_key *key, void *opaque),
                    void *opaque);

/* "bytes, 1 to 9223372036854775807; suffixes ...": what a value may be. */
BLKMQ_PUBLIC void blkmq_key_allowed (const struct blkmq_key *key, char *buf,
                                     size_t buf_bytes);

/* ------------------------------------------------------------------------ */
/* Disks                                                                     */

/* The limits of a disk after stacking, fixed while it runs. */
struct blkmq_limits {
  uint64_t size_bytes;
  uint32_t logical_block_bytes; /* offsets and lengths are multiples of it */
  uint32_t max_transfer_bytes;  /* one request's; larger ios are split */
  uint32_t max_segments;        /* one request's; ios with more are split */
  /* A power of two less one, or 0.  Where a segment of a request ends and the
   * next one begins, both addresses have none of these bits: ios are split
   * there if they do. */
  uint32_t virt_boundary_mask;
  uint64_t max_discard_bytes;      /* one request's; 0: not supported */
  uint64_t max_write_zeroes_bytes; /* one request's; 0: not supported */
  bool rotational;
  bool read_only;
  /* What was answered may be lost until a flush (or FUA) makes it durable.
   * Without it BLKMQ_IO_PREFLUSH and BLKMQ_IO_FUA mean nothing. */
  bool volatile_cache;
  bool fua; /* the driver does FUA itself; never without volatile_cache */
};

/* blkmq_disk_alloc builds a disk from CONFIG (which stays the caller's):
 * every request, pdu and table is allocated here.  No thread runs yet and no
 * io may be submitted.  The caller has one reference.
 * -EINVAL, -ENOMEM or the driver's error, with ERROR.
 *
 * blkmq_disk_start starts the hctx threads; from here to blkmq_disk_remove
 * ios are taken.  -EAGAIN, -EMFILE, -ENOMEM: nothing runs, try again or put.
 *
 * blkmq_disk_remove ends every io (BLKMQ_STS_OFFLINE), stops the driver and
 * the threads.  It returns when no callback runs or will run any more, except
 * those of requests that a reference from blkmq_request_get still pins:
 * theirs run when it is put.  Blocks; must not race with itself.  Idempotent.
 *
 * The disk is freed with its last reference.  Putting the last reference of a
 * disk that is started removes it first.  The last one must not be put from
 * inside a callback or on the thread of an hctx: it waits for others.
 */
BLKMQ_PUBLIC int blkmq_disk_alloc (struct blkmq_config *config,
                                   struct blkmq_disk **disk,
                                   struct blkmq_error *error);
BLKMQ_PUBLIC int blkmq_disk_start (struct blkmq_disk *disk,
                                   struct blkmq_error *error);
BLKMQ_PUBLIC void blkmq_disk_remove (struct blkmq_disk *disk);
BLKMQ_PUBLIC void blkmq_disk_get (struct blkmq_disk *disk);
BLKMQ_PUBLIC void blkmq_disk_put (struct blkmq_disk *disk);

/* Tags, and so requests, that several disks draw on together: hw_queue_depth is
 * for all of them.  Each that has used them lately has a fair share.  CONFIG
 * gives driver, submit_queues, poll_queues, hw_queue_depth and
 * shared_tag_bitmap; the disks' own must say the same.  The caller has one
 * reference, each disk another.
 * Errors as blkmq_disk_alloc's.
 */
BLKMQ_PUBLIC int blkmq_tag_set_alloc (struct blkmq_config *config,
                                      struct blkmq_tag_set **set,
                                      struct blkmq_error *error);
BLKMQ_PUBLIC void blkmq_tag_set_put (struct blkmq_tag_set *set);
BLKMQ_PUBLIC int blkmq_disk_alloc_in (struct blkmq_tag_set *set,
                                      struct blkmq_config *config,
                                      struct blkmq_disk **disk,
                                      struct blkmq_error *error);

/* Lend a libev loop to hctx INDEX: its timers, softirq completions and kicks
 * run there instead of on a thread of the engine's.  Before start only.  The
 * loop must outlive blkmq_disk_remove, which must then be called on the
 * loop's own thread or while the loop is not running; the same holds for
 * blkmq_disk_start.  One loop may serve several hctxs and disks.
 * -EINVAL: no such hctx.  -EBUSY: already started.  -EOPNOTSUPP: blocking=1,
 * and a loop must not block.
 */
BLKMQ_PUBLIC int blkmq_disk_lend_loop (struct blkmq_disk *disk, unsigned index,
                                       struct ev_loop *loop);

BLKMQ_PUBLIC const struct blkmq_limits *
blkmq_disk_limits (const struct blkmq_disk *disk);
BLKMQ_PUBLIC unsigned blkmq_disk_nr_hw_queues (const struct blkmq_disk *disk);

/* What an hctx is for (the kernel's enum hctx_type): ios with BLKMQ_IO_POLLED
 * go to those of type POLL, reads to those of type READ, all others to those of
 * type DEFAULT; where a type has no hctx, to the default ones.  Which are which
 * the driver says (map_queues); as a rule the last poll_queues are polled, and
 * none is for reads alone.  One that is for reads and for others is DEFAULT.
 * INDEX is below blkmq_disk_nr_hw_queues, which counts them all.
 */
enum blkmq_hctx_type {
  BLKMQ_HCTX_TYPE_DEFAULT = 0,
  BLKMQ_HCTX_TYPE_READ,
  BLKMQ_HCTX_TYPE_POLL,
  BLKMQ_NR_HCTX_TYPES
};
BLKMQ_PUBLIC enum blkmq_hctx_type
blkmq_disk_hctx_type (const struct blkmq_disk *disk, unsigned index);
BLKMQ_PUBLIC unsigned blkmq_disk_queue_depth (const struct blkmq_disk *disk);
BLKMQ_PUBLIC uint64_t blkmq_disk_seed (const struct blkmq_disk *disk);
BLKMQ_PUBLIC const char *blkmq_disk_driver_name (const struct blkmq_disk *disk);

/* ------------------------------------------------------------------------ */
/* Ios                                                                       */

enum blkmq_op {
  BLKMQ_OP_READ = 0,
  BLKMQ_OP_WRITE,
  BLKMQ_OP_FLUSH,
  BLKMQ_OP_DISCARD,      /* contents become zeros, memory is given back */
  BLKMQ_OP_WRITE_ZEROES, /* likewise, but BLKMQ_IO_NOUNMAP keeps it allocated */
  BLKMQ_NR_OPS
};

BLKMQ_PUBLIC const char *blkmq_op_name (enum blkmq_op op);

#define BLKMQ_IO_FUA (1u << 0)     /* durable when answered; reads ignore it */
#define BLKMQ_IO_NOUNMAP (1u << 1) /* write zeroes: leave no hole */
/* No free tag: AGAIN instead of waiting.  What was let wait for a flush
 * (PREFLUSH) then waits for its tag as well. */
#define BLKMQ_IO_NOWAIT (1u << 2)
#define BLKMQ_IO_RESERVED                                                      \
  (1u << 3) /* use a reserved tag; INVAL if the driver                         \
             * has none */
/* Writes and flushes only: all that was answered before this was submitted, on
 * any hctx, is durable before the data is written.  The kernel's REQ_PREFLUSH;
 * an empty write (at 0) with it is a flush.  If that flush fails the write is
 * not done and has its status. */
#define BLKMQ_IO_PREFLUSH (1u << 4)
#define BLKMQ_IO_POLLED                                                        \
  (1u << 5) /* ends in blkmq_poll; where nothing is                            \
             * polled, as any other */

/* Priority, for schedulers that know it (mq-deadline): the kernel's classes,
 * IOPRIO_CLASS_*.  Without a scheduler it means nothing.
 */
enum blkmq_prio {
  BLKMQ_PRIO_NONE = 0, /* as BE */
  BLKMQ_PRIO_RT,       /* before all others */
  BLKMQ_PRIO_BE,       /* best effort */
  BLKMQ_PRIO_IDLE,     /* when there is nothing else to do, or after long */
  BLKMQ_NR_PRIOS
};

/* What the caller wants done: the kernel's bio.  The caller embeds it in its
 * own state and fills in the first part; nothing is allocated for it.
 *
 * An io is answered once: end_io is called exactly once, with one status,
 * whatever races (completion, timeout, abort, removal) take place.
 *
 * Data has an owner from submission until it is given back.  A timeout or an
 * abort may decide the status of an io whose driver still holds the data:
 *
 *  - give_back NULL: end_io waits until nothing below touches io, segments or
 *    data any more.  When it is called everything is the caller's again and
 *    the io may be freed or reused inside end_io.  The safe default.
 *  - give_back set: end_io is called as soon as the status is decided; io,
 *    segments and data stay the engine's until give_back is called, exactly
 *    once, after end_io has returned.  For callers that must answer on time
 *    and have buffers that outlive the answer.
 */
struct blkmq_io {
  enum blkmq_op op;
  uint32_t flags; /* BLKMQ_IO_* */
  uint64_t offset_bytes;
  uint64_t bytes; /* 0 only for flushes; else at least one logical block */
  const struct iovec *segments; /* reads and writes: together BYTES long */
  unsigned nr_segments;
  uint8_t prio; /* enum blkmq_prio */
  void (*end_io) (struct blkmq_io *io, enum blkmq_status status);
  void (*give_back) (struct blkmq_io *io); /* may be NULL */

  struct { /* the engine's; need not be initialised */
    struct blkmq_submitter *submitter;
    struct blkmq_io *next;
    struct blkmq_io **link; /* the pointer that points here, on a wait list */
    void *tag_wait;
    void *sync;
    uint64_t next_offset_bytes; /* where the next part starts: splitting */
    const struct iovec *next_segment;
    size_t next_skip_bytes;
    uint32_t nr_unanswered;
    uint32_t nr_not_given_back;
    uint32_t first_error;
    uint32_t state;
    uint32_t abort_epoch;
  } priv;
};

/* A submitter is the source of ios (a connection, a thread); it is bound to
 * one hctx of each type that there is.  Any number of threads may submit
 * through one.  INDEX names the hctx, and so the one of its type; of the other
 * types it is at the same place, counted round.  Or it is BLKMQ_HCTX_ANY: those
 * with the fewest submitters.  Free it only when all its ios were answered and
 * given back.  NULL with errno ENOMEM or EINVAL.
 */
#define BLKMQ_HCTX_ANY (~0u)
BLKMQ_PUBLIC struct blkmq_submitter *
blkmq_submitter_alloc (struct blkmq_disk *disk, unsigned index);
BLKMQ_PUBLIC void blkmq_submitter_free (struct blkmq_submitter *submitter);
BLKMQ_PUBLIC unsigned
blkmq_submitter_hctx (const struct blkmq_submitter *submitter);

/* Where those of its ios go that are for hctxs of TYPE; the one above is for
 * BLKMQ_HCTX_TYPE_DEFAULT. */
BLKMQ_PUBLIC unsigned
blkmq_submitter_hctx_of (const struct blkmq_submitter *submitter,
                         enum blkmq_hctx_type type);

/* Submit IO.  Any thread; never blocks for a tag (an io without one waits its
 * turn in the hctx's queue, first come first served) and never fails: every
 * error arrives as end_io's status, possibly before blkmq_submit returns.
 * A blocking driver does its work inside this call, unless blocking=1 has it
 * done on the hctx's thread.
 */
BLKMQ_PUBLIC void blkmq_submit (struct blkmq_submitter *submitter,
                                struct blkmq_io *io);

/* The same, but returns only when the whole IO has left the wait queue: back
 * pressure.  Blocks.  -EDEADLK: nothing was submitted.
 */
BLKMQ_PUBLIC int blkmq_submit_wait (struct blkmq_submitter *submitter,
                                    struct blkmq_io *io);

/* Reap what is done of the polled ios: ask the driver for the submitter's
 * polled hctx, and have end_io called in here for all that it completes, those
 * of other submitters too, whatever irqmode says.  Never waits.  The number of
 * requests reaped, also 0 when nothing is polled.  Any thread, several at once;
 * -EDEADLK from a callback.
 *
 * Whoever submits ios with BLKMQ_IO_POLLED must see to it that somebody polls
 * until they are answered.  The blocking calls do so while they wait, for ios
 * with that flag; so do freeze and live updates; and a lent loop, for what is
 * submitted on its thread to an hctx that it was lent to: it does not sleep
 * meanwhile.  io_timeout, abort and removal end them with nobody polling (an
 * aborted one without give_back waits, as always, for its data).
 */
BLKMQ_PUBLIC int blkmq_poll (struct blkmq_submitter *submitter);

/* Several ios with one doorbell: the driver sees one commit_rqs after all of an
 * hctx.  begin and add do not touch the engine; commit submits in the order of
 * adding, one hctx after the other where ios go to several (enum
 * blkmq_hctx_type).  A batch lives on the caller's stack and is used by one
 * thread.
 */
struct blkmq_batch {
  struct blkmq_submitter *submitter;
  struct blkmq_io *first, **last;
};
BLKMQ_PUBLIC void blkmq_batch_begin (struct blkmq_batch *batch,
                                     struct blkmq_submitter *submitter);
BLKMQ_PUBLIC void blkmq_batch_add (struct blkmq_batch *batch,
                                   struct blkmq_io *io);
BLKMQ_PUBLIC void blkmq_batch_commit (struct blkmq_batch *batch);

/* Submit and wait for the answer and the data.  Blocks; with BLKMQ_IO_POLLED it
 * polls instead of sleeping.  end_io and give_back of IO are set by the call.
 * 0, -EDEADLK (nothing was submitted), or the negative errno of the status.
 *
 * The second form calls KEEP_WAITING every INTERVAL_NS while it waits (not
 * when the io ends at once); when it returns false the io is aborted, and the
 * call returns as soon as the data is the caller's.
 */
BLKMQ_PUBLIC int blkmq_submit_sync (struct blkmq_submitter *submitter,
                                    struct blkmq_io *io);
BLKMQ_PUBLIC int blkmq_submit_sync_while (struct blkmq_submitter *submitter,
                                          struct blkmq_io *io,
                                          uint64_t interval_ns,
                                          bool (*keep_waiting) (void *opaque),
                                          void *opaque);

/* Shorthands over blkmq_submit_sync.  FLAGS are BLKMQ_IO_*. */
BLKMQ_PUBLIC int blkmq_read (struct blkmq_submitter *submitter, void *buf,
                             size_t bytes, uint64_t offset_bytes);
BLKMQ_PUBLIC int blkmq_write (struct blkmq_submitter *submitter,
                              const void *buf, size_t bytes,
                              uint64_t offset_bytes, uint32_t flags);
BLKMQ_PUBLIC int blkmq_flush (struct blkmq_submitter *submitter);
BLKMQ_PUBLIC int blkmq_discard (struct blkmq_submitter *submitter,
                                uint64_t bytes, uint64_t offset_bytes);
BLKMQ_PUBLIC int blkmq_write_zeroes (struct blkmq_submitter *submitter,
                                     uint64_t bytes, uint64_t offset_bytes,
                                     uint32_t flags);

/* What is stored in a range, in order and without gaps.  FN gets each extent
 * (clipped to the range); a non-zero return stops and is returned.  Any
 * thread, while the disk is started.  -EINVAL: out of bounds.  A driver that
 * cannot tell reports one extent of data.
 */
#define BLKMQ_EXTENT_HOLE (1u << 0)
#define BLKMQ_EXTENT_ZERO (1u << 1)
BLKMQ_PUBLIC int blkmq_disk_extents (struct blkmq_disk *disk,
                                     uint64_t offset_bytes, uint64_t bytes,
                                     int (*fn) (uint64_t offset_bytes,
                                                uint64_t bytes, unsigned type,
                                                void *opaque),
                                     void *opaque);

/* ------------------------------------------------------------------------ */
/* Handles and references: for those outside an io's way                     */

/* Names one issue of one request: generation (40 bits), hctx (10), tag (14).
 * Never 0.  A handle of the past names nothing and stays that way until the
 * tag's generation has wrapped: 2^40 generations of that one tag, at two for
 * each request that passes through it.  At ten million requests a second
 * through a single tag that is 15 hours.
 */
typedef uint64_t blkmq_handle;

/* A counted reference to the request that HANDLE names, or NULL when that
 * issue is over.  Never waits.  While it is held the request's memory and tag
 * are not reused; the disk stays allocated even if everybody else lets go.
 * Any thread that itself holds a reference to the disk.
 * blkmq_request_put may free tag, request and disk (see blkmq_disk_put).
 */
BLKMQ_PUBLIC struct blkmq_request *blkmq_request_get (struct blkmq_disk *disk,
                                                      blkmq_handle handle);
BLKMQ_PUBLIC void blkmq_request_put (struct blkmq_request *rq);

struct blkmq_request_info {
  blkmq_handle handle; /* of the current issue */
  enum blkmq_op op;
  uint64_t offset_bytes, bytes;
  unsigned hctx, tag;
  bool in_flight; /* issued to the driver; false: queued in the engine */
  bool held;      /* somebody below still owes a give-back */
  bool ended;     /* the status is decided */
  bool timed_out; /* ended by io_timeout */
};

/* Describe a request to which the caller has a reference. */
BLKMQ_PUBLIC void blkmq_request_info (struct blkmq_request *rq,
                                      struct blkmq_request_info *info);

/* Visit the requests of a disk that are not free, each under a reference of
 * its own, each life at most once.  Those that start meanwhile may be missed.
 * A non-zero return of FN stops and is returned.
 */
BLKMQ_PUBLIC int blkmq_for_each_request (struct blkmq_disk *disk,
                                         int (*fn) (struct blkmq_request *rq,
                                                    void *opaque),
                                         void *opaque);

/* Print, for a person, a request to which the caller has a reference; or a
 * disk, its hctxs, and all its requests that are not free, each under a
 * reference of its own.  In a library configured with --enable-debug the
 * history of each follows: who has moved it, when, and how.  Of the format
 * nothing is promised.  Any thread that holds a reference to the disk; takes as
 * long as FILE takes.
 */
BLKMQ_PUBLIC void blkmq_request_dump (struct blkmq_request *rq, FILE *file);
BLKMQ_PUBLIC void blkmq_disk_dump (struct blkmq_disk *disk, FILE *file);

/* End with BLKMQ_STS_ABORTED: one request, one io (waiting for a tag or under
 * way, all its parts), or all of a submitter's.  The number of ends claimed:
 * 0 means that all of them had been decided already, or that the io shares a
 * request with others: that is ended when each of these was aborted.  When the
 * call returns end_io may not have run yet (struct blkmq_io).  blkmq_abort_io
 * may be called only while the io is known not to be freed.
 */
BLKMQ_PUBLIC unsigned blkmq_abort_request (struct blkmq_disk *disk,
                                           blkmq_handle handle);
BLKMQ_PUBLIC unsigned blkmq_abort_io (struct blkmq_submitter *submitter,
                                      struct blkmq_io *io);
BLKMQ_PUBLIC unsigned blkmq_abort_submitter (struct blkmq_submitter *submitter);

/* ------------------------------------------------------------------------ */
/* Control                                                                   */

/* Quiesce: when it returns no queue_rq runs and none will start until
 * unquiesce; requests queue up inside.  Nests.  Blocks.
 *
 * Freeze: no new request starts; when it returns every request was answered
 * and given back, except those that a timeout ended while the driver still
 * holds them.  Up to MAX of those are put into HELD and their number is
 * returned.  New ios wait and go on at unfreeze.  Polls what is polled: end_io
 * may run on its thread.  Nests.  Blocks.
 * -EDEADLK as above; for freeze also -ENODEV when the disk is removed.
 */
BLKMQ_PUBLIC int blkmq_quiesce (struct blkmq_disk *disk);
BLKMQ_PUBLIC void blkmq_unquiesce (struct blkmq_disk *disk);
BLKMQ_PUBLIC int blkmq_freeze (struct blkmq_disk *disk, blkmq_handle *held,
                               unsigned max);
BLKMQ_PUBLIC void blkmq_unfreeze (struct blkmq_disk *disk);

/* How many hardware queues of which kind, and their depth: the keys of these
 * names. */
struct blkmq_queues {
  unsigned submit_queues, poll_queues, hw_queue_depth;
};

/* What is in force.  Any thread. */
BLKMQ_PUBLIC void blkmq_disk_queues (const struct blkmq_disk *disk,
                                     struct blkmq_queues *queues);

/* Change them to QUEUES (what blkmq_disk_queues says, but for what is to be
 * different), of all disks that share DISK's tags, while ios are under way:
 * freezes, so it waits for those in flight; new ones wait meanwhile.  Either
 * all is changed or, on an error, nothing: -EINVAL (out of bounds, or the
 * driver does not poll; ERROR says which), -ENOMEM, what the driver's init_hctx
 * or init_request returned.  -EDEADLK as above.  Submitters are bound anew.
 * What a timeout has left with the driver stays valid until it is given back.
 * Blocks.
 */
BLKMQ_PUBLIC int blkmq_update_queues (struct blkmq_disk *disk,
                                      const struct blkmq_queues *queues,
                                      struct blkmq_error *error);

/* Change the scheduler of DISK likewise; NAME is one of what scheduler= takes.
 * What waits is dispatched first.  blkmq_disk_scheduler names the present one;
 * it must not race with a change.
 */
BLKMQ_PUBLIC int blkmq_disk_set_scheduler (struct blkmq_disk *disk,
                                           const char *name,
                                           struct blkmq_error *error);
BLKMQ_PUBLIC const char *blkmq_disk_scheduler (const struct blkmq_disk *disk);

/* ------------------------------------------------------------------------ */
/* Counters                                                                  */

/* Who wanted to end a request. */
enum blkmq_cause {
  BLKMQ_CAUSE_COMPLETE = 0,
  BLKMQ_CAUSE_TIMEOUT,
  BLKMQ_CAUSE_ABORT,
  BLKMQ_CAUSE_REMOVE,
  BLKMQ_CAUSE_POWER,
  BLKMQ_NR_CAUSES
};

BLKMQ_PUBLIC const char *blkmq_cause_name (enum blkmq_cause cause);

/* Counters since start.  ios, bytes and errors count requests that were
 * answered; an io that never became a request (bad bounds, aborted while
 * waiting for a tag or for a flush) or whose flush failed is in rejected.
 * Read while running they are each exact but not of one instant.
 *
 * With a volatile cache the flushes that ios need are requests of the engine's,
 * which count as any other on the hctx of the first io that shares them.
 */
struct blkmq_stats {
  uint64_t ios[BLKMQ_NR_OPS];
  uint64_t bytes[BLKMQ_NR_OPS]; /* of those that ended with BLKMQ_STS_OK */
  uint64_t errors[BLKMQ_NR_STATUSES];
  uint64_t rejected[BLKMQ_NR_STATUSES];
  uint64_t in_flight[BLKMQ_NR_OPS]; /* started and not yet released */
  uint64_t waiting;                 /* ios that wait for a tag */
  uint64_t busy;                    /* queue_rq said BUSY */
  uint64_t requeues;
  uint64_t merges;   /* ios that joined another's request */
  uint64_t timeouts; /* asked: the three answers below */
  uint64_t timeouts_done, timeouts_reset, timeouts_held;
  uint64_t polled;        /* reaped by polling */
  uint64_t stale_tokens;  /* complete, requeue or timer with a dead token */
  uint64_t stale_handles; /* look-ups that found nothing */
  uint64_t lost_claims[BLKMQ_NR_CAUSES];

  /* With iostats=1, else 0: /proc/diskstats' times, in ns.  time_ns is summed
   * over the requests in ios; in busy_ns at least one was in flight, counted
   * in steps of 1024 ns (a shorter time counts a whole step or nothing, by
   * chance, so that it is right on average).  Each hctx is busy for itself:
   * BLKMQ_HCTX_ANY gives the sum. */
  uint64_t time_ns[BLKMQ_NR_OPS];
  uint64_t busy_ns;
  uint64_t flushes;           /* that the engine has made for ios */
  uint64_t flushes_coalesced; /* that it has saved: more ios shared one */
};

/* Of one hctx, or of all with BLKMQ_HCTX_ANY.  -EINVAL: no such hctx. */
BLKMQ_PUBLIC int blkmq_disk_stats (struct blkmq_disk *disk, unsigned index,
                                   struct blkmq_stats *stats);

/* ------------------------------------------------------------------------ */
/* Latencies                                                                 */

/* How many took how long.  Below 32 ns a bucket is one nanosecond; from there
 * each power of two is cut into 32, so that the middle of a bucket is at most
 * 1/64 (1.6 %) off what was recorded in it.  The last bucket takes all from
 * 2^48 ns (three days) on as well.  count, sum_ns, min_ns and max_ns are
 * exact.  All zeros is an empty one; min_ns is meaningless then.
 *
 * The caller owns it: one thread at a time.
 */
#define BLKMQ_HISTOGRAM_SUB_BITS 5
#define BLKMQ_HISTOGRAM_MAX_BITS 48
#define BLKMQ_HISTOGRAM_NR_BUCKETS                                             \
  ((BLKMQ_HISTOGRAM_MAX_BITS - BLKMQ_HISTOGRAM_SUB_BITS + 1)                   \
   << BLKMQ_HISTOGRAM_SUB_BITS)
struct blkmq_histogram {
  uint64_t count; /* the sum of all buckets */
  uint64_t sum_ns, min_ns, max_ns;
  uint64_t buckets[BLKMQ_HISTOGRAM_NR_BUCKETS];
};

/* Count one that took NS. */
BLKMQ_PUBLIC void blkmq_histogram_record (struct blkmq_histogram *histogram,
                                          uint64_t ns);

/* Add all of FROM: as if everything had been recorded in INTO. */
BLKMQ_PUBLIC void blkmq_histogram_merge (struct blkmq_histogram *into,
                                         const struct blkmq_histogram *from);

/* The smallest time, in ns, that at least PERCENT of all did not exceed
 * (nearest rank), at most 1/64 off; 0 if it is empty.  0 or less gives the
 * minimum and 100 or more the maximum, both exact. */
BLKMQ_PUBLIC uint64_t blkmq_histogram_percentile (
    const struct blkmq_histogram *histogram, double percent);

/* The mean in ns, exact but for rounding; 0 if it is empty. */
BLKMQ_PUBLIC double
blkmq_histogram_mean (const struct blkmq_histogram *histogram);

/* The latencies since start of all requests of one hctx, or of all with
 * BLKMQ_HCTX_ANY, of one operation, whatever status they ended with: from when
 * the request got its tag until it was answered.  Needs iostats=1.  Any thread;
 * whatever is in the buckets is in sum, minimum and maximum too, while these
 * may already have a request that is not in the buckets yet.
 * -EINVAL: no such hctx or operation.  -ENODATA: iostats=0.
 */
BLKMQ_PUBLIC int blkmq_disk_latency (struct blkmq_disk *disk, unsigned index,
                                     enum blkmq_op op,
                                     struct blkmq_histogram *histogram);

/* "0.1.0" */
BLKMQ_PUBLIC const char *blkmq_version (void);

#ifdef __cplusplus
}
#endif

#endif /* BLKMQ_H */

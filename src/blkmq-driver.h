/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkmq-driver.h: what a driver author reads: the request, the ops, tokens,
 * complete, requeue.  src/drivers/skeleton.c is the file to copy.
 *
 * Ownership in one paragraph.  queue_rq hands the request over like a move.
 * From there until the driver gives it back (blkmq_complete, blkmq_requeue, or
 * BLKMQ_BUSY_* as queue_rq's result) it is the only owner: it reads the
 * request, moves the data and pays for no reference count.  With the request
 * comes a token, which names this one issue.  Giving back kills the token.
 * Whoever comes with a dead token (a second completion, a late one, one of an
 * earlier issue or of an earlier life of the tag) is refused and counted, and
 * touches nothing.
 *
 * Late is no mistake when the engine has taken the request back: timeout said
 * DONE, or stop has returned.  A token that the driver itself has given back is
 * one, and so is another request's: the first of a disk is reported on stderr,
 * and a debug build (configure --enable-debug) ends there, with the request's
 * history.
 */

#ifndef BLKMQ_DRIVER_H
#define BLKMQ_DRIVER_H

#include "blkmq.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The same packing as a handle: this generation, hctx and tag. */
typedef uint64_t blkmq_token;

/* What the driver may read.  All of it is fixed from queue_rq to give-back.
 * Offset and length are within the disk, multiples of the logical block (but
 * for a tail at the very end of the disk), and within the driver's limits.
 */
struct blkmq_request {
  enum blkmq_op op;
  uint32_t flags;        /* BLKMQ_IO_FUA (limits.fua only), _NOUNMAP; _POLLED if
                          * the hctx is polled */
  uint64_t offset_bytes; /* 0 for a flush */
  uint64_t bytes;        /* 0 for a flush */
  struct blkmq_hctx *hctx;
  void *driver_data; /* what ops->open stored */
  void *pdu;         /* ops->pdu_bytes, 64-byte aligned, the driver's own */

  /* Data of reads and writes; use struct blkmq_segments. */
  const struct iovec *segment;
  size_t skip_bytes; /* of the first segment */
};

/* Walk over a request's data:
 *
 *   struct blkmq_segments it = blkmq_segments_begin (rq);
 *   struct iovec seg;
 *   while (blkmq_segments_next (&it, &seg))
 *     ... seg.iov_base, seg.iov_len ...
 */
struct blkmq_segments {
  const struct iovec *segment;
  size_t skip_bytes;
  uint64_t left_bytes;
};

static inline struct blkmq_segments
blkmq_segments_begin (const struct blkmq_request *rq)
{
  struct blkmq_segments it;

  it.segment = rq->segment;
  it.skip_bytes = rq->skip_bytes;
  it.left_bytes
      = rq->op == BLKMQ_OP_READ || rq->op == BLKMQ_OP_WRITE ? rq->bytes : 0;
  return it;
}

static inline bool
blkmq_segments_next (struct blkmq_segments *it, struct iovec *out)
{
  while (it->left_bytes > 0) {
    size_t len = it->segment->iov_len - it->skip_bytes;

    out->iov_base = (char *)it->segment->iov_base + it->skip_bytes;
    it->segment++;
    it->skip_bytes = 0;
    if (len == 0)
      continue;
    if (len > it->left_bytes)
      len = (size_t)it->left_bytes;
    out->iov_len = len;
    it->left_bytes -= len;
    return true;
  }
  return false;
}

/* What queue_rq says. */
enum blkmq_queue_result {
  /* The request is the driver's, or was completed already. */
  BLKMQ_QUEUED = 0,
  /* Not taken, for lack of something that this hctx's requests in flight
   * hold: the next give-back on this hctx dispatches it again.  When nothing
   * is in flight the engine treats it as BLKMQ_BUSY_HOST. */
  BLKMQ_BUSY_DEVICE,
  /* Not taken, for lack of something else: dispatched again after 3 ms, or when
   * blkmq_busy_for has said. */
  BLKMQ_BUSY_HOST,
};

/* What timeout says. */
enum blkmq_timeout_result {
  /* I have let go: the token is dead, the engine ends the request with
   * BLKMQ_STS_TIMEOUT and takes it back. */
  BLKMQ_TIMEOUT_DONE = 0,
  /* Give it another io_timeout. */
  BLKMQ_TIMEOUT_RESET,
  /* I may still touch it: the caller is answered with BLKMQ_STS_TIMEOUT, the
   * request stays the driver's, and its tag stays taken, until it is given
   * back.  The token lives. */
  BLKMQ_TIMEOUT_HELD,
};

struct blkmq_fault; /* blkmq-control.h */

/* Hctxs offset, offset + 1, ..., nr of them; offset means nothing with nr 0. */
struct blkmq_queue_map {
  unsigned nr, offset;
};

/* A driver: one of these, const, in one file.  Everything not marked Required
 * may be left out.  Calls that carry a request are made by the engine with no
 * lock of its own held.  0 or -errno.
 */
struct blkmq_driver {
  const char *name; /* Required.  driver=NAME */
  const char *help; /* Required.  one line */
  size_t pdu_bytes; /* per request; zeroed before init_request */

  /* Of each hctx's tags so many are kept for ios with BLKMQ_IO_RESERVED: what
   * must not wait behind ordinary ones.  Less than hw_queue_depth. */
  unsigned nr_reserved_tags;

  /* Keys that only this driver has. */
  const struct blkmq_key *keys;
  size_t nr_keys;

  /* Required of a layer (see blkmq_pass), and of no driver: is it there, with
   * that configuration?  A layer that is not is passed by at no cost. */
  bool (*is_wanted) (const struct blkmq_config *config);

  /* What is wrong between its own keys, or between them and others: -EINVAL and
   * ERROR.  Part of blkmq_config_check, and so of each live change; of every
   * layer, wanted or not. */
  int (*check) (const struct blkmq_config *config, struct blkmq_error *error);

  /* Required.  Set up a disk: read CONFIG, store the state in DRIVER_DATA,
   * adjust LIMITS (filled in from the configuration; only make them tighter,
   * except max_discard_bytes and max_write_zeroes_bytes, which are 0 and are
   * the driver's to set, and volatile_cache and fua, likewise).
   * Thread: the one that allocates the disk.  May block. */
  int (*open) (const struct blkmq_config *config, uint64_t seed,
               struct blkmq_limits *limits, void **driver_data,
               struct blkmq_error *error);
  /* Free the state; only after an open that succeeded.  Nothing is in flight,
   * and stop was called if the disk was ever started.  May block. */
  void (*close) (void *driver_data);

  /* Take a request.  Required.
   * Thread: whichever dispatches: a submitter's, an hctx's.  Several may be in
   * here at once, for one hctx too.  Should not block: what it holds up is
   * the submitter, and on an hctx's thread the timers of that hctx.  With
   * blocking=1 it is always an hctx's thread of the engine's own, and one at a
   * time for each hctx.
   * Ownership: see enum blkmq_queue_result; after BLKMQ_QUEUED the request may
   * be gone already, do not touch it. */
  enum blkmq_queue_result (*queue_rq) (struct blkmq_hctx *hctx,
                                       struct blkmq_request *rq,
                                       blkmq_token token);

  /* A hint: the request after the one that is dispatched now begins at
   * OFFSET_BYTES, which was not checked yet.  Have the memory that queue_rq
   * will look at come nearer meanwhile.  Nothing may depend on it.  Thread: as
   * queue_rq.  Must not wait for anything. */
  void (*prefetch) (void *driver_data, uint64_t offset_bytes);

  /* Ring the doorbell: called once after each run of queue_rq calls that took
   * at least one request, on the thread that made them.  Must not block.
   * Leave it out if queue_rq itself starts the work. */
  void (*commit_rqs) (struct blkmq_hctx *hctx);

  /* Complete what is done of this hctx's requests, in here, and say how many
   * that were.  Required for poll_queues > 0.  Requests of a polled hctx have
   * BLKMQ_IO_POLLED among their flags: nobody but this op need look whether
   * they are done, and irqmode does not delay them.
   * Thread: whoever polls, a freeze as well; several at once, also beside
   * queue_rq and timeout.  Must not block, nor wait for a request that is not
   * done.  Not called when stop is, nor after it: a driver that completes here
   * and in queue_rq only needs no stop.  A timeout op may say HELD only of
   * requests that come back without a poll, since a live update can make
   * the hctx one that nobody polls. */
  unsigned (*poll) (struct blkmq_hctx *hctx);

  /* Say which of the NR_HW_QUEUES hctxs are for what.  MAP comes filled in: the
   * last poll_queues are for polled ios, all before them for the others
   * (DEFAULT), and none for reads alone (READ).  Change what is different:
   * take, say, some of the default ones for reads.  Each hctx must be in a map;
   * there must be a default one; as many must be polled as there were, and
   * these be in no other map.  The engine checks that.
   * Thread: the one that allocates the disk or changes its queues. */
  void (*map_queues) (void *driver_data, unsigned nr_hw_queues,
                      struct blkmq_queue_map map[BLKMQ_NR_HCTX_TYPES]);

  /* complete, timeout and abort: a layer's RQ is a view of the request, for the
   * call only; what it keeps is the pointer that queue_rq was given. */

  /* Look at a request on its way up, in the context where it will be answered
   * (irqmode), and decide the final status; STATUS is what blkmq_complete was
   * given.  The request is on loan: read it and the pdu, do not keep it, do
   * not touch the data (it was given back).  Must not block.  Not called for
   * requests that a timeout, an abort or removal had ended before. */
  enum blkmq_status (*complete) (struct blkmq_request *rq,
                                 enum blkmq_status status);

  /* io_timeout has passed since the request was first taken and it is still
   * held.  Thread: the hctx's.  Must not block.  The request is on loan (the
   * engine holds a reference); completing it inside is allowed.  Not called
   * while queue_rq is still running for this issue, after stop, or again after
   * HELD.  (A driver that has requeued the request may be inside queue_rq for
   * the next issue meanwhile: compare tokens before letting go of anything.)
   * Called as well for a request that an abort has ended while the driver held
   * it.  Without it: RESET. */
  enum blkmq_timeout_result (*timeout) (struct blkmq_request *rq,
                                        blkmq_token token);

  /* The same question, of a request that an abort has just ended while it is
   * held, whatever io_timeout is: true means DONE, that the caller may have his
   * data back now.  Thread and conditions are those of timeout.  It may be
   * asked more than once.  Without it: false. */
  bool (*abort) (struct blkmq_request *rq, blkmq_token token);

  /* Stop touching requests.  When it returns no thread of the driver's uses
   * or completes any request of the disk, ever; those that it still holds are
   * taken back by the engine.  Required of drivers that complete after
   * queue_rq has returned.  Thread: the one that removes.  May block. */
  void (*stop) (void *driver_data);

  /* Per-hctx state.  init_hctx stores it with blkmq_hctx_set_data.  Called
   * for hctx 0, 1, ... when the disk is allocated; if one fails, exit_hctx is
   * called for those before it.  May block. */
  int (*init_hctx) (struct blkmq_hctx *hctx, void *driver_data, unsigned index);
  void (*exit_hctx) (struct blkmq_hctx *hctx, void *driver_data,
                     unsigned index);

  /* Per-request state in the pdu, set up before the hctx.  DRIVER_DATA is NULL
   * where several disks share their requests (blkmq_tag_set_alloc).  May
   * block. */
  int (*init_request) (void *driver_data, struct blkmq_request *rq,
                       unsigned hctx_index, unsigned tag);
  void (*exit_request) (void *driver_data, struct blkmq_request *rq,
                        unsigned hctx_index, unsigned tag);

  /* Report what a range holds, as blkmq_disk_extents.  Any thread, several at
   * once.  May block.  Without it: all data. */
  int (*extents) (void *driver_data, uint64_t offset_bytes, uint64_t bytes,
                  int (*fn) (uint64_t offset_bytes, uint64_t bytes,
                             unsigned type, void *opaque),
                  void *opaque);

  /* What follows is for control: calls that come from one thread at a time,
   * but while requests are under way unless it says frozen, which is: nothing
   * is below but what a timeout has left there, and neither queue_rq nor
   * commit_rqs runs. */

  /* Keys that are live have changed: take from CONFIG the values of those that
   * are this driver's.  Frozen.  Required of who has such keys.  -errno and
   * ERROR: nothing was changed.  If another's change fails, this one is called
   * again with the values from before, which must not fail.  A layer that is
   * not wanted with CONFIG gets no more requests from here on.  May block. */
  int (*change) (void *driver_data, const struct blkmq_config *config,
                 struct blkmq_error *error);

  /* The value in force of KEY, one of its own, where that is more than what was
   * set last: into BUF, as snprintf.  -ENOENT: it is just that, as it is of
   * every key without this op. */
  int (*show) (void *driver_data, const char *key, char *buf, size_t buf_bytes);

  /* Of KEY, one of its own whose values say what is to change and not how it
   * is to be (badblocks): the value that it has once VALUE was done to what is
   * in force, or of that alone (VALUE NULL); into BUF, as snprintf.  Nothing
   * changes.  Before a change, and frozen, it is put into CONFIG, the new one
   * and that from before; so change does what CONFIG says, and undoes it.
   * -EINVAL, -ENOSPC and ERROR: VALUE is not one.  -ENOENT: KEY is no such key,
   * as is every key without this op. */
  int (*resolve) (void *driver_data, const char *key, const char *value,
                  char *buf, size_t buf_bytes, struct blkmq_error *error);

  /* Power is cut (ON false): let go of all requests that are held on purpose,
   * with whatever status, and hold none from now on; the callers were answered
   * already.  Then, frozen, power_lost: forget what would not outlive a power
   * cut.  Power is back (ON true), frozen: be as after open, with what is
   * there.  Must not fail. */
  void (*power) (void *driver_data, bool on);
  void (*power_lost) (void *driver_data);

  /* Rules of faults: struct blkmq_fault.  Required of who has one of them.  Any
   * thread, several at once.  *ID is the new rule's, given by the engine;
   * those that are there from the start are numbered from 1, over all levels.
   * -EAGAIN: RULE is one, but for another level.  Of delete_fault -ENOENT:
   * there is none of that id on this level. */
  int (*add_fault) (void *driver_data, const char *rule, uint64_t *id,
                    struct blkmq_error *error);
  int (*delete_fault) (void *driver_data, uint64_t id);
  int (*for_each_fault) (void *driver_data,
                         int (*fn) (const struct blkmq_fault *fault,
                                    void *opaque),
                         void *opaque);
};

/* A layer stands above the driver and other layers and has the same ops.  It
 * sees each request first: in queue_rq it may pass it on, give it back with a
 * status of its own (blkmq_complete), keep it to do so later, refuse it, or
 * requeue it. complete is called for it on the request's way up, after that of
 * what is below and before that of what is above, and may change the status or
 * keep the request for a while.  timeout is asked of the level that has the
 * request. driver_data and pdu in the request are the level's own wherever it
 * is called. What was refused or requeued on one level comes back to that
 * level, not to those above it.  blkmq_hctx_set_data is the driver's alone.
 *
 * blkmq_pass is the last thing that queue_rq does; its result is queue_rq's.
 * Only there.
 *
 * blkmq_keep: only inside complete: the request goes on upwards when NS more
 * have passed, on the hctx's thread.  An abort, a timeout or removal may end it
 * meanwhile.
 *
 * blkmq_set_bytes: cut a request short before it is passed on: what is below is
 * to do its first BYTES, whole blocks and not none.  The layer owes it an
 * error, and in its complete what the request had, for those above. */
BLKMQ_PUBLIC enum blkmq_queue_result blkmq_pass (struct blkmq_hctx *hctx,
                                                 struct blkmq_request *rq,
                                                 blkmq_token token);
BLKMQ_PUBLIC void blkmq_keep (struct blkmq_request *rq, uint64_t ns);
BLKMQ_PUBLIC void blkmq_set_bytes (struct blkmq_request *rq, uint64_t bytes);

/* Make a driver of the embedder's own known to driver=.  The struct must stay
 * valid for ever.  -EEXIST: the name is taken.  -EINVAL: a required member is
 * missing, with ERROR.  -ENOSPC: too many.
 */
BLKMQ_PUBLIC int blkmq_driver_register (const struct blkmq_driver *driver,
                                        struct blkmq_error *error);

/* The driver at INDEX of those that driver= can name, NULL past the last: the
 * built-in ones first, then the others as they were registered.  An index
 * never changes its meaning.  Any thread; takes no lock. */
BLKMQ_PUBLIC const struct blkmq_driver *blkmq_driver_at (size_t index);

/* What a shared object that driver=/path/to/it.so loads says of itself: which
 * interface it was built for, and its driver.  BLKMQ_DRIVER_EXPORT makes it.
 *
 * BLKMQ_DRIVER_ABI changes when something changes its meaning, its place or
 * its type; a struct that grows is told by its size.  The first two members
 * are the same in every version, so that one may refuse another in words.
 */
#define BLKMQ_DRIVER_ABI 2u
#define BLKMQ_DRIVER_MAGIC UINT64_C (0x9b626c6b6d71b10b)

struct blkmq_driver_module {
  uint64_t magic;
  uint32_t abi_version;
  uint32_t module_bytes; /* of this struct; then those that both sides use: */
  uint32_t driver_bytes;
  uint32_t request_bytes;
  uint32_t limits_bytes;
  uint32_t key_bytes;
  uint32_t error_bytes;
  uint32_t io_bytes;
  uint32_t batch_bytes;
  uint32_t info_bytes;
  uint32_t stats_bytes;
  uint32_t reserved; /* 0 */
  const struct blkmq_driver *driver;
  /* Which engine the driver's calls reach: there must be only one. */
  int (*complete) (struct blkmq_request *rq, blkmq_token token,
                   enum blkmq_status status);
};

/* Give the request back and say how it went.  Any thread; queue_rq and timeout
 * too.  Depending on irqmode end_io runs inside this call, so hold no lock
 * that end_io could want; queue_rq is never called from inside it.
 * A dead token is refused: -ESTALE, and nothing was touched.
 */
BLKMQ_PUBLIC int blkmq_complete (struct blkmq_request *rq, blkmq_token token,
                                 enum blkmq_status status);

/* Give the request back unfinished: it is dispatched again, behind those that
 * wait already, with a new token.  Its io_timeout keeps running.  Any thread.
 * -ESTALE as above.
 */
BLKMQ_PUBLIC int blkmq_requeue (struct blkmq_request *rq, blkmq_token token);

/* The same, but it stays aside, and does not hold up those that come later,
 * until blkmq_kick_requeues puts all that are aside behind those that wait. Its
 * io_timeout ends it there, too. */
BLKMQ_PUBLIC int blkmq_requeue_aside (struct blkmq_request *rq,
                                      blkmq_token token);
BLKMQ_PUBLIC void blkmq_kick_requeues (struct blkmq_hctx *hctx);

/* Try again what was refused: what BLKMQ_BUSY_HOST had lacked is back.  Any
 * thread between init_hctx and exit_hctx. */
BLKMQ_PUBLIC void blkmq_run_hctx (struct blkmq_hctx *hctx);

/* The two after DELAY_NS, on the hctx's thread.  A later call takes the place
 * of an earlier one. */
BLKMQ_PUBLIC void blkmq_delay_kick_requeues (struct blkmq_hctx *hctx,
                                             uint64_t delay_ns);
BLKMQ_PUBLIC void blkmq_delay_run_hctx (struct blkmq_hctx *hctx,
                                        uint64_t delay_ns);

/* What queue_rq returns, as the last thing that it does, when it knows for how
 * long: BLKMQ_BUSY_HOST, but dispatched again after NS (not 0) instead of 3 ms.
 * Before that if the hctx is run (above), if something that it had in flight
 * comes back, or when a freeze begins, which waits for what was refused, too.
 */
BLKMQ_PUBLIC enum blkmq_queue_result blkmq_busy_for (uint64_t ns);

/* Is somebody waiting until nothing is in flight any more (a freeze, a live
 * change)?  No new request starts meanwhile; what is kept waiting on purpose
 * keeps him waiting, too. */
BLKMQ_PUBLIC bool blkmq_hctx_is_frozen (const struct blkmq_hctx *hctx);

/* The time that the hctx's timers go by: monotonic, in ns.  Any thread. */
BLKMQ_PUBLIC uint64_t blkmq_hctx_now_ns (const struct blkmq_hctx *hctx);

BLKMQ_PUBLIC void blkmq_hctx_set_data (struct blkmq_hctx *hctx, void *data);
BLKMQ_PUBLIC void *blkmq_hctx_data (const struct blkmq_hctx *hctx);
BLKMQ_PUBLIC unsigned blkmq_hctx_index (const struct blkmq_hctx *hctx);

/* A live update can change it while the hctx has no requests: for a request,
 * look at its BLKMQ_IO_POLLED. */
BLKMQ_PUBLIC enum blkmq_hctx_type
blkmq_hctx_type (const struct blkmq_hctx *hctx);

/* The request that TOKEN names on this hctx, or NULL if it names another
 * hctx or no tag of this one.  No liveness is implied: pass the token on. */
BLKMQ_PUBLIC struct blkmq_request *blkmq_hctx_request (struct blkmq_hctx *hctx,
                                                       blkmq_token token);

/* The tag of a request that the driver has: below the queue depth, and its
 * alone among those that the driver has of this hctx (of the tag set's, where
 * that has one tag space for all).  For drivers that index by tag. */
BLKMQ_PUBLIC unsigned blkmq_request_tag (const struct blkmq_request *rq);

/* Once in a shared object, outside of functions: DRIVER is its driver.  Best
 * a static one: one of the same name that the program exports would take its
 * place, and the module be refused.  In what is built with
 * BLKMQ_DRIVER_BUILT_IN, drivers that are linked into a program, it is void.
 */
#ifdef __cplusplus
#define BLKMQ_EXTERN_C extern "C"
#else
#define BLKMQ_EXTERN_C extern
#endif

#ifdef BLKMQ_DRIVER_BUILT_IN
#define BLKMQ_DRIVER_EXPORT(driver_) struct blkmq_driver_module
#else
#define BLKMQ_DRIVER_EXPORT(driver_)                                           \
  BLKMQ_EXTERN_C BLKMQ_PUBLIC const struct blkmq_driver_module                 \
      blkmq_driver_module;                                                     \
  const struct blkmq_driver_module blkmq_driver_module                         \
      = { BLKMQ_DRIVER_MAGIC,                                                  \
          BLKMQ_DRIVER_ABI,                                                    \
          sizeof (struct blkmq_driver_module),                                 \
          sizeof (struct blkmq_driver),                                        \
          sizeof (struct blkmq_request),                                       \
          sizeof (struct blkmq_limits),                                        \
          sizeof (struct blkmq_key),                                           \
          sizeof (struct blkmq_error),                                         \
          sizeof (struct blkmq_io),                                            \
          sizeof (struct blkmq_batch),                                         \
          sizeof (struct blkmq_request_info),                                  \
          sizeof (struct blkmq_stats),                                         \
          0,                                                                   \
          &(driver_),                                                          \
          blkmq_complete }
#endif

/* The parts of a token, for messages.  With a scheduler the tag is an internal
 * one, at or above the queue depth. */
static inline unsigned
blkmq_token_tag (blkmq_token token)
{
  return (unsigned)(token & 0x3fff);
}

static inline unsigned
blkmq_token_hctx (blkmq_token token)
{
  return (unsigned)((token >> 14) & 0x3ff);
}

static inline uint64_t
blkmq_token_generation (blkmq_token token)
{
  return token >> 24;
}

/* Both were given for one pdu: is NEXT of the issue after that of TOKEN in the
 * same life?  If not, what was noted in the pdu then was of another's. */
static inline bool
blkmq_token_is_next (blkmq_token token, blkmq_token next)
{
  uint64_t generation
      = (blkmq_token_generation (token) + 1) & ((UINT64_C (1) << 40) - 1);

  return blkmq_token_generation (next) == (generation != 0 ? generation : 1);
}

#ifdef __cplusplus
}
#endif

#endif /* BLKMQ_DRIVER_H */

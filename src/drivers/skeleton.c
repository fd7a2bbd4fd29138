/* SPDX-License-Identifier: BSD-3-Clause
 *
 * skeleton.c: the driver to copy.  A small, complete, asynchronous driver:
 * queue_rq puts requests in a ring, commit_rqs rings a doorbell, a worker
 * thread takes them out, does them and completes them later.  Users are not
 * offered it, but it is built and goes through the conformance suite.
 *
 * To make a driver of your own, copy this file, rename what says skeleton, and
 * replace
 *
 *   memory            by what your device needs
 *   skeleton_do       by how your device does a request
 *   the worker        by whatever tells you that a request is done
 *   skeleton_poll     by how you ask the device, if it can be asked
 *   map_queues        by what your queues are for, or by nothing
 *
 * It needs nothing but the installed headers.  Outside of blkmq's tree
 *
 *   cc -shared -fPIC -o mine.so mine.c $(pkg-config --cflags blkmq)
 *
 * makes a shared object, which driver=./mine.so loads; make the struct at the
 * end static then.  To have it built in, put the struct in table.c and the
 * file in the build.
 *
 * blkmq-driver.h says of each op who calls it, on which thread, whether it may
 * block, and whose the request is.  A driver that has finished when queue_rq
 * returns needs no more than open, close and queue_rq: see null.c, memory.c.
 *
 * Threads: any number of submitters and hctxs in queue_rq, commit_rqs, poll and
 * timeout; one worker.  Ring and pdu states are protected by one lock for the
 * whole disk, which is easy to read; give each hctx its own if it is to scale.
 * The lock is never held across blkmq_complete, which may run the caller's
 * end_io, nor across the work.
 */

#include <assert.h>
#include <blkmq-driver.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* One disk: what open makes and all other ops get as driver_data. */
struct skeleton {
  char *memory; /* stands for the device; the worker's alone */
  size_t memory_bytes;
  unsigned ring_entries;

  pthread_mutex_t lock; /* protects all that follows */
  pthread_cond_t doorbell;
  struct skeleton_hctx *turn; /* served last; they stand in a circle */
  pthread_t worker;
  bool running;  /* there is a worker */
  bool stopping; /* there will never be one again */
};

/* One hctx: its ring.  The counters only grow; an entry's place is its number
 * modulo ring_entries.  head <= rung <= tail <= head + ring_entries.
 */
struct skeleton_hctx {
  struct skeleton *disk;
  struct skeleton_hctx *next; /* disk->lock, as all that follows */
  bool is_polled;             /* what is in it is not for the worker */
  struct skeleton_pdu **ring; /* NULL: taken back by a timeout */
  uint64_t head;              /* the worker takes this one next */
  uint64_t rung;              /* the worker may take those before this */
  uint64_t tail;              /* the next one goes here */
};

/* One request: the memory behind each of the engine's preallocated requests.
 * This is why the I/O path needs no allocator.
 */
struct skeleton_pdu {
  struct blkmq_request *rq;
  blkmq_token token; /* of the issue that we hold */
  uint64_t entry;    /* where it stands in the ring */
  bool in_ring;      /* false: at the worker, or not ours */
};

/* ------------------------------------------------------------------------ */
/* The device                                                                */

/* Copy between the device, at POS, and the caller's segments.  The request may
 * begin inside the first segment and end inside the last: the iterator knows.
 */
static void
copy (char *pos, const struct blkmq_request *rq)
{
  struct blkmq_segments it = blkmq_segments_begin (rq);
  struct iovec seg;

  while (blkmq_segments_next (&it, &seg)) {
    if (rq->op == BLKMQ_OP_READ)
      memcpy (seg.iov_base, pos, seg.iov_len);
    else
      memcpy (pos, seg.iov_base, seg.iov_len);
    pos += seg.iov_len;
  }
}

/* Do the work.  The request, its segments and its data are ours until we give
 * them back; nobody else touches them, so nothing is locked or counted here.
 * The engine has seen to it that the range is inside the disk.
 *
 * The device's errors become statuses.  Keep apart those that a caller can act
 * upon (NOSPC, RESOURCE, MEDIUM); all others are IOERR.
 */
static enum blkmq_status
skeleton_do (struct skeleton *disk, struct blkmq_request *rq)
{
  char *pos = disk->memory + rq->offset_bytes;

  switch (rq->op) {
  case BLKMQ_OP_READ:
  case BLKMQ_OP_WRITE:
    /* A device with a cache of its own sets volatile_cache in open, and the
     * engine then makes flushes for ios that must be durable; with fua as
     * well, BLKMQ_IO_FUA in rq->flags asks us to write this one through.
     */
    copy (pos, rq);
    return BLKMQ_STS_OK;

  case BLKMQ_OP_FLUSH:
    /* Must cover every write that was answered before, on all hctxs.  What
     * this device has answered is durable, as far as memory ever is.
     */
    return BLKMQ_STS_OK;

  case BLKMQ_OP_DISCARD:
    memset (pos, 0, rq->bytes);
    return BLKMQ_STS_OK;

  case BLKMQ_OP_WRITE_ZEROES: /* open has left its limit 0 */
  case BLKMQ_NR_OPS:
  default: /* also what a later version may add */
    return BLKMQ_STS_NOTSUPP;
  }
}

/* The next request of SH whose doorbell was rung, or NULL. */
static struct skeleton_pdu *
take_of_hctx_locked (struct skeleton_hctx *sh)
{
  while (sh->head < sh->rung) {
    struct skeleton_pdu *pdu = sh->ring[sh->head++ % sh->disk->ring_entries];

    if (pdu != NULL) {
      pdu->in_ring = false;
      return pdu;
    }
  }
  return NULL;
}

/* The next request that the worker may have, or NULL.  The hctxs take turns, so
 * that a busy one does not starve the others.
 */
static struct skeleton_pdu *
take_locked (struct skeleton *disk)
{
  struct skeleton_hctx *sh = disk->turn;

  if (sh == NULL)
    return NULL;
  do {
    struct skeleton_pdu *pdu = NULL;

    sh = sh->next;
    if (!sh->is_polled)
      pdu = take_of_hctx_locked (sh);
    if (pdu != NULL) {
      disk->turn = sh;
      return pdu;
    }
  } while (sh != disk->turn);
  return NULL;
}

static void *
worker_main (void *arg)
{
  struct skeleton *disk = arg;

  pthread_mutex_lock (&disk->lock);
  while (!disk->stopping) {
    struct skeleton_pdu *pdu = take_locked (disk);
    struct blkmq_request *rq;
    blkmq_token token;

    if (pdu == NULL) {
      pthread_cond_wait (&disk->doorbell, &disk->lock);
      continue;
    }
    rq = pdu->rq;
    token = pdu->token;
    pthread_mutex_unlock (&disk->lock);

    /* Give it back, with the token of this issue: if we ever got that wrong,
     * the engine would refuse it and count it.  Afterwards request and pdu
     * may belong to somebody else already; do not touch them again.
     */
    blkmq_complete (rq, token, skeleton_do (disk, rq));

    pthread_mutex_lock (&disk->lock);
  }
  pthread_mutex_unlock (&disk->lock);
  return NULL;
}

/* The worker starts with the first request rather than in open, since a server
 * may open its disks, then fork into the background, and threads do not
 * follow.
 */
static int
start_worker_locked (struct skeleton *disk)
{
  sigset_t all, old;
  int r;

  /* The program's signals are for the program's own threads. */
  sigfillset (&all);
  pthread_sigmask (SIG_SETMASK, &all, &old);
  r = pthread_create (&disk->worker, NULL, worker_main, disk);
  pthread_sigmask (SIG_SETMASK, &old, NULL);
  disk->running = r == 0;
  return -r;
}

/* ------------------------------------------------------------------------ */
/* A disk comes and goes                                                     */

/* What only this driver can be told.  Parsing, bounds, --help and the check of
 * the manual page all come from here.
 */
static const struct blkmq_key skeleton_keys[] = {
  {
      .name = "ring_entries",
      .type = BLKMQ_KEY_INT,
      .default_value = "8",
      .min = 1,
      .max = 4096,
      .help = "requests of one hctx that can wait for the worker",
  },
};

static int
skeleton_open (const struct blkmq_config *config, uint64_t seed,
               struct blkmq_limits *limits, void **driver_data,
               struct blkmq_error *error)
{
  struct skeleton *disk;
  void *memory;
  int r;

  (void)seed; /* for whoever makes random choices: they shall be repeatable */
  disk = calloc (1, sizeof *disk);
  if (disk == NULL) {
    r = -ENOMEM;
    goto fail;
  }
  disk->ring_entries = (unsigned)blkmq_config_number (config, "ring_entries");

  /* The system gives pages as they are touched. */
  disk->memory_bytes = limits->size_bytes;
  memory = mmap (NULL, disk->memory_bytes, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    r = -errno;
    goto free_disk;
  }
  disk->memory = memory;
  r = -pthread_mutex_init (&disk->lock, NULL);
  if (r < 0)
    goto unmap;
  r = -pthread_cond_init (&disk->doorbell, NULL);
  if (r < 0)
    goto destroy_lock;

  /* LIMITS comes filled in from the configuration.  What the device cannot do
   * stays 0 (max_write_zeroes_bytes here); what it can do less of is made
   * smaller.  The engine then splits: queue_rq never sees a larger request.
   */
  limits->max_discard_bytes = UINT64_C (1) << 62;
  limits->volatile_cache = false;
  *driver_data = disk;
  return 0;

destroy_lock:
  pthread_mutex_destroy (&disk->lock);
unmap:
  munmap (disk->memory, disk->memory_bytes);
free_disk:
  free (disk);
fail:
  /* Say what failed and with which value. */
  if (error != NULL)
    snprintf (error->message, sizeof error->message,
              "driver=skeleton: cannot set up a disk of %llu bytes: errno %d",
              (unsigned long long)limits->size_bytes, -r);
  return r;
}

static void
skeleton_close (void *driver_data)
{
  struct skeleton *disk = driver_data;

  assert (!disk->running);
  assert (disk->turn == NULL);
  pthread_cond_destroy (&disk->doorbell);
  pthread_mutex_destroy (&disk->lock);
  munmap (disk->memory, disk->memory_bytes);
  free (disk);
}

static int
skeleton_init_hctx (struct blkmq_hctx *hctx, void *driver_data, unsigned index)
{
  struct skeleton *disk = driver_data;
  struct skeleton_hctx *sh;

  (void)index;
  sh = calloc (1, sizeof *sh);
  if (sh == NULL)
    return -ENOMEM;
  sh->ring = calloc (disk->ring_entries, sizeof (struct skeleton_pdu *));
  if (sh->ring == NULL) {
    free (sh);
    return -ENOMEM;
  }

  pthread_mutex_lock (&disk->lock);
  sh->disk = disk;
  if (disk->turn == NULL) {
    sh->next = sh;
    disk->turn = sh;
  } else {
    sh->next = disk->turn->next;
    disk->turn->next = sh;
  }
  pthread_mutex_unlock (&disk->lock);
  blkmq_hctx_set_data (hctx, sh);
  return 0;
}

static void
skeleton_exit_hctx (struct blkmq_hctx *hctx, void *driver_data, unsigned index)
{
  struct skeleton *disk = driver_data;
  struct skeleton_hctx *sh = blkmq_hctx_data (hctx);
  struct skeleton_hctx *before = sh;

  (void)index;
  pthread_mutex_lock (&disk->lock);
  while (before->next != sh)
    before = before->next;
  before->next = sh->next;
  if (disk->turn == sh)
    disk->turn = before == sh ? NULL : before;
  pthread_mutex_unlock (&disk->lock);
  free (sh->ring);
  free (sh);
}

/* Once per request and disk, not per I/O: what stays the same for good. */
static int
skeleton_init_request (void *driver_data, struct blkmq_request *rq,
                       unsigned hctx_index, unsigned tag)
{
  struct skeleton_pdu *pdu = rq->pdu;

  (void)driver_data, (void)hctx_index, (void)tag;
  pdu->rq = rq;
  return 0;
}

/* ------------------------------------------------------------------------ */
/* The way of a request                                                      */

static enum blkmq_queue_result
skeleton_queue_rq (struct blkmq_hctx *hctx, struct blkmq_request *rq,
                   blkmq_token token)
{
  struct skeleton *disk = rq->driver_data;
  struct skeleton_hctx *sh = blkmq_hctx_data (hctx);
  struct skeleton_pdu *pdu = rq->pdu;
  enum blkmq_queue_result result = BLKMQ_QUEUED;

  pthread_mutex_lock (&disk->lock);
  if (disk->stopping || (!disk->running && start_worker_locked (disk) < 0)) {
    /* Nothing of ours will come free and rerun the queue; the engine tries
     * again by itself.
     */
    result = BLKMQ_BUSY_HOST;
  } else if (sh->tail - sh->head == disk->ring_entries) {
    /* The ring is full of this hctx's own requests.  Each of them will be
     * given back, and that dispatches this one again.
     */
    result = BLKMQ_BUSY_DEVICE;
  } else {
    /* Fixed while the hctx has requests, but not for good. */
    sh->is_polled = rq->flags & BLKMQ_IO_POLLED;
    pdu->token = token;
    pdu->entry = sh->tail++;
    pdu->in_ring = true;
    sh->ring[pdu->entry % disk->ring_entries] = pdu;
  }
  pthread_mutex_unlock (&disk->lock);

  /* After BLKMQ_QUEUED it may be done and gone by now: another thread's
   * doorbell counts for our entry too.
   */
  return result;
}

/* The doorbell: one wake-up for as many requests as came in a row. */
static void
skeleton_commit_rqs (struct blkmq_hctx *hctx)
{
  struct skeleton_hctx *sh = blkmq_hctx_data (hctx);
  struct skeleton *disk = sh->disk;

  pthread_mutex_lock (&disk->lock);
  sh->rung = sh->tail;
  pthread_cond_signal (&disk->doorbell);
  pthread_mutex_unlock (&disk->lock);
}

/* Somebody polls, with poll_queues: we do in his thread what the worker does
 * for the other hctxs.  Several may poll, so each takes one at a time, and what
 * was taken is nobody else's.
 */
static unsigned
skeleton_poll (struct blkmq_hctx *hctx)
{
  struct skeleton_hctx *sh = blkmq_hctx_data (hctx);
  struct skeleton *disk = sh->disk;
  struct skeleton_pdu *pdu;
  unsigned nr = 0;

  pthread_mutex_lock (&disk->lock);
  while ((pdu = take_of_hctx_locked (sh)) != NULL) {
    struct blkmq_request *rq = pdu->rq;
    blkmq_token token = pdu->token;

    pthread_mutex_unlock (&disk->lock);
    blkmq_complete (rq, token, skeleton_do (disk, rq));
    nr++;
    pthread_mutex_lock (&disk->lock);
  }
  pthread_mutex_unlock (&disk->lock);
  return nr;
}

/* Which hctxs are for what.  Without this op all but the polled ones are for
 * everything.  Here the last of those, if there are several, is for reads.
 */
static void
skeleton_map_queues (void *driver_data, unsigned nr_hw_queues,
                     struct blkmq_queue_map map[BLKMQ_NR_HCTX_TYPES])
{
  struct blkmq_queue_map *others = &map[BLKMQ_HCTX_TYPE_DEFAULT];

  (void)driver_data, (void)nr_hw_queues;
  if (others->nr < 2)
    return;
  others->nr--;
  map[BLKMQ_HCTX_TYPE_READ].offset = others->nr;
  map[BLKMQ_HCTX_TYPE_READ].nr = 1;
}

/* io_timeout has passed.  The answer is a promise, so it has to be true:
 *
 *  - Still in the ring: the worker has not seen it.  We take it out under the
 *    lock, and nobody will touch it any more: DONE.
 *  - At the worker: it may be copying to the caller's memory at this moment
 *    and cannot be called back.  The caller gets its answer, but memory and
 *    tag stay ours until the worker has given them back: HELD.  (Or it has
 *    just completed; then the token is dead and the answer does not matter.)
 *
 * A device that can tell that it is making progress would answer RESET.
 */
static enum blkmq_timeout_result
skeleton_timeout (struct blkmq_request *rq, blkmq_token token)
{
  struct skeleton *disk = rq->driver_data;
  struct skeleton_hctx *sh = blkmq_hctx_data (rq->hctx);
  struct skeleton_pdu *pdu = rq->pdu;
  enum blkmq_timeout_result result = BLKMQ_TIMEOUT_HELD;

  pthread_mutex_lock (&disk->lock);
  if (pdu->in_ring && pdu->token == token) {
    sh->ring[pdu->entry % disk->ring_entries] = NULL;
    pdu->in_ring = false;
    result = BLKMQ_TIMEOUT_DONE;
  }
  pthread_mutex_unlock (&disk->lock);
  return result;
}

/* Let the request at hand finish and join the worker.  What is still in the
 * rings is not ours to end: the engine knows what we hold and takes it back.
 */
static void
skeleton_stop (void *driver_data)
{
  struct skeleton *disk = driver_data;
  bool running;

  pthread_mutex_lock (&disk->lock);
  disk->stopping = true;
  running = disk->running;
  disk->running = false;
  pthread_cond_signal (&disk->doorbell);
  pthread_mutex_unlock (&disk->lock);
  if (running)
    pthread_join (disk->worker, NULL);
}

/* Left out, since the defaults are right: complete, exit_request, extents.
 * Not static for the sake of table-test.c alone.
 */
const struct blkmq_driver skeleton_driver = {
  .name = "skeleton",
  .help = "an example: completes on a thread of its own",
  .pdu_bytes = sizeof (struct skeleton_pdu),
  .keys = skeleton_keys,
  .nr_keys = sizeof skeleton_keys / sizeof skeleton_keys[0],
  .open = skeleton_open,
  .close = skeleton_close,
  .queue_rq = skeleton_queue_rq,
  .commit_rqs = skeleton_commit_rqs,
  .poll = skeleton_poll,
  .map_queues = skeleton_map_queues,
  .timeout = skeleton_timeout,
  .stop = skeleton_stop,
  .init_hctx = skeleton_init_hctx,
  .exit_hctx = skeleton_exit_hctx,
  .init_request = skeleton_init_request,
};

/* What a shared object is recognised by.  Void where it is built in. */
BLKMQ_DRIVER_EXPORT (skeleton_driver);

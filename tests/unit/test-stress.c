/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-stress.c: everything at once, at random.
 *
 * A round is a disk of random shape and a crowd of threads: submitters, the
 * device's, a keeper of references, one who freezes and quiesces; in the end
 * removal, in half of the rounds in the middle of it all.  What must hold
 * throughout: each io is answered once and given back once, a dead token does
 * nothing, a live one is good for one act (the harness keeps books), a frozen
 * disk is still, nothing is left behind.  What would never end is a hang, and
 * Check's to notice.
 *
 * Decisions are drawn from BLKMQ_SEED, one stream a thread; who meets whom is
 * the scheduler's.  BLKMQ_STRESS is the number of rounds.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "harness.h"

#define DEFAULT_ROUNDS 16
#define NR_SUBMITTERS 3
#define NR_DEVICE_THREADS 2
#define NR_IOS 24 /* of one submitter, at a time */
#define MAX_IO_BLOCKS 6
#define IOS_PER_ROUND 600 /* of one submitter */
#define NR_OLD_TOKENS 64

struct stress_io {
  struct blkmq_io io;
  struct crowd *crowd;
  struct stress_io *child; /* submitted by end_io, perhaps */
  struct blkmq_submitter *submitter;
  bool is_early;
  bool wants_child;
  _Atomic unsigned nr_ends, nr_give_backs;
  _Atomic bool in_end_io;
  _Atomic bool is_idle; /* the last thing to be set */
  struct iovec segments[2];
  char data[MAX_IO_BLOCKS * BLOCK_BYTES];
};

/* What the device has. */
struct command {
  struct blkmq_request *rq;
  blkmq_token token;
  bool is_hung; /* until its timeout */
};

struct crowd {
  struct bed *bed;
  bool is_manual; /* loops and clock; a thread turns them */
  uint64_t stream;

  struct blkmq_submitter *submitters[NR_SUBMITTERS];
  struct stress_io ios[NR_SUBMITTERS][NR_IOS];
  struct stress_io children[NR_SUBMITTERS][NR_IOS];
  pthread_t device_threads[NR_DEVICE_THREADS];

  pthread_mutex_t lock;
  struct command *commands;           /* lock */
  unsigned nr_commands, max_commands; /* lock */
  struct command old[NR_OLD_TOKENS];  /* lock: given back long ago */
  unsigned nr_old;                    /* lock */

  _Atomic unsigned nr_threads;
  _Atomic bool quit_device, quit_others, quit_looper;
  _Atomic uint64_t nr_submitted, nr_ended, nr_early, nr_given_back;
};

/* One stream for each thread that draws. */
static __thread struct rng rng;
static __thread bool rng_is_set;

static struct rng *
my_rng (struct crowd *crowd)
{
  if (!rng_is_set) {
    rng_init (&rng, crowd->stream + crowd->nr_threads++);
    rng_is_set = true;
  }
  return &rng;
}

static bool
percent (struct crowd *crowd, unsigned percentage)
{
  return rng_percent (my_rng (crowd), percentage);
}

static uint64_t
below (struct crowd *crowd, uint64_t n)
{
  return rng_below (my_rng (crowd), n);
}

/* ------------------------------------------------------------------------ */
/* Ios                                                                       */

static void start_io (struct stress_io *s, struct blkmq_submitter *submitter);

static void
stress_end_io (struct blkmq_io *io, enum blkmq_status status)
{
  struct stress_io *s = (struct stress_io *)io, *child = s->child;
  bool wants_child = s->wants_child;

  s->in_end_io = true;
  require (++s->nr_ends == 1);
  require (s->nr_give_backs == 0);
  s->crowd->nr_ended++;
  if (wants_child && status != BLKMQ_STS_OFFLINE
      && atomic_exchange (&child->is_idle, false)) {
    start_io (child, s->submitter);
    blkmq_submit (s->submitter, &child->io);
  }
  s->in_end_io = false;
  if (!s->is_early)
    s->is_idle = true;
}

static void
stress_give_back (struct blkmq_io *io)
{
  struct stress_io *s = (struct stress_io *)io;

  require (s->is_early);
  require (s->nr_ends == 1 && !s->in_end_io);
  require (++s->nr_give_backs == 1);
  s->crowd->nr_given_back++;
  s->is_idle = true;
}

/* Make S ready to be submitted.  It is ours: not idle, and not submitted. */
static void
start_io (struct stress_io *s, struct blkmq_submitter *submitter)
{
  struct crowd *crowd = s->crowd;
  uint64_t blocks = 1 + below (crowd, MAX_IO_BLOCKS), cut;

  memset (&s->io, 0xa5, sizeof s->io);
  s->submitter = submitter;
  s->nr_ends = s->nr_give_backs = 0;
  s->is_early = percent (crowd, 50);
  s->wants_child = s->child != NULL && percent (crowd, 15);
  s->io.op = (enum blkmq_op)below (crowd, BLKMQ_NR_OPS);
  if (s->io.op == BLKMQ_OP_FLUSH)
    blocks = 0;
  s->io.flags = percent (crowd, 10) ? BLKMQ_IO_NOWAIT : 0;
  s->io.bytes = blocks * BLOCK_BYTES;
  s->io.offset_bytes = blocks > 0 ? below (crowd, 1000) * BLOCK_BYTES : 0;
  if (percent (crowd, 2))
    s->io.offset_bytes += 1; /* and that is not allowed */
  cut = blocks > 0 ? below (crowd, s->io.bytes) : 0;
  s->segments[0] = (struct iovec){ s->data, cut };
  s->segments[1] = (struct iovec){ s->data + cut, s->io.bytes - cut };
  s->io.segments = s->segments;
  s->io.nr_segments = 2;
  s->io.prio = (uint8_t)below (crowd, BLKMQ_NR_PRIOS);
  s->io.end_io = stress_end_io;
  s->io.give_back = s->is_early ? stress_give_back : NULL;
  crowd->nr_submitted++;
  if (s->is_early)
    crowd->nr_early++;
}

/* ------------------------------------------------------------------------ */
/* The device                                                                */

static void
remember_old (struct crowd *crowd, const struct command *command)
{
  pthread_mutex_lock (&crowd->lock);
  crowd->old[crowd->nr_old++ % NR_OLD_TOKENS] = *command;
  pthread_mutex_unlock (&crowd->lock);
}

static void
accept_command (struct crowd *crowd, const struct issue *issue, bool is_hung)
{
  pthread_mutex_lock (&crowd->lock);
  require (crowd->nr_commands < crowd->max_commands);
  crowd->commands[crowd->nr_commands++]
      = (struct command){ issue->rq, issue->token, is_hung };
  pthread_mutex_unlock (&crowd->lock);
}

static enum blkmq_status
any_status (struct crowd *crowd)
{
  return percent (crowd, 90) ? BLKMQ_STS_OK : BLKMQ_STS_MEDIUM;
}

/* Touch all the data: who frees or reuses it too early is found by a
 * sanitizer. */
static void
touch_data (struct blkmq_request *rq)
{
  struct blkmq_segments it = blkmq_segments_begin (rq);
  struct iovec seg;

  while (blkmq_segments_next (&it, &seg))
    memset (seg.iov_base, 1, seg.iov_len);
}

static enum blkmq_queue_result
stress_queue_rq (struct script *script, const struct issue *issue)
{
  struct crowd *crowd = script->opaque;
  struct command command = { issue->rq, issue->token, false };
  unsigned dice = (unsigned)below (crowd, 100);

  touch_data (issue->rq);
  if (dice < 5)
    return BLKMQ_BUSY_HOST;
  if (dice < 10)
    return BLKMQ_BUSY_DEVICE;
  if (dice < 15) {
    require (script_requeue (script, issue->rq, issue->token) == 0);
    return BLKMQ_QUEUED;
  }
  if (dice < 35) {
    require (
        script_complete (script, issue->rq, issue->token, any_status (crowd))
        == 0);
    remember_old (crowd, &command);
    /* Once more, in one way or another. */
    if (dice < 17)
      require (script_complete (script, issue->rq, issue->token, BLKMQ_STS_OK)
               == -ESTALE);
    else if (dice < 19)
      require (script_requeue (script, issue->rq, issue->token) == -ESTALE);
    else if (dice < 21)
      return BLKMQ_BUSY_DEVICE;
    return BLKMQ_QUEUED;
  }
  accept_command (crowd, issue, dice >= 70);
  return BLKMQ_QUEUED;
}

/* Let go of a command, answer for it later, or know nothing of it because
 * another thread has it in hand just now. */
static enum blkmq_timeout_result
stress_timeout (struct script *script, struct blkmq_request *rq,
                blkmq_token token)
{
  struct crowd *crowd = script->opaque;
  enum blkmq_timeout_result result = BLKMQ_TIMEOUT_RESET;
  unsigned dice = (unsigned)below (crowd, 4);

  pthread_mutex_lock (&crowd->lock);
  for (unsigned i = 0; i < crowd->nr_commands; i++) {
    struct command *command = &crowd->commands[i];

    if (command->token != token)
      continue;
    require (command->rq == rq);
    touch_data (rq);
    if (dice == 0)
      break;
    if (dice == 1) {
      command->is_hung = false;
      result = BLKMQ_TIMEOUT_HELD;
      break;
    }
    *command = crowd->commands[--crowd->nr_commands];
    result = BLKMQ_TIMEOUT_DONE;
    break;
  }
  pthread_mutex_unlock (&crowd->lock);
  return result;
}

/* Take a command that is not hung, or one of old. */
static bool
take_command (struct crowd *crowd, struct command *command, bool *is_old)
{
  bool found = false;
  unsigned start;

  *is_old = percent (crowd, 5);
  pthread_mutex_lock (&crowd->lock);
  if (*is_old && crowd->nr_old > 0) {
    unsigned nr = crowd->nr_old < NR_OLD_TOKENS ? crowd->nr_old : NR_OLD_TOKENS;

    *command = crowd->old[below (crowd, nr)];
    found = true;
  } else if (crowd->nr_commands > 0) {
    *is_old = false;
    start = (unsigned)below (crowd, crowd->nr_commands);
    for (unsigned i = 0; i < crowd->nr_commands && !found; i++) {
      unsigned at = (start + i) % crowd->nr_commands;

      if (crowd->commands[at].is_hung)
        continue;
      *command = crowd->commands[at];
      crowd->commands[at] = crowd->commands[--crowd->nr_commands];
      found = true;
    }
  }
  pthread_mutex_unlock (&crowd->lock);
  return found;
}

static void *
run_device (void *opaque)
{
  struct crowd *crowd = opaque;
  struct script *script = &crowd->bed->script;
  struct command command;
  bool is_old;

  while (!crowd->quit_device) {
    int wanted = 0, r;

    if (!take_command (crowd, &command, &is_old)) {
      await_pause ();
      continue;
    }
    if (is_old)
      wanted = -ESTALE;
    else
      touch_data (command.rq);
    if (percent (crowd, 10))
      r = script_requeue (script, command.rq, command.token);
    else
      r = script_complete (script, command.rq, command.token,
                           any_status (crowd));
    require (r == wanted);
    if (!is_old)
      remember_old (crowd, &command);
  }
  return NULL;
}

static void
stress_stop (struct script *script)
{
  struct crowd *crowd = script->opaque;

  crowd->quit_device = true;
  for (unsigned i = 0; i < NR_DEVICE_THREADS; i++)
    thread_join (crowd->device_threads[i]);
}

/* ------------------------------------------------------------------------ */
/* The crowd                                                                 */

static struct stress_io *
find_idle (struct crowd *crowd, unsigned who)
{
  unsigned start = (unsigned)below (crowd, NR_IOS);

  for (unsigned i = 0; i < NR_IOS; i++) {
    struct stress_io *s = &crowd->ios[who][(start + i) % NR_IOS];

    if (atomic_exchange (&s->is_idle, false))
      return s;
  }
  return NULL;
}

static void
submit_batch (struct crowd *crowd, unsigned who, struct stress_io *s)
{
  struct blkmq_submitter *submitter = crowd->submitters[who];
  struct blkmq_batch batch;

  blkmq_batch_begin (&batch, submitter);
  for (unsigned i = 0; i < 4 && s != NULL; i++) {
    start_io (s, submitter);
    blkmq_batch_add (&batch, &s->io);
    s = find_idle (crowd, who);
  }
  if (s != NULL)
    s->is_idle = true;
  blkmq_batch_commit (&batch);
}

static void *
run_submitter (void *opaque)
{
  struct crowd *crowd = opaque;
  static _Atomic unsigned next;
  unsigned who = next++ % NR_SUBMITTERS;
  struct blkmq_submitter *submitter = crowd->submitters[who];

  for (unsigned i = 0; i < IOS_PER_ROUND; i++) {
    struct stress_io *s = find_idle (crowd, who);
    unsigned dice = (unsigned)below (crowd, 100);

    if (s == NULL) {
      /* All are out: an abort is as good as waiting. */
      s = &crowd->ios[who][below (crowd, NR_IOS)];
      if (dice < 2)
        blkmq_abort_io (submitter, &s->io);
      else if (percent (crowd, 1) && dice < 20)
        blkmq_abort_submitter (submitter);
      await_pause ();
      i--;
      continue;
    }
    if (dice < 15) {
      submit_batch (crowd, who, s);
      continue;
    }
    start_io (s, submitter);
    if (dice < 20)
      require (blkmq_submit_wait (submitter, &s->io) == 0);
    else
      blkmq_submit (submitter, &s->io);
    if (dice >= 97)
      blkmq_abort_io (submitter, &s->io);
  }
  return NULL;
}

static int
look_at_request (struct blkmq_request *rq, void *opaque)
{
  struct crowd *crowd = opaque;
  struct blkmq_request_info info;

  blkmq_request_info (rq, &info);
  require (info.op < BLKMQ_NR_OPS);
  require (info.op == rq->op && info.bytes == rq->bytes);
  require (info.hctx == blkmq_hctx_index (rq->hctx));
  if (percent (crowd, 1))
    blkmq_abort_request (crowd->bed->disk, info.handle);
  return percent (crowd, 2);
}

#define NR_KEPT 4

/* Looks requests up by names of the present and of the past, keeps some. */
static void *
run_keeper (void *opaque)
{
  struct crowd *crowd = opaque;
  struct blkmq_disk *disk = crowd->bed->disk;
  struct blkmq_request *kept[NR_KEPT] = { NULL };
  struct blkmq_stats stats;

  while (!crowd->quit_others) {
    unsigned i = (unsigned)below (crowd, NR_KEPT);
    blkmq_handle handle = 0;

    if (kept[i] != NULL) {
      struct blkmq_request_info info;

      blkmq_request_info (kept[i], &info);
      require (info.handle != 0);
      blkmq_request_put (kept[i]);
      kept[i] = NULL;
    }
    pthread_mutex_lock (&crowd->lock);
    if (percent (crowd, 50) && crowd->nr_commands > 0)
      handle = crowd->commands[below (crowd, crowd->nr_commands)].token;
    else if (crowd->nr_old >= NR_OLD_TOKENS)
      handle = crowd->old[below (crowd, NR_OLD_TOKENS)].token;
    pthread_mutex_unlock (&crowd->lock);
    if (percent (crowd, 10))
      handle += UINT64_C (1) << 24; /* of the future */
    if (percent (crowd, 5))
      blkmq_abort_request (disk, handle);
    else
      kept[i] = blkmq_request_get (disk, handle);
    if (percent (crowd, 5))
      blkmq_for_each_request (disk, look_at_request, crowd);
    if (percent (crowd, 5))
      require (blkmq_disk_stats (disk, BLKMQ_HCTX_ANY, &stats) == 0);
    await_pause ();
  }
  for (unsigned i = 0; i < NR_KEPT; i++) {
    if (kept[i] != NULL)
      blkmq_request_put (kept[i]);
  }
  return NULL;
}

static int
is_held_after_timeout (struct blkmq_request *rq, void *opaque)
{
  struct blkmq_request_info info;

  blkmq_request_info (rq, &info);
  require (info.ended && info.timed_out);
  return 0;
}

static unsigned
nr_inside_queue_rq (struct crowd *crowd)
{
  struct script *script = &crowd->bed->script;
  unsigned nr = 0;

  for (unsigned i = 0;
       i < script->depth * blkmq_disk_nr_hw_queues (crowd->bed->disk); i++)
    nr += script->books[i].inside;
  return nr;
}

/* Stops the disk again and again, and looks whether it stands still. */
static void *
run_controller (void *opaque)
{
  struct crowd *crowd = opaque;
  struct blkmq_disk *disk = crowd->bed->disk;
  blkmq_handle held[16];
  int r;

  while (!crowd->quit_others) {
    if (percent (crowd, 50)) {
      require (blkmq_quiesce (disk) == 0);
      require (nr_inside_queue_rq (crowd) == 0);
      await_pause ();
      require (nr_inside_queue_rq (crowd) == 0);
      blkmq_unquiesce (disk);
    } else {
      r = blkmq_freeze (disk, held, NR (held));
      if (r == -ENODEV)
        break;
      require (r >= 0);
      blkmq_for_each_request (disk, is_held_after_timeout, NULL);
      blkmq_unfreeze (disk);
    }
    for (unsigned i = 0; i < 20; i++)
      await_pause ();
  }
  return NULL;
}

static void *
run_looper (void *opaque)
{
  struct crowd *crowd = opaque;

  while (!crowd->quit_looper) {
    if (percent (crowd, 30))
      clock_advance (&crowd->bed->clock, below (crowd, MS));
    bed_turn (crowd->bed);
    await_pause ();
  }
  return NULL;
}

/* ------------------------------------------------------------------------ */
/* A round                                                                   */

static void
open_at_random (struct crowd *crowd)
{
  static const char *const modes[] = { "irqmode=none", "irqmode=softirq",
                                       "irqmode=timer completion_nsec=20us" };
  struct bed *bed = bed_alloc ();
  unsigned nr_hctxs = 1 + (unsigned)below (crowd, 4);
  unsigned depth = 1 + (unsigned)below (crowd, 8);
  char keys[200];

  crowd->bed = bed;
  crowd->is_manual = percent (crowd, 50);
  crowd->max_commands = nr_hctxs * depth;
  crowd->commands = calloc (crowd->max_commands, sizeof crowd->commands[0]);
  require (crowd->commands != NULL);
  bed->script.driver = percent (crowd, 50) ? "scripted" : "scripted-complete";
  bed->script.on_queue = stress_queue_rq;
  bed->script.on_timeout = stress_timeout;
  bed->script.on_stop = stress_stop;
  bed_bear_mistakes (bed);
  bed->script.opaque = crowd;
  snprintf (keys, sizeof keys,
            "submit_queues=%u hw_queue_depth=%u io_timeout=2 %s%s", nr_hctxs,
            depth, modes[below (crowd, NR (modes))],
            percent (crowd, 50) ? " max_sectors=2" : "");
  if (crowd->is_manual)
    bed_open (bed, keys);
  else
    bed_open_threads (bed, keys);
  for (unsigned i = 0; i < NR_SUBMITTERS; i++) {
    crowd->submitters[i] = blkmq_submitter_alloc (bed->disk, BLKMQ_HCTX_ANY);
    require (crowd->submitters[i] != NULL);
  }
}

static struct crowd *
crowd_alloc (unsigned round)
{
  struct crowd *crowd = calloc (1, sizeof *crowd);

  require (crowd != NULL);
  crowd->stream = (uint64_t)(round + 1) * 100;
  pthread_mutex_init (&crowd->lock, NULL);
  rng_is_set = false; /* this thread's stream is the round's first */
  for (unsigned i = 0; i < NR_SUBMITTERS; i++) {
    for (unsigned j = 0; j < NR_IOS; j++) {
      struct stress_io *s = &crowd->ios[i][j], *child = &crowd->children[i][j];

      s->crowd = child->crowd = crowd;
      s->child = child;
      s->is_idle = child->is_idle = true;
    }
  }
  open_at_random (crowd);
  return crowd;
}

/* All of them, with the disk gone. */
static void
check_crowd (struct crowd *crowd)
{
  for (unsigned i = 0; i < NR_SUBMITTERS; i++) {
    for (unsigned j = 0; j < NR_IOS; j++) {
      ck_assert (crowd->ios[i][j].is_idle);
      ck_assert (crowd->children[i][j].is_idle);
    }
  }
  ck_assert_uint_eq (crowd->nr_ended, crowd->nr_submitted);
  ck_assert_uint_eq (crowd->nr_given_back, crowd->nr_early);
}

static void
add_stats (struct crowd *crowd, struct blkmq_stats *sum)
{
  struct blkmq_stats stats = bed_stats (crowd->bed);
  const uint64_t *from = (const uint64_t *)&stats;
  uint64_t *to = (uint64_t *)sum;

  /* Nothing but counters. */
  for (size_t i = 0; i < sizeof stats / sizeof *to; i++)
    to[i] += from[i];
}

static void
run_round (unsigned round, struct blkmq_stats *sum)
{
  struct crowd *crowd = crowd_alloc (round);
  bool early_removal = percent (crowd, 50);
  pthread_t submitters[NR_SUBMITTERS], keeper, controller, looper = 0;

  if (crowd->is_manual)
    looper = thread_start (run_looper, crowd);
  for (unsigned i = 0; i < NR_DEVICE_THREADS; i++)
    crowd->device_threads[i] = thread_start (run_device, crowd);
  for (unsigned i = 0; i < NR_SUBMITTERS; i++)
    submitters[i] = thread_start (run_submitter, crowd);
  keeper = thread_start (run_keeper, crowd);
  controller = thread_start (run_controller, crowd);

  if (early_removal)
    await (crowd->nr_ended > IOS_PER_ROUND * NR_SUBMITTERS / 2);
  else {
    for (unsigned i = 0; i < NR_SUBMITTERS; i++)
      thread_join (submitters[i]);
    await (crowd->nr_ended == crowd->nr_submitted);
    await (crowd->nr_given_back == crowd->nr_early);
    crowd->quit_others = true;
    thread_join (keeper);
    thread_join (controller);
  }
  /* Removal joins loops; this one it does not know. */
  if (crowd->is_manual) {
    crowd->quit_looper = true;
    thread_join (looper);
  }
  blkmq_disk_remove (crowd->bed->disk);
  if (early_removal) {
    for (unsigned i = 0; i < NR_SUBMITTERS; i++)
      thread_join (submitters[i]);
    crowd->quit_others = true;
    thread_join (keeper);
    thread_join (controller);
  }
  for (unsigned i = 0; i < NR_SUBMITTERS; i++)
    blkmq_submitter_free (crowd->submitters[i]);
  add_stats (crowd, sum);
  bed_stop (crowd->bed);
  check_crowd (crowd);
  pthread_mutex_destroy (&crowd->lock);
  free (crowd->commands);
  free (crowd);
}

/* Or the test would not be worth its time. */
static void
check_that_all_happened (const struct blkmq_stats *sum)
{
  for (unsigned op = 0; op < BLKMQ_NR_OPS; op++)
    ck_assert_uint_gt (sum->ios[op], 0);
  ck_assert_uint_gt (sum->errors[BLKMQ_STS_TIMEOUT], 0);
  ck_assert_uint_gt (sum->errors[BLKMQ_STS_MEDIUM], 0);
  ck_assert_uint_gt (sum->errors[BLKMQ_STS_ABORTED], 0);
  ck_assert_uint_gt (sum->errors[BLKMQ_STS_OFFLINE], 0);
  ck_assert_uint_gt (sum->rejected[BLKMQ_STS_ABORTED], 0);
  ck_assert_uint_gt (sum->rejected[BLKMQ_STS_AGAIN], 0);
  ck_assert_uint_gt (sum->rejected[BLKMQ_STS_INVAL], 0);
  ck_assert_uint_gt (sum->rejected[BLKMQ_STS_OFFLINE], 0);
  ck_assert_uint_gt (sum->busy, 0);
  ck_assert_uint_gt (sum->requeues, 0);
  ck_assert_uint_gt (sum->timeouts_done, 0);
  ck_assert_uint_gt (sum->timeouts_reset, 0);
  ck_assert_uint_gt (sum->timeouts_held, 0);
  ck_assert_uint_gt (sum->stale_tokens, 0);
  ck_assert_uint_gt (sum->stale_handles, 0);
  ck_assert_uint_gt (sum->lost_claims[BLKMQ_CAUSE_COMPLETE], 0);
}

START_TEST (test_everything_at_once)
{
  const char *given = getenv ("BLKMQ_STRESS");
  unsigned long rounds
      = given != NULL ? strtoul (given, NULL, 10) : DEFAULT_ROUNDS;
  struct blkmq_stats sum;

  memset (&sum, 0, sizeof sum);
  for (unsigned round = 0; round < rounds; round++)
    run_round (round, &sum);
  if (rounds >= DEFAULT_ROUNDS)
    check_that_all_happened (&sum);
}
END_TEST

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("stress");
  TCase *tcase = harness_case (suite, "stress");

  tcase_add_test (tcase, test_everything_at_once);
  if (getenv ("BLKMQ_STRESS") != NULL)
    tcase_set_timeout (tcase, 0);
  return suite;
}

int
main (void)
{
  return harness_main (make_suite ());
}

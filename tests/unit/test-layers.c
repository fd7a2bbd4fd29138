/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-layers.c: layers over a driver: down, up, and back to where it was.  Two
 * layers of the test's own stand over the scripted driver, in place of those
 * that the engine comes with.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "engine/stack.h"
#include "harness.h"

/* ------------------------------------------------------------------------ */
/* Two layers that do as they are told, and write down what is done to them   */

#define MAX_LOG 400

struct layer {
  char name;
  char pdu_mark;
  enum blkmq_queue_result (*on_queue) (struct layer *layer,
                                       struct blkmq_hctx *hctx,
                                       struct blkmq_request *rq,
                                       blkmq_token token);
  enum blkmq_status (*on_complete) (struct layer *layer,
                                    struct blkmq_request *rq,
                                    enum blkmq_status status);
  enum blkmq_timeout_result timeout_answer;
  bool abort_answer;
  blkmq_token token; /* of the last issue */
  struct blkmq_request *rq;
  int fail_init_hctx, fail_open;
  unsigned nr_init_requests;
  uint32_t max_transfer_bytes;
};

static struct layer upper, lower;
static char events[MAX_LOG];

static void
note (const struct layer *layer, const char *what)
{
  size_t used = strlen (events);

  snprintf (events + used, sizeof events - used, "%s%c:%s", used > 0 ? " " : "",
            layer->name, what);
}

static void
check_events (const char *expected)
{
  ck_assert_str_eq (events, expected);
  events[0] = '\0';
}

static int
open_layer (struct layer *layer, struct blkmq_limits *limits, void **data)
{
  if (layer->fail_open != 0)
    return layer->fail_open;
  if (layer->max_transfer_bytes != 0)
    limits->max_transfer_bytes = layer->max_transfer_bytes;
  note (layer, "open");
  *data = layer;
  return 0;
}

static int
open_upper (const struct blkmq_config *config, uint64_t seed,
            struct blkmq_limits *limits, void **data, struct blkmq_error *error)
{
  return open_layer (&upper, limits, data);
}

static int
open_lower (const struct blkmq_config *config, uint64_t seed,
            struct blkmq_limits *limits, void **data, struct blkmq_error *error)
{
  return open_layer (&lower, limits, data);
}

static void
close_layer (void *data)
{
  note (data, "close");
}

static void
stop_layer (void *data)
{
  note (data, "stop");
}

static int
layer_init_hctx (struct blkmq_hctx *hctx, void *data, unsigned index)
{
  struct layer *layer = data;

  if (layer->fail_init_hctx != 0)
    return layer->fail_init_hctx;
  note (layer, "init");
  return 0;
}

static void
layer_exit_hctx (struct blkmq_hctx *hctx, void *data, unsigned index)
{
  note (data, "exit");
}

static int
layer_init_request (void *data, struct blkmq_request *rq, unsigned index,
                    unsigned tag)
{
  struct layer *layer = data;

  require (rq->driver_data == layer);
  require ((uintptr_t)rq->pdu % 64 == 0);
  *(char *)rq->pdu = layer->pdu_mark;
  layer->nr_init_requests++;
  return 0;
}

static void
layer_exit_request (void *data, struct blkmq_request *rq, unsigned index,
                    unsigned tag)
{
  struct layer *layer = data;

  require (*(char *)rq->pdu == layer->pdu_mark);
  layer->nr_init_requests--;
}

static struct layer *
layer_of (struct blkmq_request *rq)
{
  struct layer *layer = rq->driver_data;

  require (layer == &upper || layer == &lower);
  require (*(char *)rq->pdu == layer->pdu_mark);
  return layer;
}

static enum blkmq_queue_result
layer_queue_rq (struct blkmq_hctx *hctx, struct blkmq_request *rq,
                blkmq_token token)
{
  struct layer *layer = layer_of (rq);

  note (layer, "queue");
  layer->token = token;
  layer->rq = rq;
  if (layer->on_queue != NULL)
    return layer->on_queue (layer, hctx, rq, token);
  return blkmq_pass (hctx, rq, token);
}

static void
layer_commit_rqs (struct blkmq_hctx *hctx)
{
  size_t used = strlen (events);

  snprintf (events + used, sizeof events - used, " commit");
}

static enum blkmq_status
layer_complete (struct blkmq_request *rq, enum blkmq_status status)
{
  struct layer *layer = layer_of (rq);

  note (layer, "complete");
  return layer->on_complete != NULL ? layer->on_complete (layer, rq, status)
                                    : status;
}

static enum blkmq_timeout_result
layer_timeout (struct blkmq_request *rq, blkmq_token token)
{
  struct layer *layer = layer_of (rq);

  require (token == layer->token);
  note (layer, "timeout");
  return layer->timeout_answer;
}

static bool
layer_abort (struct blkmq_request *rq, blkmq_token token)
{
  struct layer *layer = layer_of (rq);

  require (token == layer->token);
  note (layer, "abort");
  return layer->abort_answer;
}

static bool are_wanted;

static bool
is_wanted (const struct blkmq_config *config)
{
  return are_wanted;
}

#define LAYER(open_)                                                           \
  {                                                                            \
    .name = "layer", .help = "for a test", .pdu_bytes = 8,                     \
    .is_wanted = is_wanted, .open = open_, .close = close_layer,               \
    .stop = stop_layer, .init_hctx = layer_init_hctx,                          \
    .exit_hctx = layer_exit_hctx, .init_request = layer_init_request,          \
    .exit_request = layer_exit_request, .queue_rq = layer_queue_rq,            \
    .complete = layer_complete, .timeout = layer_timeout, .abort = layer_abort \
  }

static const struct blkmq_driver upper_ops = LAYER (open_upper);
static struct blkmq_driver lower_ops = LAYER (open_lower);

/* In place of the engine's own. */
const struct blkmq_driver *const blkmq_layers[]
    = { &upper_ops, &lower_ops, NULL };

static void
reset (void)
{
  upper = (struct layer){ .name = 'u', .pdu_mark = 'U' };
  lower = (struct layer){ .name = 'l', .pdu_mark = 'L' };
  lower_ops.commit_rqs = NULL;
  events[0] = '\0';
  are_wanted = true;
}

static struct bed *
start_layers (const char *keys)
{
  struct bed *bed;

  bed = bed_start (keys);
  events[0] = '\0';
  return bed;
}

/* ------------------------------------------------------------------------ */
/* Down and up                                                               */

START_TEST (test_request_goes_down_and_up_through_all)
{
  struct bed *bed = start_layers ("");
  struct test_io t;

  test_io_submit (&t, bed, 3);
  check_events ("u:queue l:queue");
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  ck_assert_uint_eq (script_issue (&bed->script, 0)->offset_bytes,
                     3 * BLOCK_BYTES);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  check_events ("l:complete u:complete");
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_hint_at_the_next_reaches_the_driver)
{
  struct bed *bed = start_layers ("nomerges=1");
  struct blkmq_batch batch;
  struct test_io t[2];

  blkmq_batch_begin (&batch, bed->submitter);
  for (unsigned i = 0; i < NR (t); i++) {
    test_io_init (&t[i], bed, BLKMQ_OP_READ, 5 + i);
    blkmq_batch_add (&batch, &t[i].io);
  }
  blkmq_batch_commit (&batch);
  ck_assert_uint_eq (bed->script.nr_hints, 1);
  ck_assert_uint_eq (bed->script.hint_bytes, 6 * BLOCK_BYTES);
  for (unsigned i = 0; i < NR (t); i++)
    issue_complete (&bed->script, i, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_without_layers_the_driver_is_called_directly)
{
  struct bed *bed;
  struct test_io t;

  are_wanted = false;
  bed = start_layers ("");
  ck_assert_ptr_eq (bed->disk->driver, stack_driver (bed->disk->stack));
  test_io_submit (&t, bed, 0);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
  ck_assert_str_eq (events, "");
}
END_TEST

static enum blkmq_queue_result
fails_it (struct layer *layer, struct blkmq_hctx *hctx,
          struct blkmq_request *rq, blkmq_token token)
{
  require (blkmq_complete (rq, token, BLKMQ_STS_MEDIUM) == 0);
  return BLKMQ_QUEUED;
}

START_TEST (test_layer_that_completes_is_as_far_as_it_goes)
{
  struct bed *bed = start_layers ("");
  struct test_io t;

  lower.on_queue = fails_it;
  test_io_submit (&t, bed, 0);
  check_events ("u:queue l:queue l:complete u:complete");
  assert_ended (&t, BLKMQ_STS_MEDIUM);
  upper.on_queue = fails_it;
  test_io_submit (&t, bed, 0);
  check_events ("u:queue u:complete");
  assert_ended (&t, BLKMQ_STS_MEDIUM);
  ck_assert_uint_eq (bed->script.nr_issues, 0);
  bed_stop (bed);
}
END_TEST

static enum blkmq_status
says_nospc (struct layer *layer, struct blkmq_request *rq,
            enum blkmq_status status)
{
  return BLKMQ_STS_NOSPC;
}

static enum blkmq_status
expects_nospc (struct layer *layer, struct blkmq_request *rq,
               enum blkmq_status status)
{
  require (status == BLKMQ_STS_NOSPC);
  return BLKMQ_STS_IOERR;
}

START_TEST (test_each_layer_may_change_the_status)
{
  struct bed *bed = start_layers ("");
  struct test_io t;

  lower.on_complete = says_nospc;
  upper.on_complete = expects_nospc;
  test_io_submit (&t, bed, 0);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_IOERR);
  bed_stop (bed);
}
END_TEST

static enum blkmq_queue_result
keeps_it (struct layer *layer, struct blkmq_hctx *hctx,
          struct blkmq_request *rq, blkmq_token token)
{
  return BLKMQ_QUEUED;
}

START_TEST (test_layer_may_hold_a_request_and_complete_it_later)
{
  struct bed *bed = start_layers ("");
  struct test_io t;

  lower.on_queue = keeps_it;
  test_io_submit (&t, bed, 0);
  bed_pass (bed, 1000 * MS);
  assert_not_ended (&t);
  events[0] = '\0';
  ck_assert_int_eq (blkmq_complete (lower.rq, lower.token, BLKMQ_STS_OK), 0);
  check_events ("l:complete u:complete");
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_doorbell_rings_on_each_level)
{
  struct bed *bed;
  struct test_io t;

  lower_ops.commit_rqs = layer_commit_rqs;
  bed = start_layers ("");
  test_io_submit (&t, bed, 0);
  check_events ("u:queue l:queue commit");
  ck_assert_uint_eq (bed->script.nr_commits, 1);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Back to where it was                                                      */

static enum blkmq_queue_result
is_busy (struct layer *layer, struct blkmq_hctx *hctx, struct blkmq_request *rq,
         blkmq_token token)
{
  return BLKMQ_BUSY_HOST;
}

START_TEST (test_refused_request_resumes_at_the_layer_that_refused)
{
  struct bed *bed = start_layers ("");
  struct test_io t;

  lower.on_queue = is_busy;
  test_io_submit (&t, bed, 0);
  check_events ("u:queue l:queue");
  lower.on_queue = NULL;
  bed_pass (bed, 3 * MS);
  check_events ("l:queue");
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  /* Up it goes through all. */
  check_events ("l:complete u:complete");
  assert_ended (&t, BLKMQ_STS_OK);

  /* The tag's next life begins at the top again. */
  test_io_submit (&t, bed, 0);
  check_events ("u:queue l:queue");
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

static enum blkmq_queue_result
driver_is_busy (struct script *script, const struct issue *issue)
{
  return BLKMQ_BUSY_HOST;
}

START_TEST (test_refused_by_the_driver_resumes_at_the_driver)
{
  struct bed *bed = start_layers ("hw_queue_depth=1");
  struct test_io t;

  bed->script.on_queue = driver_is_busy;
  test_io_submit (&t, bed, 0);
  check_events ("u:queue l:queue");
  for (unsigned i = 2; i < 5; i++) {
    bed_pass (bed, 3 * MS);
    ck_assert_uint_eq (bed->script.nr_issues, i);
    check_events ("");
  }
  bed->script.on_queue = script_completes_inside;
  bed_pass (bed, 3 * MS);
  check_events ("l:complete u:complete");
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_requeued_resumes_at_the_level_that_requeued)
{
  struct bed *bed = start_layers ("");
  struct test_io t;

  test_io_submit (&t, bed, 0);
  events[0] = '\0';
  issue_requeue (&bed->script, 0);
  bed_turn (bed);
  check_events ("");
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  check_events ("l:complete u:complete");

  upper.on_queue = keeps_it;
  test_io_submit (&t, bed, 0);
  ck_assert_int_eq (blkmq_requeue (upper.rq, upper.token), 0);
  upper.on_queue = NULL;
  bed_turn (bed);
  check_events ("u:queue u:queue l:queue");
  issue_complete (&bed->script, 2, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* A request that was refused below and then ended where it waited does not
 * leave its place to the tag's next life. */
START_TEST (test_place_of_an_aborted_request_is_not_inherited)
{
  struct bed *bed = start_layers ("hw_queue_depth=1");
  struct test_io t;

  lower.on_queue = is_busy;
  test_io_submit (&t, bed, 0);
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &t.io), 1);
  assert_ended (&t, BLKMQ_STS_ABORTED);
  lower.on_queue = NULL;
  events[0] = '\0';
  test_io_submit (&t, bed, 0);
  check_events ("u:queue l:queue");
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Kept on the way up                                                        */

static enum blkmq_status
keeps_1_ms (struct layer *layer, struct blkmq_request *rq,
            enum blkmq_status status)
{
  blkmq_keep (rq, 1 * MS);
  return status;
}

START_TEST (test_kept_request_goes_on_when_its_time_has_come)
{
  static const char *const keys[]
      = { "", "irqmode=softirq", "irqmode=timer completion_nsec=500us" };
  struct bed *bed = start_layers (keys[_i]);
  struct test_io t;

  lower.on_complete = keeps_1_ms;
  upper.on_complete = keeps_1_ms;
  test_io_submit (&t, bed, 0);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  bed_turn (bed);
  if (_i == 2)
    bed_pass (bed, 500 * US);
  check_events ("u:queue l:queue l:complete");
  bed_pass (bed, 1 * MS - 1);
  check_events ("");
  bed_pass (bed, 1);
  check_events ("u:complete");
  bed_pass (bed, 1 * MS - 1);
  assert_not_ended (&t);
  bed_pass (bed, 1);
  assert_ended (&t, BLKMQ_STS_OK);
  check_events ("");
  bed_stop (bed);
}
END_TEST

START_TEST (test_status_survives_being_kept)
{
  struct bed *bed = start_layers ("");
  struct test_io t;

  lower.on_complete = keeps_1_ms;
  test_io_submit (&t, bed, 0);
  issue_complete (&bed->script, 0, BLKMQ_STS_NOSPC);
  bed_pass (bed, 1 * MS);
  assert_ended (&t, BLKMQ_STS_NOSPC);
  bed_stop (bed);
}
END_TEST

START_TEST (test_abort_ends_a_kept_request_and_its_timer_finds_nothing)
{
  struct bed *bed = start_layers ("hw_queue_depth=1");
  struct test_io t, next;

  lower.on_complete = keeps_1_ms;
  test_io_submit (&t, bed, 0);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &t.io), 1);
  assert_ended (&t, BLKMQ_STS_ABORTED);
  ck_assert_uint_eq (hctx_nr_taken (bed_hctx (bed, 0)), 0);
  lower.on_complete = NULL;
  test_io_submit (&next, bed, 1);
  bed_pass (bed, 10 * MS);
  assert_not_ended (&next);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  assert_ended (&next, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_timeout_ends_a_kept_request)
{
  struct bed *bed = start_layers ("io_timeout=100");
  struct test_io t;

  lower.on_complete = keeps_1_ms;
  test_io_submit (&t, bed, 0);
  bed_pass (bed, 100 * MS - 1);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  bed_pass (bed, 1);
  assert_ended (&t, BLKMQ_STS_TIMEOUT);
  ck_assert_uint_eq (bed->script.nr_timeouts, 0); /* the engine had it */
  bed_stop (bed);
}
END_TEST

START_TEST (test_removal_ends_a_kept_request)
{
  struct bed *bed = start_layers ("");
  struct test_io t;

  lower.on_complete = keeps_1_ms;
  test_io_submit (&t, bed, 0);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  blkmq_disk_remove (bed->disk);
  assert_ended (&t, BLKMQ_STS_OFFLINE);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Timeout, set-up, take-down                                                */

START_TEST (test_timeout_asks_the_level_that_has_it)
{
  struct bed *bed = start_layers ("io_timeout=100");
  struct test_io t;

  test_io_submit (&t, bed, 0);
  bed_pass (bed, 101 * MS);
  ck_assert_uint_eq (bed->script.nr_timeouts, 1);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  events[0] = '\0';

  lower.on_queue = keeps_it;
  lower.timeout_answer = BLKMQ_TIMEOUT_DONE;
  test_io_submit (&t, bed, 0);
  bed_pass (bed, 101 * MS);
  check_events ("u:queue l:queue l:timeout");
  assert_ended (&t, BLKMQ_STS_TIMEOUT);
  ck_assert_uint_eq (bed->script.nr_timeouts, 1);
  bed_stop (bed);
}
END_TEST

START_TEST (test_abort_asks_the_level_that_has_it)
{
  struct bed *bed = start_layers ("hw_queue_depth=2");
  struct test_io t[2];

  /* The driver has no such op, and keeps what it has. */
  test_io_submit (&t[0], bed, 0);
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &t[0].io), 1);
  bed_turn (bed);
  check_events ("u:queue l:queue");
  assert_not_ended (&t[0]);

  lower.on_queue = keeps_it;
  test_io_submit (&t[1], bed, 1);
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &t[1].io), 1);
  bed_turn (bed);
  check_events ("u:queue l:queue l:abort");
  assert_not_ended (&t[1]);
  ck_assert_int_eq (blkmq_complete (lower.rq, lower.token, BLKMQ_STS_OK), 0);
  assert_ended (&t[1], BLKMQ_STS_ABORTED);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  assert_ended (&t[0], BLKMQ_STS_ABORTED);

  events[0] = '\0';
  lower.abort_answer = true;
  test_io_submit (&t[1], bed, 1);
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &t[1].io), 1);
  bed_turn (bed);
  check_events ("u:queue l:queue l:abort");
  assert_ended (&t[1], BLKMQ_STS_ABORTED);
  ck_assert_uint_eq (bed_stats (bed).timeouts, 0);
  bed_stop (bed);
}
END_TEST

static struct gate in_queue = GATE_INITIALIZER;

static enum blkmq_queue_result
keeps_it_at_the_gate (struct layer *layer, struct blkmq_hctx *hctx,
                      struct blkmq_request *rq, blkmq_token token)
{
  gate_pass (&in_queue);
  return BLKMQ_QUEUED;
}

static void *
submits (void *opaque)
{
  struct test_io *t = opaque;

  blkmq_submit (t->bed->submitter, &t->io);
  return NULL;
}

/* Nobody is asked for what is still being taken; and it is not forgotten. */
START_TEST (test_abort_waits_for_queue_rq_before_it_asks)
{
  struct bed *bed = start_layers ("");
  pthread_t thread;
  struct test_io t;

  lower.on_queue = keeps_it_at_the_gate;
  lower.abort_answer = true;
  test_io_init (&t, bed, BLKMQ_OP_READ, 0);
  thread = thread_start (submits, &t);
  gate_await_arrival (&in_queue, 1);
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &t.io), 1);
  bed_pass (bed, 100 * MS);
  check_events ("u:queue l:queue");
  gate_open (&in_queue);
  thread_join (thread);
  bed_pass (bed, 100 * MS);
  check_events ("l:abort");
  assert_ended (&t, BLKMQ_STS_ABORTED);
  bed_check_idle (bed);
  bed_stop (bed);
}
END_TEST

START_TEST (test_set_up_from_below_and_taken_down_from_above)
{
  struct bed *bed = bed_start ("submit_queues=2 hw_queue_depth=3");

  check_events ("l:open u:open l:init u:init l:init u:init");
  ck_assert_uint_eq (upper.nr_init_requests, 6);
  ck_assert_uint_eq (lower.nr_init_requests, 6);
  blkmq_disk_remove (bed->disk);
  check_events ("u:stop l:stop");
  bed_stop (bed);
  check_events ("u:exit l:exit u:exit l:exit u:close l:close");
  ck_assert_uint_eq (upper.nr_init_requests, 0);
  ck_assert_uint_eq (lower.nr_init_requests, 0);
}
END_TEST

START_TEST (test_failing_set_up_takes_down_what_was_set_up)
{
  struct bed *bed = bed_alloc ();

  upper.fail_init_hctx = -EMFILE;
  ck_assert_int_eq (bed_alloc_disk (bed, "", true), -EMFILE);
  check_events ("l:open u:open l:init l:exit u:close l:close");
  bed_drop (bed);

  bed = bed_alloc ();
  upper.fail_init_hctx = 0;
  upper.fail_open = -EDOM;
  ck_assert_int_eq (bed_alloc_disk (bed, "", true), -EDOM);
  check_events ("l:open l:close");
  ck_assert_uint_eq (upper.nr_init_requests, 0);
  ck_assert_uint_eq (lower.nr_init_requests, 0);
  bed_drop (bed);
}
END_TEST

START_TEST (test_limits_stack)
{
  struct bed *bed;

  lower.max_transfer_bytes = 64 * BLOCK_BYTES;
  upper.max_transfer_bytes = 8 * BLOCK_BYTES;
  bed = bed_start ("");
  ck_assert_uint_eq (blkmq_disk_limits (bed->disk)->max_transfer_bytes,
                     8 * BLOCK_BYTES);
  bed_stop (bed);
  /* A layer cannot undo what is below it. */
  reset ();
  lower.max_transfer_bytes = 8 * BLOCK_BYTES;
  upper.max_transfer_bytes = 64 * BLOCK_BYTES;
  bed = bed_alloc ();
  ck_assert_int_eq (bed_alloc_disk (bed, "", true), -EINVAL);
  bed_drop (bed);
}
END_TEST

/* A scheduler above, a live change of depth: layers go with their requests. */
START_TEST (test_live_changes_keep_the_layers)
{
  struct bed *bed = bed_alloc ();
  struct test_io t;

  bed->script.depth = 64; /* of its books: room for internal tags */
  bed_open (bed, "hw_queue_depth=2");
  ck_assert_int_eq (update_queues (bed->disk, 1, 5, NULL), 0);
  ck_assert_uint_eq (upper.nr_init_requests, 5);
  ck_assert_int_eq (blkmq_disk_set_scheduler (bed->disk, "mq-deadline", NULL),
                    0);
  events[0] = '\0';
  test_io_submit (&t, bed, 0);
  bed_turn (bed);
  check_events ("u:queue l:queue");
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  bed_turn (bed);
  check_events ("l:complete u:complete");
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
  ck_assert_uint_eq (upper.nr_init_requests, 0);
}
END_TEST

/* While the driver is asked the request goes up through the layers: what it was
 * shown stays its own. */
static enum blkmq_timeout_result
completes_and_looks (struct script *script, struct blkmq_request *rq,
                     blkmq_token token)
{
  const struct issue *issue = script_issue (script, 0);
  void *pdu = rq->pdu, *data = rq->driver_data;

  ck_assert_ptr_eq (rq, issue->rq);
  ck_assert_int_eq (script_complete (script, rq, token, BLKMQ_STS_OK), 0);
  ck_assert_ptr_eq (rq->pdu, pdu);
  ck_assert_ptr_eq (rq->driver_data, data);
  return BLKMQ_TIMEOUT_RESET;
}

START_TEST (test_going_up_leaves_the_driver_what_it_looks_at)
{
  struct bed *bed = start_layers ("io_timeout=10");
  struct test_io t;

  bed->script.on_timeout = completes_and_looks;
  test_io_submit (&t, bed, 0);
  check_events ("u:queue l:queue");
  bed_pass (bed, 100 * MS);
  ck_assert_uint_eq (bed->script.nr_timeouts, 1);
  check_events ("l:complete u:complete");
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("layers");
  TCase *tcase;

  tcase = harness_case (suite, "down and up");
  tcase_add_checked_fixture (tcase, reset, NULL);
  tcase_add_test (tcase, test_request_goes_down_and_up_through_all);
  tcase_add_test (tcase, test_hint_at_the_next_reaches_the_driver);
  tcase_add_test (tcase, test_without_layers_the_driver_is_called_directly);
  tcase_add_test (tcase, test_layer_that_completes_is_as_far_as_it_goes);
  tcase_add_test (tcase, test_each_layer_may_change_the_status);
  tcase_add_test (tcase, test_layer_may_hold_a_request_and_complete_it_later);
  tcase_add_test (tcase, test_doorbell_rings_on_each_level);

  tcase = harness_case (suite, "back");
  tcase_add_checked_fixture (tcase, reset, NULL);
  tcase_add_test (tcase,
                  test_refused_request_resumes_at_the_layer_that_refused);
  tcase_add_test (tcase, test_refused_by_the_driver_resumes_at_the_driver);
  tcase_add_test (tcase, test_requeued_resumes_at_the_level_that_requeued);
  tcase_add_test (tcase, test_place_of_an_aborted_request_is_not_inherited);

  tcase = harness_case (suite, "kept");
  tcase_add_checked_fixture (tcase, reset, NULL);
  tcase_add_loop_test (tcase, test_kept_request_goes_on_when_its_time_has_come,
                       0, 3);
  tcase_add_test (tcase, test_status_survives_being_kept);
  tcase_add_test (tcase,
                  test_abort_ends_a_kept_request_and_its_timer_finds_nothing);
  tcase_add_test (tcase, test_timeout_ends_a_kept_request);
  tcase_add_test (tcase, test_removal_ends_a_kept_request);

  tcase = harness_case (suite, "life");
  tcase_add_checked_fixture (tcase, reset, NULL);
  tcase_add_test (tcase, test_timeout_asks_the_level_that_has_it);
  tcase_add_test (tcase, test_going_up_leaves_the_driver_what_it_looks_at);
  tcase_add_test (tcase, test_abort_asks_the_level_that_has_it);
  tcase_add_test (tcase, test_abort_waits_for_queue_rq_before_it_asks);
  tcase_add_test (tcase, test_set_up_from_below_and_taken_down_from_above);
  tcase_add_test (tcase, test_failing_set_up_takes_down_what_was_set_up);
  tcase_add_test (tcase, test_limits_stack);
  tcase_add_test (tcase, test_live_changes_keep_the_layers);
  return suite;
}

int
main (void)
{
  return harness_main (make_suite ());
}

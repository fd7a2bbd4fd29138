/* SPDX-License-Identifier: BSD-3-Clause
 *
 * harness.c: see harness.h.  Besides serving the test the scripted driver
 * keeps books of its own, and stops the program at once when the engine breaks
 * what blkmq-driver.h promises to every driver.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

/* How long a test may take before it counts as hung. */
#define HANG_SECONDS 60

void
require_failed (const char *file, int line, const char *condition)
{
  fprintf (stderr, "%s:%d: required: %s\n", file, line, condition);
  abort ();
}

/* ---- randomness ---- */

uint64_t
rng_seed (void)
{
  static bool drawn;
  static uint64_t value;

  if (!drawn) {
    const char *given = getenv ("BLKMQ_SEED");

    if (given != NULL)
      value = strtoull (given, NULL, 0);
    else
      require (getrandom (&value, sizeof value, 0) == sizeof value);
    drawn = true;
  }
  return value;
}

void
rng_init (struct rng *rng, uint64_t stream)
{
  rng->state = rng_seed () ^ (stream + 1) * UINT64_C (0x9e3779b97f4a7c15);
  rng_next (rng);
}

/* Sebastiano Vigna's splitmix64. */
uint64_t
rng_next (struct rng *rng)
{
  uint64_t z = rng->state += UINT64_C (0x9e3779b97f4a7c15);

  z = (z ^ (z >> 30)) * UINT64_C (0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C (0x94d049bb133111eb);
  return z ^ (z >> 31);
}

uint64_t
rng_below (struct rng *rng, uint64_t n)
{
  return rng_next (rng) % n;
}

bool
rng_percent (struct rng *rng, unsigned percent)
{
  return rng_below (rng, 100) < percent;
}

/* ---- threads ---- */

void
gate_pass (struct gate *gate)
{
  pthread_mutex_lock (&gate->lock);
  gate->nr_arrived++;
  pthread_cond_broadcast (&gate->changed);
  while (!gate->is_open)
    pthread_cond_wait (&gate->changed, &gate->lock);
  pthread_mutex_unlock (&gate->lock);
}

void
gate_await_arrival (struct gate *gate, unsigned nr)
{
  pthread_mutex_lock (&gate->lock);
  while (gate->nr_arrived < nr)
    pthread_cond_wait (&gate->changed, &gate->lock);
  pthread_mutex_unlock (&gate->lock);
}

void
gate_open (struct gate *gate)
{
  pthread_mutex_lock (&gate->lock);
  gate->is_open = true;
  pthread_cond_broadcast (&gate->changed);
  pthread_mutex_unlock (&gate->lock);
}

pthread_t
thread_start (void *(*fn) (void *), void *opaque)
{
  pthread_t thread;

  require (pthread_create (&thread, NULL, fn, opaque) == 0);
  return thread;
}

void
thread_join (pthread_t thread)
{
  require (pthread_join (thread, NULL) == 0);
}

void
await_pause (void)
{
  sched_yield ();
}

int
run_captured (void (*fn) (void), char **text)
{
  size_t nr_bytes;
  char buf[4096];
  int fds[2], status;
  FILE *copy;
  ssize_t n;
  pid_t pid;

  require (pipe (fds) == 0);
  pid = fork ();
  require (pid >= 0);
  if (pid == 0) {
    dup2 (fds[1], STDERR_FILENO);
    close (fds[0]);
    close (fds[1]);
    fn ();
    _exit (0);
  }
  close (fds[1]);
  copy = open_memstream (text, &nr_bytes); /* the child has no use for one */
  require (copy != NULL);
  while ((n = read (fds[0], buf, sizeof buf)) > 0)
    require (fwrite (buf, 1, (size_t)n, copy) == (size_t)n);
  close (fds[0]);
  require (fclose (copy) == 0);
  require (waitpid (pid, &status, 0) == pid);
  return status;
}

unsigned
nr_of (const char *text, const char *part)
{
  unsigned nr = 0;

  while ((text = strstr (text, part)) != NULL) {
    text += strlen (part);
    nr++;
  }
  return nr;
}

/* ---- the driver ---- */

/* Filled by init_request, read by exit_request. */
struct scripted_pdu {
  uint64_t magic;
  unsigned hctx, tag;
};

#define PDU_MAGIC UINT64_C (0x7363726970746564)

/* The script of the disk that is being allocated. */
static _Thread_local struct script *opening;

/* Counts the requests that several disks share: the tag set's own. */
static struct script set_script;

static struct script *
script_of_requests (void *driver_data)
{
  return driver_data != NULL ? driver_data : &set_script;
}

static struct book *
book_of (const struct script *script, blkmq_token token)
{
  return &script->books[blkmq_token_hctx (token) * script->depth
                        + blkmq_token_tag (token)];
}

static int
scripted_open (const struct blkmq_config *config, uint64_t disk_seed,
               struct blkmq_limits *limits, void **driver_data,
               struct blkmq_error *error)
{
  struct script *script = opening;
  size_t nr;

  if (script->open_error != 0 && !script->open_fails_late)
    return script->open_error;
  nr = blkmq_config_number (config, "hw_queue_depth");
  /* Tokens have internal tags then, which are above. */
  if (blkmq_config_number (config, "scheduler") != 0) {
    uint64_t nr_requests = blkmq_config_number (config, "nr_requests");

    nr += nr_requests != 0 ? nr_requests : 2 * nr;
  }
  if (script->depth < nr)
    script->depth = (unsigned)nr;
  nr = blkmq_config_number (config, "submit_queues")
       + blkmq_config_number (config, "poll_queues");
  if (script->max_hctxs < nr)
    script->max_hctxs = (unsigned)nr;
  nr = (size_t)script->depth * script->max_hctxs;
  script->books = calloc (nr, sizeof script->books[0]);
  if (script->books == NULL)
    return -ENOMEM;
  limits->max_discard_bytes = script->max_discard_bytes;
  limits->max_write_zeroes_bytes = script->max_write_zeroes_bytes;
  if (script->max_transfer_bytes != 0)
    limits->max_transfer_bytes = script->max_transfer_bytes;
  if (script->max_segments != 0)
    limits->max_segments = script->max_segments;
  limits->volatile_cache = script->volatile_cache;
  limits->fua = script->fua;
  *driver_data = script;
  return script->open_error;
}

static void
scripted_close (void *driver_data)
{
  struct script *script = driver_data;

  require (script->nr_init_hctxs == 0 && script->nr_init_requests == 0);
  script->nr_closes++;
}

static int
scripted_init_hctx (struct blkmq_hctx *hctx, void *driver_data, unsigned index)
{
  struct script *script = driver_data;

  require (blkmq_hctx_index (hctx) == index);
  require (!script->hctx_is_init[index]);
  require (index == 0 || script->hctx_is_init[index - 1]);
  if (script->fail_init_hctx == index + 1)
    return -EMFILE;
  script->nr_init_hctxs++;
  script->hctx_is_init[index] = true;
  blkmq_hctx_set_data (hctx, script);
  return 0;
}

static void
scripted_exit_hctx (struct blkmq_hctx *hctx, void *driver_data, unsigned index)
{
  struct script *script = driver_data;

  require (blkmq_hctx_data (hctx) == script);
  require (script->hctx_is_init[index]);
  script->hctx_is_init[index] = false;
  script->nr_init_hctxs--;
}

static int
scripted_init_request (void *driver_data, struct blkmq_request *rq,
                       unsigned hctx_index, unsigned tag)
{
  struct script *script = script_of_requests (driver_data);
  struct scripted_pdu *pdu = rq->pdu;

  require ((uintptr_t)pdu % 64 == 0);
  require (pdu->magic == 0 && pdu->hctx == 0 && pdu->tag == 0);
  require (rq->driver_data == driver_data);
  if (script->fail_init_request == script->nr_init_requests + 1)
    return -EDOM;
  pdu->magic = PDU_MAGIC;
  pdu->hctx = hctx_index;
  pdu->tag = tag;
  script->nr_init_requests++;
  return 0;
}

static void
scripted_exit_request (void *driver_data, struct blkmq_request *rq,
                       unsigned hctx_index, unsigned tag)
{
  struct script *script = script_of_requests (driver_data);
  const struct scripted_pdu *pdu = rq->pdu;

  require (pdu->magic == PDU_MAGIC);
  require (pdu->hctx == hctx_index && pdu->tag == tag);
  script->nr_init_requests--;
}

static void
record (struct script *script, const struct issue *issue)
{
  pthread_mutex_lock (&script->lock);
  if (script->nr_issues < MAX_ISSUES)
    script->issues[script->nr_issues] = *issue;
  script->nr_issues++;
  pthread_mutex_unlock (&script->lock);
}

/* Nobody else in the driver has that tag, unless it is of a pool that an update
 * has replaced. */
static struct book *
book_of_tag (struct script *script, blkmq_token token, unsigned driver_tag)
{
  require (driver_tag < script->depth);
  return &script->books[blkmq_token_hctx (token) * script->depth + driver_tag];
}

static const struct request_pool *
lender_of (const struct request *r)
{
  return r->driver_tag != NO_TAG ? r->driver_pool : r->pool;
}

static void
borrow (struct script *script, const struct issue *issue)
{
  struct request *r = request_of (issue->rq);
  struct book *book = book_of (script, issue->token);
  const void *pool;

  /* What the driver holds is not issued again; what it held before an update
   * may have had the same tags. */
  pool = atomic_exchange (&book->pool, r->pool);
  require (atomic_exchange (&book->held, issue->token) == 0 || pool != r->pool);
  book = book_of_tag (script, issue->token, issue->tag);
  require (atomic_exchange (&book->lender, lender_of (r)) != lender_of (r)
           || script->is_faulty);
}

static void
give_tag_back (struct script *script, struct blkmq_request *rq,
               blkmq_token token)
{
  const void *lender = lender_of (request_of (rq));

  atomic_compare_exchange_strong (
      &book_of_tag (script, token, blkmq_request_tag (rq))->lender, &lender,
      NULL);
}

/* The request stops being the driver's, if it was by this token. */
static void
let_go (struct script *script, struct blkmq_request *rq, blkmq_token token)
{
  uint64_t mine = token;

  if (blkmq_token_tag (token) >= script->depth)
    return;
  /* Before the book: once that is free, so is the tag. */
  if (!script->is_faulty && request_token_is_alive (request_of (rq), token))
    give_tag_back (script, rq, token);
  atomic_compare_exchange_strong (&book_of (script, token)->held, &mine, 0);
}

static enum blkmq_queue_result
scripted_queue_rq (struct blkmq_hctx *hctx, struct blkmq_request *rq,
                   blkmq_token token)
{
  struct script *script = blkmq_hctx_data (hctx);
  struct issue issue = { rq,
                         token,
                         rq->op,
                         rq->flags,
                         rq->offset_bytes,
                         rq->bytes,
                         blkmq_request_tag (rq) };
  struct book *book = book_of (script, token);
  enum blkmq_queue_result result = BLKMQ_QUEUED;

  require (script->nr_stops == 0);
  require (rq->hctx == hctx);
  require (rq->driver_data == script);
  require (script->hctx_is_init[blkmq_hctx_index (hctx)]);
  require (blkmq_hctx_request (hctx, token) == rq);
  require (((const struct scripted_pdu *)rq->pdu)->tag
               + request_of (rq)->pool->first_tag
           == blkmq_token_tag (token));
  book->inside++;
  borrow (script, &issue);
  record (script, &issue);
  if (script->on_queue != NULL)
    result = script->on_queue (script, &issue);
  if (result != BLKMQ_QUEUED)
    let_go (script, rq, token);
  book->inside--;
  return result;
}

static void
scripted_prefetch (void *driver_data, uint64_t offset_bytes)
{
  struct script *script = driver_data;

  script->nr_hints++;
  script->hint_bytes = offset_bytes;
}

static void
scripted_commit_rqs (struct blkmq_hctx *hctx)
{
  struct script *script = blkmq_hctx_data (hctx);

  script->nr_commits++;
  if (script->on_commit != NULL)
    script->on_commit (script, hctx);
}

static enum blkmq_timeout_result
scripted_timeout (struct blkmq_request *rq, blkmq_token token)
{
  struct script *script = rq->driver_data;
  struct book *book = book_of (script, token);
  enum blkmq_timeout_result result = BLKMQ_TIMEOUT_RESET;

  require (script->nr_stops == 0);
  /* Unless it was requeued since, and is inside for its next issue. */
  require (book->held != token || book->inside == 0);
  script->nr_timeouts++;
  if (script->on_timeout != NULL)
    result = script->on_timeout (script, rq, token);
  if (result == BLKMQ_TIMEOUT_DONE)
    let_go (script, rq, token);
  return result;
}

static enum blkmq_status
scripted_complete (struct blkmq_request *rq, enum blkmq_status status)
{
  struct script *script = rq->driver_data;

  script->nr_completes++;
  return script->on_complete != NULL ? script->on_complete (script, rq, status)
                                     : status;
}

static void
scripted_stop (void *driver_data)
{
  struct script *script = driver_data;

  script->nr_stops++;
  require (script->nr_stops == 1);
  if (script->on_stop != NULL)
    script->on_stop (script);
}

static unsigned
scripted_poll (struct blkmq_hctx *hctx)
{
  struct script *script = blkmq_hctx_data (hctx);

  /* Stop waits for those who poll. */
  require (script->nr_stops == 0);
  script->nr_polls++;
  return script->on_poll != NULL ? script->on_poll (script, hctx) : 0;
}

static void
scripted_map_queues (void *driver_data, unsigned nr_hw_queues,
                     struct blkmq_queue_map map[BLKMQ_NR_HCTX_TYPES])
{
  struct script *script = driver_data;

  if (script->on_map != NULL)
    script->on_map (script, nr_hw_queues, map);
}

/* The fields that all have. */
#define SCRIPTED                                                               \
  .help = "does what a test says", .pdu_bytes = sizeof (struct scripted_pdu),  \
  .open = scripted_open, .close = scripted_close,                              \
  .init_hctx = scripted_init_hctx, .exit_hctx = scripted_exit_hctx,            \
  .init_request = scripted_init_request,                                       \
  .exit_request = scripted_exit_request, .queue_rq = scripted_queue_rq,        \
  .prefetch = scripted_prefetch, .stop = scripted_stop

static const struct blkmq_driver drivers[] = {
  { .name = "scripted",
    SCRIPTED,
    .commit_rqs = scripted_commit_rqs,
    .timeout = scripted_timeout },
  { .name = "scripted-complete", /* has an opinion on the way up, too */
    SCRIPTED,
    .commit_rqs = scripted_commit_rqs,
    .timeout = scripted_timeout,
    .complete = scripted_complete },
  { .name = "scripted-reserved", /* for BLKMQ_IO_RESERVED */
    SCRIPTED,
    .commit_rqs = scripted_commit_rqs,
    .timeout = scripted_timeout,
    .nr_reserved_tags = 2 },
  { .name = "scripted-bare", SCRIPTED },
  { .name = "scripted-poll",
    SCRIPTED,
    .commit_rqs = scripted_commit_rqs,
    .timeout = scripted_timeout,
    .poll = scripted_poll,
    .map_queues = scripted_map_queues },
  { .name = "scripted-poll-complete",
    SCRIPTED,
    .poll = scripted_poll,
    .complete = scripted_complete },
};

int
script_complete (struct script *script, struct blkmq_request *rq,
                 blkmq_token token, enum blkmq_status status)
{
  let_go (script, rq, token);
  return blkmq_complete (rq, token, status);
}

int
script_requeue (struct script *script, struct blkmq_request *rq,
                blkmq_token token)
{
  let_go (script, rq, token);
  return blkmq_requeue (rq, token);
}

int
script_requeue_aside (struct script *script, struct blkmq_request *rq,
                      blkmq_token token)
{
  let_go (script, rq, token);
  return blkmq_requeue_aside (rq, token);
}

const struct issue *
script_issue (struct script *script, unsigned n)
{
  require (n < MAX_ISSUES && n < script->nr_issues);
  return &script->issues[n];
}

int
issue_complete (struct script *script, unsigned n, enum blkmq_status status)
{
  const struct issue *issue = script_issue (script, n);

  return script_complete (script, issue->rq, issue->token, status);
}

int
issue_requeue (struct script *script, unsigned n)
{
  const struct issue *issue = script_issue (script, n);

  return script_requeue (script, issue->rq, issue->token);
}

enum blkmq_queue_result
script_completes_inside (struct script *script, const struct issue *issue)
{
  require (script_complete (script, issue->rq, issue->token, BLKMQ_STS_OK)
           == 0);
  return BLKMQ_QUEUED;
}

unsigned
script_reaps (struct script *script, struct blkmq_hctx *hctx)
{
  unsigned nr = 0;

  for (unsigned n = 0; n < script->nr_issues; n++) {
    const struct issue *issue = script_issue (script, n);
    uint64_t mine = issue->token;

    if (blkmq_token_hctx (mine) != blkmq_hctx_index (hctx)
        || !atomic_compare_exchange_strong (&book_of (script, mine)->held,
                                            &mine, 0))
      continue;
    give_tag_back (script, issue->rq, issue->token);
    require (blkmq_complete (issue->rq, issue->token, BLKMQ_STS_OK) == 0);
    nr++;
  }
  return nr;
}

/* ---- the bed ---- */

static void
register_drivers (void)
{
  for (size_t i = 0; i < NR (drivers); i++) {
    struct blkmq_error error;
    int r = blkmq_driver_register (&drivers[i], &error);

    if (r < 0 && r != -EEXIST) {
      fprintf (stderr, "%s\n", error.message);
      abort ();
    }
  }
}

struct bed *
bed_alloc (void)
{
  struct bed *bed = calloc (1, sizeof *bed);

  require (bed != NULL);
  bed->script.driver = "scripted";
  bed->script.max_discard_bytes = UINT64_C (1) << 40;
  bed->script.max_write_zeroes_bytes = UINT64_C (1) << 40;
  pthread_mutex_init (&bed->script.lock, NULL);
  /* Not 0, which would hide a deadline that was never set. */
  clock_init_fake (&bed->clock, UINT64_C (1000000000));
  return bed;
}

static struct blkmq_config *
make_config (const char *driver, const char *keys)
{
  struct blkmq_config *config = blkmq_config_alloc ();
  char *copy = strdup (keys), *word, *rest = NULL;
  struct blkmq_error error;
  bool has_size = false;
  int r = 0;

  require (config != NULL && copy != NULL);
  for (word = strtok_r (copy, " ", &rest); word != NULL && r == 0;
       word = strtok_r (NULL, " ", &rest)) {
    char *value = strchr (word, '=');

    require (value != NULL);
    *value++ = '\0';
    has_size |= strcmp (word, "size") == 0;
    r = blkmq_config_set (config, word, value, &error);
  }
  if (r == 0 && !has_size)
    r = blkmq_config_set (config, "size", "1M", &error);
  if (r == 0)
    r = blkmq_config_set (config, "driver", driver, &error);
  if (r < 0) {
    fprintf (stderr, "%s\n", error.message);
    abort ();
  }
  free (copy);
  return config;
}

struct blkmq_config *
bed_config (struct bed *bed, const char *keys)
{
  register_drivers ();
  opening = &bed->script;
  return make_config (bed->script.driver, keys);
}

int
bed_alloc_disk (struct bed *bed, const char *keys, bool manual)
{
  struct disk_options options
      = { .clock = manual ? &bed->clock : NULL, .manual_loops = manual };
  struct blkmq_config *config = bed_config (bed, keys);
  int r;

  r = disk_alloc (config, &options, bed->set, &bed->disk, &bed->error);
  blkmq_config_free (config);
  if (r == 0 && bed->set == NULL)
    bed->disk->set->mistakes.are_borne = bed->script.is_faulty;
  return r;
}

struct blkmq_tag_set *
bed_set_alloc (const char *driver, const char *keys)
{
  struct blkmq_tag_set *set = NULL;
  struct blkmq_config *config;
  struct blkmq_error error;

  register_drivers ();
  config = make_config (driver, keys);
  if (blkmq_tag_set_alloc (config, &set, &error) < 0) {
    fprintf (stderr, "%s\n", error.message);
    abort ();
  }
  blkmq_config_free (config);
  return set;
}

void
bed_set_free (struct blkmq_tag_set *set)
{
  blkmq_tag_set_put (set);
  ck_assert_uint_eq (set_script.nr_init_requests, 0);
}

void
bed_bear_mistakes (struct bed *bed)
{
  bed->script.is_faulty = true;
  if (bed->disk != NULL)
    bed->disk->set->mistakes.are_borne = true;
}

void
bed_start_disk (struct bed *bed)
{
  struct blkmq_error error;

  if (blkmq_disk_start (bed->disk, &error) < 0) {
    fprintf (stderr, "%s\n", error.message);
    abort ();
  }
  bed->submitter = blkmq_submitter_alloc (bed->disk, 0);
  require (bed->submitter != NULL);
}

void
bed_open (struct bed *bed, const char *keys)
{
  require (bed_alloc_disk (bed, keys, true) == 0);
  bed_start_disk (bed);
}

void
bed_open_threads (struct bed *bed, const char *keys)
{
  require (bed_alloc_disk (bed, keys, false) == 0);
  bed_start_disk (bed);
}

struct bed *
bed_start (const char *keys)
{
  struct bed *bed = bed_alloc ();

  bed_open (bed, keys);
  return bed;
}

void
bed_check_idle (struct bed *bed)
{
  struct blkmq_stats stats = bed_stats (bed);

  for (unsigned op = 0; op < BLKMQ_NR_OPS; op++)
    ck_assert_uint_eq (stats.in_flight[op], 0);
  ck_assert_uint_eq (stats.waiting, 0);
  if (bed->set != NULL)
    return; /* the others may have some */
  for (unsigned i = 0; i < blkmq_disk_nr_hw_queues (bed->disk); i++)
    ck_assert_uint_eq (hctx_nr_taken (bed_hctx (bed, i)), 0);
}

void
bed_drop (struct bed *bed)
{
  free (bed->script.books);
  free (bed);
}

void
bed_stop (struct bed *bed)
{
  bool is_scripted = strncmp (bed->script.driver, "scripted", 8) == 0;

  blkmq_disk_remove (bed->disk);
  bed_check_idle (bed);
  blkmq_submitter_free (bed->submitter);
  blkmq_disk_put (bed->disk);
  if (is_scripted) {
    ck_assert_uint_eq (bed->script.nr_stops, 1);
    ck_assert_uint_eq (bed->script.nr_closes, 1);
  }
  pthread_mutex_destroy (&bed->script.lock);
  free (bed->script.books);
  free (bed);
}

int
update_queues (struct blkmq_disk *disk, unsigned submit_queues,
               unsigned hw_queue_depth, struct blkmq_error *error)
{
  struct blkmq_queues queues;

  blkmq_disk_queues (disk, &queues);
  if (submit_queues != 0)
    queues.submit_queues = submit_queues;
  if (hw_queue_depth != 0)
    queues.hw_queue_depth = hw_queue_depth;
  return blkmq_update_queues (disk, &queues, error);
}

void
bed_turn (struct bed *bed)
{
  disk_turn (bed->disk);
}

void
bed_pass (struct bed *bed, uint64_t ns)
{
  clock_advance (&bed->clock, ns);
  disk_turn (bed->disk);
}

struct blkmq_stats
bed_stats (struct bed *bed)
{
  struct blkmq_stats stats;

  require (blkmq_disk_stats (bed->disk, BLKMQ_HCTX_ANY, &stats) == 0);
  return stats;
}

struct blkmq_hctx *
bed_hctx (struct bed *bed, unsigned index)
{
  return disk_hctx (bed->disk, index);
}

unsigned
bed_event (struct bed *bed)
{
  return ++bed->nr_events;
}

/* ---- ios ---- */

static void
test_end_io (struct blkmq_io *io, enum blkmq_status status)
{
  struct test_io *t = (struct test_io *)io;

  t->in_end_io = true;
  t->end_event = bed_event (t->bed);
  t->status = status;
  t->end_thread = pthread_self ();
  require (++t->nr_ends == 1);
  require (t->nr_give_backs == 0);
  if (t->on_end != NULL)
    t->on_end (t);
  t->in_end_io = false;
}

/* An io without give_back may be submitted again, or freed, inside end_io, and
 * by whoever waits for nr_ends: that is the last touch. */
static void
test_end_io_deferred (struct blkmq_io *io, enum blkmq_status status)
{
  struct test_io *t = (struct test_io *)io;
  void (*on_end) (struct test_io *) = t->on_end;

  t->end_event = bed_event (t->bed);
  t->status = status;
  t->end_thread = pthread_self ();
  require (++t->nr_ends == 1);
  if (on_end != NULL)
    on_end (t);
}

static void
test_give_back (struct blkmq_io *io)
{
  struct test_io *t = (struct test_io *)io;
  void (*on_give_back) (struct test_io *) = t->on_give_back;

  require (t->nr_ends == 1);
  require (!t->in_end_io);
  t->give_back_event = bed_event (t->bed);
  require (++t->nr_give_backs == 1);
  if (on_give_back != NULL)
    on_give_back (t);
}

void
test_io_init (struct test_io *t, struct bed *bed, enum blkmq_op op,
              uint64_t block)
{
  bool is_flush = op == BLKMQ_OP_FLUSH;

  memset (t, 0, sizeof *t);
  t->bed = bed;
  t->segment.iov_base = t->data;
  t->segment.iov_len = sizeof t->data;
  t->io.op = op;
  t->io.offset_bytes = is_flush ? 0 : block * BLOCK_BYTES;
  t->io.bytes = is_flush ? 0 : BLOCK_BYTES;
  t->io.segments = &t->segment;
  t->io.nr_segments = 1;
  t->io.end_io = test_end_io_deferred;
}

void
test_io_init_early (struct test_io *t, struct bed *bed, enum blkmq_op op,
                    uint64_t block)
{
  test_io_init (t, bed, op, block);
  t->io.end_io = test_end_io;
  t->io.give_back = test_give_back;
}

void
test_io_submit (struct test_io *t, struct bed *bed, uint64_t block)
{
  test_io_init (t, bed, BLKMQ_OP_READ, block);
  blkmq_submit (bed->submitter, &t->io);
}

void
test_io_submit_early (struct test_io *t, struct bed *bed, uint64_t block)
{
  test_io_init_early (t, bed, BLKMQ_OP_READ, block);
  blkmq_submit (bed->submitter, &t->io);
}

/* ---- main ---- */

TCase *
harness_case (Suite *suite, const char *name)
{
  TCase *tcase = tcase_create (name);

  tcase_set_timeout (tcase, HANG_SECONDS);
  suite_add_tcase (suite, tcase);
  return tcase;
}

int
harness_main (Suite *suite)
{
  SRunner *runner = srunner_create (suite);
  int nr_failed;

  /* Before Check forks, so that all tests have the same. */
  printf ("BLKMQ_SEED=%" PRIu64 "\n", rng_seed ());
  fflush (stdout);
  srunner_run_all (runner, CK_ENV);
  nr_failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return nr_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * jitter.c: makes threads late in places where they never are.  Linked into
 * what is compiled with -fsanitize-coverage=trace-pc, whose hook it is: at a
 * basic block that is drawn, one of BLKMQ_JITTER_EVERY on average, the thread
 * that is there sleeps for up to BLKMQ_JITTER_US microseconds.  Any thread; not
 * compiled with that option itself, or it would call itself.
 */

#include <stdint.h>
#include <stdlib.h>
#include <time.h>

void __sanitizer_cov_trace_pc (void);

static uint32_t every = 6000, most_us = 600;
static _Atomic uint64_t next_stream;
static uint64_t seed;
static __thread uint64_t state;
static __thread uint32_t left;

static uint32_t
number (const char *name, uint32_t value)
{
  const char *text = getenv (name);

  return text != NULL && atol (text) > 0 ? (uint32_t)atol (text) : value;
}

static void __attribute__ ((constructor)) read_environment (void)
{
  every = number ("BLKMQ_JITTER_EVERY", every);
  most_us = number ("BLKMQ_JITTER_US", most_us);
  seed = number ("BLKMQ_JITTER_SEED", 1);
}

/* George Marsaglia's xorshift64. */
static uint64_t
draw (void)
{
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

void
__sanitizer_cov_trace_pc (void)
{
  struct timespec pause = { 0, 0 };

  if (__builtin_expect (state == 0, 0)) {
    state = (seed << 20 ^ ++next_stream) * UINT64_C (0x9e3779b97f4a7c15) | 1;
    left = 1 + (uint32_t)(draw () % (2 * every));
  }
  if (__builtin_expect (--left != 0, 1))
    return;
  left = 1 + (uint32_t)(draw () % (2 * every));
  pause.tv_nsec = (long)(draw () % most_us) * 1000;
  nanosleep (&pause, NULL);
}

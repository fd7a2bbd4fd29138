/* SPDX-License-Identifier: BSD-3-Clause
 *
 * spin.h: spin_ns: a loop wakes up that much before its deadline and does not
 * sleep again until then, so that what is late is not the wake-up.  Plain
 * arithmetic: any thread.
 */

#ifndef BLKMQ_ENGINE_SPIN_H
#define BLKMQ_ENGINE_SPIN_H

#include <stdint.h>

/* When to wake up for a deadline; UINT64_MAX: not at all.  Never 0, which
 * would disarm a timerfd. */
static inline uint64_t
spin_alarm_ns (uint64_t deadline_ns, uint64_t spin_ns)
{
  if (deadline_ns == UINT64_MAX)
    return UINT64_MAX;
  return deadline_ns > spin_ns ? deadline_ns - spin_ns : 1;
}

enum spin {
  SPIN_SLEEP, /* the deadline is none or further away than spin_ns */
  SPIN_WAIT,  /* it is near: stay awake */
  SPIN_DUE,   /* it has come */
};

static inline enum spin
spin_look (uint64_t now_ns, uint64_t deadline_ns, uint64_t spin_ns)
{
  if (now_ns >= deadline_ns)
    return SPIN_DUE;
  return deadline_ns - now_ns <= spin_ns && deadline_ns != UINT64_MAX
             ? SPIN_WAIT
             : SPIN_SLEEP;
}

/* Leave the core to its other thread for a moment. */
static inline void
spin_relax (void)
{
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause ();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

#endif /* BLKMQ_ENGINE_SPIN_H */

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * poison.h: in builds with AddressSanitizer the pdu of a free request is off
 * limits, so that a driver that touches a request after its end is killed
 * where it stands.  Elsewhere this costs nothing.
 */

#ifndef BLKMQ_ENGINE_POISON_H
#define BLKMQ_ENGINE_POISON_H

#include <stddef.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BLKMQ_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define BLKMQ_ASAN 1
#endif

#ifdef BLKMQ_ASAN
#include <sanitizer/asan_interface.h>
#endif

static inline void
poison (void *pdu, size_t bytes)
{
#ifdef BLKMQ_ASAN
  if (bytes > 0)
    __asan_poison_memory_region (pdu, bytes);
#else
  (void)pdu;
  (void)bytes;
#endif
}

static inline void
unpoison (void *pdu, size_t bytes)
{
#ifdef BLKMQ_ASAN
  if (bytes > 0)
    __asan_unpoison_memory_region (pdu, bytes);
#else
  (void)pdu;
  (void)bytes;
#endif
}

#endif /* BLKMQ_ENGINE_POISON_H */

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * memory.h: allocation in a program that has nothing better to do without
 * memory than to say so and end.
 */

#ifndef BLKMQ_BLKMQCTL_MEMORY_H
#define BLKMQ_BLKMQCTL_MEMORY_H

#include <stddef.h>

void no_memory (void) __attribute__ ((noreturn));
void *resize (void *old, size_t nr, size_t bytes);
char *copy_text (const char *text);
char *make_text (const char *format, ...)
    __attribute__ ((format (printf, 1, 2)));

#endif /* BLKMQ_BLKMQCTL_MEMORY_H */

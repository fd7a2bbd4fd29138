/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plugin.h: what blkmq.c and help.c share.
 */

#ifndef BLKMQ_PLUGIN_H
#define BLKMQ_PLUGIN_H

#include <stddef.h>

/* help.c: derived from the key tables. */
void print_help (char *buf, size_t buf_bytes);
void print_dump (void);

#endif /* BLKMQ_PLUGIN_H */

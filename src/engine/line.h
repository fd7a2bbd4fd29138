/* SPDX-License-Identifier: BSD-3-Clause
 *
 * line.h: how far apart two things must be to not slow each other down.
 */

#ifndef BLKMQ_ENGINE_LINE_H
#define BLKMQ_ENGINE_LINE_H

#define CACHE_LINE_BYTES 64

#endif /* BLKMQ_ENGINE_LINE_H */

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * asking.h: one server, one client, and what it asks: for tests that look at
 * answers.
 */

#ifndef BLKMQ_TESTS_ASKING_H
#define BLKMQ_TESTS_ASKING_H

#include "rig.h"

#define KB 1024u
#define PAGE (4 * KB)
#define MB (KB * KB)

extern struct rig rig;
extern struct client client;
extern struct answer answer; /* the latest */
extern uint8_t ones[MB];     /* 1, each of them */

/* A server with KEYS, and a client with FEATURES; and their end. */
void begin (const char *keys, unsigned features);
void end (void);

void write_ones (uint64_t offset_bytes, uint32_t bytes);

/* Ask and have the answer, whatever it is; a status is without error. */
void ask_read (unsigned flags, uint64_t offset_bytes, uint32_t bytes);
void ask_status (unsigned flags, uint64_t offset_bytes, uint32_t bytes);

#endif /* BLKMQ_TESTS_ASKING_H */

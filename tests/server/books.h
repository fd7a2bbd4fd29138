/* SPDX-License-Identifier: BSD-3-Clause
 *
 * books.h: what a server without connections must not have.
 */

#ifndef BLKMQ_TESTS_BOOKS_H
#define BLKMQ_TESTS_BOOKS_H

struct server;

/* Its threads were stopped, and its disks removed.  Aborts if a command, a
 * buffer or a place in a queue is not back where it belongs. */
void check_books (const struct server *server);

#endif /* BLKMQ_TESTS_BOOKS_H */

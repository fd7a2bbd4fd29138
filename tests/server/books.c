/* SPDX-License-Identifier: BSD-3-Clause
 *
 * books.c: the server's own books, once its threads have ended.
 */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>

#include "books.h"
#include "server/internal.h"

#define balance(condition)                                                     \
  do {                                                                         \
    if (!(condition)) {                                                        \
      fprintf (stderr, "thread %u: not so: %s\n", worker->index, #condition);  \
      abort ();                                                                \
    }                                                                          \
  } while (0)

static void
check_worker (const struct worker *worker)
{
  unsigned nr_commands = 0, nr_free = 0;

  for (const struct slab *slab = worker->slabs; slab != NULL; slab = slab->next)
    nr_commands += COMMANDS_A_SLAB;
  for (const struct command *command = worker->free_commands; command != NULL;
       command = command->next)
    nr_free++;
  balance (nr_free == nr_commands);
  balance (worker->buffers.used_bytes == 0);
  balance (worker->buffers.overdraft == NULL);
  balance (TAILQ_EMPTY (&worker->connections));
  balance (TAILQ_EMPTY (&worker->ready));
  balance (TAILQ_EMPTY (&worker->waiting));
  balance (worker->nr_connections == 0);
  for (unsigned i = 0; i < exports_nr (worker->server->exports); i++)
    balance (worker->shares[i].nr_busy == 0);
}

void
check_books (const struct server *server)
{
  for (unsigned i = 0; i < server->nr_workers; i++)
    check_worker (server->workers[i]);
}

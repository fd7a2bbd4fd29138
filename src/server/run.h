/* SPDX-License-Identifier: BSD-3-Clause
 *
 * run.h: --run: a command that is served, and after which nobody is.  The main
 * thread.
 */

#ifndef BLKMQ_SERVER_RUN_H
#define BLKMQ_SERVER_RUN_H

#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "blkmq.h"

struct run {
  pid_t pid;       /* 0: nothing runs */
  int exit_status; /* of a command that has ended, as a shell has it */
};

/* What the command finds in its environment. */
struct run_variable {
  const char *name, *value;
};

/* Let a shell run COMMAND, with signals as blkmqd found them and the limit
 * NOFILE of descriptors.  Negative errno with ERROR. */
int run_start (struct run *run, const char *command,
               const struct run_variable *variables, unsigned nr_variables,
               const struct rlimit *nofile, struct blkmq_error *error);

/* Ask it to end, if it runs. */
void run_end (const struct run *run);

/* True: it ran and has ended; RUN says how. */
bool run_reap (struct run *run);

#endif /* BLKMQ_SERVER_RUN_H */

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * view.h: one picture of `blkmqctl top', as lines of text.  Pure: the same
 * input makes the same picture.
 */

#ifndef BLKMQ_BLKMQCTL_VIEW_H
#define BLKMQ_BLKMQCTL_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "blkmqctl/sample.h"

struct view {
  /* What the disk is. */
  const char *title;  /* its name, driver, size, ... */
  const char *state;  /* what is out of the ordinary: "power off"; may be "" */
  const char *errors; /* all since the start: "timeout 3"; may be "" */
  const char *hint;   /* how latencies are switched on; "" when they are */
  const char *const *types; /* of the nr_hctxs; NULL: not known */

  /* What happens. */
  const struct rates *total, *hctxs;
  size_t nr_hctxs;

  /* Where it is shown. */
  unsigned columns;
  unsigned rows;    /* 0: as many as it takes */
  bool styled;      /* with bold, reverse and the like */
  const char *foot; /* the last line on a terminal: what keys do */
};

/* Lines that are COLUMNS wide at most, and ROWS at most, each but the last with
 * its newline. */
void view_print (const struct view *view, FILE *file);

#endif /* BLKMQ_BLKMQCTL_VIEW_H */

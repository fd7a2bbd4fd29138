/* SPDX-License-Identifier: BSD-3-Clause
 *
 * screen.h: the terminal, while `blkmqctl top' has it.  There is one in a
 * process; one thread.
 *
 * It is told by ECMA-48's sequences and xterm's alternate screen, which all
 * terminals that there are obey: the few that are needed are not worth a
 * dependence on curses and its description of terminals.
 */

#ifndef BLKMQ_BLKMQCTL_SCREEN_H
#define BLKMQ_BLKMQCTL_SCREEN_H

#include <stdbool.h>
#include <stddef.h>

/* Standard output is a terminal that can be drawn on. */
bool screen_is_there (void);

/* Take the terminal, again if need be; it is given back by screen_leave, or at
 * exit. */
void screen_enter (void);
void screen_leave (void);

void screen_size (unsigned *columns, unsigned *rows);

/* Show a picture, lines as view_print makes them, in one write: what is there
 * is written over, not erased first, so that nothing flickers. */
void screen_show (const char *picture);

#endif /* BLKMQ_BLKMQCTL_SCREEN_H */

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * front/path.h: names of files that last.  Any thread.
 */

#ifndef BLKMQ_FRONT_PATH_H
#define BLKMQ_FRONT_PATH_H

/* PATH as seen from the root, whatever becomes the working directory later; to
 * be freed.  NULL with errno. */
char *path_absolute (const char *path);

#endif /* BLKMQ_FRONT_PATH_H */

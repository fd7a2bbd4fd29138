/* SPDX-License-Identifier: BSD-3-Clause
 *
 * path.c: names of files that last.  Any thread.
 */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "front/path.h"

char *
path_absolute (const char *path)
{
  char *here, *result;

  if (path[0] == '/')
    return strdup (path);
  here = getcwd (NULL, 0);
  if (here == NULL)
    return NULL;
  if (asprintf (&result, "%s/%s", here, path) < 0)
    result = NULL;
  free (here);
  return result;
}

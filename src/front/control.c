/* SPDX-License-Identifier: BSD-3-Clause
 *
 * control.c: the disks of a server on a control socket.  The server's main
 * thread; describe, on the control server's.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/control.h"
#include "text.h"
#include "front/control.h"

struct front_control {
  struct control *control;
  const struct exports *exports;
  struct control_export *list;
};

static void
describe (const struct control_export *export, char *buf, size_t buf_bytes)
{
  export_describe (export->opaque, buf, buf_bytes);
}

static int
out_of_memory (struct blkmq_error *error)
{
  struct text text = text_begin_error (error);

  text_add (&text, "control: %s", strerror (ENOMEM));
  return -ENOMEM;
}

int
front_control_open (const struct exports *exports,
                    struct front_control **control, struct blkmq_error *error)
{
  const char *path = exports_server_value (exports, FRONT_CONTROL);
  struct front_control *new;

  *control = NULL;
  if (path == NULL)
    return 0;
  new = calloc (1, sizeof *new);
  if (new == NULL)
    return out_of_memory (error);
  new->exports = exports;
  new->control = control_open (path, error);
  if (new->control == NULL) {
    free (new);
    return -EIO;
  }
  *control = new;
  return 0;
}

int
front_control_start (struct front_control *control, struct blkmq_error *error)
{
  struct control_options options = { .nr_exports = 0 };

  if (control == NULL)
    return 0;
  options.nr_exports = exports_nr (control->exports);
  control->list = calloc (options.nr_exports, sizeof control->list[0]);
  if (control->list == NULL)
    return out_of_memory (error);
  for (unsigned i = 0; i < options.nr_exports; i++) {
    const struct export *export = exports_at (control->exports, i);

    control->list[i] = (struct control_export){ .name = export->name,
                                                .disk = export->disk,
                                                .describe = describe,
                                                .opaque = export };
  }
  options.exports = control->list;
  return control_start (control->control, &options, error);
}

void
front_control_stop (struct front_control *control)
{
  if (control != NULL)
    control_stop (control->control);
}

void
front_control_free (struct front_control *control)
{
  if (control == NULL)
    return;
  control_free (control->control);
  free (control->list);
  free (control);
}

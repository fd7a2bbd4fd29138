/* SPDX-License-Identifier: BSD-3-Clause
 *
 * control.c: control=PATH: the disks of the plugin on a control socket.
 * nbdkit's main thread; describe, on the control server's.
 */

#include <config.h>

#include <stdlib.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "ctl/control.h"
#include "plugin.h"

static struct control *control; /* NULL: there is none */
static struct control_export *control_exports;

static void
describe (const struct control_export *export, char *buf, size_t buf_bytes)
{
  export_describe (export->opaque, buf, buf_bytes);
}

int
open_control (void)
{
  const char *path = exports_server_value (exports, FRONT_CONTROL);
  struct blkmq_error error;

  if (path == NULL)
    return 0;
  control = control_open (path, &error);
  if (control == NULL) {
    nbdkit_error ("%s", error.message);
    return -1;
  }
  return 0;
}

int
start_control (void)
{
  struct control_options options = { .nr_exports = exports_nr (exports) };
  struct blkmq_error error;

  if (control == NULL)
    return 0;
  control_exports = calloc (options.nr_exports, sizeof *control_exports);
  if (control_exports == NULL) {
    nbdkit_error ("control: %m");
    return -1;
  }
  for (unsigned i = 0; i < options.nr_exports; i++) {
    const struct export *export = exports_at (exports, i);

    control_exports[i] = (struct control_export){ .name = export->name,
                                                  .disk = export->disk,
                                                  .describe = describe,
                                                  .opaque = export };
  }
  options.exports = control_exports;
  if (control_start (control, &options, &error) < 0) {
    nbdkit_error ("%s", error.message);
    return -1;
  }
  return 0;
}

void
stop_control (void)
{
  if (control != NULL)
    control_stop (control);
}

void
free_control (void)
{
  control_free (control);
  control = NULL;
  free (control_exports);
  control_exports = NULL;
}

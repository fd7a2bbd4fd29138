/* SPDX-License-Identifier: BSD-3-Clause
 *
 * loader.c: a program that knows nothing of blkmq, and loads a plugin that does
 * so that nobody else sees it, as an interpreter would: loader PLUGIN DRIVER.
 */

#include <dlfcn.h>
#include <stdio.h>

int
main (int argc, char *argv[])
{
  int (*host_main) (int argc, char *argv[]);
  void *plugin;

  if (argc != 3)
    return 1;
  plugin = dlopen (argv[1], RTLD_NOW | RTLD_LOCAL);
  if (plugin == NULL) {
    fprintf (stderr, "loader: %s\n", dlerror ());
    return 1;
  }
  *(void **)&host_main = dlsym (plugin, "host_main");
  return host_main == NULL ? 1 : host_main (argc - 1, argv + 1);
}

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * module.c: loads a driver from a shared object, and refuses what is not one,
 * was built for something else, or would call another engine than this one.
 * The only file that knows dlopen.  Any thread; one at a time.
 *
 * A module is never unloaded.  Its driver is in the registry, whose indices
 * and names are for ever; texts of its keys are in messages and help; and a
 * thread of its own may be on its last instructions when `stop' has returned.
 * What could be had back is a few pages.
 *
 * The engine must be in the process once, for tags, slots and locks are
 * variables of its own.  But how it came here is not ours to choose: inside a
 * program, as libblkmq, or inside a plugin that was loaded with RTLD_LOCAL.  So
 * whatever object it is in is made visible to all before a driver is loaded,
 * which then binds to it even if it was linked with libblkmq; and afterwards
 * the driver's own pointer to blkmq_complete shows whether it did.
 */

#include <config.h>

#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <link.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/config.h"
#include "engine/module.h"
#include "engine/registry.h"

struct module {
  struct module *next;
  void *handle; /* one for each object, however it is named */
  char *path;   /* without links: for messages */
  const struct blkmq_driver *driver;
};

/* Nothing of ours is taken under it but the registry's. */
static pthread_mutex_t module_lock = PTHREAD_MUTEX_INITIALIZER;
static struct module *modules; /* module_lock */
static bool visible;           /* module_lock: make_visible has done it */

/* "driver=PATH: ", for what is wrong to follow. */
static struct text
begin_error (const char *path, struct blkmq_error *error)
{
  struct text text = text_begin_error (error);

  text_add (&text, "driver=");
  text_add_path (&text, path);
  text_add (&text, ": ");
  return text;
}

/* ------------------------------------------------------------------------ */
/* One engine                                                                */

/* The file that ADDRESS was loaded from. */
static const char *
object_of (uintptr_t address)
{
  Dl_info info;

  /* The linker's interface takes what it does not write as not const. */
  if (dladdr ((void *)address, &info) == 0 || info.dli_fname == NULL)
    return "an unknown file";
  return info.dli_fname;
}

static bool
same_object (uintptr_t a, uintptr_t b)
{
  Dl_info info_a, info_b;

  return dladdr ((void *)a, &info_a) != 0 && dladdr ((void *)b, &info_b) != 0
         && info_a.dli_fbase == info_b.dli_fbase;
}

/* Put the object that we are in where later ones look for symbols. */
static int
make_visible_locked (const char *path, struct blkmq_error *error)
{
  struct link_map *map = NULL;
  struct text text;
  Dl_info info;

  if (visible)
    return 0;
  /* Ask for what is certainly ours: a public function's address may be that
   * of a stub in the program. */
  if (dladdr1 (&modules, &info, (void **)&map, RTLD_DL_LINKMAP) == 0)
    map = NULL;
  /* The program itself, which has no name here, is always visible.  The
   * handle is kept: what drivers are bound to has to stay. */
  if (map != NULL && map->l_name[0] != '\0'
      && dlopen (map->l_name, RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL) == NULL) {
    text = begin_error (path, error);
    text_add (&text, "cannot make the engine in %s visible to it: %s",
              map->l_name, dlerror ());
    return -EINVAL;
  }
  visible = true;
  return 0;
}

/* A function by its name, in HANDLE and what it was linked with. */
static uintptr_t
find_symbol (void *handle, const char *name)
{
  return (uintptr_t)dlsym (handle, name);
}

static int
check_engine (const struct module *module,
              const struct blkmq_driver_module *built,
              struct blkmq_error *error)
{
  struct text text;
  const char *(*version) (void);
  uintptr_t address;

  if (built->complete != blkmq_complete) {
    text = begin_error (module->path, error);
    text_add (&text, "its calls would reach another engine, that of ");
    text_add_path (&text, object_of ((uintptr_t)built->complete));
    text_add (&text, ", and not the one that loads it, in ");
    text_add_path (&text, object_of ((uintptr_t)&modules));
    text_add (&text, "; there may be only one: export it (a program that has "
                     "the engine inside is linked with -rdynamic)");
    return -EINVAL;
  }

  /* It may have brought a libblkmq of its own, to which nothing is bound as
   * long as ours has all that the other has. */
  address = find_symbol (module->handle, "blkmq_version");
  if (address == 0 || address == (uintptr_t)blkmq_version)
    return 0;
  memcpy (&version, &address, sizeof version);
  if (strcmp (version (), blkmq_version ()) == 0)
    return 0;
  text = begin_error (module->path, error);
  text_add (&text,
            "linked with blkmq %s (%s), but this is blkmq %s; link it without "
            "-lblkmq",
            version (), object_of (address), blkmq_version ());
  return -EINVAL;
}

/* ------------------------------------------------------------------------ */
/* What was built                                                            */

#define SIZE_OF(member_, struct_)                                              \
  {                                                                            \
    offsetof (struct blkmq_driver_module, member_), sizeof (struct_), #struct_ \
  }

static const struct {
  size_t offset; /* of a uint32_t */
  size_t bytes;
  const char *name;
} sizes[] = {
  SIZE_OF (module_bytes, struct blkmq_driver_module), /* first */
  SIZE_OF (driver_bytes, struct blkmq_driver),
  SIZE_OF (request_bytes, struct blkmq_request),
  SIZE_OF (limits_bytes, struct blkmq_limits),
  SIZE_OF (key_bytes, struct blkmq_key),
  SIZE_OF (error_bytes, struct blkmq_error),
  SIZE_OF (io_bytes, struct blkmq_io),
  SIZE_OF (batch_bytes, struct blkmq_batch),
  SIZE_OF (info_bytes, struct blkmq_request_info),
  SIZE_OF (stats_bytes, struct blkmq_stats),
};

/* Reads no further than what was found right says that there is. */
static int
check_built (const struct module *module,
             const struct blkmq_driver_module *built, struct blkmq_error *error)
{
  struct text text = begin_error (module->path, error);
  uint32_t bytes;
  size_t i;

  if (built->magic != BLKMQ_DRIVER_MAGIC) {
    text_add (&text,
              "not a driver: blkmq_driver_module begins with %#" PRIx64
              ", which must be %#" PRIx64,
              built->magic, BLKMQ_DRIVER_MAGIC);
    return -EINVAL;
  }
  if (built->abi_version != BLKMQ_DRIVER_ABI) {
    text_add (&text,
              "built for ABI version %" PRIu32 "; blkmq %s needs version %u: "
              "build it with the headers of this version",
              built->abi_version, blkmq_version (), BLKMQ_DRIVER_ABI);
    return -EINVAL;
  }
  for (i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    memcpy (&bytes, (const char *)built + sizes[i].offset, sizeof bytes);
    if (bytes == sizes[i].bytes)
      continue;
    text_add (&text,
              "built with a %s of %" PRIu32 " bytes; blkmq %s needs %zu: "
              "build it with the headers of this version",
              sizes[i].name, bytes, blkmq_version (), sizes[i].bytes);
    return -EINVAL;
  }
  if (built->driver == NULL) {
    text_add (&text, "its BLKMQ_DRIVER_EXPORT names no driver");
    return -EINVAL;
  }
  if (!same_object ((uintptr_t)built, (uintptr_t)built->driver)) {
    text_add (&text,
              "its driver is that of %s, which has one of the same name; make "
              "it static",
              object_of ((uintptr_t)built->driver));
    return -EINVAL;
  }
  return 0;
}

/* ------------------------------------------------------------------------ */
/* Loading                                                                   */

/* What dlerror says begins with the path, which the message has already. */
static void
explain_dlerror (const struct module *module, struct blkmq_error *error)
{
  struct text text = begin_error (module->path, error);
  const char *why = dlerror ();
  size_t len = strlen (module->path);

  if (why == NULL)
    why = "unknown error";
  if (strncmp (why, module->path, len) == 0
      && strncmp (why + len, ": ", 2) == 0)
    why += len + 2;
  text_add (&text, "cannot be loaded: %s", why);
  if (strstr (why, "undefined symbol: blkmq_") == NULL)
    return;
  if (find_symbol (RTLD_DEFAULT, "blkmq_complete") == 0)
    text_add (&text, "; the program has the engine inside and does not export "
                     "it: link it with -rdynamic");
  else
    text_add (&text, "; this is blkmq %s, which does not have it",
              blkmq_version ());
}

/* dlopen waits for ever at a pipe, and names no reason for a directory. */
static int
find_file (struct module *module, const char *path, struct blkmq_error *error)
{
  struct stat st;
  struct text text;

  /* An absolute path, since the linker compares paths as they were given, and
   * the working directory may have changed since. */
  module->path = realpath (path, NULL);
  if (module->path != NULL && stat (module->path, &st) == 0
      && S_ISREG (st.st_mode))
    return 0;
  text = begin_error (path, error);
  if (module->path == NULL && errno == ENOMEM) {
    text_add (&text, "out of memory");
    return -ENOMEM;
  }
  text_add (&text, "%s; must be a shared object with a driver",
            module->path == NULL ? strerror (errno) : "not a regular file");
  return -EINVAL;
}

static int
register_driver (struct module *module, struct blkmq_error *error)
{
  struct blkmq_error why;
  struct text text;
  struct module *other;
  int r = blkmq_driver_register (module->driver, &why);

  if (r == 0)
    return 0;
  text = begin_error (module->path, error);
  if (r != -EEXIST) {
    text_add (&text, "%s", why.message);
    return -EINVAL;
  }
  text_add (&text, "its driver's name, %s, is taken by ", module->driver->name);
  for (other = modules; other != NULL; other = other->next)
    if (strcmp (other->driver->name, module->driver->name) == 0)
      break;
  if (other != NULL)
    text_add_path (&text, other->path);
  else
    text_add (&text, "one that is here already");
  return -EINVAL;
}

/* Fills in MODULE, which the caller clears up after a failure. */
static int
load_locked (struct module *module, struct blkmq_error *error)
{
  const struct blkmq_driver_module *built;
  struct link_map *map;
  struct text text;
  int r;

  built = dlsym (module->handle, "blkmq_driver_module");
  /* Not that of something it was linked with. */
  if (built == NULL || dlinfo (module->handle, RTLD_DI_LINKMAP, &map) < 0
      || !same_object ((uintptr_t)built, (uintptr_t)map->l_ld)) {
    text = begin_error (module->path, error);
    text_add (&text, "not a driver: it has no BLKMQ_DRIVER_EXPORT");
    return -EINVAL;
  }
  r = check_built (module, built, error);
  if (r == 0)
    r = check_engine (module, built, error);
  if (r < 0)
    return r;
  module->driver = built->driver;
  return register_driver (module, error);
}

static int
load_file_locked (struct module *module, const struct blkmq_driver **driver,
                  struct blkmq_error *error)
{
  struct module *other;
  int r = make_visible_locked (module->path, error);

  if (r < 0)
    return r;
  /* All symbols now: here they make a message, later they would end the
   * program. */
  module->handle = dlopen (module->path, RTLD_NOW | RTLD_LOCAL);
  if (module->handle == NULL) {
    explain_dlerror (module, error);
    return -EINVAL;
  }
  for (other = modules; other != NULL; other = other->next)
    if (other->handle == module->handle) {
      *driver = other->driver;
      return 0; /* the second handle is let go by the caller */
    }
  r = load_locked (module, error);
  if (r < 0)
    return r;
  *driver = module->driver;
  module->next = modules;
  modules = module;
  return 1;
}

int
module_load (const char *path, const struct blkmq_driver **driver,
             struct blkmq_error *error)
{
  struct module *module = calloc (1, sizeof *module);
  struct text text;
  int r;

  if (module == NULL) {
    text = begin_error (path, error);
    text_add (&text, "out of memory");
    return -ENOMEM;
  }
  r = find_file (module, path, error);
  if (r == 0) {
    pthread_mutex_lock (&module_lock);
    r = load_file_locked (module, driver, error);
    pthread_mutex_unlock (&module_lock);
  }
  if (r > 0)
    return 0; /* it is in the list */

  if (module->handle != NULL)
    dlclose (module->handle);
  free (module->path);
  free (module);
  return r;
}

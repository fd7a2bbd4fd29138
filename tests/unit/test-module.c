/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-module.c: drivers in shared objects: driver=/path/to/it.so.  The modules
 * are the skeleton's, as it is or with a few bytes changed.
 */

#include <config.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config-fixture.h"

#define SIZE_BYTES 65536

/* ---- modules in a directory of the test's own ---- */

static char dir[] = "/tmp/blkmq-module.XXXXXX";
static char path[PATH_MAX];

static const char *
in_dir (const char *name)
{
  snprintf (path, sizeof path, "%s/%s", dir, name);
  return path;
}

static void
make_dir (void)
{
  strcpy (dir + strlen (dir) - 6, "XXXXXX");
  ck_assert_ptr_nonnull (mkdtemp (dir));
  setup ();
}

static void
remove_dir (void)
{
  static const char *const names[] = { "x.so", "y.so", "link.so", "pipe.so" };

  teardown ();
  for (size_t i = 0; i < NR (names); i++)
    unlink (in_dir (names[i]));
  ck_assert_int_eq (rmdir (dir), 0);
}

static unsigned char *image; /* of the skeleton's module */
static size_t image_bytes;

static void
read_image (void)
{
  int fd = open (SKELETON, O_RDONLY);
  struct stat st;

  if (fd < 0 || fstat (fd, &st) < 0)
    ck_abort_msg ("%s: %s", SKELETON, strerror (errno));
  free (image);
  image_bytes = (size_t)st.st_size;
  image = malloc (image_bytes);
  ck_assert_ptr_nonnull (image);
  ck_assert_int_eq (read (fd, image, image_bytes), (ssize_t)image_bytes);
  close (fd);
}

/* Returns its path, until the next question. */
static const char *
write_image (const char *name)
{
  int fd = open (in_dir (name), O_WRONLY | O_CREAT | O_EXCL, 0600);

  ck_assert_int_ge (fd, 0);
  ck_assert_int_eq (write (fd, image, image_bytes), (ssize_t)image_bytes);
  ck_assert_int_eq (close (fd), 0);
  return in_dir (name);
}

/* The descriptor in the image: what stands there needs no relocation, but for
 * the two pointers at its end. */
static struct blkmq_driver_module *
descriptor (void)
{
  uint64_t magic = BLKMQ_DRIVER_MAGIC;
  unsigned char *at = image;
  struct blkmq_driver_module *found = NULL;

  while ((at = memmem (at, image_bytes - (size_t)(at - image), &magic,
                       sizeof magic))
         != NULL) {
    struct blkmq_driver_module *module = (void *)at;

    at += sizeof magic;
    if (module->module_bytes != sizeof *module)
      continue; /* an instruction that has the number in it */
    ck_assert_ptr_null (found);
    found = module;
  }
  ck_assert_ptr_nonnull (found);
  return found;
}

/* Replace a name, wherever it stands, by one of the same length.  What goes on
 * behind it is another name. */
static void
rename_all (const char *from, const char *to)
{
  unsigned char *at = image;
  size_t len = strlen (from) + 1, nr = 0;

  ck_assert_uint_eq (len, strlen (to) + 1);
  while ((at = memmem (at, image_bytes - (size_t)(at - image), from, len))
         != NULL) {
    memcpy (at, to, len);
    nr++;
  }
  ck_assert_uint_gt (nr, 0);
}

/* A configuration of its own; the message has the key, the path and EXPECTED.
 */
static void
load_fails (const char *value, const char *expected)
{
  char *key_and_path = NULL;

  renew_config ();
  ck_assert_int_gt (asprintf (&key_and_path, "driver=%s: ", value), 0);
  set_fails ("driver", value, key_and_path);
  set_fails ("driver", value, expected);
  ck_assert (!blkmq_config_is_set (config, "driver"));
  ck_assert_ptr_eq (config_driver (config), registry_find ("memory"));
  free (key_and_path);
}

/* ---- what is taken ---- */

static void
io_works (void)
{
  static char data[SIZE_BYTES], back[SIZE_BYTES];
  struct blkmq_submitter *submitter;
  struct blkmq_disk *disk;
  struct blkmq_stats stats;
  int r;

  r = blkmq_disk_alloc (config, &disk, &error);
  ck_assert_msg (r == 0, "%s", error.message);
  ck_assert_str_eq (blkmq_disk_driver_name (disk), "skeleton");
  ck_assert_int_eq (blkmq_disk_start (disk, &error), 0);
  submitter = blkmq_submitter_alloc (disk, 0);
  ck_assert_ptr_nonnull (submitter);
  memset (data, 0xa5, sizeof data);
  ck_assert_int_eq (blkmq_write (submitter, data, sizeof data, 0, 0), 0);
  ck_assert_int_eq (blkmq_read (submitter, back, sizeof back, 0), 0);
  ck_assert_mem_eq (data, back, sizeof data);
  blkmq_submitter_free (submitter);
  blkmq_disk_remove (disk);
  /* Counted by this engine, and nothing was refused. */
  ck_assert_int_eq (blkmq_disk_stats (disk, BLKMQ_HCTX_ANY, &stats), 0);
  ck_assert_uint_eq (stats.ios[BLKMQ_OP_WRITE], 1);
  ck_assert_uint_eq (stats.ios[BLKMQ_OP_READ], 1);
  ck_assert_uint_eq (stats.stale_tokens, 0);
  blkmq_disk_put (disk);
}

START_TEST (a_module_serves_like_a_built_in_driver)
{
  set ("driver", SKELETON);
  set ("size", "64k");
  check ();
  ck_assert_str_eq (blkmq_config_string (config, "driver"), SKELETON);
  io_works ();
  /* And once more: a disk has come and gone, the module has not. */
  io_works ();
}
END_TEST

START_TEST (keys_of_a_module_are_parsed_like_all)
{
  set ("driver", SKELETON);
  set ("size", "64k");
  set_fails ("ring_entries", "0",
             "ring_entries=0: must be a whole number from"
             " 1 to 4096");
  set_fails ("ring_entires", "1", "(did you mean ring_entries?)");
  set_fails ("memory_limit", "1M",
             "a key of driver=memory, not of "
             "driver=skeleton");
  ck_assert_uint_eq (blkmq_config_number (config, "ring_entries"), 8);
  set ("ring_entries", "2");
  ck_assert_uint_eq (blkmq_config_number (config, "ring_entries"), 2);
  check ();
  io_works ();
}
END_TEST

START_TEST (keys_of_a_module_may_come_before_it)
{
  set ("ring_entries", "2");
  set ("size", "64k");
  set ("driver", SKELETON);
  check ();
  ck_assert_uint_eq (blkmq_config_number (config, "ring_entries"), 2);

  renew_config ();
  set ("ring_entries", "4097");
  set ("size", "64k");
  set ("driver", SKELETON);
  check_fails ("ring_entries=4097: must be a whole number from 1 to 4096");

  renew_config ();
  set ("ring_entires", "2");
  set ("size", "64k");
  set ("driver", SKELETON);
  check_fails ("ring_entires=2: unknown key (did you mean ring_entries?)");
}
END_TEST

START_TEST (a_module_is_loaded_once_however_it_is_named)
{
  const struct blkmq_driver *driver;
  char *relative = NULL, *cwd = get_current_dir_name ();
  size_t nr, after;

  set ("driver", SKELETON);
  driver = config_driver (config);
  for (nr = 0; blkmq_driver_at (nr) != NULL; nr++)
    ;

  renew_config ();
  set ("driver", SKELETON);
  ck_assert_ptr_eq (config_driver (config), driver);

  ck_assert_int_eq (symlink (SKELETON, in_dir ("link.so")), 0);
  renew_config ();
  set ("driver", path);
  ck_assert_ptr_eq (config_driver (config), driver);

  /* The path is that of the moment: the second one is another file. */
  ck_assert_int_eq (chdir (dir), 0);
  renew_config ();
  set ("driver", "./link.so");
  ck_assert_ptr_eq (config_driver (config), driver);
  ck_assert_int_eq (chdir ("/"), 0);
  load_fails ("./link.so", "No such file or directory");
  ck_assert_int_gt (asprintf (&relative, ".%s", SKELETON), 0);
  renew_config ();
  set ("driver", relative);
  ck_assert_ptr_eq (config_driver (config), driver);

  /* From now on it has a name, like those built in. */
  renew_config ();
  set ("driver", "skeleton");
  ck_assert_ptr_eq (config_driver (config), driver);

  for (after = 0; blkmq_driver_at (after) != NULL; after++)
    ;
  ck_assert_uint_eq (nr, after);
  ck_assert_int_eq (chdir (cwd), 0);
  free (relative);
  free (cwd);
}
END_TEST

/* ---- what is refused ---- */

START_TEST (what_is_not_a_file_is_refused)
{
  load_fails ("/nowhere/x.so", "No such file or directory; must be a shared "
                               "object with a driver");
  load_fails (dir, "not a regular file; must be a shared object");
  ck_assert_int_eq (mkfifo (in_dir ("pipe.so"), 0600), 0);
  load_fails (path, "not a regular file"); /* and nobody waits */
  load_fails ("./", "not a regular file");
}
END_TEST

START_TEST (what_is_not_a_shared_object_is_refused)
{
  free (image);
  image = (unsigned char *)strdup ("#!/bin/sh\nexit 0\n");
  image_bytes = strlen ((char *)image);
  load_fails (write_image ("x.so"), "cannot be loaded: file too short");
}
END_TEST

START_TEST (a_library_is_not_a_driver)
{
  Dl_info info;
  char *libc;

  ck_assert_int_ne (dladdr (dlsym (RTLD_DEFAULT, "qsort"), &info), 0);
  libc = realpath (info.dli_fname, NULL);
  load_fails (libc, "not a driver: it has no BLKMQ_DRIVER_EXPORT");
  free (libc);
}
END_TEST

START_TEST (an_undefined_symbol_is_named)
{
  read_image ();
  rename_all ("blkmq_hctx_data", "blkmq_hctx_tada");
  load_fails (write_image ("x.so"),
              "cannot be loaded: undefined symbol: blkmq_hctx_tada; this is "
              "blkmq " PACKAGE_VERSION ", which does not have it");
  read_image ();
  rename_all ("pthread_create", "pthread_devise");
  load_fails (write_image ("y.so"),
              "cannot be loaded: undefined symbol: pthread_devise");
  ck_assert_ptr_null (strstr (error.message, "this is blkmq"));
}
END_TEST

START_TEST (another_magic_is_refused)
{
  read_image ();
  descriptor ()->magic ^= 0x10;
  load_fails (write_image ("x.so"),
              "not a driver: blkmq_driver_module begins with "
              "0x9b626c6b6d71b11b, which must be 0x9b626c6b6d71b10b");
}
END_TEST

START_TEST (another_abi_version_is_refused)
{
  read_image ();
  descriptor ()->abi_version = BLKMQ_DRIVER_ABI + 41;
  load_fails (write_image ("x.so"),
              "built for ABI version 43; blkmq " PACKAGE_VERSION
              " needs version 2: build it with the headers of this version");
}
END_TEST

static const struct {
  size_t offset, bytes;
  const char *name;
} sizes[] = {
#define SIZE(member, name)                                                     \
  {                                                                            \
    offsetof (struct blkmq_driver_module, member), sizeof (struct name),       \
        "struct " #name                                                        \
  }
  SIZE (module_bytes, blkmq_driver_module),
  SIZE (driver_bytes, blkmq_driver),
  SIZE (request_bytes, blkmq_request),
  SIZE (limits_bytes, blkmq_limits),
  SIZE (key_bytes, blkmq_key),
  SIZE (error_bytes, blkmq_error),
  SIZE (io_bytes, blkmq_io),
  SIZE (batch_bytes, blkmq_batch),
  SIZE (info_bytes, blkmq_request_info),
  SIZE (stats_bytes, blkmq_stats),
};

/* Every uint32_t of the descriptor is looked at, but for the last. */
_Static_assert(NR (sizes)
                   == (offsetof (struct blkmq_driver_module, reserved)
                       - offsetof (struct blkmq_driver_module, module_bytes))
                          / sizeof (uint32_t),
               "every size has its line");

START_TEST (another_size_of_a_struct_is_refused)
{
  char expected[200];

  for (int sign = -1; sign <= 1; sign += 2) {
    uint32_t bytes = (uint32_t)((int)sizes[_i].bytes + sign * 8);

    read_image ();
    memcpy ((char *)descriptor () + sizes[_i].offset, &bytes, sizeof bytes);
    snprintf (expected, sizeof expected,
              "built with a %s of %u bytes; blkmq " PACKAGE_VERSION
              " needs %zu: build it with the headers of this version",
              sizes[_i].name, bytes, sizes[_i].bytes);
    load_fails (write_image (sign < 0 ? "x.so" : "y.so"), expected);
  }
}
END_TEST

START_TEST (a_name_that_is_taken_is_refused)
{
  char expected[PATH_MAX];
  char *real = realpath (SKELETON, NULL);

  set ("driver", SKELETON);
  read_image ();
  snprintf (expected, sizeof expected,
            "its driver's name, skeleton, is taken by %s", real);
  load_fails (write_image ("x.so"), expected); /* a copy is another file */
  free (real);
}
END_TEST

static const struct blkmq_driver sceleton = {
  .name = "sceleton",
  .help = "in the way",
  .open = fake_open,
  .queue_rq = fake_queue_rq,
};

START_TEST (a_name_that_the_program_has_taken_is_refused)
{
  if (registry_find ("sceleton") == NULL)
    ck_assert_int_eq (blkmq_driver_register (&sceleton, &error), 0);
  read_image ();
  rename_all ("skeleton", "sceleton");
  load_fails (write_image ("x.so"), "its driver's name, sceleton, is taken by "
                                    "one that is here already");
}
END_TEST

START_TEST (a_declaration_out_of_order_is_refused)
{
  read_image ();
  rename_all ("skeleton", "Skeleton");
  load_fails (write_image ("x.so"), "driver Skeleton: a name of a-z 0-9 _ - "
                                    "that starts with a letter is required");
  read_image ();
  rename_all ("skeleton", "sceletan"); /* also if the other is here already */
  rename_all ("ring_entries", "ring-entries");
  load_fails (write_image ("y.so"), "declaration of key ring-entries: the name "
                                    "must consist of a-z 0-9 _");
}
END_TEST

START_TEST (a_long_path_keeps_its_end)
{
  char name[NAME_MAX + 1];
  char value[2 * NAME_MAX];

  memset (name, 'n', NAME_MAX);
  name[NAME_MAX] = '\0';
  memcpy (name + NAME_MAX - 8, "\n_end.so", 8);
  snprintf (value, sizeof value, "%s/%s", dir, name);
  set_fails ("driver", value, "driver=...n");
  set_fails ("driver", value, "nn?_end.so: No such file or directory");
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("module");
  TCase *tcase = tcase_create ("module");

  tcase_add_checked_fixture (tcase, make_dir, remove_dir);
  tcase_set_timeout (tcase, 120);
  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, a_module_serves_like_a_built_in_driver);
  tcase_add_test (tcase, keys_of_a_module_are_parsed_like_all);
  tcase_add_test (tcase, keys_of_a_module_may_come_before_it);
  tcase_add_test (tcase, a_module_is_loaded_once_however_it_is_named);
  tcase_add_test (tcase, what_is_not_a_file_is_refused);
  tcase_add_test (tcase, what_is_not_a_shared_object_is_refused);
  tcase_add_test (tcase, a_library_is_not_a_driver);
  tcase_add_test (tcase, an_undefined_symbol_is_named);
  tcase_add_test (tcase, another_magic_is_refused);
  tcase_add_test (tcase, another_abi_version_is_refused);
  tcase_add_loop_test (tcase, another_size_of_a_struct_is_refused, 0,
                       NR (sizes));
  tcase_add_test (tcase, a_name_that_is_taken_is_refused);
  tcase_add_test (tcase, a_name_that_the_program_has_taken_is_refused);
  tcase_add_test (tcase, a_declaration_out_of_order_is_refused);
  tcase_add_test (tcase, a_long_path_keeps_its_end);
  return run_suite (srunner_create (suite));
}

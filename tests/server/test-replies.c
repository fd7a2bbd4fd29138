/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-replies.c: what is on the wire when a request was done, or was not:
 * byte by byte, and against a copy of the disk.
 */

#include <config.h>

#include <string.h>

#include "asking.h"

/* ------------------------------------------------------------------------ */
/* Byte by byte                                                              */

static void
expect_bytes (const void *bytes, size_t nr)
{
  uint8_t here[KB];

  require (nr <= sizeof here && client_receive (&client, here, nr));
  ck_assert_mem_eq (here, bytes, nr);
}

static void
ask (unsigned type, unsigned flags, uint64_t offset_bytes, uint32_t bytes)
{
  client_ask (&client, type, flags, UINT64_C (0x1122334455667788), offset_bytes,
              bytes);
}

#define COOKIE 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88
#define SIMPLE 0x67, 0x44, 0x66, 0x98
#define CHUNK 0x66, 0x8e, 0x33, 0xef

static const uint8_t done[] = { SIMPLE, 0, 0, 0, 0, COOKIE };

static void
expect_all_but_reads (void)
{
  ask (NBD_CMD_WRITE, 0, PAGE, 512);
  client_send (&client, ones, 512);
  expect_bytes (done, sizeof done);
  ask (NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, PAGE, 512);
  client_send (&client, ones, 512);
  expect_bytes (done, sizeof done);
  ask (NBD_CMD_FLUSH, 0, 0, 0);
  expect_bytes (done, sizeof done);
  ask (NBD_CMD_CACHE, 0, 0, 512);
  expect_bytes (done, sizeof done);
  ask (NBD_CMD_TRIM, 0, 0, 512);
  expect_bytes (done, sizeof done);
  ask (NBD_CMD_WRITE_ZEROES, 0, 0, 512);
  expect_bytes (done, sizeof done);
}

START_TEST (test_simple_replies_byte_by_byte)
{
  static const uint8_t failed[] = { SIMPLE, 0, 0, 0, 22, COOKIE };

  begin ("size=1M", 0);
  expect_all_but_reads ();
  ask (NBD_CMD_READ, 0, PAGE, 512);
  expect_bytes (done, sizeof done);
  expect_bytes (ones, 512);
  ask (NBD_CMD_READ, 0, PAGE + 3, 5);
  expect_bytes (done, sizeof done);
  expect_bytes (ones, 5);
  ask (NBD_CMD_READ, 0, MB, 1);
  expect_bytes (failed, sizeof failed);
  end ();
}
END_TEST

START_TEST (test_structured_replies_byte_by_byte)
{
  static const uint8_t data[]
      = { CHUNK, 0, 1, 0, 1, COOKIE, 0, 0, 2, 8, 0, 0, 0, 0, 0, 0, 0x10, 0 };
  static const uint8_t few[]
      = { CHUNK, 0, 1, 0, 1, COOKIE, 0, 0, 0, 13, 0, 0, 0, 0, 0, 0, 0x10, 3 };
  static const uint8_t hole[] = { CHUNK, 0, 1, 0, 2, COOKIE, 0, 0, 0, 12, 0,
                                  0,     0, 0, 0, 0, 0x20,   0, 0, 0, 2,  0 };
  static const uint8_t zeros[] = { CHUNK, 0, 1, 0, 1, COOKIE, 0,    0, 0, 10,
                                   0,     0, 0, 0, 0, 0,      0x20, 0, 0, 0 };
  static const uint8_t status[]
      = { CHUNK, 0, 1, 0, 5, COOKIE, 0, 0, 0, 28, 0, 0, 0, 1, 0, 0, 2, 0, 0,
          0,     0, 3, 0, 0, 0x10,   0, 0, 0, 0,  0, 0, 0, 1, 0, 0, 0, 0, 3 };
  static const char why[] = "goes beyond the end of the disk, 1048576";
  static const uint8_t failed[]
      = { CHUNK, 0, 1, 0x80, 1, COOKIE,        0, 0, 0, 6 + sizeof why - 1,
          0,     0, 0, 22,   0, sizeof why - 1 };

  begin ("size=1M", CLIENT_CONTEXT);
  expect_all_but_reads ();
  ask (NBD_CMD_READ, 0, PAGE, 512);
  expect_bytes (data, sizeof data);
  expect_bytes (ones, 512);
  ask (NBD_CMD_READ, 0, PAGE + 3, 5);
  expect_bytes (few, sizeof few);
  expect_bytes (ones, 5);
  ask (NBD_CMD_READ, 0, 2 * PAGE, 512);
  expect_bytes (hole, sizeof hole);
  ask (NBD_CMD_READ, NBD_CMD_FLAG_DF, 2 * PAGE, 2);
  expect_bytes (zeros, sizeof zeros);
  ask (NBD_CMD_BLOCK_STATUS, 0, PAGE - 512, 512 + PAGE + 256);
  expect_bytes (status, sizeof status);
  ask (NBD_CMD_READ, 0, MB, 1);
  expect_bytes (failed, sizeof failed);
  expect_bytes (why, sizeof why - 1);
  end ();
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Sparse reads                                                              */

#define MAX_PIECES 7

/* Data at 64K to 68K, at 128K to 192K, and from 256K every other page. */
static void
write_pieces (void)
{
  write_ones (64 * KB, PAGE);
  write_ones (128 * KB, 64 * KB);
  for (unsigned i = 0; i < 32; i++)
    write_ones (256 * KB + i * 2 * PAGE, PAGE);
}

/* Lengths; holes are negative. */
static const struct sparse {
  unsigned flags;
  uint64_t offset_bytes;
  uint32_t bytes;
  int pieces[MAX_PIECES];
} sparse[] = {
  { 0, 0, 256 * KB, { -65536, 4096, -61440, 65536, -65536 } },
  { NBD_CMD_FLAG_DF, 0, 256 * KB, { 262144 } },
  { 0, 64 * KB, 64 * KB, { 4096, -61440 } },
  { 0, 128 * KB, 64 * KB, { 65536 } },
  { 0, 0, 64 * KB, { -65536 } },
  { NBD_CMD_FLAG_DF, 0, 64 * KB, { 65536 } },
  /* A shorter one is looked at if it may be a hole. */
  { 0, 64 * KB, 64 * KB - 1, { 65535 } },
  { 0, 0, 64 * KB - 1, { -65535 } },
  { 0, 8 * PAGE, PAGE, { -4096 } },
  { 0, 8 * PAGE, 1, { -1 } },
  { NBD_CMD_FLAG_DF, 8 * PAGE, 1, { 1 } },
  { 0, 64 * KB + 512, 512, { 512 } },
  /* Of no block. */
  { 0, 1000, 100, { -100 } },
  { 0, 511, 2, { -2 } },
  { 0, 65000, 70000, { -536, 4096, -61440, 3928 } },
  { NBD_CMD_FLAG_DF, 65000, 70000, { 70000 } },
  { 0, 64 * KB + 1, 64 * KB, { 4095, -61440, 1 } },
  { 0, 64 * KB - 1, 64 * KB + 2, { -1, 4096, -61440, 1 } },
  /* The end of the disk. */
  { 0, MB - 3, 3, { -3 } },
  { 0, MB - 64 * KB - 3, 64 * KB + 3, { -65539 } },
  /* In too many pieces. */
  { 0, 256 * KB, 17 * PAGE, { 69632 } },
  { 0, 256 * KB, 256 * KB, { 262144 } },
};

static void
check_pieces (const struct sparse *s)
{
  uint64_t offset_bytes = s->offset_bytes;
  unsigned nr = 0;

  for (; nr < MAX_PIECES && s->pieces[nr] != 0; nr++) {
    bool is_hole = s->pieces[nr] < 0;
    uint32_t bytes = (uint32_t)(is_hole ? -s->pieces[nr] : s->pieces[nr]);

    ck_assert_msg (nr < answer.nr_pieces
                       && answer.pieces[nr].offset_bytes == offset_bytes
                       && answer.pieces[nr].bytes == bytes
                       && answer.pieces[nr].is_hole == is_hole,
                   "read %u of %u bytes: piece %u of %u",
                   (unsigned)(s - sparse), s->bytes, nr, answer.nr_pieces);
    offset_bytes += bytes;
  }
  ck_assert_uint_eq (answer.nr_pieces, nr);
  ck_assert_uint_eq (answer.nr_chunks, nr);
}

START_TEST (test_reads_tell_holes)
{
  begin ("size=1M", CLIENT_STRUCTURED);
  write_pieces ();
  for (unsigned i = 0; i < NR (sparse); i++) {
    ask_read (sparse[i].flags, sparse[i].offset_bytes, sparse[i].bytes);
    ck_assert_uint_eq (answer.error, 0);
    check_pieces (&sparse[i]);
  }
  /* As many pieces as may be, which begin and end with either. */
  for (unsigned i = 0; i < 2; i++) {
    ask_read (0, 256 * KB + i * PAGE, 16 * PAGE);
    ck_assert_uint_eq (answer.nr_pieces, 16);
    ck_assert (answer.pieces[0].is_hole == (i == 1));
    ask_read (0, 256 * KB + i * PAGE + 1, 16 * PAGE);
    ck_assert_uint_eq (answer.nr_pieces, 1);
  }
  end ();
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Against a copy                                                            */

static const struct disk {
  const char *keys;
  uint64_t size_bytes;
  uint32_t block_bytes;
} disks[] = {
  { "size=1M", MB, 512 },
  { "size=1M blocksize=4096 irqmode=timer completion_nsec=10us", MB, 4096 },
  { "size=1049000 blocksize=4096", 1049000, 4096 },
  { "size=1000001 irqmode=softirq", 1000001, 512 },
  { "size=1M cache_size=64k", MB, 512 },
  { "size=1000001 blocksize=1024 cache_size=128k fua=0", 1000001, 1024 },
  { "size=1M max_sectors=64 nomerges=0 scheduler=mq-deadline", MB, 512 },
};

static const unsigned feature_sets[] = { 0, CLIENT_STRUCTURED, CLIENT_CONTEXT };

struct copy {
  const struct disk *disk;
  struct rng rng;
  uint8_t *bytes;
};

/* A range of blocks; the last one may be cut off. */
static void
choose_blocks (struct copy *copy, uint64_t *offset_bytes, uint32_t *bytes)
{
  const struct disk *disk = copy->disk;
  uint64_t nr_blocks
      = (disk->size_bytes + disk->block_bytes - 1) / disk->block_bytes;
  uint64_t nr = 1 + rng_below (&copy->rng, 100 * KB / disk->block_bytes);
  uint64_t first = rng_below (&copy->rng, nr_blocks), end;

  if (rng_percent (&copy->rng, 10))
    first = nr_blocks - 1;
  *offset_bytes = first * disk->block_bytes;
  end = *offset_bytes + nr * disk->block_bytes;
  if (end > disk->size_bytes)
    end = disk->size_bytes;
  *bytes = (uint32_t)(end - *offset_bytes);
}

static void
change (struct copy *copy)
{
  static const unsigned zero_flags[]
      = { 0, NBD_CMD_FLAG_NO_HOLE, NBD_CMD_FLAG_FAST_ZERO,
          NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FUA };
  struct rng *rng = &copy->rng;
  uint64_t offset_bytes;
  uint32_t bytes;

  choose_blocks (copy, &offset_bytes, &bytes);
  switch (rng_below (rng, 4)) {
  case 0:
    client_do (&client, NBD_CMD_TRIM, 0, offset_bytes, bytes, 0);
    memset (copy->bytes + offset_bytes, 0, bytes);
    break;
  case 1:
    client_do (&client, NBD_CMD_WRITE_ZEROES,
               zero_flags[rng_below (rng, NR (zero_flags))], offset_bytes,
               bytes, 0);
    memset (copy->bytes + offset_bytes, 0, bytes);
    break;
  case 2:
    client_do (&client, NBD_CMD_FLUSH, 0, 0, 0, 0);
    break;
  default:
    for (uint32_t i = 0; i < bytes; i++)
      copy->bytes[offset_bytes + i] = (uint8_t)(rng->state + i % 251);
    (void)rng_next (rng);
    client_do_write (&client, offset_bytes, copy->bytes + offset_bytes, bytes,
                     0);
  }
}

static bool
is_zero (const uint8_t *bytes, uint32_t nr)
{
  for (uint32_t i = 0; i < nr; i++)
    if (bytes[i] != 0)
      return false;
  return true;
}

/* Any byte, any length. */
static void
choose_bytes (struct copy *copy, uint64_t *offset_bytes, uint32_t *bytes)
{
  uint64_t size_bytes = copy->disk->size_bytes;
  uint32_t most = rng_percent (&copy->rng, 50) ? 600 : 200 * KB;

  *offset_bytes = rng_below (&copy->rng, size_bytes);
  *bytes = 1 + (uint32_t)rng_below (&copy->rng, most);
  if (rng_percent (&copy->rng, 10) || *bytes > size_bytes - *offset_bytes)
    *offset_bytes = size_bytes - *bytes;
}

static void
compare_read (struct copy *copy)
{
  bool df = client.structured && rng_percent (&copy->rng, 20);
  uint64_t offset_bytes;
  uint32_t bytes;

  choose_bytes (copy, &offset_bytes, &bytes);
  ask_read (df ? NBD_CMD_FLAG_DF : 0, offset_bytes, bytes);
  ck_assert_uint_eq (answer.error, 0);
  ck_assert_uint_eq (answer.bytes, bytes);
  require (memcmp (answer.data, copy->bytes + offset_bytes, bytes) == 0);
  if (!client.structured)
    return;
  ck_assert_uint_eq (answer.pieces[0].offset_bytes, offset_bytes);
  if (df) {
    ck_assert_uint_eq (answer.nr_data_chunks, 1);
    ck_assert_uint_eq (answer.nr_chunks, 1);
  }
}

static void
compare_status (struct copy *copy)
{
  bool only_one = rng_percent (&copy->rng, 30);
  uint64_t offset_bytes;
  uint32_t bytes, told = 0;

  choose_bytes (copy, &offset_bytes, &bytes);
  ask_status (only_one ? NBD_CMD_FLAG_REQ_ONE : 0, offset_bytes, bytes);
  for (unsigned i = 0; i < answer.nr_extents; i++) {
    uint32_t nr = answer.extents[i].bytes, type = answer.extents[i].type;

    ck_assert_uint_le (nr, bytes - told);
    ck_assert (type == 0 || type == (NBD_STATE_HOLE | NBD_STATE_ZERO));
    ck_assert (i == 0 || type != answer.extents[i - 1].type);
    if (type & NBD_STATE_ZERO)
      require (is_zero (copy->bytes + offset_bytes + told, nr));
    told += nr;
  }
  if (only_one)
    ck_assert_uint_eq (answer.nr_extents, 1);
  else
    ck_assert_uint_eq (told, bytes);
}

START_TEST (test_answers_agree_with_a_copy)
{
  unsigned features = feature_sets[(unsigned)_i % NR (feature_sets)];
  struct copy copy = { .disk = &disks[(unsigned)_i / NR (feature_sets)] };

  begin (copy.disk->keys, features);
  rng_init (&copy.rng, (uint64_t)_i);
  copy.bytes = calloc (1, copy.disk->size_bytes);
  require (copy.bytes != NULL);
  ck_assert_uint_eq (client.size_bytes, copy.disk->size_bytes);
  for (unsigned i = 0; i < (SANITIZED ? 100 : 400); i++) {
    change (&copy);
    compare_read (&copy);
    compare_read (&copy);
    if (features == CLIENT_CONTEXT)
      compare_status (&copy);
  }
  client_check (&client, 0, copy.bytes, (uint32_t)copy.disk->size_bytes);
  free (copy.bytes);
  end ();
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("replies");
  TCase *tcase = harness_case (suite, "replies");

  tcase_add_test (tcase, test_simple_replies_byte_by_byte);
  tcase_add_test (tcase, test_structured_replies_byte_by_byte);
  tcase_add_test (tcase, test_reads_tell_holes);
  tcase_add_loop_test (tcase, test_answers_agree_with_a_copy, 0,
                       NR (disks) * NR (feature_sets));
  return harness_main (suite);
}

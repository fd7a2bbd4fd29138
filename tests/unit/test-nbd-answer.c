/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-nbd-answer.c: every end of an io has its answer, in NBD's few errnos.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "front/nbd-answer.h"
#include "harness.h"

static bool
nbd_has (int err)
{
  static const int known[]
      = { EPERM, EIO, ENOMEM, EINVAL, ENOSPC, EOPNOTSUPP, ESHUTDOWN };

  for (size_t i = 0; i < NR (known); i++)
    if (known[i] == err)
      return true;
  return false;
}

START_TEST (test_every_status_has_an_answer_that_nbd_knows)
{
  ck_assert_int_eq (nbd_answer (BLKMQ_STS_OK)->told, 0);
  for (int i = 1; i < BLKMQ_NR_STATUSES; i++) {
    const struct nbd_answer *answer = nbd_answer ((enum blkmq_status)i);

    ck_assert_int_eq (answer->status, i);
    ck_assert_msg (nbd_has (answer->told), "status %d: errno %d", i,
                   answer->told);
    ck_assert_str_ne (answer->why, "");
  }
  ck_assert_int_eq (nbd_answer (BLKMQ_NR_STATUSES)->told, EIO);
}
END_TEST

START_TEST (test_what_calls_return_has_the_same_answer)
{
  for (int i = 0; i < BLKMQ_NR_STATUSES; i++) {
    enum blkmq_status status = (enum blkmq_status)i;

    ck_assert_ptr_eq (nbd_answer_to_errno (blkmq_status_to_errno (status)),
                      nbd_answer (status));
  }
  ck_assert_int_eq (nbd_answer_to_errno (EXDEV)->told, EIO);
}
END_TEST

START_TEST (test_only_what_does_not_keep_to_blocks_is_told_so)
{
  static const struct blkmq_limits limits = { .logical_block_bytes = 4096 };
  const struct nbd_answer *invalid = nbd_answer (BLKMQ_STS_INVAL);
  const struct nbd_answer *failed = nbd_answer (BLKMQ_STS_IOERR);
  static const char unaligned[] = "not a multiple of blocksize=4096";
  char buf[NBD_ANSWER_WHY_BYTES];

  ck_assert_str_eq (nbd_answer_why (invalid, &limits, 512, 4096, buf),
                    unaligned);
  ck_assert_str_eq (nbd_answer_why (invalid, &limits, 4096, 512, buf),
                    unaligned);
  ck_assert_str_eq (nbd_answer_why (invalid, &limits, 4096, 4096, buf),
                    invalid->why);
  ck_assert_str_eq (nbd_answer_why (failed, &limits, 1, 1, buf), failed->why);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("nbd-answer");
  TCase *tcase = harness_case (suite, "nbd-answer");

  tcase_add_test (tcase, test_every_status_has_an_answer_that_nbd_knows);
  tcase_add_test (tcase, test_what_calls_return_has_the_same_answer);
  tcase_add_test (tcase, test_only_what_does_not_keep_to_blocks_is_told_so);
  return harness_main (suite);
}

/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-access.c: the lists of those who may connect: what is taken, what is
 * refused and with which words, and who is in them.
 */

#include <config.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "server/access.h"

typedef int add_list (struct access *access, const char *option,
                      const char *text, struct blkmq_error *error);

/* TEXT is refused, with all of WORDS, and nothing was added. */
static void
refuses (add_list *add, const char *text, const char *words)
{
  struct access access = { .nr_uids = 0 };
  struct blkmq_error error = { "" };

  ck_assert_msg (add (&access, "--list", text, &error) == -EINVAL,
                 "'%s' is taken", text);
  ck_assert_msg (strncmp (error.message, "--list=", 7) == 0, "'%s': %s", text,
                 error.message);
  ck_assert_msg (strstr (error.message, words) != NULL, "'%s': no '%s' in: %s",
                 text, words, error.message);
  access_clear (&access);
}

static void
takes (add_list *add, struct access *access, const char *text)
{
  struct blkmq_error error = { "" };

  ck_assert_msg (add (access, "--list", text, &error) == 0, "'%s': %s", text,
                 error.message);
}

static bool
allows_user (const struct access *access, uid_t uid)
{
  return access_allows_user (access, uid, NULL, 0);
}

static bool
allows_address (const struct access *access, const char *text)
{
  struct sockaddr_storage storage = { .ss_family = AF_INET };
  struct sockaddr_in ipv4 = { .sin_family = AF_INET, .sin_port = 0x1234 };
  struct sockaddr_in6 ipv6 = { .sin6_family = AF_INET6, .sin6_port = 0x1234 };

  if (inet_pton (AF_INET, text, &ipv4.sin_addr) == 1)
    memcpy (&storage, &ipv4, sizeof ipv4);
  else {
    ck_assert_int_eq (inet_pton (AF_INET6, text, &ipv6.sin6_addr), 1);
    memcpy (&storage, &ipv6, sizeof ipv6);
  }
  return access_allows_address (access, (const struct sockaddr *)&storage);
}

/* ------------------------------------------------------------------------ */
/* Users and groups                                                          */

START_TEST (test_without_a_list_everybody_may)
{
  static const struct access nobody_listed = { .nr_uids = 0 };
  struct sockaddr other = { .sa_family = AF_UNSPEC };

  ck_assert (allows_user (&nobody_listed, 0));
  ck_assert (allows_user (&nobody_listed, 4294967294u));
  ck_assert (allows_address (&nobody_listed, "192.0.2.1"));
  ck_assert (allows_address (&nobody_listed, "2001:db8::1"));
  ck_assert (access_allows_address (&nobody_listed, &other));
  ck_assert (access_allows_identity (&nobody_listed, "anybody"));
  ck_assert (access_allows_identity (&nobody_listed, ""));
}
END_TEST

START_TEST (test_users_by_number_and_by_name)
{
  struct access access = { .nr_uids = 0 };

  takes (access_add_users, &access, "1000");
  ck_assert (allows_user (&access, 1000));
  ck_assert (!allows_user (&access, 0));
  ck_assert (!allows_user (&access, 1001));
  takes (access_add_users, &access, "root,4294967294,0007");
  ck_assert (allows_user (&access, 0));
  ck_assert (allows_user (&access, 1000));
  ck_assert (allows_user (&access, 7));
  ck_assert (allows_user (&access, 4294967294u));
  ck_assert (!allows_user (&access, 4294967295u));
  ck_assert_uint_eq (access.nr_uids, 4);
  /* A list of another kind is not touched. */
  ck_assert (allows_address (&access, "192.0.2.1"));
  access_clear (&access);
  ck_assert (allows_user (&access, 1));
}
END_TEST

START_TEST (test_groups_one_of_several_is_enough)
{
  static const gid_t has[] = { 5, 100, 7 }, has_not[] = { 5, 7 };
  struct access access = { .nr_uids = 0 };

  takes (access_add_groups, &access, "100,root");
  ck_assert (access_allows_user (&access, 1, has, NR (has)));
  ck_assert (!access_allows_user (&access, 1, has_not, NR (has_not)));
  ck_assert (!access_allows_user (&access, 100, NULL, 0));
  ck_assert (access_allows_user (&access, 1, (gid_t[]){ 0 }, 1));
  /* Users beside groups: either will do. */
  takes (access_add_users, &access, "50");
  ck_assert (access_allows_user (&access, 50, has_not, NR (has_not)));
  ck_assert (access_allows_user (&access, 1, has, NR (has)));
  ck_assert (!access_allows_user (&access, 5, has_not, NR (has_not)));
  access_clear (&access);
}
END_TEST

START_TEST (test_users_and_groups_that_are_none)
{
  static const char *const unknown[] = { "",      ",",
                                         "1,",    ",1",
                                         "1,,2",  "-1",
                                         "+1",    " 1",
                                         "1 ",    "0x1",
                                         "1.",    "no such user",
                                         "1-2",   "1000,no-such-name-at-all",
                                         "root,", "*" };

  for (size_t i = 0; i < NR (unknown); i++) {
    refuses (access_add_users, unknown[i], "no such user; must be users, by");
    refuses (access_add_groups, unknown[i], "no such group; must be groups, ");
  }
  /* The last is what the kernel calls nobody at all. */
  refuses (access_add_users, "4294967295", "too large");
  refuses (access_add_users, "4294967296", "too large");
  refuses (access_add_users, "18446744073709551616", "too large");
  refuses (access_add_users, "1,99999999999999999999999999999999", "too large");
  refuses (access_add_groups, "4294967295", "from 0 to 4294967294");
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Addresses                                                                 */

START_TEST (test_addresses_without_a_prefix)
{
  struct access access = { .nr_uids = 0 };

  takes (access_add_nets, &access, "192.0.2.1,2001:db8::1");
  ck_assert (allows_address (&access, "192.0.2.1"));
  ck_assert (allows_address (&access, "2001:db8::1"));
  ck_assert (!allows_address (&access, "192.0.2.2"));
  ck_assert (!allows_address (&access, "192.0.2.0"));
  ck_assert (!allows_address (&access, "2001:db8::"));
  ck_assert (!allows_address (&access, "2001:db8::3"));
  /* The same bytes at the beginning, but not of the same kind. */
  ck_assert (!allows_address (&access, "c000:201::"));
  ck_assert (!allows_address (&access, "32.1.13.184"));
  ck_assert (allows_user (&access, 1));
  access_clear (&access);
}
END_TEST

/* Every length of a prefix: the address with the first bits of all ones, and
 * the one that differs in the last of them, and in the first after them. */
static void
check_prefix (bool is_ipv6, unsigned nr_bits)
{
  unsigned nr_all = is_ipv6 ? 128 : 32;
  struct access access = { .nr_uids = 0 };
  uint8_t bytes[16] = { 0 };
  char text[INET6_ADDRSTRLEN], item[INET6_ADDRSTRLEN + 4];

  for (unsigned i = 0; i < nr_bits; i++)
    bytes[i / 8] |= (uint8_t)(0x80 >> i % 8);
  inet_ntop (is_ipv6 ? AF_INET6 : AF_INET, bytes, text, sizeof text);
  snprintf (item, sizeof item, "%s/%u", text, nr_bits);
  takes (access_add_nets, &access, item);
  ck_assert_msg (allows_address (&access, text), "%s is not in %s", text, item);
  for (unsigned i = 0; i < nr_all; i++) {
    bytes[i / 8] ^= (uint8_t)(0x80 >> i % 8);
    inet_ntop (is_ipv6 ? AF_INET6 : AF_INET, bytes, text, sizeof text);
    ck_assert_msg (allows_address (&access, text) == (i >= nr_bits),
                   "%s in %s, bit %u", text, item, i);
    bytes[i / 8] ^= (uint8_t)(0x80 >> i % 8);
  }
  ck_assert (
      !allows_address (&access, is_ipv6 ? "255.255.255.255" : "ffff:ffff::"));
  access_clear (&access);
}

START_TEST (test_prefixes_of_each_length)
{
  for (unsigned nr_bits = 0; nr_bits <= 32; nr_bits++)
    check_prefix (false, nr_bits);
  for (unsigned nr_bits = 0; nr_bits <= 128; nr_bits++)
    check_prefix (true, nr_bits);
}
END_TEST

START_TEST (test_mapped_addresses_count_as_what_they_are)
{
  struct access access = { .nr_uids = 0 };

  takes (access_add_nets, &access, "10.0.0.0/8");
  ck_assert (allows_address (&access, "::ffff:10.1.2.3"));
  ck_assert (!allows_address (&access, "::ffff:11.1.2.3"));
  ck_assert (!allows_address (&access, "::10.1.2.3"));
  access_clear (&access);

  takes (access_add_nets, &access, "::ffff:10.0.0.0/104,::ffff:192.0.2.1");
  ck_assert (allows_address (&access, "10.1.2.3"));
  ck_assert (allows_address (&access, "::ffff:10.1.2.3"));
  ck_assert (!allows_address (&access, "11.1.2.3"));
  ck_assert (allows_address (&access, "192.0.2.1"));
  ck_assert (!allows_address (&access, "192.0.2.0"));
  access_clear (&access);

  /* All of one kind are none of the other. */
  takes (access_add_nets, &access, "::/0");
  ck_assert (allows_address (&access, "2001:db8::1"));
  ck_assert (!allows_address (&access, "192.0.2.1"));
  ck_assert (!allows_address (&access, "::ffff:192.0.2.1"));
  access_clear (&access);
  takes (access_add_nets, &access, "0.0.0.0/0");
  ck_assert (allows_address (&access, "::ffff:192.0.2.1"));
  ck_assert (!allows_address (&access, "2001:db8::1"));
  access_clear (&access);
  takes (access_add_nets, &access, "::ffff:0.0.0.0/96");
  ck_assert (allows_address (&access, "192.0.2.1"));
  ck_assert (!allows_address (&access, "::1"));
  access_clear (&access);
}
END_TEST

START_TEST (test_a_socket_of_another_kind_is_in_no_list)
{
  struct access access = { .nr_uids = 0 };
  struct sockaddr other = { .sa_family = AF_VSOCK };

  takes (access_add_nets, &access, "0.0.0.0/0,::/0");
  ck_assert (!access_allows_address (&access, &other));
  access_clear (&access);
}
END_TEST

START_TEST (test_addresses_that_are_none)
{
  static const char *const no_address[] = { "",
                                            ",",
                                            "127.0.0.1,",
                                            "localhost",
                                            "127.1",
                                            "127.0.0.1:80",
                                            "256.0.0.1",
                                            "1.2.3",
                                            "1.2.3.4.5",
                                            "1.2.3.4 ",
                                            " 1.2.3.4",
                                            "0x7f.0.0.1",
                                            "[::1]",
                                            "::1::",
                                            "::g",
                                            "fe80::1%lo",
                                            "fe80::1%lo/10",
                                            "1:2:3:4:5:6:7:8:9",
                                            "/8",
                                            "*",
                                            "127.0.0.1-127.0.0.9" };
  static const char *const no_prefix[]
      = { "10.0.0.0/",    "10.0.0.0/33",  "10.0.0.0/-1",
          "10.0.0.0/+8",  "10.0.0.0/ 8",  "10.0.0.0/8 ",
          "10.0.0.0/8/8", "10.0.0.0/0x8", "10.0.0.0/255",
          "::/129",       "::/999",       "::/4294967296",
          "::/",          "::/-1",        "10.0.0.0/255.0.0.0" };
  static const char *const more_bits[]
      = { "10.0.0.1/8",        "10.0.0.0/4",          "255.255.255.255/31",
          "1.2.3.4/0",         "2001:db8::1/64",      "::1/127",
          "8000::/0",          "::ffff:10.0.0.1/104", "::ffff:0.0.0.0/95",
          "::ffff:10.0.0.0/8", "::ffff:0:0/0" };

  for (size_t i = 0; i < NR (no_address); i++)
    refuses (access_add_nets, no_address[i],
             "not an address; must be ADDRESS or ADDRESS/PREFIX, of IPv4");
  for (size_t i = 0; i < NR (no_prefix); i++)
    refuses (access_add_nets, no_prefix[i],
             no_prefix[i][0] == ':'
                 ? "the prefix must be a number from 0 to 128;"
                 : "the prefix must be a number from 0 to 32;");
  for (size_t i = 0; i < NR (more_bits); i++)
    refuses (access_add_nets, more_bits[i], "has bits after the prefix; must");
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Identities                                                                */

static bool
identity_is (const char *pattern, const char *identity)
{
  struct access access = { .nr_uids = 0 };
  bool is;

  takes (access_add_identity, &access, pattern);
  is = access_allows_identity (&access, identity);
  access_clear (&access);
  return is;
}

START_TEST (test_an_identity_is_compared_as_a_whole)
{
  ck_assert (identity_is ("CN=alice,O=Example", "CN=alice,O=Example"));
  ck_assert (!identity_is ("CN=alice", "CN=alice,O=Example"));
  ck_assert (!identity_is ("CN=alice,O=Example", "CN=alice"));
  ck_assert (!identity_is ("alice", "CN=alice"));
  ck_assert (!identity_is ("alice", "Alice"));
  ck_assert (!identity_is ("alice", ""));
  /* What other patterns would take for more than a byte. */
  ck_assert (identity_is ("a?[b]\\,c", "a?[b]\\,c"));
  ck_assert (!identity_is ("a?c", "abc"));
  ck_assert (!identity_is ("[ab]", "a"));
  ck_assert (!identity_is ("\\a", "a"));
}
END_TEST

START_TEST (test_a_star_stands_for_anything)
{
  ck_assert (identity_is ("*", ""));
  ck_assert (identity_is ("*", "CN=alice"));
  ck_assert (identity_is ("CN=*,O=Example", "CN=alice,O=Example"));
  ck_assert (identity_is ("CN=*,O=Example", "CN=,O=Example"));
  ck_assert (!identity_is ("CN=*,O=Example", "CN=alice,O=Examples"));
  ck_assert (!identity_is ("CN=*,O=Example", "CN=alice"));
  ck_assert (identity_is ("host-*", "host-"));
  ck_assert (!identity_is ("host-*", "host"));
  ck_assert (identity_is ("*-ci", "a-ci-ci"));
  ck_assert (identity_is ("a*b*c", "aXbXbc"));
  ck_assert (!identity_is ("a*b*c", "aXcXb"));
  ck_assert (identity_is ("a**b", "ab"));
  ck_assert (identity_is ("*a*", "a"));
  ck_assert (identity_is ("\\*", "\\star"));
}
END_TEST

START_TEST (test_a_long_identity_takes_no_long_time)
{
  static char identity[64 << 10];

  /* With one try for each way to share the bytes out among the stars this
   * would not end. */
  memset (identity, 'a', sizeof identity - 1);
  ck_assert (!identity_is ("*a*a*a*a*a*a*a*a*b", identity));
  identity[sizeof identity - 2] = 'b';
  ck_assert (identity_is ("*a*a*a*a*a*a*a*a*b", identity));
}
END_TEST

START_TEST (test_identities_are_not_split_and_one_is_enough)
{
  struct access access = { .nr_uids = 0 };

  refuses (access_add_identity, "", "is empty; must be an identity");
  takes (access_add_identity, &access, "CN=a,O=b");
  takes (access_add_identity, &access, "bob");
  ck_assert (access_allows_identity (&access, "CN=a,O=b"));
  ck_assert (access_allows_identity (&access, "bob"));
  ck_assert (!access_allows_identity (&access, "CN=a"));
  ck_assert (!access_allows_identity (&access, "O=b"));
  access_clear (&access);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("access");
  TCase *users = harness_case (suite, "users");
  TCase *addresses = harness_case (suite, "addresses");
  TCase *identities = harness_case (suite, "identities");

  tcase_add_test (users, test_without_a_list_everybody_may);
  tcase_add_test (users, test_users_by_number_and_by_name);
  tcase_add_test (users, test_groups_one_of_several_is_enough);
  tcase_add_test (users, test_users_and_groups_that_are_none);
  tcase_add_test (addresses, test_addresses_without_a_prefix);
  tcase_add_test (addresses, test_prefixes_of_each_length);
  tcase_add_test (addresses, test_mapped_addresses_count_as_what_they_are);
  tcase_add_test (addresses, test_a_socket_of_another_kind_is_in_no_list);
  tcase_add_test (addresses, test_addresses_that_are_none);
  tcase_add_test (identities, test_an_identity_is_compared_as_a_whole);
  tcase_add_test (identities, test_a_star_stands_for_anything);
  tcase_add_test (identities, test_a_long_identity_takes_no_long_time);
  tcase_add_test (identities, test_identities_are_not_split_and_one_is_enough);
  return harness_main (suite);
}

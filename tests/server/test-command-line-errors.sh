#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# What is wrong on blkmqd's command line is refused before anything is served,
# with what was given and what is allowed; what is missing in the world is
# another exit status; and in neither case is anything left behind.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"

# ---- usage: 2 ----

usage ()
{
  refuses 2 "$@"
  [ ! -s out ] || fail "blkmqd ${*:2} prints: $(cat out)"
  grep -q "^Try 'blkmqd --help'" err \
    || fail "blkmqd ${*:2} does not point to --help: $(cat err)"
  is_clean s
}

nobody='say --unix=PATH, --tcp=HOST:PORT, --stdio or --run=COMMAND'
usage "$nobody"
usage "$nobody" 1G
usage 'unrecognized option' --frob 1G
usage "requires an argument" 1G --unix
usage "--threads=0: must be a whole number from 1 to 256" \
  --unix s 1G --threads 0
usage "--threads=257: must be" --unix s 1G --threads=257
usage "--threads=3: given twice" --unix s 1G --threads 2 --threads 3
usage "--run=b: given twice" 1G --run a --run b
usage "--pidfile=b: given twice" --unix s 1G --pidfile a --pidfile b
usage "--log-level=loud: unknown word; must be one of error, warning, info, \
debug" --unix s 1G --log-level loud
usage "--busy-poll=1001: must be a time from 0 to 1000" \
  --unix s 1G --busy-poll=1001
usage "--busy-poll=1.5: a fraction without a suffix" \
  --unix s 1G --busy-poll=1.5
usage "--idle-timeout=5x: unknown suffix" --unix s 1G --idle-timeout=5x
usage "--stall-timeout=-1: negative" --unix s 1G --stall-timeout=-1
usage "--handshake-timeout=2000000s: must be" \
  --unix s 1G --handshake-timeout=2000000s
usage "--max-connections=0: must be" --unix s 1G --max-connections=0
usage "--max-request=1k: must be a size from 65536" \
  --unix s 1G --max-request=1k
usage "--max-request=100000: must be a multiple of 64k" \
  --unix s 1G --max-request=100000
usage "--max-buffers=2097152: too small; must be at least 8388608" \
  --unix s 1G --max-request 1M --max-buffers 2M --threads 4
usage "--max-request=64M: must be a size from 65536 to 33554432" \
  --unix s 1G --max-request=64M
usage "--max-buffers=1048576: too small; must be at least 2097152" \
  --unix s 1G --max-request 64k --max-buffers 1M --threads 2
for address in host host: :x :-1 :65536 '[::1' '[]:1' '::1:1' '[::1]1' ''; do
  usage "--tcp=$address: " --tcp "$address" 1G
done
usage "an IPv6 address stands in brackets" --tcp ::1:10809 1G
for mode in '' 8 0778 u=rw 1777 00600 0x1ff -1 77777777777777777777; do
  usage "--unix-mode=$mode: must be an octal number from 0 to 0777" \
    --unix s 1G --unix-mode "$mode"
done
for owner in '' no-such-user no-such-user:0 4294967295:0 -1; do
  refuses 2 "--unix-owner=$owner: " --unix s 1G --unix-owner "$owner"
  usage "must be USER, USER:GROUP or :GROUP, by names or by numbers from 0" \
    --unix s 1G --unix-owner "$owner"
done
for group in : no-such-group 4294967295 0:0; do
  usage "--unix-owner=0:$group: " --unix s 1G --unix-owner "0:$group"
done
usage "--unix-mode=0600: there is no --unix that it is for" \
  --tcp 127.0.0.1:0 1G --unix-mode 0600
usage "--unix-owner=0: there is no --unix" --run true 1G --unix-owner 0
usage "--allow-uid=no-such-user: no such user; must be users, by name or by \
number from 0 to 4294967294" --unix s 1G --allow-uid 0,no-such-user
usage "--allow-uid=: no such user" --unix s 1G --allow-uid=
usage "--allow-gid=4294967295: the number is too large; must be groups" \
  --unix s 1G --allow-gid 4294967295
usage "--allow-from=localhost: not an address; must be ADDRESS or \
ADDRESS/PREFIX" --tcp 127.0.0.1:0 1G --allow-from localhost
usage "--allow-from=10.0.0.0/33: the prefix must be a number from 0 to 32" \
  --tcp 127.0.0.1:0 1G --allow-from ::1,10.0.0.0/33
usage "--allow-from=10.0.0.1/8: the address has bits after the prefix" \
  --tcp 127.0.0.1:0 1G --allow-from 10.0.0.1/8
# A list that keeps nobody out.
usage "--allow-uid=0: there is no --unix that it is for" \
  --tcp 127.0.0.1:0 1G --allow-uid 0
usage "--allow-gid=0: there is no --unix" --tcp 127.0.0.1:0 1G --allow-gid 0
usage "--allow-from=::1: there is no --tcp" --unix s 1G --allow-from ::1
usage "--allow-from=::1: there is no --tcp" --run true 1G --allow-from ::1

usage "--user=no-such-user: no such user; must be a name, or a number from 0" \
  --unix s 1G --user no-such-user
usage "--user=4294967295: the number is too large" \
  --unix s 1G --user 4294967295
usage "--user=root: must be another user than root" --unix s 1G --user root
usage "--user=0: must be another user than root" --unix s 1G --user=0
usage "--group=no-such-group: no such group; must be a name, or a number" \
  --unix s 1G --user nobody --group no-such-group
usage "--group=1: goes with --user=USER only" --unix s 1G --group 1
usage "--user=4242: the system knows no such user, and so not his group: say \
--group=GROUP" --unix s 1G --user 4242

# Keys are those of the disks.
usage "size: required" --unix s
usage "size=foo: not a number" --unix s foo
usage "size=2G: given twice, first as size=1G" --unix s 1G 2G
usage "exprot=a: unknown key (did you mean export?)" --unix s 1G exprot=a
usage "export=a: blocksize=7: must be a power of two" \
  --unix s 1G export=a blocksize=7
usage "contradicts irqmode=none" --unix s 1G completion_nsec=5
usage "control=/x: is for all exports" --unix s 1G export=a control=/x

# ---- what cannot be had: 1 ----

cannot ()
{
  refuses 1 "$@"
  [ ! -s out ] || fail "blkmqd ${*:2} prints: $(cat out)"
  is_clean s control
}

cannot '--unix=none/s: bind: No such file' --unix none/s 1G
cannot '--pidfile=none/p: No such file' --unix s 1G --pidfile none/p
cannot 'none/control: bind: No such file' --unix s 1G control=none/control
cannot '--unix=none/s: bind: No such file' --unix s --unix none/s 1G \
  control=control
# An address of nobody's (RFC 5737).
cannot '--tcp=192.0.2.1:0: Cannot assign requested address' \
  --tcp 192.0.2.1:0 --unix s 1G
cannot 'a path of 1 to 107 bytes' --unix "$(printf 'x%.0s' {1..108})" 1G
cannot 'a path of 1 to 107 bytes' --unix= 1G

# ---- help: 0 ----

run_blkmqd --help
expect_equal "the status of --help" "$status" 0
[ ! -s err ] || fail "--help on stderr: $(cat err)"
grep -q '^usage: blkmqd ' out || fail "--help: $(cat out)"
run_blkmqd --version --frob
expect_equal "the status of --version" "$status" 0
[[ $(<out) =~ ^blkmqd\ [0-9.]+$ ]] || fail "--version: $(cat out)"
status=0
"$blkmqd" --help >/dev/full 2>err || status=$?
expect_equal "the status of --help that nobody can read" "$status" 1

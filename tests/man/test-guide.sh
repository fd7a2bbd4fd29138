#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The examples of blkmq-examples(7) do what the page says.  What is verbatim
# there is behind "=for example" and one of:
#   run        is run here, and succeeds
#   fails      is run here, and fails
#   lab        is run here, with lab.conf served as systemd would have it
#   qemu       is run here: qemu opens its disks, and boots nothing
#   guest      needs root and the kernel's client: tests/vm/guest/part-examples
#   shows      what the block before it prints
#   file NAME  is in doc/examples/NAME, which is checked as far as it can be
#   text       could only be run where systemd does
# shellcheck source-path=SCRIPTDIR source=../server/functions.sh
. "$(dirname "$0")/../server/functions.sh"
ctl=$(realpath "${BLKMQ_CTL:?set it to blkmqctl}")
requires perl nbdinfo nbdcopy qemu-img qemu-io fio mke2fs e2fsck certtool \
  psktool
page=$top_srcdir/man/blkmq-examples.pod
examples=$top_srcdir/doc/examples
guide=$top_srcdir/tests/man/guide.pl

# What the examples find by name.
mkdir bin
ln -s "$blkmqd" bin/blkmqd
ln -s "$ctl" bin/blkmqctl
qemu=$(command -v qemu-system-x86_64 || :)
cat >bin/qemu-system-x86_64 <<END
#!/bin/sh
printf 'info block\nquit\n' | exec $qemu "\$@" -accel tcg -S -monitor stdio
END
chmod +x bin/qemu-system-x86_64
export PATH=$tmp/bin:$examples:$PATH

# Servers that were left behind by what has failed.
end_leftovers ()
{
  local file

  for file in "$tmp"/disk*.pid; do
    [ ! -s "$file" ] || kill "$(cat "$file")" || :
  done
}
cleanup_fn end_leftovers

has_ended ()
{
  [ ! -e "$tmp/disk.pid" ]
}

# run_block NUMBER STATUS: in a shell of its own, which has $uri of the one
# before.  What is printed goes to the file printed.
echo 'uri=' >variables
run_block ()
{
  local how=0

  sed -e "s|/tmp/|$tmp/|g" -e "s|dir=/tmp,|dir=$tmp,|" \
    -e "s|:10809|:${port-}|; s|port=10809|port=${port-}|" "blocks/$1" >block
  # shellcheck disable=SC2016
  bash -euo pipefail -c '. ./variables; . ./block; declare -p uri >variables' \
    >printed 2>&1 </dev/null || how=$?
  case $2 in
    0) expect_equal "the status of '$(cat block)' ($(cat printed))" "$how" 0 ;;
    *) [ "$how" != 0 ] || fail "it does not fail: $(cat block)" ;;
  esac
  # The next server may have the same names.
  ! grep -q '^kill' block || wait_until has_ended || fail "it does not end"
}

# serve_lab: lab.conf, at a port of this test's, with the certificates that the
# page has made.
serve_lab ()
{
  sed -e "s|/run/credentials/blkmqd@lab.service|$tmp/tls/server|" \
    -e "s|/run/blkmqd/lab|$tmp|" -e 's|192.168.7.0/24|127.0.0.0/8,::1|' \
    "$examples/lab.conf" >lab.conf
  nr_servers=$((nr_servers + 1))
  log=$tmp/nbdkit-$nr_servers.log
  perl "$top_srcdir/tests/server/pass.pl" tcp -- \
    "$blkmqd" --config=lab.conf --pidfile="$tmp/lab.pid" >out 2>"$log" &
  pid=$!
  servers+=("$pid")
  pidfile=$tmp/lab.pid
  wait_until serves_or_is_gone || fail "lab.conf does not begin to be served"
  [ -s lab.pid ] || fail "lab.conf is not served: $(cat "$log")"
  port=$(sed -n 's/^port //p' "$log")
}

mkdir blocks
perl "$guide" split "$page" blocks >index || fail "the page is not understood"
nr_run=0
before='' skipping=''
while read -r number kind argument <&3; do
  [ "$kind" = shows ] || before=$kind
  case $kind in
    run | fails)
      run_block "$number" "$([ "$kind" = run ] && echo 0 || echo 1)"
      nr_run=$((nr_run + 1)) ;;
    lab)
      serve_lab
      run_block "$number" 0
      stop_blkmqd
      nr_run=$((nr_run + 1)) ;;
    qemu)
      skipping=''
      if [ -n "$qemu" ]; then
        run_block "$number" 0
        nr_run=$((nr_run + 1))
      else
        skipping=1
        echo "$0: skipped in part: there is no qemu-system-x86_64"
      fi ;;
    shows)
      case $before in
        run | fails | lab | qemu)
          [ -n "$skipping" ] || perl "$guide" shows "blocks/$number" printed \
            || fail "example $number of the page" ;;
      esac ;;
    guest) bash -n "blocks/$number" || fail "no shell's: $number" ;;
    file)
      perl "$guide" holds "blocks/$number" "$examples/$argument" \
        || fail "example $number of the page" ;;
    text) ;;
    *) fail "$number: no such kind: $kind" ;;
  esac
done 3<index
[ "$nr_run" -ge 20 ] || fail "the page has only $nr_run examples that are run"

# Each of the files is told of.
for file in "$examples"/*; do
  grep -q -e "${file##*/}" "$page" "$top_srcdir/man/blkmqd.conf.pod" \
    || fail "no page tells of ${file##*/}"
done

# A failure of the command is one of the job, and leaves what it should.
status=0
ARTIFACTS=$tmp/failed ci-job.sh sh -c 'exit 7' || status=$?
expect_equal "the status of a job that fails" "$status" 7
[ -s failed/stats.json ] || fail "no counters of a job that fails"
status=0
DISK='1G wrong=1' ARTIFACTS=$tmp/wrong ci-job.sh touch touched >said 2>&1 \
  || status=$?
expect_equal "the status of a job that has no disk" "$status" 1
[ ! -e touched ] || fail "it was run without a disk"

# ---- files for others ----

"$blkmqd" --check --config="$examples/scratch.conf" --unix="$tmp/s" >said 2>&1 \
  || fail "scratch.conf: $(cat said)"
grep -q '^export=scratch size=1G' said || fail "scratch.conf: $(cat said)"

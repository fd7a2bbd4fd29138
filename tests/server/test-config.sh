#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# What stands in the file of --config is served as if it stood on the command
# line, which counts more; what is wrong in it is said with its line, and
# nothing of it is cut.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
ctl=$(realpath "${BLKMQ_CTL:?set it to blkmqctl}")

# file LINE...: the file named conf.
file ()
{
  printf '%s\n' "$@" >conf
}

# checks ARGUMENT...: conf is good; what --check prints is in out.
checks ()
{
  run_blkmqd --check --config=conf "$@"
  expect_equal "the status of --check $* of: $(cat conf err)" "$status" 0
  [ ! -s err ] || fail "--check $*: $(cat err)"
  expect_equal "the first line of --check" "$(head -n 1 out)" 'conf: ok'
}

# prints LINE...: that is what --check has printed below its first line.
prints ()
{
  expect_equal "what --check prints" "$(tail -n +2 out)" "$(printf '%s\n' "$@")"
}

# wrong TEXT ARGUMENT...: conf is refused, by --check and without it, with that
# line.
wrong ()
{
  local check

  for check in --check --; do
    refuses 2 "blkmqd: error: $1" --config=conf "${@:2}" "$check"
    [ ! -s out ] || fail "$1: prints: $(cat out)"
  done
  is_clean s
}

# wrong_lines LINE...: conf is refused with just these lines.
wrong_lines ()
{
  run_blkmqd --config=conf
  expect_equal "the status" "$status" 2
  expect_equal "what is said" "$(sed 's/^blkmqd: error: //' err)" \
    "$(printf '%s\n' "$@")"
}

server=('[blkmqd]' 'unix = s')

# ---- the same as on the command line ----

words=(size=64M hw_queue_depth=32 live=1 seed=7
       export= description='the one without a name'
       export=slow delay_read=5ms delay_write=2ms
       'export=a name; with = # and ]' size=1G irqmode=timer
       completion_nsec=100us
       export=Größe driver=null size=1T
       export=slower 'fault=op=read,every=1000;op=flush,every=3' iostats=1)
file '# made for a test' '[blkmqd]' 'threads = 2' 'max-connections=77' \
  'control = control-of-file' '' \
  '[defaults]' 'size = 64M' '; half of it' '  hw_queue_depth = 32' \
  'live: 1' 'seed=7' \
  '[export]' 'description = the one without a name' \
  '[export slow]' $'\tdelay_read = 5ms' $'\tdelay_write =\t2ms  ' \
  '[ export   a name; with = # and ] ]' 'size = 1G' 'irqmode = timer' \
  'completion_nsec = 100us' \
  '[export Größe]' 'driver = null' 'size = 1T' \
  '[export slower]' 'fault = op=read,every=1000;op=flush,every=3' 'iostats = 1'

# ask CONTROL: what the server says of itself, without what two servers never
# have in common.
ask ()
{
  nbdinfo --list "$uri" | sed '/^\turi:/d'
  "$ctl" -s "$1" exports
  for export in '' slow 'a name; with = # and ]' Größe slower; do
    "$ctl" -s "$1" --export="$export" --json show
  done
}

start_blkmqd --config=conf
ask control-of-file >of-file
stop_blkmqd
is_clean control-of-file
start_blkmqd --threads=2 --max-connections=77 control=control-of-words \
  "${words[@]}"
ask control-of-words >of-words
stop_blkmqd
[ "$(wc -l <of-words)" -ge 30 ] || fail "too little: $(cat of-words)"
expect_equal "the file beside the command line" "$(cat of-file)" \
  "$(cat of-words)"
grep -q '"submit_queues": 2' of-file || fail "no threads=2: $(cat of-file)"

# An address, and all addresses, of the file.
file '[blkmqd]' 'unix = one' 'unix = two; of them' 'tcp = 127.0.0.1:0' \
  '[export a]' 'size=1G'
launch --config=conf
wait_until serves_or_is_gone || fail "does not serve: $(cat "$log")"
grep -qx 'nbd+unix:///a?socket=.*/one' "$out" || fail "one: $(cat "$out")"
expect_equal "what two serves" \
  "$(nbdinfo --size "$(sed -n 2p "$out")")" 1073741824
expect_equal "the addresses" "$(wc -l <"$out")" 3
stop_blkmqd
is_clean one 'two; of them'

# ---- the command line counts more ----

file "${server[@]}" 'unix = t' 'tcp = :1' 'threads = 3' '[defaults]' \
  'size = 1G' 'seed = 5' 'description = all' \
  '[export a]' '[export b]' 'size = 2G' 'description = b'
a='export=a size=1G seed=5 submit_queues=3 description=all'
checks
prints --unix=s --unix=t --tcp=:1 "$a" \
  'export=b size=2G seed=6 submit_queues=3 description=b'
checks --threads=1 --unix=x
prints --unix=x --tcp=:1 \
  'export=a size=1G seed=5 submit_queues=1 description=all' \
  'export=b size=2G seed=6 submit_queues=1 description=b'
checks --tcp :2 --tcp :3 seed=9
prints --tcp=:2 --tcp=:3 --unix=s --unix=t \
  'export=a size=1G seed=9 submit_queues=3 description=all' \
  'export=b size=2G seed=10 submit_queues=3 description=b'
checks export=b 4G 'description=a b' export=c
prints --unix=s --unix=t --tcp=:1 "$a" \
  "export=b size=4G seed=6 submit_queues=3 description='a b'" \
  'export=c size=1G seed=7 submit_queues=3 description=all'
# A size for all is that of all, or is refused.
wrong 'size=3G: no effect on export=b, which has size=2G of its own; must '\
'stand after export=b' 3G
wrong 'description=x: no effect on export=b, which has description=b of its '\
'own; must stand after export=b' description=x
checks 3G export=b size=4G
prints --unix=s --unix=t --tcp=:1 \
  'export=a size=3G seed=5 submit_queues=3 description=all' \
  'export=b size=4G seed=6 submit_queues=3 description=b'
# What does not count is looked at all the same.
file "${server[@]}" 'threads = 0' '[defaults]' 'size = 1G'
wrong 'conf:3: [blkmqd]: threads=0: must be a whole number from 1 to 256' \
  --threads=1

# One disk that has no name; and a disk that only the command line has.
file "${server[@]}" '[defaults]' 'size = 1G' 'driver = null' 'control = c' \
  'seed = 1'
checks size=2G control=d --threads=1
prints --unix=s 'size=2G driver=null live=1 seed=1 submit_queues=1'
file '[blkmqd]' 'threads = 1' 'shared_tags = 1'
checks --unix s 1G export=a seed=2 export=b
expect_equal "disks of the command line alone" "$(grep -c '^export=' out)" 2
checks --run true 1G driver=memory
prints 'size=1G driver=memory submit_queues=1'
# Another driver than the file's, whose keys are then out of place.
file "${server[@]}" '[defaults]' 'size=1G' 'memory_limit=1M' '[export a]'
checks
wrong 'conf:5: [defaults]: memory_limit=1M: a key of driver=memory, not of '\
'driver=null' driver=null

# Without a file, too.
run_blkmqd --check --unix=s 1G --threads 1 seed=3 "description=it's"
expect_equal "the status of --check without a file" "$status" 0
expect_equal "what --check says without a file" "$(cat out)" \
"the command line: ok
--unix=s
size=1G seed=3 submit_queues=1 description='it'\\''s'"
refuses 2 'size=x: not a number' --check --unix=s x
grep -q "^Try 'blkmqd --help'" err || fail "no pointer to --help: $(cat err)"
status=0
"$blkmqd" --check --unix=s 1G >/dev/full 2>err || status=$?
expect_equal "the status of --check that nobody can read" "$status" 1
is_clean s control

# ---- what is wrong ----

file 'threads = 2' "${server[@]}" 'threads = x' 'threads = 2' 'threads = 3' \
  'frob = 1' 'size = 1G' 'config = f' 'help =' 'check = 1' 'run = true' \
  'tcp = host' 'log-level = loud' '[defaults]' 'size = x' 'threads = 1'
wrong_lines \
  'conf:1: threads=2: stands before any section; must come after [blkmqd], '\
'[defaults] or [export NAME]' \
  'conf:4: [blkmqd]: threads=x: not a number; must be a whole number from 1 '\
'to 256' \
  'conf:6: [blkmqd]: threads=3: given twice; once is allowed' \
  "conf:7: [blkmqd]: frob=1: unknown option; options are $(
    "$blkmqd" --help | sed -n 's/^  --\([a-z-]*\).*/\1/p' |
      grep -vx 'config\|check\|run\|stdio\|daemon\|help' | paste -s -d ' ' |
      sed 's/ /, /g'), control, shared_tags" \
  'conf:8: [blkmqd]: size=1G: a key of disks; must stand in [defaults] or '\
'[export NAME]' \
  'conf:9: [blkmqd]: config=f: is for the command line only' \
  'conf:10: [blkmqd]: help=: is for the command line only' \
  'conf:11: [blkmqd]: check=1: is for the command line only' \
  'conf:12: [blkmqd]: run=true: is for the command line only' \
  "conf:13: [blkmqd]: $("$blkmqd" --tcp=host 1G 2>&1 \
    | sed -n 's/^blkmqd: error: --//p')" \
  'conf:14: [blkmqd]: log-level=loud: unknown word; must be one of error, '\
'warning, info, debug (or 0 to 3)' \
  "conf:16: [defaults]: $("$blkmqd" --run true size=x 2>&1 \
    | sed -n 's/^blkmqd: error: //p')" \
  'conf:17: [defaults]: threads=1: an option, not a key; must stand in '\
'[blkmqd]'

file '[defaults]' 'size = 1G' "${server[@]}" '[export a]' 'size = 2G' \
  'size = 3G' 'export = b' 'control = c' 'size' '[blkmqd]' 'threads = 0' \
  '[export a]' 'frob = 1' '[defaults]' '[export b' '[exports c]' '[]' '[' \
  '[export ""]' '[export]' 'size = 1G' '[ export ]' '[export "]' '= 1'
wrong_lines \
  'conf:7: [export a]: size=3G: given twice, first as size=2G; once is '\
'allowed' \
  'conf:8: [export a]: export=b: an export has a section of its own, '\
'[export NAME]' \
  'conf:9: [export a]: control=c: is for all exports; must come before the '\
'first, export=a' \
  'conf:10: [export a]: neither KEY=VALUE nor [SECTION] nor a comment, which '\
'begins with # or ;' \
  'conf:11: [blkmqd]: a second time, first on line 3' \
  'conf:13: [export a]: given twice; one disk of a name is allowed' \
  'conf:15: [defaults]: a second time, first on line 1' \
  'conf:16: a line that begins with [ must end with ]; a comment has a line '\
'of its own' \
  'conf:17: [exports c]: unknown section; must be [blkmqd], [defaults], '\
'[export NAME] or, for the default export, [export]' \
  'conf:18: []: unknown section; must be [blkmqd], [defaults], '\
'[export NAME] or, for the default export, [export]' \
  'conf:19: a line that begins with [ must end with ]; a comment has a line '\
'of its own' \
  'conf:20: [export ""]: quotes would be part of the name; the default '\
'export, whose name is empty, is [export]' \
  'conf:23: [ export ]: given twice; one disk of a name is allowed' \
  "conf:25: [export \"]: $("$blkmqd" --run true =1 2>&1 \
    | sed -n 's/^blkmqd: error: //p')"

file "${server[@]}" '[export a]' 'size=1G' '[defaults]' 'size=1G'
wrong_lines 'conf:5: [defaults]: must come before the first export'
file '[export a]' 'size=1G' 'seed=1' "${server[@]}" 'control = c' 'control = d'
wrong_lines 'conf:7: [blkmqd]: control=d: given twice, first as control=c; '\
'once is allowed'
sed -i '$d' conf
checks
grep -q ' live=1 ' out || fail "[blkmqd] last: no control: $(cat out)"
file '[export a]' 'size=1G'
wrong_lines 'nobody could connect: say --unix=PATH, --tcp=HOST:PORT, '\
'--stdio or --run=COMMAND'
# It may be meant for sockets that are passed.
checks
grep -qx 'at sockets that are passed to it, or --unix.*' out \
  || fail "no address: $(cat out)"

# What is seen at the end has its line, too.
file "${server[@]}" '[defaults]' '  frob = 1' '[export a]' 'size=1G'
wrong 'conf:4: [defaults]: frob=1: unknown key; keys are size, '
file "${server[@]}" '[export a]' 'size=1G' '[export b]' 'exprot=1' 'size=1G'
wrong 'conf:6: [export b]: exprot=1: unknown key (did you mean export?); keys'
file "${server[@]}" '[export a]' 'size=1G' '[export b]'
wrong 'conf:5: [export b]: size: required; must be a size'
file "${server[@]}" '[export a]' 'size=1G' 'completion_nsec=5'
wrong 'conf:5: [export a]: completion_nsec=5: contradicts irqmode=none'
file "${server[@]}" '[export a]' 'size=1G'
wrong 'export=b: size: required' export=b
file "${server[@]}"
wrong 'size: required'

# No more than twenty.
file "${server[@]}" "$(printf 'threads = x\n%.0s' {1..40})"
run_blkmqd --check --config=conf
expect_equal "the lines about forty mistakes" "$(wc -l <err)" 21
grep -qx 'blkmqd: error: conf: that is enough' err || fail "$(cat err)"

# ---- nothing is cut ----

# A line of the longest, of 199 bytes and more, and one that is too long.
long=$(printf '%0100d' {1..40})
file "${server[@]}" 'threads=1' '[defaults]' 'size=1G' "description=$long"
checks
grep -q " description=$long\$" out || fail "a value of 4000 bytes: $(cat out)"
name=$(printf 'x%.0s' {1..4096})
file "${server[@]}" "[export $name]" 'size=1G' "[export ${name:1}]" size=1G
checks
expect_equal "names that differ in their last byte" \
  "$(sed -n 's/^export=\(x*\) .*/\1/p' out)" "$name"$'\n'"${name:1}"
file "${server[@]}" "[export x$name]" 'size=1G'
wrong 'conf:3: [export '
for size in 65535 65536 70000 200000; do
  head -c $((size - 5)) /dev/zero | tr '\0' x >xs
  file "${server[@]}" "unix=$(cat xs)" 'threads=frob' '[defaults]' size=1G
  if [ "$size" = 65535 ]; then
    wrong 'conf:4: [blkmqd]: threads=frob: not a number'
  else
    wrong_lines "conf:3: [blkmqd]: $size bytes; a line may have at most 65535" \
      'conf:4: [blkmqd]: threads=frob: not a number; must be a whole number '\
'from 1 to 256'
  fi
done

# Characters that mean something elsewhere.
for value in 'a ; b' 'a # b' '; b' '# b' 'a=b' '=' 'a:b' '"a b"' "'" "a\\" \
             "\$a" '[a]' '%s%n' 'aé€😀' 'a  b'; do
  file "${server[@]}" 'threads=1' '[export a]' 'size=1G' \
    "description =  $value " 'seed=1'
  checks
  expect_equal "the value $value" \
    "$(eval "printf '%s\\n' $(sed -n 's/.* description=//p' out)")" "$value"
done
for name in 'a ; b' 'a # b' '#' ';' 'a=b' 'a]' ']' '[' '"a b"' "'" 'é€😀' \
            export "a\\"; do
  file "${server[@]}" 'threads=1' "[export $name]" 'size=1G' 'seed=1'
  checks
  expect_equal "the name $name" \
    "$(eval "printf '%s\\n' $(sed -n 's/^export=\(.*\) size=.*/\1/p' out)")" \
    "$name"
done

# ---- files of all kinds ----

good=("${server[@]}" 'threads=1' '[export a]' 'size=1G' 'seed=1')
expected='export=a size=1G seed=1 submit_queues=1'
file "${good[@]}"
checks
prints --unix=s "$expected"
printf '%s\r\n' "${good[@]}" >conf
checks
prints --unix=s "$expected"
{ printf '\xef\xbb\xbf'; printf '%s\n' "${good[@]}"; } >conf
checks
prints --unix=s "$expected"
{ printf '%s\n' "${good[@]:0:5}"; printf 'seed=1'; } >conf
checks
prints --unix=s "$expected"
{ printf '%s\n' "${good[@]}"; printf '[export b]'; } >conf
wrong 'conf:7: [export b]: size: required'
{ printf '%s\n' "${good[@]}"; printf 'x'; } >conf
wrong 'conf:7: [export a]: neither KEY=VALUE'
printf '%s\n' "${good[@]}" | tr '\n' '\r' >conf
wrong 'conf:1: a line that begins with [ must end with ]'
{ printf '%s\n' "${good[@]}"; printf 'fault=\0x\nseed=2\n'; } >conf
wrong_lines 'conf:7: [export a]: a byte of value 0; must be text' \
  'conf:8: [export a]: seed=2: given twice, first as seed=1; once is allowed'
: >conf
wrong 'size: required' --unix=s
checks --unix=s --threads=1 1G
rm conf
for check in --check --; do
  refuses 2 '--config=conf: No such file or directory' --config conf $check
  refuses 2 '--config=.: Is a directory' --config=. $check
  refuses 2 '--config=: No such file or directory' --config= $check
  refuses 2 '--config=b: given twice; once is allowed' \
    --config=a --config=b $check
  refuses 2 '--config=/dev/zero: too large; must be at most 16777216 bytes' \
    --config=/dev/zero $check
done
if [ "$(id -u)" != 0 ]; then
  file "${good[@]}"
  chmod 0 conf
  refuses 2 '--config=conf: Permission denied' --config=conf
fi

# A pipe is as good as a file.
mkfifo pipe
printf '%s\n' "${good[@]}" >pipe &
run_blkmqd --check --config=pipe
expect_equal "a pipe" "$(cat out err)" "pipe: ok
--unix=s
$expected"
wait $!

# ---- what the manual shows ----

awk '/^=head1/ { inside = ($2 == "EXAMPLE"); next }
     inside && /^=|^[^ ]/ { next }
     inside { sub (/^ /, ""); print }' "$top_srcdir/man/blkmqd.conf.pod" \
  | sed -e '/./,$!d' >page
expect_equal "the example of the page" "$(cat page)" \
  "$(cat "$top_srcdir/doc/examples/blkmqd.conf")"
cp "$top_srcdir/doc/examples/blkmqd.conf" conf
rules='op=write,every=100,status=medium;op=read,probability=0.001,delay=1s'
checks seed=1
prints --unix=/run/blkmqd/disks.sock --tcp=127.0.0.1:10809 \
  'export= size=1G hw_queue_depth=128 live=1 seed=1 submit_queues=2 '\
"description='fast; gone when blkmqd ends'" \
  'export=slow size=1G completion_nsec=4ms delay_flush=20ms '\
'hw_queue_depth=128 irqmode=timer live=1 seed=2 submit_queues=2' \
  "export=broken size=64M fault='$rules' hw_queue_depth=128 live=1 seed=3 \
submit_queues=2"
start_blkmqd --config=conf control=control --tcp=127.0.0.1:0
expect_equal "what the example serves" "$(wc -l <"$out")" 6
stop_blkmqd

# The options that the page calls the command line's own.
expect_equal "options that are no option of a file, on the page" \
  "$(tr '\n' ' ' <"$top_srcdir/man/blkmqd.conf.pod" |
     grep -o 'B<config>[^.]* are for the command' |
     grep -o 'B<[a-z-]*>' | tr -d 'B<>' | sort)" \
  "$("$blkmqd" --help | grep -o -e '--[a-z-]*' | tr -d , | sed 's/^--//' |
     sort -u | while read -r name; do
       printf '[blkmqd]\n%s =\n' "$name" >conf
       "$blkmqd" --config=conf 2>&1 |
         sed -n 's/.*: \(.*\)=: is for the command line only/\1/p'
     done)"

# ---- many ----

{
  printf '%s\n' "${server[@]}" '[defaults]' 'size = 1M' 'submit_queues=1' \
    'hw_queue_depth=1'
  seq 1000 | sed 's/.*/[export disk-&]\nseed = &/'
} >conf
start_blkmqd --config=conf
expect_equal "a thousand disks" "$(wc -l <"$out")" 1000
expect_equal "the size of the last" \
  "$(nbdinfo --size "nbd+unix:///disk-1000?socket=$sock")" 1048576
stop_blkmqd
for nr in 1024 1025; do
  {
    printf '%s\n' "${server[@]}" '[defaults]' 'size = 1M'
    seq "$nr" | sed 's/.*/[export &]/'
  } >conf
  if [ "$nr" = 1024 ]; then
    checks
    wrong 'export=x: too many; at most 1024 are allowed' export=x
  else
    wrong 'conf:1029: [export 1025]: too many; at most 1024 are allowed'
  fi
done

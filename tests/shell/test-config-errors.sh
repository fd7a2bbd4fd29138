#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A configuration that cannot be meant is refused before anything is served,
# with a message that names the key, the value and what is allowed.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"

nr_bad=0

# refuse ARGUMENTS WORDS...: the message must have each of WORDS.
refuse ()
{
  local arguments=$1 status=0 word
  local -a words

  shift
  read -ra words <<<"$arguments"
  run_server "touch '$tmp/served'" "${words[@]}" \
    >"$tmp/out" 2>&1 </dev/null || status=$?
  [ ! -e "$tmp/served" ] || fail "'$arguments' was served"
  case $program-$status in
    nbdkit-1 | blkmqd-1 | blkmqd-2) ;; # 2: wrong usage
    *) fail "the exit status for '$arguments' is $status" ;;
  esac
  for word; do
    grep "^$program: error: " "$tmp/out" | grep -qF -e "$word" || {
      echo "'$arguments': no '$word' in:" >&2
      cat "$tmp/out" >&2
      nr_bad=$((nr_bad + 1))
    }
  done
}

# Each line: the arguments | what the message must have | ...
while IFS='|' read -ra fields; do
  trimmed=()
  for field in "${fields[@]}"; do
    field=${field#"${field%%[! ]*}"}
    trimmed+=("${field%"${field##*[! ]}"}")
  done
  refuse "${trimmed[@]}"
done <<'TABLE'
 | size | required | 9223372036854775807
blocksize=512 | size | required
size=0 | size=0 | from 1 to 9223372036854775807
size=abc | size=abc | from 1 to 9223372036854775807
abc | size=abc | from 1 to 9223372036854775807
size=-1 | size=-1 | from 1 to 9223372036854775807
size=9E | size=9E | from 1 to 9223372036854775807
size=8E | size=8E | from 1 to 9223372036854775807
size=9223372036854775808 | size=9223372036854775808 | from 1 to
size=18446744073709551617 | size=18446744073709551617 | from 1 to
size=1.5G | size=1.5G | suffixes b s k M G T P E
size=1X | size=1X | suffixes b s k M G T P E
1G unknown=7 | unknown=7 | unknown key | hw_queue_depth
1G irqmod=none | irqmod=none | irqmode
1G size=1G | size=1G | twice
1G blocksize=512 blocksize=4096 | blocksize=4096 | twice | blocksize=512
1G driver=null driver=null | driver=null | twice
1G blocksize=1000 | blocksize=1000 | power of two from 512 to 65536
1G blocksize=256 | blocksize=256 | power of two from 512 to 65536
1G blocksize=131072 | blocksize=131072 | from 512 to 65536
1G blocksize=0 | blocksize=0 | from 512 to 65536
1G hw_queue_depth=0 | hw_queue_depth=0 | from 1 to 10240
1G hw_queue_depth=10241 | hw_queue_depth=10241 | from 1 to 10240
1G hw_queue_depth=1.5 | hw_queue_depth=1.5 | from 1 to 10240
1G hw_queue_depth= | hw_queue_depth= | from 1 to 10240
1G submit_queues=0 | submit_queues=0 | from 1 to
1G submit_queues=x | submit_queues=x | from 1 to
1G submit_queues=1000000 | submit_queues=1000000 | from 1 to
1G irqmode=foo | irqmode=foo | none, softirq, timer
1G irqmode=3 | irqmode=3 | none, softirq, timer
1G irqmode=none completion_nsec=5 | nsec=5 | irqmode=none | irqmode=timer
1G irqmode=softirq completion_nsec=5 | nsec=5 | irqmode=softirq | =timer
1G completion_nsec=1ms | completion_nsec=1ms | irqmode=none | irqmode=timer
1G irqmode=timer completion_nsec=x | completion_nsec=x | suffixes ns us ms s
1G irqmode=timer completion_nsec=-5 | completion_nsec=-5 | suffixes ns us ms s
1G irqmode=timer completion_nsec=1.5ns | nsec=1.5ns | suffixes ns us ms s
1G irqmode=timer completion_nsec=1.5 | completion_nsec=1.5 | suffixes ns us ms s
1G irqmode=timer completion_nsec=9999999s | completion_nsec=9999999s | from 0 to
1G spin_ns=10us | spin_ns=10us | irqmode=none | irqmode=timer
1G irqmode=timer spin_ns=2ms | spin_ns=2ms | from 0 to 1000000
1G iostats=maybe | iostats=maybe | not a boolean
1G io_timeout=abc | io_timeout=abc | suffixes ns us ms s
1G io_timeout=10us | io_timeout=10us | ms
1G io_timeout=-1 | io_timeout=-1 | from 0 to
1G driver=nosuch | driver=nosuch | memory | null
1G driver=nul | driver=nul | did you mean null
1G driver=null memory_limit=1M | memory_limit=1M | driver=memory | driver=null
1G memory_limit=1M driver=null | memory_limit=1M | driver=memory | driver=null
1G memory_limit=4095 | memory_limit=4095 | at least 4096
1G memory_limit=x | memory_limit=x | suffixes b s k M G T P E
1G readonly=maybe | readonly=maybe | true | false
1G rotational=2 | rotational=2 | true | false
1G seed=x | seed=x | from 0 to
1G seed=-1 | seed=-1 | from 0 to
1G max_sectors=7 blocksize=4096 | max_sectors=7 | blocksize=4096 | multiple of 8
1G export=a export=a | export=a | given twice
1G export= export= | export= | given twice
1G export=a blocksize=7 | export=a: blocksize=7 | power of two from 512
export=a 1G export=b | export=b: size | required
1G export=a size=2G 3G | export=a: size=3G | twice | size=2G
1G exxport=a | exxport=a | did you mean export?
1G export=a shared_tags=1 | export=a: shared_tags=1 | before the first
1G shared_tags=x | shared_tags=x | not a boolean | true
1G shared_tags=1 export=a export=b driver=null | export=b | null | memory
1G memory_limit=1M export=a driver=null | export=a: memory_limit=1M | driver=
1G description=x description=y | description=y | twice | description=x
TABLE

[ "$nr_bad" -eq 0 ] || fail "$nr_bad words are missing"

# The same call without the mistake is served: it is the mistake that counts.
run_server "touch '$tmp/served'" 1G
[ -e "$tmp/served" ] || fail "a good configuration was not served"

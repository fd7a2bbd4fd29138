# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# results.sh: what a stage found, kept as lines "pass|fail|skip COUNT NAME" in
# the file $results_file, so that subshells can add to it.

results_file=${DEV_RESULTS-/dev/null}

# pass NAME [COUNT]; likewise fail and skip.  Also said in the stage's log.
pass () { result pass "$@"; }
fail () { result fail "$@"; }
skip () { result skip "$@"; }

result ()
{
  printf '%s %d %s\n' "$1" "${3-1}" "$2" >>"$results_file"
  printf -- '-- %s: %s\n' "$1" "$2"
}

# check NAME COMMAND...: pass or fail by its exit status.  The command runs
# where errexit is off: it must be one command, or look after itself.
check ()
{
  local name=$1
  shift
  if "$@"; then pass "$name"; else fail "$name"; fi
}

nr_results ()
{
  awk -v kind="$1" '$1 == kind { n += $2 } END { print n + 0 }' "$2"
}

# explain LOG: what was skipped, and what failed with the end of what it said:
# what stands between the result before and its own.
explain ()
{
  awk '
    /^-- skip: / { print "  skipped: " substr ($0, 10) }
    /^-- fail: / {
      print "  failed: " substr ($0, 10)
      for (i = n > 20 ? n - 20 : 0; i < n; i++)
        print "  | " said[i]
      failed = 1
    }
    /^-- / { n = 0; next }
    { said[n++] = $0 }
    END { exit failed }' "$1" || printf '  see %s\n' "$(relative "$1")"
}

# automake_results BUILD-DIR: one result for each test of `make check'.  A
# program of Check's says how many it ran; then each of those counts.
automake_results ()
{
  local dir=$1 trs name kind count ran=0
  while read -r trs; do
    name=${trs#"$dir"/}
    name=${name%.trs}
    ran=1
    note_time "$trs" "${trs%.trs}.log" "$name"
    while read -r kind count; do
      # The test's own words belong ahead of its result.
      case $kind in
        pass) pass "$name" "$count" ;;
        fail) tail -n 20 "${trs%.trs}.log"; fail "$name" "$count" ;;
        skip) skip "$name: $(said_last "${trs%.trs}.log")" "$count" ;;
      esac
    done < <(count_trs "$trs" "${trs%.trs}.log")
  done < <(find "$dir" -name '*.trs' -not -path "$dir/blkmq-*" | sort)
  ((ran)) || fail 'make check ran no test'
}

# note_time TRS LOG NAME: how many seconds it ran.  Automake makes the log when
# a test begins and the other when it has ended.  Not every file system knows.
note_time ()
{
  local begin end
  begin=$(stat -c %W "$2") end=$(stat -c %Y "$1")
  ((begin == 0)) ||
    printf 'time %d %s\n' "$((end - begin))" "$3" >>"$results_file"
}

# A test's last words; Automake adds a line of its own.
said_last ()
{
  grep -v '^SKIP .*(exit status: 77)$' "$1" | grep . | tail -n 1 |
    sed 's/^.*: skipped: //'
}

# count_trs TRS LOG: lines "pass|fail|skip COUNT".
count_trs ()
{
  awk '
    FILENAME ~ /\.trs$/ && /^:test-result:/ {
      n++
      if ($2 == "PASS" || $2 == "XFAIL") passed++
      else if ($2 == "SKIP") skipped++
      else failed++
    }
    FILENAME ~ /\.log$/ && /^[0-9]+%: Checks: / {
      split ($0, word, /[^0-9]+/)
      checks += word[2]
      bad += word[3] + word[4]
      suites++
    }
    END {
      if (n == 1 && suites && !skipped) {
        # A program that dies after its last sum has failed all the same, and
        # one that checks nothing has tested nothing.
        if (!bad && (failed || !checks)) bad = 1
        passed = checks > bad ? checks - bad : 0
        failed = bad
      }
      if (!n) failed = 1
      if (passed) print "pass", passed
      if (failed) print "fail", failed
      if (skipped) print "skip", skipped
    }' "$1" "$2"
}

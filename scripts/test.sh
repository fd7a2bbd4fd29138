# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# test.sh: ./dev test: the stages one after the other, each in a session of
# its own, so that all of its processes can be ended; then the sum.

stages=(lint check headers symbols outside clang asan tsan stress fuzz model
  coverage vm distcheck deb)

# What each needs beyond deps' sets build and run.
declare -A stage_deps=(
  [lint]=lint [headers]=clang [symbols]=clang [outside]=clang [clang]=clang
  [fuzz]=clang [model]=model [coverage]=coverage [vm]=vm [distcheck]=dist
  [deb]=deb
)

# A stage that takes longer hangs.
stage_limit_s=1200

dev_test ()
{
  local stage log dir nr_passed=0 nr_failed=0 nr_skipped=0 begin=$SECONDS p f s
  local sets
  (($#)) || set -- "${stages[@]}"
  for stage; do
    [[ " ${stages[*]} " == *" $stage "* ]] ||
      die "no such stage: $stage.  Stages: ${stages[*]}"
  done
  sets=(build run)
  for stage; do
    sets+=("${stage_deps[$stage]-build}")
  done
  deps "${sets[@]}"
  dir=$top/build/dev-test
  rm -rf "$dir"
  mkdir -p "$dir"

  printf '%-12s%8s%8s%8s%9s\n' stage passed failed skipped seconds
  for stage in build "$@"; do
    log=$dir/$stage.log
    run_stage "$stage" "$log" "$dir/$stage.results"
    p=$(nr_results pass "$dir/$stage.results")
    f=$(nr_results fail "$dir/$stage.results")
    s=$(nr_results skip "$dir/$stage.results")
    printf '%8d%8d%8d%9d\n' "$p" "$f" "$s" "$stage_seconds"
    line_open=0
    explain "$log"
    printf '%d %s\n' "$stage_seconds" "$stage" >>"$dir/stage-times"
    awk -v stage="$stage" \
      '$1 == "time" && $2 { print $2, $3 " (" stage ")" }' \
      "$dir/$stage.results" >>"$dir/test-times"
    nr_passed=$((nr_passed + p))
    nr_failed=$((nr_failed + f))
    nr_skipped=$((nr_skipped + s))
    # Without a build there is nothing to test.
    [ "$stage" != build ] || ((f == 0)) || break
  done
  printf '%-12s%33d\n\n' all "$((SECONDS - begin))"
  longest stages 4 "$dir/stage-times"
  longest tests 6 "$dir/test-times"
  printf '%d passed, %d failed, %d skipped\n' \
    "$nr_passed" "$nr_failed" "$nr_skipped"
  ((nr_failed == 0))
}

# longest WHAT NR FILE: FILE has lines of seconds and a name.
longest ()
{
  [ -s "$3" ] || return 0
  printf 'longest %s, s:\n' "$1"
  sort -rn "$3" | head -n "$2" | while read -r seconds name; do
    printf '  %5d  %s\n' "$seconds" "$name"
  done
  echo
}

# run_stage NAME LOG RESULTS: sets stage_seconds.  Whatever goes wrong becomes
# a failure in RESULTS.
stage_seconds=0
run_stage ()
{
  local stage=$1 log=$2 file=$3 status=0 begin=$SECONDS wrong=
  printf '%-12s' "$stage"
  line_open=1
  : >"$file"
  setsid timeout --kill-after=20 "$stage_limit_s" \
    env DEV_RESULTS="$file" DEV_LOG="$log" "$top/dev" stage "$stage" \
    >"$log" 2>&1 </dev/null &
  session=$!
  wait "$session" || status=$?
  stage_seconds=$((SECONDS - begin))
  end_session 10 || wrong='left processes behind'
  session=
  if ((status == 124 || status == 137)); then
    wrong="was ended after $stage_seconds s"
  elif ((status != 0)) && ! grep -q '^fail' "$file"; then
    wrong="ended with exit status $status"
  elif [ ! -s "$file" ]; then
    wrong='tested nothing'
  fi
  if [ -n "$wrong" ]; then
    results_file=$file
    fail "$stage $wrong" >>"$log"
  fi
}

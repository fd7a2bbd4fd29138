# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# coverage.sh: how much of src/engine/ the tests reach, as a command and as a
# stage of ./dev test.  Below these shares of lines and of branches it fails.

coverage_lines=95
coverage_branches=90

# A debug build: flight records and yield points are in both engines then, and
# gcovr cannot add up two builds of which a line is in one only.
build_for_coverage ()
{
  build_tree build-coverage --enable-coverage --enable-debug CFLAGS='-g -O0'
  find "$top/build-coverage" -name '*.gcda' -delete
}

# An assertion is there in order not to fail: its branches do not count.
without_asserts=(--exclude-branches-by-pattern '^\s*(static_)?assert \(')

# report_coverage: prints what was reached since build_for_coverage, and leaves
# what was not, line by line, in build-coverage/coverage*.  Fails if it is too
# little.
report_coverage ()
{
  local dir=$top/build-coverage trace status=0
  trace=(gcovr --root "$top" --add-tracefile "$dir/coverage.json")
  rm -f "$dir"/coverage*.{json,txt,html}
  env -C "$top" gcovr --root "$top" --filter "$top/src/engine/" \
    "${without_asserts[@]}" --json "$dir/coverage.json" \
    "$dir/src" "$dir/tests" || status=$?
  # It leaves here what the filter does not want.
  rm -f "$top"/*.gcov
  ((status == 0)) &&
    "${trace[@]}" --txt "$dir/coverage-lines.txt" &&
    "${trace[@]}" --branches --txt "$dir/coverage-branches.txt" &&
    "${trace[@]}" --html-details "$dir/coverage.html" &&
    coverage_table "$dir/coverage-lines.txt" "$dir/coverage-branches.txt"
}

# coverage_table LINES BRANCHES: both reports in one table, a file a line.
coverage_table ()
{
  awk -v min_lines="$coverage_lines" -v min_branches="$coverage_branches" '
    function share (part, of) { return of ? 100 * part / of : 100 }
    !/^src\// && $1 != "TOTAL" { next }
    FNR == NR { lines[$1] = $2; reached[$1] = $3; next }
    {
      name = $1 == "TOTAL" ? "src/engine" : substr ($1, 12)
      if (!printed++)
        printf "%-20s%8s%8s%7s%10s%8s%7s\n", "src/engine/", "lines",
          "reached", "", "branches", "taken", ""
      printf "%-20s%8d%8d%6.1f%%%10d%8d%6.1f%%\n", name, lines[$1],
        reached[$1], share(reached[$1], lines[$1]), $2, $3, share($3, $2)
      if ($1 == "TOTAL") {
        seen = 1
        low = share(reached[$1], lines[$1]) < min_lines \
          || share($3, $2) < min_branches
        printf "wanted: %d %% of lines, %d %% of branches: %s\n", min_lines,
          min_branches, low ? "too little" : "reached"
      }
    }
    END { exit low || !seen }' "$1" "$2"
}

dev_coverage ()
{
  local status=0
  deps build coverage
  build_for_coverage
  unit_tests build-coverage || status=$?
  report_coverage || status=$?
  say 'What is missing: build-coverage/coverage.html, coverage-*.txt'
  exit "$status"
}

stage_coverage ()
{
  build_for_coverage
  make_check build-coverage "$in_process"
  check "$coverage_lines % of lines, $coverage_branches % of branches" \
    report_coverage
}

# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# lint.sh: the rules of the house that a program can check.  Each lint_*
# function says what is wrong, and fails if anything is.

# The files of the project: git's, with those not added yet; in an unpacked
# release, where there is no git, those that a release holds.
source_files ()
{
  if [ -e "$top/.git" ]; then
    git -c safe.directory='*' -C "$top" ls-files -co --exclude-standard
  else
    (cd "$top" && find . -type f -not -path './build*' \
       -not -path './autom4te.cache/*' -not -path './m4/*' \
       -not -name 'configure' -not -name 'Makefile.in' \
       -not -name 'config.h.in' -not -name 'aclocal.m4' | sed 's|^\./||')
  fi | sort | while read -r file; do
    # A file that is deleted but not yet committed is not there.
    [ ! -f "$top/$file" ] || printf '%s\n' "$file"
  done
}

# The inputs of fuzzers are bytes, not text.
files_named ()
{
  source_files | grep -v '^tests/fuzz/corpus-' | grep -E "$1" || true
}

# scripts_in LANGUAGE-REGEX: files whose first line is #! and that language.
scripts_in ()
{
  source_files | while read -r file; do
    if head -n 1 "$top/$file" | grep -qaE "^#!.*[/ ]($1)( |\$)"; then
      printf '%s\n' "$file"
    fi
  done
}

shell_files ()
{
  scripts_in 'bash|sh'
}

python_files ()
{
  {
    scripts_in 'python3?'
    files_named '\.py$'
  } | sort -u
}

# complain: show what comes on stdin; fails if anything came.
complain ()
{
  ! grep '.'
}

lint_shellcheck ()
{
  local files status=0
  mapfile -t files < <(shell_files)
  shellcheck -x "${files[@]}" || status=1
  # By themselves parts use variables of their readers', and set some for them.
  mapfile -t files < <(files_named '\.sh$' |
                       xargs -d '\n' grep -L '^#!' || true)
  shellcheck -x -s bash -e SC2034,SC2154 "${files[@]}" || status=1
  return "$status"
}

lint_pyflakes ()
{
  local files
  mapfile -t files < <(python_files)
  ((${#files[@]} == 0)) || pyflakes3 "${files[@]}"
}

lint_clang_format ()
{
  local files file status=0 nr_lines
  mapfile -t files < <(files_named '\.[ch]$')
  for file in "${files[@]}"; do
    nr_lines=$(clang-format --style=file "$file" | diff "$file" - |
               grep -c '^[<>]' || true)
    if ((nr_lines)); then
      printf '%s: %d lines differ; clang-format -i %s\n' \
        "$file" "$nr_lines" "$file"
      status=1
    fi
  done
  return "$status"
}

lint_blanks ()
{
  {
    files_named '' | xargs -d '\n' grep -nIE '[[:blank:]]+$|'$'\r''$' |
      sed 's/$/<- blank at the end of the line/'
    files_named '\.(c|h|sh|ac|pml|pod|md|py)$|^dev$' |
      xargs -d '\n' grep -nIP '\t' | sed 's/$/<- tab/'
    files_named '' | while read -r file; do
      [ -z "$(tail -c 1 "$file" | tr -d '\n')" ] ||
        printf '%s: no newline at the end\n' "$file"
    done
  } | complain
}

lint_line_length ()
{
  {
    files_named '\.(c|h|sh|pml)$'
    python_files
    shell_files
  } | sort -u | xargs -d '\n' awk 'length > 80 {
      printf "%s:%d: %d columns\n", FILENAME, FNR, length }' | complain
}

lint_spdx ()
{
  {
    files_named '\.(c|h|sh|ac|am|mk|pml|pod)$'
    python_files
    shell_files
  } | sort -u | while read -r file; do
    head -n 3 "$file" | grep -q 'SPDX-License-Identifier: BSD-3-Clause' ||
      printf '%s: no SPDX line\n' "$file"
  done | complain
}

lint_spelling ()
{
  local files
  mapfile -t files < <(source_files)
  # Variables, and words that a test misspells on purpose.
  codespell -L ans,unstall,ndoes,szie,memroy,inflight,exprot,siez "${files[@]}"
}

# A mutant that does not match the source any more would prove nothing.
lint_mutants ()
{
  "$top/tests/stress/mutants" --match
}

# Advice, never a failure: a file this long probably holds two things.
advise_length ()
{
  files_named '^(src|plugin)/.*\.[ch]$' | xargs -r -d '\n' awk '
    FNR == 501 { printf "%s has more than 500 lines\n", FILENAME }'
}

lints=(shellcheck pyflakes clang_format blanks line_length spdx spelling
  mutants)

dev_lint ()
{
  local lint status=0 out
  deps build lint clang
  cd "$top" || return
  for lint in "${lints[@]}"; do
    if out=$("lint_$lint" 2>&1); then
      say "ok      ${lint//_/-}"
    else
      say "failed  ${lint//_/-}" "$out"
      status=1
    fi
  done
  advise_length
  if [ -e "$top/build/config.status" ]; then
    DEV_RESULTS=/dev/null
    stage_symbols || status=1
  fi
  exit "$status"
}

stage_lint ()
{
  local lint
  cd "$top" || return
  for lint in "${lints[@]}"; do
    check "${lint//_/-}" "lint_$lint"
  done
  advise_length
}

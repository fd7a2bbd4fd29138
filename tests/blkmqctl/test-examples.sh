#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The examples of blkmqctl(1) do what the page says: each line that begins with
# "$ " is run, and prints the lines that follow it.  And the page and --help
# have the same commands.
# shellcheck source-path=SCRIPTDIR source=functions.sh
top_tests=$(cd "$(dirname "$0")/.." && pwd)
. "$top_tests/blkmqctl/functions.sh"
requires jq
manual=$top_srcdir/man/blkmqctl.pod

blkmqctl ()
{
  "$ctl" "$@"
}

# localised COMMAND: with this tree's plugin, and files of this test.
localised ()
{
  sed -e "s|^nbdkit .* blkmq |start_server |" \
    -e "s|/tmp/disk|$tmp/disk|g" <<<"$1"
}

nr_run=0
command='' expected=''
run_example ()
{
  [ -n "$command" ] || return 0
  nr_run=$((nr_run + 1))
  case $command in
    nbdkit\ * | export\ *) eval "$(localised "$command")" ;;
    *)
      eval "$command" >"$tmp/got" 2>&1 || :
      case $command in
        *' top '*)
          expect_equal "the number of pictures of '$command'" \
            "$(grep -c '^all ' "$tmp/got")" 10 ;;
        *)
          expect_equal "what '$command' prints" "$(cat "$tmp/got")" \
            "${expected%$'\n'}" ;;
      esac ;;
  esac
}

awk '/^=head1/ { inside = ($2 == "EXAMPLES") }
     inside && /^ / { print substr ($0, 2) }' "$manual" >examples
while IFS= read -r line <&3; do
  if [[ $line == '$ '* ]]; then
    run_example
    command=${line#'$ '}
    expected=''
  else
    expected+=$line$'\n'
  fi
done 3<examples
run_example
[ "$nr_run" -ge 14 ] || fail "the page has only $nr_run examples"

# Commands by --help, the synopsis and the page.
"$ctl" --help | sed -n 's/^  \([a-z][a-z-]*\) .*/\1/p' | sort -u >commands
[ "$(wc -l <commands)" -ge 11 ] || fail "--help: $(cat commands)"
awk '/^=head1/ { inside = ($2 == "SYNOPSIS") } inside && /^ blkmqctl [a-z]/' \
  "$manual" | awk '{ print $2 }' | sort -u >synopsis
expect_equal "the synopsis' commands" "$(cat synopsis)" "$(cat commands)"
awk '/^=head1/ { inside = ($2 == "COMMANDS") } inside && /^=item/' "$manual" \
  | sed 's/^=item B<\([a-z-]*\).*/\1/' | sort -u >items
expect_equal "the page's commands" "$(cat items)" "$(cat commands)"

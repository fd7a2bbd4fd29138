#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# bash completes commands and options of blkmqctl, and, of a disk that can be
# reached, keys, those that can be changed, their words, rules and disks.
# shellcheck source-path=SCRIPTDIR source=functions.sh
top_tests=$(cd "$(dirname "$0")/.." && pwd)
. "$top_tests/blkmqctl/functions.sh"
# shellcheck source=../../src/blkmqctl/completion/blkmqctl
. "$top_srcdir/src/blkmqctl/completion/blkmqctl"

# completes EXPECTED WORD...: as if TAB was pressed in the last word; a "=" is a
# word of its own, as bash has it.
completes ()
{
  local expected=$1

  COMP_WORDS=("$ctl" "${@:2}")
  COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
  COMPREPLY=(untouched)
  _blkmqctl
  expect_equal "what completes '${*:2}'" "${COMPREPLY[*]}" "$expected"
}

completes 'stats' st
completes 'fault freeze' f
completes 'show get set stats top fault power freeze unfreeze inflight '\
'reset-stats exports' ''
completes '--export' --e
completes '--json' stats --j
completes '--max' inflight --m
completes '-d --delay -n --count -s --socket --export' top -
completes 'on off' power ''
completes '' power on ''
completes 'add del list' fault ''
completes '' stats ''
# Nothing can be asked: nothing is offered, and nothing is said.
completes '' set '' 2>err
completes '' get 'i' 2>>err
completes '' -s "$tmp/nowhere" get 'i' 2>>err
[ ! -s err ] || fail "completion says $(cat err)"

touch a-file
completes 'a-file' -s a-
completes 'a-file' --socket = a-

start_server 1M control="$control" live=1
completes 'iostats' -s "$control" get iost
export BLKMQ_CONTROL=$control
completes 'iostats' get iost
completes 'readonly' show reado
# Only what can be changed.
completes 'iostats=' set iost
completes '' set reado
completes 'scheduler=' set iostats = 1 sched
completes 'none mq-deadline' set scheduler =
completes 'mq-deadline' set scheduler = mq
completes '0 1' set iostats =
completes '' set io_timeout =
# Where "=" does not end a word, the word stays whole.
COMP_WORDBREAKS=' '
completes 'scheduler=mq-deadline' set scheduler=mq

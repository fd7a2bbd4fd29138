#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# bash completes options, keys and the words of keys of blkmqd.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
# shellcheck source=../../src/server/completion/blkmqd
. "$top_srcdir/src/server/completion/blkmqd"

# completes EXPECTED WORD...: as if TAB was pressed in the last word; a "=" is a
# word of its own, as bash has it.
completes ()
{
  local expected=$1

  COMP_WORDS=("$blkmqd" "${@:2}")
  COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
  COMPREPLY=(untouched)
  _blkmqd
  expect_equal "what completes '${*:2}'" "${COMPREPLY[*]}" "$expected"
}

completes '--unix= --unix-mode= --unix-owner=' --un
completes '--unix-mode=' --unix-m
completes '--log-level=' --unix = x --log-l
completes '--syslog' --sy
completes '--help' --he
completes 'root' --allow-uid = roo
completes 'root' --unix-owner = roo
completes 'root' --user = roo
completes 'root' --group roo
completes '0:root' --unix-owner 0:roo
completes '0,root' --allow-uid = 0,roo
completes 'root' --allow-gid roo
completes 'error warning info debug' --log-level = ''
completes 'debug' --log-level d
completes 'scheduler=' sched
completes 'export=' 1G export = a expo
completes 'none mq-deadline' 1G scheduler =
completes 'mq-deadline' scheduler = mq
completes '0 1' rotational =
completes '' hw_queue_depth =
completes '' --threads = ''
completes 'memory null' driver =
touch a-file
completes 'a-file' --unix = a-
completes 'a-file' --pidfile a-
completes 'a-file' --log-file = a-
completes 'a-file' --config = a-
completes '--config=' --con
completes '--check' --ch
# Where "=" does not end a word, the word stays whole.
COMP_WORDBREAKS=' '
completes 'scheduler=mq-deadline' scheduler=mq
completes '--log-level=debug' --log-level=d

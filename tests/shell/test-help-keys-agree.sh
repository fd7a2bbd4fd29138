#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The keys of nbdkit --dump-plugin (the table that is parsed by), of nbdkit
# --help and of the manual are the same, with the same words and defaults.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
manual=$top_srcdir/man/nbdkit-blkmq-plugin.pod
[ -r "$manual" ] || fail "there is no $manual"

# --dump-plugin: "blkmq_key_NAME=TYPE default=VALUE ... allowed=TEXT".
"$nbdkit" --dump-plugin "$plugin" | sed -n 's/^blkmq_key_//p' >"$tmp/dump"
keys=$(sed 's/=.*//' "$tmp/dump" | sort)
[ "$(wc -w <<<"$keys")" -ge 13 ] || fail "--dump-plugin lists only: $keys"
expect_equal "the number of keys that are listed twice" \
  "$(uniq -d <<<"$keys" | wc -l)" 0

# --help: behind what nbdkit itself says, "NAME=<TYPE> ..." or "NAME=a|b ...".
"$nbdkit" --help "$plugin" | sed '1,/^plugin: /d' \
  | grep '^[a-z_]*=' >"$tmp/help" || fail "--help shows no key"
expect_equal "the list of keys in --help" \
  "$(sed 's/=.*//' "$tmp/help" | sort)" "$keys"

# The manual: items of the PARAMETERS section, each as "=item B<NAME=>TYPE",
# "=item [B<NAME=>]TYPE" or one "=item B<NAME=WORD>" a word.  An item that has
# no text shares that of the next.  Here: a line an item, "ITEM<tab>TEXT".
awk '
  /^=head1/ { inside = ($2 == "PARAMETERS") }
  !inside { next }
  /^=item/ { if (text != "") flush(); items[++n] = substr ($0, 7); next }
  /^=/ { flush(); next }
  NF { text = text " " $0 }
  function flush(  i) {
    for (i = 1; i <= n; i++)
      print items[i] "\t" text
    n = 0
    text = ""
  }' "$manual" >"$tmp/items"
sed -n 's/^\[\{0,1\}B<\([a-z_]*\)=.*/\1/p' "$tmp/items" | sort -u >"$tmp/manual"
expect_equal "the list of keys in the manual" "$(cat "$tmp/manual")" "$keys"
awk '/^=head1/ { inside = ($2 == "SYNOPSIS") } inside' "$manual" \
  | grep -o '[a-z_]\+=' | tr -d '=' | sort >"$tmp/synopsis"
expect_equal "the list of keys in the synopsis" "$(cat "$tmp/synopsis")" "$keys"

# number VALUE UNIT: the manual's way to write a default, as a bare number.
number ()
{
  awk -v value="$1" -v unit="$2" 'BEGIN {
    ns["ns"] = 1; ns["us"] = 1e3; ns["ms"] = 1e6; ns["s"] = 1e9
    if (value == "false")
      value = 0
    if (match (value, /[a-z]+$/) && unit in ns) {
      suffix = substr (value, RSTART)
      if (suffix in ns)
        value = substr (value, 1, RSTART - 1) * ns[suffix] / ns[unit]
    }
    print value
  }'
}

while IFS='=' read -r key type rest; do
  default=${rest%% *}
  text=$(awk -F '\t' -v key="$key" \
    '$1 ~ "B<" key "=" { print $2; exit }' "$tmp/items")

  # Words: --help has "key=a|b|c", the manual an item each.
  words=$(sed -n "s/^$key=\([a-z|-]*|[a-z|-]*\) .*/\1/p" "$tmp/help" \
    | tr '|' '\n')
  if [ -n "$words" ]; then
    expect_equal "the list of words of $key in the manual" \
      "$(sed -n "s/^B<$key=\([a-z-]*\)>.*/\1/p" "$tmp/items" | sort)" \
      "$(sort <<<"$words")"
  elif [ "$type" = enum ]; then
    fail "--help does not show the words of $key"
  fi

  # Defaults: "(default V)" in --help, "Default V" or "V (the default)" in the
  # manual.
  if [ "$default" = - ]; then
    if grep "^$key=" "$tmp/help" | grep -q '(default'; then
      fail "--help knows a default of $key"
    fi
    continue
  fi
  grep "^$key=" "$tmp/help" | grep -qF "(default $default)" \
    || fail "--help does not name $default as the default of $key"
  unit=$(sed -n "s/^$key=.* (\([a-z]*\); suffixes.*/\1/p" "$tmp/dump")
  found=$(sed -n -e 's/.*\bC<\([a-z0-9]\+\)> (the default).*/\1/p;t' \
    -e 's/.*\b\([a-z0-9]\+\) (the default).*/\1/p;t' \
    -e 's/.*\b[Dd]efault \([a-z0-9]\+\).*/\1/p' <<<"$text")
  expect_equal "the default of $key in the manual" \
    "$(number "$found" "$unit")" "$default"
done < <(sed 's/ default=/=/' "$tmp/dump")

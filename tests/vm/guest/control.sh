# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# What the parts that change a running disk share: its control socket, and the
# numbers that it counts.

# start_controlled NAME [--option...] key=value...: as start_server.
start_controlled ()
{
  start_server "$@" control="$run/$1.control"
}

# ctl NAME COMMAND...
ctl ()
{
  blkmqctl -s "$run/$1.control" "${@:2}"
}

# counter NAME MEMBER...: of all hardware queues, for instance `ios read'; 0
# where there is none.
counter ()
{
  ctl "$1" --json stats | perl -e '
    use strict; use warnings;
    use JSON::PP;
    local $/;
    my $value = decode_json (<STDIN>)->{total};
    $value = $value->{$_} foreach @ARGV;
    print $value // 0, "\n"' "${@:2}"
}

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
# where there is none.  The guest has no parser of JSON.
counter ()
{
  ctl "$1" --json stats | perl -e '
    use strict; use warnings; local $/;
    my ($total) = <STDIN> =~ /.*"total"\s*:(.*)/s or die "no total";
    my $member = pop @ARGV;
    foreach (@ARGV) {
      ($total) = $total =~ /"$_"\s*:\s*\{([^{}]*)\}/ or die "no $_";
    }
    print $total =~ /"$member"\s*:\s*(\d+)/ ? $1 : 0, "\n"' "${@:2}"
}

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

# One number a hardware queue, on one line: how many reads each has had.
reads_by_queue ()
{
  ctl "$1" --json stats | perl -0777 -ne '
    s/"total".*//s;
    print join (" ", /"ios"\s*:\s*\{[^{}]*"read"\s*:\s*(\d+)/g), "\n"'
}

# rules NAME fault|hits|held: that number of each rule, on one line.
rules ()
{
  ctl "$1" --json fault list \
    | sed -n "s/.*\"$2\": *\([0-9]*\).*/\1/p" | tr '\n' ' '
}

# As the counters say, and the tags.
nothing_is_in_flight ()
{
  ctl "$1" --json inflight | grep -Eq '"requests": *\[\]' || return 1
  ctl "$1" --json stats | perl -0777 -ne '
    s/.*"total"//s;
    /"in_flight"\s*:\s*\{([^{}]*)\}/ or die "no in_flight";
    exit ($1 =~ /:\s*[1-9]/)'
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

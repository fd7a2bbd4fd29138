# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# deps.sh: the Debian 12 packages that this tree needs.  This is the only list;
# everything else asks `./dev deps'.  Of A|B either will do; A is installed.

declare -A packages=(
  # Autotools, compilers, headers and libraries.  check and libnbd-dev are for
  # the tests, but configure looks for them, so they belong to the build.
  [build]='autoconf automake libtool make pkgconf gcc g++ libc6-dev perl
           libev-dev libbsd-dev libinih-dev libjansson-dev libsystemd-dev
           libgnutls28-dev nbdkit-plugin-dev check libnbd-dev'
  # The server, and the clients of the demonstration.
  [run]='nbdkit libnbd-bin qemu-utils fio e2fsprogs jq tmux procps socat
         strace systemd gnutls-bin libxml2-utils libvirt0'
  [dist]='git xz-utils'
  [lint]='shellcheck clang-format codespell pyflakes3 git'
  [bench]='python3 gnuplot-nox'
  [clang]='clang'
  [model]='spin gcc'
  [vm]='qemu-system-x86 nbd-client xfsprogs kmod cpio perl sqlite3 libnbd-bin
        systemd libnss-systemd util-linux procps busybox-static|busybox'
  [valgrind]='valgrind'
  [deb]='dpkg-dev debhelper lintian mmdebstrap'
  [coverage]='gcovr'
)

# deps SET...|all: install what is missing and say what; no network and no
# noise when nothing is.
deps_installed=0
deps ()
{
  local sets=("$@") missing set log

  if ! command -v dpkg-query >/dev/null; then
    ((deps_warned)) || say \
      'dev: not a Debian system: packages are yours to install' >&2
    deps_warned=1
    return 0
  fi
  [ "$1" != all ] || sets=("${!packages[@]}")
  mapfile -t missing < <(
    for set in "${sets[@]}"; do
      printf '%s\n' "${packages[$set]}"
    done | awk -v installed="$(installed_packages)" '
      BEGIN {
        split (installed, names, "\n")
        for (i in names)
          have[names[i]] = 1
      }
      {
        for (i = 1; i <= NF; i++) {
          nr = split ($i, choice, "|")
          found = 0
          for (j = 1; j <= nr; j++)
            found = found || choice[j] in have
          if (!found && !asked[choice[1]]++)
            print choice[1]
        }
      }')
  ((${#missing[@]})) || return 0

  # --no-remove: a conflict ends in an error, never in a package removed.
  local install=(apt-get install -y --no-install-recommends --no-remove
                 "${missing[@]}")
  if ((EUID != 0)); then
    die "packages are missing; please run:
  sudo apt-get update && sudo ${install[*]}"
  fi
  say "Installing from Debian: ${missing[*]}" | fold -s -w 79 | sed 's| *$||'
  log=$(mktemp "${TMPDIR:-/tmp}/blkmq-deps.XXXXXX")
  export DEBIAN_FRONTEND=noninteractive
  logged "$log" apt-get update -q
  logged "$log" "${install[@]}" -q -o Dpkg::Use-Pty=0 \
    -o DPkg::Lock::Timeout=600 </dev/null
  rm -f "$log"
  deps_installed=1
}
deps_warned=0

installed_packages ()
{
  dpkg-query -W -f='${Package} ${db:Status-Status}\n' |
    sed -n 's/ installed$//p'
}

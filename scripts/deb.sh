# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# deb.sh: Debian's packages: built from a copy of the tree, looked at by
# lintian, installed into a root that was empty before, and used there.  By
# itself (./dev deb) and as a stage of ./dev test.

# What a build has without being told (build-essential and debhelper).
implied_packages='autoconf automake libtool make pkgconf gcc g++ libc6-dev perl'

# The sources of the machine's own apt that are Debian's, as sources.list has
# them.
debian_sources ()
{
  # shellcheck disable=SC2016 # for apt
  apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' \
    'Created-By: Packages' 'Origin: Debian' | sort -u
}

# How that apt gets there: proxies, and what it does not check.
apt_settings ()
{
  apt-config dump --format '%F "%v";%n' Acquire |
    grep -E '^Acquire::(https?|ftp|Check-|Retries|Languages)' || true
}

# make_packages DIR: DIR/*.deb, and the other files that belong to an upload.
make_packages ()
{
  local source=$1/blkmq log=$1/build.log status=0
  mkdir -p "$source"
  source_files | tar -C "$top" -cf - -T - | tar -C "$source" -xf -
  foreground env -C "$source" \
    DEB_BUILD_OPTIONS="nocheck parallel=$nr_jobs" \
    dpkg-buildpackage -us -uc >"$log" 2>&1 || status=$?
  ((status == 0)) || tail -n 40 "$log"
  return "$status"
}

lintian_is_content ()
{
  local as_root=()
  ((EUID != 0)) || as_root=(--allow-root)
  lintian "${as_root[@]}" --fail-on error,warning -EviIL +pedantic \
    "$1"/*.changes | grep -v '^N:'
  return "${PIPESTATUS[0]}"
}

# All that deps.sh asks for to build it, Build-Depends does, too.
build_depends_are_whole ()
{
  comm -23 \
    <(tr -s ' \n' '\n' <<<"${packages[build]}" |
      grep -vxF -f <(tr ' ' '\n' <<<"$implied_packages") | sort) \
    <(sed -n '/^Build-Depends:/,/^$/s/^ \([a-z0-9.+-]*\).*/\1/p' \
        "$top/debian/control" | sort) | complain
}

versions_agree ()
{
  [ "$(cd "$top" && dpkg-parsechangelog -S Version)" = \
    "$(sed -n 's/^AC_INIT(\[blkmq\], \[\(.*\)\])$/\1/p' "$top/configure.ac")" ]
}

# is_hardened FILE: PIE or a library, all bound at start, read-only then.
is_hardened ()
{
  readelf -hldW "$1" >"$scratch/readelf"
  grep -q 'Type: *DYN' "$scratch/readelf" &&
    grep -q 'GNU_RELRO' "$scratch/readelf" &&
    grep -q 'FLAGS.*NOW' "$scratch/readelf"
}

# build_outside_driver FILE: from the packages alone.
build_outside_driver ()
{
  local unpacked=$scratch/unpacked flags
  read -ra flags < <(
    PKG_CONFIG_SYSROOT_DIR=$unpacked \
    PKG_CONFIG_LIBDIR=$(dirname "$(find "$unpacked" -name blkmq.pc)") \
      pkg-config --cflags --libs blkmq)
  gcc -Wall -Wextra -Werror -O2 -shared -fPIC -o "$1" \
    "$unpacked/usr/share/doc/libblkmq-dev/examples/skeleton.c" "${flags[@]}"
}

# A clean root is root's to make, or of who has user ids to spare.
can_make_root ()
{
  ((EUID == 0)) || grep -qs "^$(id -un):" /etc/subuid
}

# mmdebstrap makes the root meanwhile; what is done in it is in deb-root.
begin_root ()
{
  local codename hook own_mounts=()
  codename=$(. /etc/os-release && printf '%s' "$VERSION_CODENAME")
  debian_sources >"$scratch/sources.list"
  apt_settings >"$scratch/apt.conf"
  mkfifo "$scratch/built"
  : >"$scratch/used"
  chmod 755 "$scratch"
  chmod 666 "$scratch/used"
  hook="$(printf '%q' "$top/scripts/deb-root") \"\$1\" $scratch"
  # What it mounts ends with it, whatever it dies of.
  if ((EUID == 0)) && unshare -m true; then
    own_mounts=(unshare -m)
  fi
  TMPDIR=$scratch "${own_mounts[@]}" mmdebstrap --variant=apt --format=null \
    --include=libnbd-bin --aptopt="$scratch/apt.conf" \
    --dpkgopt=force-unsafe-io --customize-hook="$hook" \
    "$codename" /dev/null "$scratch/sources.list" >"$scratch/root.log" 2>&1 &
  root_maker=$!
  started+=("$root_maker")
  # So that neither side waits for the other to open it.
  exec 7<>"$scratch/built"
}

# end_root WORD: go on, or give up.  What was found there becomes results.
end_root ()
{
  local status=0 kind name
  echo "$1" >&7
  wait "$root_maker" || status=$?
  exec 7>&-
  cat "$scratch/root.log"
  while read -r kind name; do
    "$kind" "$name"
  done <"$scratch/used"
  ((status == 0)) || fail "a clean root (mmdebstrap's exit status $status)"
}

stage_deb ()
{
  local dir file root_maker=
  make_scratch
  dir=$scratch/packages
  check 'Build-Depends has what deps.sh has' build_depends_are_whole
  check 'the version is that of configure.ac' versions_agree
  if can_make_root; then
    begin_root
  fi
  check 'dpkg-buildpackage' make_packages "$dir"
  rm -rf "$top/build/deb"
  if ! compgen -G "$dir/*.changes" >/dev/null; then
    [ -z "$root_maker" ] || end_root give-up
    return
  fi
  mkdir -p "$top/build/deb"
  find "$dir" -maxdepth 1 -type f -exec cp -t "$top/build/deb" {} +
  mkdir "$scratch/install"
  find "$dir" -name '*.deb' -not -name '*-dbgsym_*' \
    -exec cp -t "$scratch/install" {} +
  for file in "$scratch"/install/*.deb; do
    dpkg-deb -x "$file" "$scratch/unpacked"
  done
  check 'a driver built from the packages alone' \
    build_outside_driver "$scratch/install/skeleton.so"
  if [ -n "$root_maker" ]; then
    echo built >&7
  fi
  check 'lintian' lintian_is_content "$dir"
  while read -r file; do
    check "hardened: ${file##*/}" is_hardened "$file"
  done < <(find "$scratch/unpacked" -type f \
             \( -path '*/bin/*' -o -name '*.so' -o -name '*.so.*' \))
  if [ -n "$root_maker" ]; then
    end_root built
  else
    skip 'a clean root: neither root nor user ids in /etc/subuid'
  fi
}

# ./dev deb: the packages are in build/deb then.
dev_deb ()
{
  local log=$top/build/dev-deb.log nr_failed
  deps build run deb
  mkdir -p "$top/build"
  results_file=$top/build/dev-deb.results
  : >"$results_file"
  foreground env DEV_RESULTS="$results_file" "$top/dev" stage deb \
    >"$log" 2>&1 || fail 'the stage' >>"$log"
  grep '^-- ' "$log" || true
  explain "$log"
  nr_failed=$(nr_results fail "$results_file")
  say "The packages are in build/deb/; the log is build/dev-deb.log." \
    "$(nr_results pass "$results_file") passed, $nr_failed failed,\
 $(nr_results skip "$results_file") skipped"
  ((nr_failed == 0))
}

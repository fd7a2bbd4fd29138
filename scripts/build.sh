# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# build.sh: configure and make, into build/ or build-NAME/.  The source tree
# gets what autoreconf makes and nothing else.

nr_jobs=$(nproc)

# Two ./dev in one tree wait for each other here; the lock is on the directory
# itself and leaves no file behind.
bootstrap ()
{
  local file made
  for made in configure Makefile.in build-aux/ltmain.sh; do
    [ -e "$top/$made" ] || made=missing
    for file in "$top"/{configure.ac,Makefile.am,*/local.mk,src/*/local.mk}; do
      if [ "$file" -nt "$top/$made" ]; then
        logged "$1" autoreconf -fi "$top"
        # Some are left alone when nothing in them changes.
        touch "$top"/{configure,Makefile.in,build-aux/ltmain.sh}
        return
      fi
    done
  done
}

# build_tree DIR [CONFIGURE-ARGUMENT...]: quiet unless it fails.  Who wants less
# than everything says so in build_targets.
build_seconds=0
build_targets=()
build_tree ()
{
  local dir=$top/$1 log begin=$SECONDS stamp
  shift
  mkdir -p "$dir"
  log=$dir/dev-build.log
  : >"$log"
  set -- --enable-werror "$@"
  # Where the tree stood and how it was configured: a copy or a change of
  # arguments configures afresh.
  stamp="$top: $*"
  {
    flock 9
    bootstrap "$log"
    if [ ! -e "$dir/config.status" ] ||
       [ "$(cat "$dir/dev-configured" 2>/dev/null)" != "$stamp" ]; then
      logged "$log" env -C "$dir" "$top/configure" "$@"
      printf '%s\n' "$stamp" >"$dir/dev-configured"
    fi
    logged "$log" make -C "$dir" -j"$nr_jobs" "${build_targets[@]}"
  } 9<"$top"
  build_seconds=$((SECONDS - begin))
}

# built_file plugin|lib|blkmqctl|blkmqd [DIR]: its path.
built_file ()
{
  local name file
  case $1 in
    plugin) name='nbdkit-blkmq-plugin.so' ;;
    lib) name=libblkmq.so ;;
    blkmqctl|blkmqd) name=$1 ;;
  esac
  for file in "$top/${2-build}"/{{,plugin/,src/}.libs/,}"$name"; do
    if [ -e "$file" ]; then
      printf '%s\n' "$file"
      return
    fi
  done
  die "$name is not built yet: run ./dev build"
}

dev_clean ()
{
  rm -rf "$top"/build "$top"/build-{asan,tsan,clang,coverage,fuzz}
  say 'Removed build/ and build-*/.'
}

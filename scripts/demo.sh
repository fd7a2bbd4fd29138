# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# demo.sh: ./dev run and ./dev serve: nbdkit with the plugin, or blkmqd, on a
# Unix socket in a scratch directory, ended and removed however the script ends.

# begin_scratch: sets socket, uri and pidfile, in a directory of their own.
socket='' uri='' pidfile='' server=''
begin_scratch ()
{
  make_scratch
  socket=$scratch/socket
  uri="nbd+unix:///?socket=$socket"
  pidfile=$scratch/pid
}

# serve_by_nbdkit LOG [KEY=VALUE...]: returns when clients can connect, or dies
# with what nbdkit said.
serve_by_nbdkit ()
{
  begin_scratch
  # The kernel's client has 128 requests in flight on each connection, nbdkit
  # by default 16 threads.
  nbdkit --foreground --exit-with-parent --threads 128 \
    --unix "$socket" --pidfile "$pidfile" "$(built_file plugin)" "${@:2}" \
    >"$1" 2>&1 &
  server=$!
  started+=("$server")
  wait_for_server "$pidfile" "$1"
}

# serve_by_blkmqd [OPTION...|KEY=VALUE...]: likewise; its messages go to the
# terminal.  Sets uris, one for each disk.  In a session of its own: Ctrl-C is
# for this script, which then tells the server to end, once.
uris=()
serve_by_blkmqd ()
{
  begin_scratch
  setsid "$(built_file blkmqd)" --unix="$socket" --pidfile="$pidfile" "$@" \
    >"$scratch/uris" &
  server=$!
  started+=("$server")
  wait_for_server "$pidfile" ''
  mapfile -t uris <"$scratch/uris"
  uri=${uris[0]}
}

# wait_for_server PIDFILE LOG: both servers write their file when the socket
# takes connections.
wait_for_server ()
{
  until [ -s "$1" ]; do
    if ! kill -0 "$server" 2>/dev/null; then
      [ -z "$2" ] || cat "$2" >&2
      die 'the server did not start'
    fi
    sleep 0.02
  done
}

# A disk that is given no size has 1G.
with_size ()
{
  local argument
  for argument; do
    case $argument in
      --run* | --unix* | --pidfile*)
        die "serve: $argument: for this run $(relative "$(built_file blkmqd)")"
        ;;
      size=*) return ;;
      *=*) ;;
      -*) die "serve: $argument: say it as --OPTION=VALUE" ;;
      *) return ;;
    esac
  done
  printf 'size=1G\n'
}

dev_serve ()
{
  local size keys=() status=0
  deps build run
  build_tree build
  size=$(with_size "$@")
  keys=(${size:+"$size"} "$@")
  serve_by_blkmqd "${keys[@]}"
  trap 'say "" "The disk is gone."; exit 0' INT
  cat <<EOF
Serving (${keys[*]}); Ctrl-C ends it.

$(printf "  uri='%s'\n" "${uris[@]}")

  nbdinfo "\$uri"
  qemu-img info "\$uri"
  qemu-img convert -n -p -O raw IMAGE "\$uri"
  fio --name=try --ioengine=nbd --uri="\$uri" --rw=randrw --bs=4k \\
    --iodepth=32 --size=64M --verify=crc32c

As a kernel block device (as root; the module is nbd):

  nbd-client -unix $socket /dev/nbd0 -C 4
  nbd-client -d /dev/nbd0

EOF
  wait "$server" || status=$?
  die "blkmqd has ended (status $status)"
}

# A step of the demonstration: its name first, so that one sees what is being
# done, and what came of it at the end.
step ()
{
  printf '  %-10s' "$1"
  line_open=1
}

step_end ()
{
  say "$*"
  line_open=0
}

dev_run ()
{
  local log image tree=/usr/include nr_files fio results=()

  deps build run
  say 'blkmq: a disk in memory, served over NBD by nbdkit' ''
  step build
  build_tree build
  step_end "$(relative "$(built_file plugin)"), $build_seconds s"

  log=$top/build/dev-run.log
  : >"$log"
  serve_by_nbdkit "$log" size=1G driver=memory
  step nbdkit
  step_end "1 GiB of memory at $socket"

  step nbdinfo
  logged "$log" nbdinfo "$uri"
  step_end "$(nbdinfo --json "$uri" | jq -r '.exports[0] |
    .["export-size-str"] + "; " +
    ([to_entries[] | select (.value == true and (.key | startswith ("can_")))
      | .key[4:]] | join (" "))')"

  step mkfs
  image=$scratch/image
  logged "$log" mkfs.ext4 -q -F -d "$tree" "$image" 1G
  nr_files=$(find "$tree" -type f | wc -l)
  step_end "an image with ext4: $nr_files files of $tree," \
    "$(du -B 1M "$image" | cut -f 1) MiB"

  step qemu-img
  logged "$log" qemu-img convert -n -f raw -O raw "$image" "$uri"
  logged "$log" qemu-img compare -f raw -F raw "$image" "$uri"
  step_end 'converted onto the disk, and compared: identical'

  step memory
  step_end "of the 1 GiB, the server takes $(resident_mib "$server") MiB"

  step fio
  fio=(fio --ioengine=nbd --uri="$uri" --bs=4k --iodepth=32 --size=256M
       --verify=crc32c --verify_fatal=1 --verify_state_save=0
       --name=write --rw=randwrite --name=read --stonewall --rw=randread)
  # fio's engine says "connected" on stdout, ahead of the JSON.
  logged "$log" "${fio[@]}" --output="$scratch/fio.json" --output-format=json
  mapfile -t results < <(fio_results "$scratch/fio.json")
  step_end "${results[0]}"
  say '' "${results[@]:1}"

  stop_process "$server"
  cat <<EOF

Everything is shut down.  To repeat it by hand, ./dev serve prints a uri; then

  nbdinfo "\$uri"
  mkfs.ext4 -d $tree image 1G
  qemu-img convert -n -f raw -O raw image "\$uri"
  qemu-img compare -f raw -F raw image "\$uri"
  fio --ioengine=nbd --uri="\$uri" --bs=4k --iodepth=32 --size=256M \\
    --verify=crc32c --name=write --rw=randwrite \\
    --name=read --stonewall --rw=randread
EOF
}

resident_mib ()
{
  awk '/^VmRSS:/ { printf "%d\n", $2 / 1024 }' "/proc/$1/status"
}

# What fio found, as lines: verified, then the table.  In the job that writes,
# the reads are those of its verification.
fio_results ()
{
  jq -r '
    def us: . / 1000 | if . < 10 then . * 10 | round / 10 else round end
      | tostring + " us";
    def row: [(.iops | round | tostring), (.bw_bytes / 1048576 | round
              | tostring + " MiB/s"),
              (.clat_ns.percentile |
               .["50.000000", "99.000000", "99.900000"] | us)];
    if any (.jobs[]; .error != 0) then error ("fio reports an error") else . end
    | .jobs[0] as $w | .jobs[1] as $r
    | ($w.write.total_ios | tostring) + " blocks written, "
      + ($w.read.total_ios + $r.read.total_ios | tostring)
      + " read back, each crc32c right",
      (["4 KiB, depth 32", "IOPS", "", "p50", "p99", "p99.9"],
       ["random writes"] + ($w.write | row),
       ["verifying reads"] + ($w.read | row),
       ["random reads"] + ($r.read | row)
       | @tsv)' "$1" |
    awk -F '\t' 'NF == 1 { print; next }
      { printf "  %-16s%9s%13s%12s%12s%12s\n", $1, $2, $3, $4, $5, $6 }'
}

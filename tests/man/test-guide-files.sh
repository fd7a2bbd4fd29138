#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The files of blkmq-examples(7) that only another program could use: systemd
# finds nothing wrong with its units, with what it makes of fstab, and with the
# order in which all that begins; libvirt's disks are as its schema wants them.
# shellcheck source-path=SCRIPTDIR source=../server/functions.sh
. "$(dirname "$0")/../server/functions.sh"
examples=$top_srcdir/doc/examples

# ---- libvirt ----

requires xmllint
schema=/usr/share/libvirt/schemas/domain.rng
# domain FILE: with this disk.
domain ()
{
  echo "<domain type='kvm'><name>guest</name><memory>65536</memory><os>"
  echo "<type arch='x86_64' machine='q35'>hvm</type></os><devices>"
  cat "$1"
  echo "</devices></domain>"
}
validate ()
{
  domain "$1" | xmllint --noout --relaxng "$schema" - >said 2>&1
}
nr=0
for file in "$examples"/*.xml; do
  xmllint --noout "$file" || fail "${file##*/} is no XML"
  nr=$((nr + 1))
  [ -e "$schema" ] || continue
  validate "$file" || fail "${file##*/}: $(cat said)"
  # The schema is seen to look at it.
  sed "s/protocol='nbd'/protocol='ndb'/" "$file" >wrong.xml
  ! validate wrong.xml || fail "the schema takes anything"
done
[ "$nr" -gt 1 ] || fail "there are only $nr disks for libvirt"
[ -e "$schema" ] || echo "$0: skipped in part: there are no schemas of libvirt"

# ---- systemd ----

requires systemd-analyze make
requires_systemd
generator=/usr/lib/systemd/system-generators/systemd-fstab-generator
[ -x "$generator" ] || skip "there is no systemd-fstab-generator"
make -s -C "$BLKMQ_BUILDDIR" DESTDIR="$tmp/root" \
  install-dist_systemdsystemunitDATA install-nodist_systemdsystemunitDATA \
  >made 2>&1 || fail "the units are not installed: $(cat made)"

# units ATTACH SED-EXPRESSION: a directory with blkmqd's units, those of the
# page, and what is made of fstab, changed so, with ATTACH to be attached by.
units ()
{
  local file

  rm -rf units generated
  mkdir -p units/{nbd@nbd0.service.d,blkmqd@scratch.socket.d} generated \
    units/blkmqd@lab.{socket,service}.d
  while read -r file; do
    sed "s|^ExecStart=[^ ]*/blkmqd |ExecStart=$blkmqd |" "$file" \
      >"units/${file##*/}"
  done < <(find root -type f)
  cp "$examples/attach-scratch.service" units
  cp "$examples/libvirt-socket.conf" units/blkmqd@scratch.socket.d/libvirt.conf
  cp "$examples/lab-socket.conf" units/blkmqd@lab.socket.d/tcp.conf
  cp "$examples/lab-service.conf" units/blkmqd@lab.service.d/tls.conf
  if [ "$1" = nbd@nbd0.service ]; then
    cp /lib/systemd/system/nbd@.service units
    cp "$examples/nbd0-blkmqd.conf" units/nbd@nbd0.service.d/blkmqd.conf
  fi
  # Whoever has no nbd-client could not start it: that is not looked at.
  sed -i 's|=/sbin/[^ ]*|=/bin/true|' units/*.service units/*/*.conf
  sed -e "s/nbd@nbd0.service/$1/" -e "$2" "$examples/fstab" >fstab
  SYSTEMD_FSTAB=$tmp/fstab "$generator" "$tmp"/generated{,,} >said 2>&1 \
    || fail "fstab: $(cat said)"
  grep -qx "Requires=$1" generated/srv-scratch.mount \
    || fail "fstab does not require $1"
  cp -r generated/* units
}

# verify: what systemd says of them, and of a boot with them, to the file said.
verify ()
{
  SYSTEMD_UNIT_PATH=$tmp/units: systemd-analyze verify --man=no \
    multi-user.target srv-scratch.mount blkmqd@scratch.socket \
    blkmqd@lab.service >said 2>&1 \
    && ! grep -E 'cycle|scratch|blkmqd|lab' said
}

attach=(attach-scratch.service)
if [ -e /lib/systemd/system/nbd@.service ]; then
  attach+=(nbd@nbd0.service)
else
  echo "$0: skipped in part: there is no nbd@.service"
fi
for unit in "${attach[@]}"; do
  units "$unit" ''
  verify || fail "with $unit: $(cat said)"
  # What the page says of _netdev: without it nothing can begin.
  units "$unit" 's/_netdev,nofail,//'
  ! verify >/dev/null || fail "with $unit: it makes no difference"
  grep -q 'ordering cycle' said || fail "with $unit: $(cat said)"
done

#!/usr/bin/env bash
# Ceph with one monitor, one OSD in memory and the object gateway, as one process group in the foreground.
#   ceph.sh FOLDER MONITOR_PORT MONITOR_PORT_V1 GATEWAY      GATEWAY: beast's endpoints, as ssl_endpoint=... ssl_certificate=...
# Relies on the gateway's user being made by whoever waits for it. Neither manager nor systemd is needed, but cephx
# is: without it radosgw does not start.
set -euo pipefail

folder=$1 monitor=$2 monitor_v1=$3 gateway=$4
cd "$folder"
mkdir mon osd rgw run
fsid=$(cat /proc/sys/kernel/random/uuid)
osd=$(cat /proc/sys/kernel/random/uuid)
addresses="[v2:127.0.0.1:$monitor,v1:127.0.0.1:$monitor_v1]"

cat >ceph.conf <<END
[global]
fsid = $fsid
mon host = $addresses
mon initial members = a
public network = 127.0.0.0/8
cluster network = 127.0.0.0/8
ms bind ipv6 = false
keyring = $folder/keyring
run dir = $folder/run
admin socket = $folder/run/\$name.asok
log file =
log to stderr = true
err to stderr = true
auth allow insecure global id reclaim = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
# Warnings about the machine's disk, which is not ours to judge.
mon data avail warn = 1
mon data avail crit = 1
# How long a change waits for others to join it: by default a second, and a start makes dozens.
paxos propose interval = 0.01
paxos min wait = 0.01
[mon.a]
mon data = $folder/mon
[osd.0]
osd data = $folder/osd
osd objectstore = memstore
memstore device bytes = 8589934592
[client.rgw.a]
rgw data = $folder/rgw
rgw frontends = beast $gateway
rgw enable usage log = false
rgw enable ops log = false
# A quota is told to a test at once, not after the ten minutes that a cached one may be old.
rgw user quota bucket sync interval = 1
rgw bucket quota ttl = 0
END

key() { # key NAME CAPABILITY...
    local name=$1
    shift
    ceph-authtool keyring --gen-key -n "$name" "$@" >/dev/null
}
touch keyring
key mon. --cap mon 'allow *'
key client.admin --cap mon 'allow *' --cap osd 'allow *'
key client.rgw.a --cap mon 'allow rw' --cap osd 'allow rwx'
key osd.0 --cap mon 'allow profile osd' --cap mgr 'allow profile osd' --cap osd 'allow *'

monmaptool --create --addv a "$addresses" --fsid "$fsid" monmap >/dev/null
ceph-mon -c ceph.conf --mkfs -i a --monmap monmap --keyring keyring
ceph-mon -c ceph.conf -f -i a &
ceph-osd -c ceph.conf --mkfs -i 0 --osd-uuid "$osd"
secret=$(ceph-authtool keyring -n osd.0 --print-key)
echo "{\"cephx_secret\": \"$secret\"}" | ceph -c ceph.conf --connect-timeout 60 osd new "$osd" 0 -i -
ceph-osd -c ceph.conf -f -i 0 &
# It waits for the OSD by itself.
radosgw -c ceph.conf -f -n client.rgw.a &
# Without one of them there is no store.
wait -n

#!/bin/sh
# boot.sh MOUNTPOINT LOWER CGROUP…: boots a Debian out of LOWER (upper:…:base) with a systemd of its own, its changes in
# memory. Run in fresh mount and PID namespaces: whatever is mounted or started here is gone along with them; the cgroups,
# which are the machine's, the caller removes.
set -eu
mount_point=$1 lower=$2
shift 2
for cgroup; do
    echo 0 >"$cgroup/cgroup.procs"
done
mount -t proc proc /proc
# nspawn keeps its propagation directory there, and refuses to clean up on anything but a tmpfs.
mkdir -p /run/systemd/nspawn
mount -t tmpfs -o mode=755 fetchd-systemd /run/systemd/nspawn
mount -t tmpfs -o mode=755,size=1g fetchd-systemd "$mount_point"
root=$mount_point/root
mkdir "$mount_point/upper" "$mount_point/work" "$root"
mount -t overlay -o "lowerdir=$lower,upperdir=$mount_point/upper,workdir=$mount_point/work" overlay "$root"
: >"$root/etc/machine-id" # empty: systemd makes one at this boot
# No getty waits for a terminal that is not there.
ln -sf /dev/null "$root/etc/systemd/system/console-getty.service"
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
exec systemd-nspawn --quiet --directory="$root" --machine=fetchd-systemd --private-network --register=no --keep-unit \
    --console=pipe --kill-signal=SIGRTMIN+3 --boot

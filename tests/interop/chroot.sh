#!/bin/sh
# What has to be done as root inside fresh mount, PID and UTS namespaces (chroot.py makes them): all that is mounted or
# started here is gone when the last process of these namespaces is, whatever ends it.
#
#   chroot.sh probe DIRECTORY                       can overlays be mounted, with DIRECTORY or memory as the upper layer?
#   chroot.sh base NEW SUITE SOURCE APT-OPTION…     a minimal Debian in NEW
#   chroot.sh layer BUILD BASE PACKAGE…             what installing the packages adds to BASE, in BUILD/upper
#   chroot.sh run MOUNTPOINT LOWER                  a Debian out of LOWER (upper:…:base), its changes in memory
set -eu
name=mail.example.org

# overlay STATE LOWER: mounts STATE/root over LOWER; the changes go to STATE/upper.
overlay() {
    mkdir -p "$1/upper" "$1/work" "$1/root"
    mount -t overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" overlay "$1/root"
}

memory() { mount -t tmpfs -o mode=755,size=1g fetchd-interop "$1"; }

# furnish ROOT: what a program expects to find beside its own files. Its /dev holds nothing of the machine's.
furnish() {
    mount -t proc proc "$1/proc"
    mount -t tmpfs -o mode=755,size=1m fetchd-interop "$1/dev"
    for device in null zero full random urandom tty; do
        : >"$1/dev/$device"
        mount --bind "/dev/$device" "$1/dev/$device"
    done
    echo $name >/proc/sys/kernel/hostname
    echo $name >"$1/etc/hostname"
    printf '127.0.0.1 localhost %s %s\n' $name ${name%%.*} >"$1/etc/hosts"
}

probe() {
    overlay "$1" "$1"
    umount "$1/root"
    mkdir "$1/memory"
    memory "$1/memory"
    overlay "$1/memory" "$1"
}

base() {
    new=$1 suite=$2 source=$3
    shift 3
    mmdebstrap --quiet --mode=root --variant=apt --include=busybox "$@" "$suite" "$new" "$source"
    printf '#!/bin/sh\nexit 101\n' >"$new/usr/sbin/policy-rc.d" # no package starts its server
    chmod 755 "$new/usr/sbin/policy-rc.d"
}

layer() {
    root=$1/root
    overlay "$1" "$2"
    shift 2
    furnish "$root"
    # The way to the mirror is the machine's own.
    cp -L /etc/resolv.conf "$root/etc/resolv.conf" || true
    authorities=/etc/ssl/certs/ca-certificates.crt
    if [ -e $authorities ] && [ ! -e "$root$authorities" ]; then
        mkdir -p "$root${authorities%/*}"
        cp -L $authorities "$root$authorities"
    fi
    chroot "$root" apt-get -q update
    chroot "$root" apt-get -q --yes --no-install-recommends install "$@"
    chroot "$root" apt-get clean
    rm -rf "$root"/var/lib/apt/lists/*
}

run() {
    # The machine's /proc says what it calls this process, which nsenter wants to know.
    read -r pid _ </proc/self/stat
    memory "$1"
    overlay "$1" "$2"
    furnish "$1/root"
    # The namespace's first process must stay, and reap whoever loses its parent.
    # shellcheck disable=SC2016 # expanded by the inner shell
    exec chroot "$1/root" /bin/sh -c 'echo "$1"; exec >/dev/null 2>&1; while :; do sleep 1000 & wait; done' sh "$pid"
}

verb=$1
shift
"$verb" "$@"

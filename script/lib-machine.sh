# A Debian of its own, booted under its own systemd in namespaces: no container engine, and its own network.
# Sourced after lib-base.sh, never run.
# shellcheck shell=bash

# make_machine NAME SUITE PACKAGE,...: sets MACHINE, a folder with a clean system. pip in it has this machine's way
# to its index, and apt asks nothing.
make_machine() {
    local base=$IMAGES/$1.tar
    [ "$(id -u)" = 0 ] || die "this needs root."
    command -v mmdebstrap >/dev/null || install_packages mmdebstrap
    MACHINE=$IMAGES/$1
    mkdir -p "$IMAGES"
    if [ ! -e "$base" ]; then
        say "making a Debian $2 with systemd"
        mmdebstrap --quiet --format=tar --variant=minbase --include="systemd,systemd-sysv,dbus,ca-certificates,iproute2,$3" "$2" "$base.part"
        mv "$base.part" "$base"
    fi
    rm -rf "$MACHINE"
    mkdir -p "$MACHINE/old"
    tar -xf "$base" -C "$MACHINE"
    echo debian >"$MACHINE/etc/hostname"
    echo '127.0.0.1 localhost debian' >"$MACHINE/etc/hosts"
    echo 'nameserver 10.0.2.3' >"$MACHINE/etc/resolv.conf"
    echo 'APT::Get::Assume-Yes "true";' >"$MACHINE/etc/apt/apt.conf.d/yes"
    find_way
    [ -z "$WAY_CONF" ] || cp "$WAY_CONF" "$MACHINE/etc/pip.conf"
    [ -z "$WAY_PEM" ] || cp "$WAY_PEM" "$MACHINE/etc/pip.pem"
}

# copy_repository FOLDER: what git knows of this one, as a person would get it.
copy_repository() {
    mkdir -p "$1"
    git ls-files -z --cached --others --exclude-standard | tar --null --files-from=- --create | tar --extract --directory "$1"
}

# commands_of HEADING: the first block of commands under it in docs/install.md, for the account of play_cloudflare.
commands_of() {
    awk -v heading="## $1" '$0 == heading { on = 1 } on && /^```/ { if (n++) exit; next } n' docs/install.md \
        | sed "s#<account>#someone#"
}

# play_cloudflare ADDRESS: Cloudflare's names lead there in the machine, and a stand-in of its API answers, and of the
# Worker that is uploaded, with a simulated Flux. The machine trusts it.
play_cloudflare() {
    local folder=$MACHINE.cloudflare
    rm -rf "$folder"
    mkdir "$folder"
    nsenter --target "$(first_process)" --net .venv/bin/python -m tests.support.workers_dev "$folder" &
    cloudflare=$!
    until [ -e "$folder/ca.pem" ]; do
        kill -0 "$cloudflare" || die "the stand-in of Cloudflare ended"
        sleep 0.1
    done
    cp "$folder/ca.pem" "$MACHINE/usr/local/share/ca-certificates/stand-in.crt"
    inside update-ca-certificates >/dev/null 2>&1
    echo "$1 api.cloudflare.com flux.someone.workers.dev" >>"$MACHINE/etc/hosts"
}

# boot: starts MACHINE, until this script ends. It has a network of its own, with a way out.
boot() {
    local group one name=wyoming-flux-$$ cgroups
    command -v slirp4netns >/dev/null || install_packages slirp4netns
    say "booting it"
    # A control group of its own in each hierarchy, of either version; systemd mounts there what it wants.
    groups=("/sys/fs/cgroup/$name")
    cgroups='mount -t cgroup2 cgroup2 sys/fs/cgroup'
    if [ ! -e /sys/fs/cgroup/cgroup.controllers ]; then
        groups=()
        for one in /sys/fs/cgroup/*/; do groups+=("$one$name"); done
        cgroups='mount -t tmpfs tmpfs sys/fs/cgroup; mkdir sys/fs/cgroup/systemd
            mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd'
    fi
    mkdir -p "${groups[@]}"
    for one in cpus mems; do
        group=/sys/fs/cgroup/cpuset
        [ ! -e "$group/$name" ] || cat "$group/cpuset.$one" >"$group/$name/cpuset.$one"
    done
    (
        for group in "${groups[@]}"; do echo "$BASHPID" >"$group/cgroup.procs"; done
        exec unshare --mount --pid --net --uts --ipc --cgroup --fork --kill-child sh -ec "
            mount --make-rprivate /
            mount --bind '$MACHINE' '$MACHINE'
            cd '$MACHINE'
            mount -t proc proc proc
            mount -t sysfs sysfs sys
            $cgroups
            for one in run tmp dev; do mount -t tmpfs tmpfs \$one; done
            for one in null zero full random urandom tty; do touch dev/\$one; mount --bind /dev/\$one dev/\$one; done
            mkdir dev/shm dev/pts
            ln -s /proc/self/fd dev/fd
            ln -s pts/ptmx dev/ptmx
            mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
            ip link set lo up
            pivot_root . old
            cd /
            umount -l old
            # Credentials reach a service by a mount that must be passed on.
            mount --make-rshared /
            exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --show-status=0 --log-target=journal
        "
    ) >"$MACHINE.log" 2>&1 &
    outer=$! slirp='' cloudflare=''
    trap shut_down EXIT
    until first_process >/dev/null; do kill -0 "$outer" || die "it did not boot: $(cat "$MACHINE.log")"; done
    slirp4netns --configure --mtu=1500 "$(first_process)" tap0 >>"$MACHINE.log" 2>&1 &
    slirp=$!
}

shut_down() {
    kill -9 "$outer" ${slirp:+"$slirp"} ${cloudflare:+"$cloudflare"} 2>/dev/null || true
    wait 2>/dev/null || true
    # What ran in it takes a moment to go; Docker leaves groups within groups.
    local _
    for _ in $(seq 300); do
        ! find "${groups[@]}" -depth -type d -exec rmdir {} + 2>/dev/null || break
        sleep 0.1
    done
}

first_process() {
    local first
    first=$(cat "/proc/$outer/task/$outer/children" 2>/dev/null) && [ -n "$first" ] && echo "${first%% *}"
}

# inside COMMAND...: runs it in the machine.
inside() {
    nsenter --target "$(first_process)" --mount --pid --net --uts --ipc --cgroup --wd -- env -i HOME=/root \
        PATH=/opt/wyoming-flux/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

# wait_for UNIT: until the machine's systemd says that it runs.
wait_for() {
    local _
    for _ in $(seq 60); do
        kill -0 "$outer" 2>/dev/null || die "it did not boot: $(cat "$MACHINE.log")"
        ! inside systemctl is-active --quiet "$1" 2>/dev/null || return 0
        sleep 1
    done
    inside journalctl --no-pager --lines 20 >&2
    die "$1 does not run in it"
}

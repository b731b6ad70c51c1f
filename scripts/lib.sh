# What the shell scripts share: paths, messages, logs, the BASE file.
#
# Copyright (c) 2026 the auto-converge authors
#
# SPDX-License-Identifier: GPL-2.0-or-later
#
# shellcheck shell=bash
# shellcheck disable=SC2034  # the variables are for those who source this file

export LC_ALL=C
# Options that the caller's environment would slip under our git and grep.
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GREP_OPTIONS

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$top/build
dl=$build/dl
jobs=${JOBS:-$(nproc)}

# Where a QEMU that is not installed finds the system's firmware.
firmware_path=/usr/share/qemu:/usr/share/seabios:/usr/lib/ipxe/qemu

# use_series NAME: the paths of one series.
use_series() {
    export SERIES=$1
    patches=$top/patches/$SERIES
    work=$build/$SERIES
    tree=$work/tree
    obj=$work/obj
    bin=$work/bin
}
use_series "${SERIES:-7.2}"

say() { printf '%s\n' "$*"; }

# die MESSAGE...: one line an argument, the first one names the script.
die() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
    shift
    for line; do
        printf '    %s\n' "$line" >&2
    done
    exit 1
}

# base KEY: the value of KEY in the BASE file, empty when it has none.
base() {
    [ -f "$patches/BASE" ] ||
        die "no series for SERIES=$SERIES" \
            "there is: $(cd "$top/patches" && echo */ | tr -d /)"
    sed -n "s/^$1=//p" "$patches/BASE"
}

# logged NAME COMMAND...: run quietly; show where it failed, and its last words.
logged() {
    local log=$build/log/$1.log
    shift
    mkdir -p "$build/log"
    "$@" >"$log" 2>&1 </dev/null && return 0
    tail -n "${LOG_TAIL:-30}" "$log" >&2
    die "failed: $*" "whole log: $log"
}

# locked COMMAND...: one at a time for a series' tree and build directory.
locked() {
    mkdir -p "$work"
    if [ "${AUTO_CONVERGE_LOCKED:-}" != "$work" ]; then
        exec 9>"$work/lock"
        flock -n 9 || { say "waiting for another make in $work"; flock 9; }
        export AUTO_CONVERGE_LOCKED=$work
    fi
    "$@"
}

# private_apt NAME: an apt of our own with the sources that apt-sources prints
# for NAME: lists, cache and sources under build/, the system's untouched.
private_apt() {
    local apt=$build/apt-$1
    mkdir -p "$apt/parts" "$apt/lists/partial" "$apt/cache/archives/partial" "$dl"
    cat >"$apt/apt.conf" <<CONF
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$apt/parts";
Dir::State::lists "$apt/lists";
Dir::Cache "$apt/cache";
APT::Sandbox::User "";
CONF
    "$top/scripts/apt-sources" "$1" >"$apt/parts/debian.sources" || return
    export APT_CONFIG=$apt/apt.conf
    # An archive that lacks something is no failure while another one has it.
    apt-get -q update >"$apt/update.log" 2>&1 || true
}

# The Python that QEMU's configure takes, and the meson that it finds there.
# A release that wants a newer one than the system's gets a copy of its own
# (scripts/deps), which nothing else sees.
own_meson=$build/meson/usr/lib/python3/dist-packages

qemu_python() {
    local path
    path=$(base configure | sed -n 's/.*--python=\([^ ]*\).*/\1/p')
    printf '%s\n' "${path:-python3}"
}

# meson_serves PYTHONPATH: is meson there, and new enough for the release?
meson_serves() {
    local found
    found=$(PYTHONPATH=$1 "$(qemu_python)" -c \
        'from mesonbuild.coredata import version; print(version)' 2>/dev/null) &&
        printf '%s\n' "$(base meson)" "$found" | sort -VC
}

# use_own_meson: for configure, and for ninja that may run it again.
use_own_meson() {
    [ -z "$(base meson)" ] || meson_serves "" || export PYTHONPATH=$own_meson
}

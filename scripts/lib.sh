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

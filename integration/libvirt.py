#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
What libvirt makes of a stop: two daemons, a guest, a migration. Prints TAP.

    run --qemu QEMU --guest ELF

See hosts.py for what it needs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial

from hosts import DOMAIN, TIMEOUT_S, run_cases, two_hosts, wait

LINK_MIB_PER_S = 20
# A stop is slowed down as it begins, so that what looks at it on a busy host
# finds it still there; 64 MiB take a minute to be aborted, or six seconds.
ABORTED_MIB_PER_S = 1
WATCHED_MIB_PER_S = 10
PARAMETERS = ('max-cpu-throttle 80', 'downtime-limit 30',
              'cpu-throttle-fallback-downtime 0')

TOP = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                   'top', 'auto-converge-top')
TOP_GOES_ON = 4
TOP_ENDS = (0, 6)               # completed, or gone before that was told


def migrate(source, target, stop_mib_per_s):
    """Begin, wait for the stop, and slow it down."""
    for parameter in PARAMETERS:
        source.monitor(f'migrate_set_parameter {parameter}')
    job = subprocess.Popen(
        ['virsh', '-c', source.uri, 'migrate', '--live', '--auto-converge',
         '--bandwidth', str(LINK_MIB_PER_S), DOMAIN, target.uri,
         '--migrateuri', 'tcp://127.0.0.1'],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    # "running (unpaused)" is what follows an aborted stop
    wait(lambda: source.state().startswith('paused') or
         job.poll() is not None,
         'the guest is stopped')
    if job.poll() is not None:
        raise AssertionError(job.communicate()[0])
    source.virsh('migrate-setspeed', DOMAIN, str(stop_mib_per_s))
    return job


def check_abort(source, target):
    """paused (migrating), counts down, and runs after domjobabort"""
    job = migrate(source, target, ABORTED_MIB_PER_S)
    state = source.state()
    print(f'# {state}')
    assert state == 'paused (migrating)', state
    first = source.remaining()
    time.sleep(1.5)
    second = source.remaining()
    print(f'# remaining {first} MiB, then {second} MiB')
    assert second < first, (first, second)
    then = time.monotonic()
    source.virsh('domjobabort', DOMAIN)
    wait(lambda: source.state().startswith('running'), 'it runs')
    took = time.monotonic() - then
    print(f'# runs {took * 1000:.0f} ms after domjobabort')
    assert job.wait(timeout=TIMEOUT_S) != 0
    job.stdout.close()
    source.verify()


def watch(source, *options):
    """auto-converge-top beside it."""
    return subprocess.Popen(
        [TOP, '--domain', DOMAIN, '--connect', source.uri, '--json', *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def check_watched(source, target):
    """auto-converge-top --domain sees the stop"""
    job = migrate(source, target, ABORTED_MIB_PER_S)
    top = watch(source, '--once')
    text, errors = top.communicate(timeout=TIMEOUT_S)
    assert top.returncode == TOP_GOES_ON, errors
    assert json.loads(text)['phase'] == 'fallback', text
    source.virsh('domjobabort', DOMAIN)
    job.communicate(timeout=TIMEOUT_S)
    wait(lambda: source.state().startswith('running'), 'it runs')
    source.verify()


def check_arrives(source, target):
    """the whole stop, watched, and the guest arrives"""
    job = migrate(source, target, WATCHED_MIB_PER_S)
    top = watch(source)
    text, _ = job.communicate(timeout=TIMEOUT_S)
    assert job.returncode == 0, text
    text, errors = top.communicate(timeout=TIMEOUT_S)
    print(f'# auto-converge-top: {top.returncode} {errors.strip()}')
    assert top.returncode in TOP_ENDS, errors
    assert 'fallback' in [json.loads(line).get('phase')
                          for line in text.splitlines()], text
    assert target.state().startswith('running'), target.state()
    target.verify()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--qemu', required=True)
    parser.add_argument('--guest', required=True)
    args = parser.parse_args()
    checks = (check_abort, check_watched, check_arrives)
    print(f'1..{len(checks)}', flush=True)
    with tempfile.TemporaryDirectory(prefix='auto-converge-libvirt-') as top, \
            two_hosts(top) as hosts:
        hosts[0].start_guest(args.qemu, args.guest)
        return run_cases([(str(check.__doc__), partial(check, *hosts))
                          for check in checks])


if __name__ == '__main__':
    sys.exit(main())

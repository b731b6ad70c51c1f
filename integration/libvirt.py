#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
What libvirt makes of a stop: two daemons, a guest, a migration. Prints TAP.

    run --qemu QEMU --guest ELF

Needs root, and libvirt's daemon with its QEMU driver. Each daemon has mount and
UTS namespaces of its own, so that it is another host with files of its own, and
nothing of the system's libvirt is touched.
"""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid

DOMAIN = 'busy'
LINK_MIB_PER_S = 20
# A stop is slowed down as it begins, so that what looks at it on a busy host
# finds it still there; 64 MiB take a minute to be aborted, or six seconds.
ABORTED_MIB_PER_S = 1
WATCHED_MIB_PER_S = 10
PARAMETERS = ('max-cpu-throttle 80', 'downtime-limit 30',
              'cpu-throttle-fallback-downtime 0')
TIMEOUT_S = 100
ASK_TIMES = 5
REPORTS_MAX = 15           # lines without an answer; one a second

TOP = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                   'top', 'auto-converge-top')
TOP_GOES_ON = 4
TOP_ENDS = (0, 6)               # completed, or gone before that was told

DIRS = {'etc': '/etc/libvirt', 'var': '/var/lib/libvirt',
        'cache': '/var/cache/libvirt', 'log': '/var/log/libvirt',
        'run': '/run/libvirt'}

XML = '''<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>192</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>{guest}</kernel>
    <cmdline>ws=64 rate=max report=1000</cmdline>
  </os>
  <features>
    <acpi/>
  </features>
  <devices>
    <emulator>{qemu}</emulator>
    <controller type='usb' model='none'/>
    <serial type='unix'>
      <source mode='bind' path='/var/lib/libvirt/serial'/>
    </serial>
    <memballoon model='none'/>
  </devices>
</domain>
'''


def read(path):
    with open(path, encoding='utf-8') as f:
        return f.read()


class Host:
    """A libvirt daemon in namespaces of its own."""

    def __init__(self, name, top):
        self.name = name
        self.dir = os.path.join(top, name)
        for sub in (*DIRS, 'sock'):
            os.makedirs(os.path.join(self.dir, sub))
        self.write('etc/qemu.conf', '''
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
''')
        self.write('etc/libvirtd.conf', f'''
host_uuid = "{uuid.uuid4()}"
unix_sock_dir = "{self.dir}/sock"
auth_unix_ro = "none"
auth_unix_rw = "none"
log_outputs = "3:file:{self.dir}/libvirtd.log"
''')
        mounts = ' && '.join(f'mkdir -p {path} && mount --bind '
                             f'{self.dir}/{sub} {path}'
                             for sub, path in DIRS.items())
        daemon = shutil.which('libvirtd', path='/usr/sbin:/sbin:/usr/bin')
        # The daemon wants them even where its configuration says otherwise.
        self.write('passwd', read('/etc/passwd') +
                   'libvirt-qemu:x:64055:64055::/:/bin/false\n')
        self.write('group', read('/etc/group') +
                   ''.join(f'{group}:x:{gid}:\n' for group, gid in
                           (('libvirt-qemu', 64055), ('kvm', 64056))))
        mounts += ''.join(f' && mount --bind {self.dir}/{file} /etc/{file}'
                          for file in ('passwd', 'group'))
        self.daemon = subprocess.Popen(
            ['unshare', '-m', '-u', 'sh', '-c',
             f'hostname {name} && {mounts} && exec {daemon} '
             f'-f /etc/libvirt/libvirtd.conf -p {self.dir}/pid'],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.uri = f'qemu+unix:///system?socket={self.dir}/sock/libvirt-sock'
        wait(lambda: self.virsh('uri', check=False).returncode == 0,
             f'{name} answers')

    def write(self, path, text):
        with open(os.path.join(self.dir, path), 'w', encoding='utf-8') as f:
            f.write(text)

    def virsh(self, *args, check=True):
        done = subprocess.run(['virsh', '-c', self.uri, *args], text=True,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)
        if check and done.returncode:
            raise AssertionError(f'virsh {" ".join(args)}: {done.stdout}')
        return done

    def monitor(self, line):
        return self.virsh('qemu-monitor-command', DOMAIN, '--hmp', line).stdout

    def state(self):
        return self.virsh('domstate', '--reason', DOMAIN).stdout.strip()

    def remaining(self):
        """Memory remaining, in MiB; None without a job."""
        found = re.search(r'Memory remaining:\s+([\d.]+) (\w+)',
                          self.virsh('domjobinfo', DOMAIN).stdout)
        if not found:
            return None
        scale = {'B': 2**-20, 'KiB': 2**-10, 'MiB': 1, 'GiB': 2**10}
        return float(found[1]) * scale[found[2]]

    def ask(self, command, answer):
        """
        The line with this answer of the guest. It is asked again when it goes
        on reporting without one: what comes while it was stopped may be lost.
        """
        with socket.socket(socket.AF_UNIX) as serial:
            serial.connect(os.path.join(self.dir, 'var/serial'))
            serial.settimeout(TIMEOUT_S)
            with serial.makefile(encoding='ascii', errors='replace') as lines:
                for _ in range(ASK_TIMES):
                    serial.sendall(command.encode() + b'\n')
                    for _, line in zip(range(REPORTS_MAX), lines):
                        if answer in line:
                            return line
        raise AssertionError(f'{command}: no answer')

    def verify(self):
        """The guest runs, and its memory is what it wrote."""
        line = self.ask('verify', 'verify ')
        assert ' bad=0 stale=0 table=ok seal=ok ' in line, line

    def end(self):
        self.virsh('destroy', DOMAIN, check=False)
        self.daemon.send_signal(signal.SIGTERM)
        self.daemon.wait(timeout=TIMEOUT_S)


def wait(condition, what, timeout_s=TIMEOUT_S):
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f'in vain: {what}')
        time.sleep(0.05)


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
    failed = 0
    print(f'1..{len(checks)}', flush=True)
    with tempfile.TemporaryDirectory(prefix='auto-converge-libvirt-') as top:
        hosts = []
        try:
            hosts = [Host('source', top)]
            hosts.append(Host('target', top))
            source, target = hosts
            source.write('busy.xml', XML.format(
                name=DOMAIN, guest=os.path.abspath(args.guest),
                qemu=os.path.abspath(args.qemu)))
            source.virsh('create', f'{source.dir}/busy.xml')
            source.ask('stat', 'work=')
            for number, check in enumerate(checks, 1):
                try:
                    check(source, target)
                    result = 'ok'
                except (AssertionError, OSError,
                        subprocess.TimeoutExpired) as error:
                    print(f'# {error}')
                    result, failed = 'not ok', 1
                print(f'{result} {number} - {check.__doc__}', flush=True)
        finally:
            for host in hosts:
                host.end()
    return failed


if __name__ == '__main__':
    sys.exit(main())

# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
Hosts with libvirt, on one machine. Each has a daemon in mount and UTS namespaces
of its own, so that it is another host with files of its own, and nothing of the
system's libvirt is touched. Needs root, and libvirt's daemon with its QEMU driver.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
import uuid
from contextlib import contextmanager
from typing import (Callable, Iterator, List, Optional, Sequence, Tuple,
                    Type)

DOMAIN = 'busy'
TIMEOUT_S = 100
POLL_PERIOD_S = 0.05
ASK_TIMES = 5
REPORTS_MAX = 15                # lines without an answer; one a second

PORTS = 16
FIRST_PORT, PORTS_ALL = 10000, 20000     # below those of outgoing connections
SOCKET = 'run/libvirt-sock'
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

# ssh to a host that is a namespace; libvirt's client runs it
SSH = '''#!/bin/sh
while :; do
    case $1 in
    -[epl]) shift 2 ;;
    --) shift && break ;;
    -*) shift ;;
    *) break ;;
    esac
done
pid=$(cat "{top}/$1/pid") || exit 255
shift
exec nsenter -t "$pid" -m -u sh -c "$*"
'''


def wait(condition: Callable[[], bool], what: str,
         timeout_s: float = TIMEOUT_S) -> None:
    """Until it is so."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f'in vain: {what}')
        time.sleep(POLL_PERIOD_S)


def read(path: str) -> str:
    """A file."""
    with open(path, encoding='utf-8') as file:
        return file.read()


def run_cases(cases: Sequence[Tuple[str, Callable[[], None]]],
              errors: Tuple[Type[Exception], ...] = ()) -> int:
    """
    A line of TAP for each name, from a check that raises where it fails, also
    errors; the exit status.
    """
    failed = 0
    for number, (name, check) in enumerate(cases, 1):
        try:
            check()
            result = 'ok'
        except (AssertionError, OSError, subprocess.TimeoutExpired,
                *errors) as error:
            print(f'# {error}')
            result, failed = 'not ok', 1
        print(f'{result} {number} - {name}', flush=True)
    return failed


def first_port() -> int:
    """
    Of those that the hosts of this process migrate by: others may run at once,
    and libvirt's own choice from one range is a race between daemons.
    """
    return FIRST_PORT + os.getpid() * PORTS % PORTS_ALL


class Host:
    """A libvirt daemon in namespaces of its own; they know each other by name."""

    def __init__(self, name: str, top: str, names: List[str]):
        self.name = name
        self.dir = os.path.join(top, name)
        for sub in (*DIRS, 'bin'):
            os.makedirs(os.path.join(self.dir, sub))
        self._write('etc/qemu.conf', '''
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
''' + f'''
migration_port_min = {first_port()}
migration_port_max = {first_port() + PORTS - 1}
''')
        self._write('etc/libvirtd.conf', f'''
host_uuid = "{uuid.uuid4()}"
auth_unix_ro = "none"
auth_unix_rw = "none"
log_outputs = "3:file:{self.dir}/libvirtd.log"
''')
        self._write('bin/ssh', SSH.format(top=top))
        os.chmod(os.path.join(self.dir, 'bin/ssh'), 0o755)
        # The daemon wants them even where its configuration says otherwise.
        self._write('passwd', read('/etc/passwd') +
                    'libvirt-qemu:x:64055:64055::/:/bin/false\n')
        self._write('group', read('/etc/group') +
                    ''.join(f'{group}:x:{gid}:\n' for group, gid in
                            (('libvirt-qemu', 64055), ('kvm', 64056))))
        self._write('hosts', '127.0.0.1 localhost ' + ' '.join(names) + '\n')
        self.uri = f'qemu+unix:///system?socket={self.dir}/{SOCKET}'
        self._said = os.path.join(self.dir, 'said')
        self._daemon = self._start_daemon()

    def _start_daemon(self) -> 'subprocess.Popen[bytes]':
        mounts = [f'mkdir -p {path} && mount --bind {self.dir}/{sub} {path}'
                  for sub, path in DIRS.items()]
        mounts += [f'mount --bind {self.dir}/{file} /etc/{file}'
                   for file in ('passwd', 'group', 'hosts')]
        daemon = shutil.which('libvirtd', path='/usr/sbin:/sbin:/usr/bin')
        with open(self._said, 'w', encoding='utf-8') as said:
            return subprocess.Popen(
                ['unshare', '-m', '-u', 'sh', '-c', f'hostname {self.name} && '
                 f'{" && ".join(mounts)} && exec {daemon} '
                 f'-f /etc/libvirt/libvirtd.conf -p {self.dir}/pid'],
                stdout=said, stderr=said)

    def _write(self, path: str, text: str) -> None:
        with open(os.path.join(self.dir, path), 'w', encoding='utf-8') as file:
            file.write(text)

    def wait_ready(self) -> None:
        """The daemon answers."""
        wait(lambda: self.virsh('uri', check=False).returncode == 0 or
             self._daemon.poll() is not None, f'{self.name} answers')
        if self._daemon.poll() is not None:
            raise AssertionError(f'{self.name} has ended: {read(self._said)}')

    def start_guest(self, qemu: str, guest: str) -> None:
        """It is at work."""
        self._write('busy.xml', XML.format(
            name=DOMAIN, guest=os.path.abspath(guest),
            qemu=os.path.abspath(qemu)))
        self.virsh('create', f'{self.dir}/busy.xml')
        self.ask('stat', 'work=')

    def shell(self, command: str, directory: str) -> List[str]:
        """The words that run a line of shell on this host, in a directory."""
        return ['nsenter', '-t', str(self._daemon.pid), '-m', '-u',
                f'--wd={directory}', 'env',
                f'PATH={self.dir}/bin:{os.environ["PATH"]}',
                'sh', '-c', command]

    def virsh(self, *args: str,
              check: bool = True) -> 'subprocess.CompletedProcess[str]':
        """From outside."""
        done = subprocess.run(['virsh', '-c', self.uri, *args], text=True,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)
        if check and done.returncode:
            raise AssertionError(f'virsh {" ".join(args)}: {done.stdout}')
        return done

    def monitor(self, line: str) -> str:
        """What QEMU says to it."""
        return self.virsh('qemu-monitor-command', DOMAIN, '--hmp', line).stdout

    def state(self) -> str:
        """Of the guest, with the reason."""
        return self.virsh('domstate', '--reason', DOMAIN).stdout.strip()

    def has_guest(self) -> bool:
        """Whether it runs here."""
        done = self.virsh('domstate', DOMAIN, check=False)
        return done.returncode == 0 and done.stdout.strip() == 'running'

    def remaining(self) -> Optional[float]:
        """Memory remaining, in MiB; None without a job."""
        found = re.search(r'Memory remaining:\s+([\d.]+) (\w+)',
                          self.virsh('domjobinfo', DOMAIN).stdout)
        if not found:
            return None
        scale = {'B': 2**-20, 'KiB': 2**-10, 'MiB': 1, 'GiB': 2**10}
        return float(found[1]) * scale[found[2]]

    def ask(self, command: str, answer: str) -> str:
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

    def verify(self) -> None:
        """The guest runs, and its memory is what it wrote."""
        line = self.ask('verify', 'verify ')
        assert ' bad=0 stale=0 table=ok seal=ok ' in line, line

    def end(self) -> None:
        """The guest, too."""
        self.virsh('destroy', DOMAIN, check=False)
        self._daemon.send_signal(signal.SIGTERM)
        self._daemon.wait(timeout=TIMEOUT_S)


@contextmanager
def two_hosts(top: str) -> Iterator[List[Host]]:
    """source and target, with their files below top."""
    hosts: List[Host] = []
    names = ['source', 'target']
    try:
        for name in names:
            hosts.append(Host(name, top, names))
            hosts[-1].wait_ready()
        yield hosts
    finally:
        for host in hosts:
            host.end()

# SPDX-License-Identifier: GPL-2.0-or-later
#
# Copyright (c) 2026 the auto-converge authors
"""
The link: unix sockets, and a thread that carries bytes from the source to the
destination and back. What lasts for a time ends by itself, because a source
whose link stands still may not answer its monitor.
"""

import os
import selectors
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Dict, List, Optional

CHUNK_BYTES = 64 * 1024
BUFFER_BYTES = 256 * 1024       # in flight in each direction
TICK_S = 0.01                   # how often the budget is refilled
BURST_S = 0.05                  # the most that is saved up
BACKLOG = 16                    # channels of multifd


@dataclass
class _Pipe:
    """One direction of one channel."""
    source: socket.socket
    sink: socket.socket
    forward: bool
    buffer: bytearray = field(default_factory=bytearray)
    ended: bool = False             # the source has closed
    closed: bool = False            # and the sink was told


class Relay:
    """Listens where the source connects to; connects to the destination."""

    def __init__(self, listen_path: str, dest_path: str,
                 rate_bps: Optional[float]):
        self.listen_path = listen_path
        self.dest_path = dest_path
        self._rate_bps = rate_bps
        self._slow_bps: Optional[float] = None
        self._until: Dict[str, float] = {}      # stall, slow: when it is over
        self._reverse_held = False
        self._budget = 0.0
        self._pipes: List[_Pipe] = []
        self._lock = threading.Lock()
        self._over = False
        self._accepting = threading.Event()
        self._filler: Optional[socket.socket] = None
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(listen_path)
        self._threads = [threading.Thread(target=self._accept, daemon=True),
                         threading.Thread(target=self._carry, daemon=True)]

    def __enter__(self) -> 'Relay':
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._over = True
        self.accept()
        self._listener.close()
        for thread in self._threads:
            thread.join()
        self.cut()

    # ---- what is done to the link ----

    def hold_connections(self) -> None:
        """Whoever connects waits for accept(): the queue is full."""
        self._listener.listen(0)
        self._filler = socket.socket(socket.AF_UNIX)
        self._filler.connect(self.listen_path)

    def accept(self) -> None:
        """Let connections in."""
        self._listener.listen(BACKLOG)
        if self._filler:
            first, _ = self._listener.accept()
            first.close()
            self._filler.close()
            self._filler = None
        self._accepting.set()

    def stall(self, seconds: float) -> None:
        """Nothing goes through for a time, in either direction."""
        self._until['stall'] = time.monotonic() + seconds

    def slow(self, seconds: float, rate_bps: float) -> None:
        """It carries less for a time."""
        self._slow_bps = rate_bps
        self._until['slow'] = time.monotonic() + seconds

    def hold_reverse(self, held: bool) -> None:
        """What the destination says waits."""
        self._reverse_held = held

    def half_close(self) -> None:
        """
        The destination sees the end of the stream; the source sees it when it
        writes more, as of a peer that has gone.
        """
        with self._lock:
            for pipe in self._pipes:
                if pipe.forward:
                    try:
                        pipe.sink.shutdown(socket.SHUT_WR)
                    except OSError:
                        pass            # it is gone already

    def cut(self) -> None:
        """Both ends see that the connection is gone."""
        with self._lock:
            for pipe in self._pipes:
                self._close(pipe)
            self._pipes.clear()

    def refuse(self) -> None:
        """No connection from now on."""
        os.unlink(self.listen_path)
        self.dest_path = ''
        self.accept()

    # ---- how it is carried ----

    @staticmethod
    def _close(pipe: _Pipe) -> None:
        for end in (pipe.source, pipe.sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass                    # it is gone already
            end.close()

    def _accept(self) -> None:
        self._accepting.wait()
        self._listener.settimeout(TICK_S)
        while not self._over:
            try:
                near, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            try:
                far.connect(self.dest_path)
            except OSError:
                near.close()
                far.close()
                continue
            for end in (near, far):
                end.setblocking(False)
            with self._lock:
                self._pipes += [_Pipe(near, far, True),
                                _Pipe(far, near, False)]

    def _lasts(self, what: str) -> bool:
        return time.monotonic() < self._until.get(what, 0.0)

    def _rate(self) -> Optional[float]:
        return self._slow_bps if self._lasts('slow') else self._rate_bps

    def _carry(self) -> None:
        before = time.monotonic()
        while not self._over:
            now = time.monotonic()
            rate = self._rate()
            if rate is not None:
                self._budget = min(self._budget + rate * (now - before),
                                   rate * BURST_S)
            before = now
            moved = False
            if not self._lasts('stall'):
                with self._lock:
                    moved = any([self._step(pipe, rate)
                                 for pipe in self._pipes])
            if not moved:
                self._wait()

    def _wait(self) -> None:
        """Until something may move, a tick at most."""
        if self._lasts('stall') or (self._rate() is not None
                                    and self._budget <= 0):
            time.sleep(TICK_S)
            return
        with self._lock:
            waiting = [pipe for pipe in self._pipes if not pipe.ended
                       and not pipe.buffer
                       and (pipe.forward or not self._reverse_held)]
            with selectors.DefaultSelector() as selector:
                for pipe in waiting:
                    if pipe.source.fileno() >= 0:
                        selector.register(pipe.source, selectors.EVENT_READ)
                selector.select(TICK_S)
        time.sleep(0)                   # let the others have the lock

    def _step(self, pipe: _Pipe, rate: Optional[float]) -> bool:
        """Carry what can be carried; whether anything moved."""
        if not pipe.forward and self._reverse_held:
            return False
        moved = self._read(pipe)
        limit = len(pipe.buffer)
        if pipe.forward and rate is not None:
            limit = min(limit, max(0, int(self._budget)))
        if limit:
            moved = self._write(pipe, limit) or moved
        if pipe.ended and not pipe.buffer and not pipe.closed:
            pipe.closed = True
            try:
                pipe.sink.shutdown(socket.SHUT_WR)
            except OSError:
                pass                    # it is gone already
        return moved

    @staticmethod
    def _read(pipe: _Pipe) -> bool:
        if pipe.ended or len(pipe.buffer) >= BUFFER_BYTES:
            return False
        try:
            data = pipe.source.recv(CHUNK_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b''
        pipe.ended = not data
        pipe.buffer += data
        return True

    def _write(self, pipe: _Pipe, limit: int) -> bool:
        try:
            sent = pipe.sink.send(memoryview(pipe.buffer)[:limit])
        except BlockingIOError:
            return False
        except OSError:
            # nobody reads it: the writer has to see that, too
            pipe.ended = True
            pipe.buffer.clear()
            try:
                pipe.source.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass                    # it is gone already
            return True
        del pipe.buffer[:sent]
        if pipe.forward:
            self._budget -= sent
        return True

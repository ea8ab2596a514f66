"""Notices that another process is gone, says so in one line and ends this one, whatever it is waiting for.

Every process counts up a number in the coordinator's store. Process 0 looks whether all of them go on counting, by its
own monotonic clock, and passes a verdict; the others look for the verdict, and whether process 0 still listens.
"""

import contextlib
import ctypes
import json
import os
import signal
import socket
import sys
import threading
import time

from t2i_jax.distributed import together
from t2i_jax.distributed.rendezvous import who

RESTART = 75  # exit code: run the same command again
ALIVE, FAILED, VERDICT, LEFT = "t2i/alive", "t2i/failed", "t2i/verdict", "t2i/left"


class Watch:
    """The threads that count, look and knock. Started by `runtime.joined`."""

    def __init__(self):
        self._here = together.here()
        self._store = together.store()
        self._pause = min(self._here.lost / 8, 2.0)
        self._stop = threading.Event()
        self._leaving = threading.Lock()
        self._heard: dict[int, tuple[str, float]] = {}
        delay_abort()
        # A thread each: with process 0 gone, what asks the store may hang.
        runs = (self._count, self._look) if self._here.first else (self._count, self._look, self._knock)
        self._threads = [threading.Thread(target=run, name="watch", daemon=True) for run in runs]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """No more looking: all processes are about to end well."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def fail(self, code: int, line: str) -> None:
        """End this process with `code`, and all others with it and `line`; the line was printed here."""
        if not self._leaving.acquire(blocking=False):
            time.sleep(2 * self._here.lost)  # the other thread ends the process
        try:
            told = f"process {self._here.index} of {self._here.count} stopped: {line}"
            if self._here.first:
                self._pass_verdict(code, told)
            else:
                self._store.key_value_set(f"{FAILED}/{self._here.index}", json.dumps([code, told]))
                self._store.key_value_set(f"{LEFT}/{self._here.index}", "")
        except Exception as error:  # the store is gone: so is process 0, and nobody is left to be told
            print(f"t2i: the others could not be told: {_short(error)}", file=sys.stderr)
        _exit(code)

    def _count(self) -> None:
        count = 0
        while not self._stop.wait(self._pause):
            with contextlib.suppress(Exception):  # `_look` says what is wrong
                self._store.key_value_set(f"{ALIVE}/{self._here.index}", str(count), allow_overwrite=True)
            count += 1

    def _look(self) -> None:
        while not self._stop.wait(self._pause):
            verdict = None
            with contextlib.suppress(Exception):  # `_knock` says where the store is gone
                verdict = self._judge() if self._here.first else self._verdict()
            if verdict and self._leaving.acquire(blocking=False):
                code, line = verdict
                _say(line)
                with contextlib.suppress(Exception):  # it is said already why this process ends
                    if self._here.first:
                        self._pass_verdict(code, line)
                    else:
                        self._store.key_value_set(f"{LEFT}/{self._here.index}", "")
                _exit(code)

    def _knock(self) -> None:
        host, _, port = self._here.coordinator.rpartition(":")
        while not self._stop.wait(self._pause):
            try:
                socket.create_connection((host.strip("[]"), int(port)), timeout=self._here.lost).close()
            except OSError as error:
                if not self._stop.is_set() and self._leaving.acquire(blocking=False):
                    _say(f"process 0, the coordinator at {self._here.coordinator}, was lost ({_short(error)}); run the same "
                         "command again to go on")
                    _exit(RESTART)

    def _verdict(self) -> tuple[int, str] | None:
        found = self._store.key_value_dir_get(VERDICT)
        return tuple(json.loads(found[0][1])) if found else None

    def _judge(self) -> tuple[int, str] | None:
        failed = self._store.key_value_dir_get(FAILED)
        if failed:
            return tuple(json.loads(failed[0][1]))
        now = time.monotonic()
        for key, count in self._store.key_value_dir_get(ALIVE):
            index = int(key.rsplit("/", 1)[1])
            if self._heard.get(index, ("", 0.0))[0] != count:
                self._heard[index] = count, now
        when = lambda index: self._heard.setdefault(index, ("", now))[1]
        silent = [index for index in range(1, self._here.count) if now - when(index) > self._here.lost]
        if silent:
            return RESTART, (f"{who(silent, self._here.count)} has not been heard of for {self._here.lost:g} s and counts as "
                             "lost; run the same command again to go on")
        return None

    def _pass_verdict(self, code: int, line: str) -> None:
        """Tell the others, and leave last: the store goes with process 0."""
        self._store.key_value_set(f"{VERDICT}/0", json.dumps([code, line]), allow_overwrite=True)
        now = time.monotonic()
        silent = {index for index, (_, when) in self._heard.items() if now - when > self._here.lost}
        deadline = now + 4 * self._pause + 2
        while time.monotonic() < deadline:
            left = {int(key.rsplit("/", 1)[1]) for key, _ in self._store.key_value_dir_get(LEFT)}
            if {*range(1, self._here.count)} <= left | silent:
                return
            time.sleep(0.05)


def delay_abort() -> None:
    """Make a thread of JAX that aborts the process sleep six seconds first (SIGABRT is signal 6).

    JAX's client aborts the moment it finds the coordinator gone; this leaves the watch the time to say so in one line.
    The handler is libc's own `sleep`, for Python may not run inside a signal.
    """
    libc = ctypes.CDLL(None)
    libc.signal(ctypes.c_int(signal.SIGABRT), libc.sleep)


def _say(line: str) -> None:
    print(f"\nt2i: {line}", file=sys.stderr, flush=True)  # a progress bar may stand in the line before


def _exit(code: int) -> None:
    # Not sys.exit: other threads wait for processes that will not come.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _short(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__

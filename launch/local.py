#!/usr/bin/env python3
"""Run one t2i command as several processes of this machine, again until it is done.

    python launch/local.py --processes 2 --devices 2 -- train --config configs/quickstart.py --workdir runs/two

A run that ends with 75 (saved, or a process was lost) or crashes is started again, at most --restarts times in a row
without a new checkpoint; never after 2, where a person must act. SIGTERM and Ctrl-C are handed on, and then nothing is
started again. The exit code is 0 done, 2 a person must act, 75 may be started again, 1 a fault.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DONE, FAULT, PERSON, RESTART = 0, 1, 2, 75
GRACE = 60  # seconds that processes get to end after one of them did, beyond what they need to notice


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    stopped = threading.Event()
    running: list[subprocess.Popen] = []

    def stop(number, frame):
        stopped.set()
        for process in running:
            if process.poll() is None:
                process.terminate()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    restarts, saved = 0, newest(options.command)
    while True:
        running[:] = start(options)
        codes = wait(running, options.lost + GRACE)
        code = verdict(codes)
        if code in (DONE, PERSON) or stopped.is_set():
            return code
        if newest(options.command) != saved:
            restarts, saved = 0, newest(options.command)
        restarts += 1
        if restarts > options.restarts:
            say(f"ended with {codes}; {options.restarts} restarts brought no new checkpoint, so this is given up")
            return code
        say(f"ended with {codes}; starting again ({restarts} of {options.restarts} without a new checkpoint)")
        time.sleep(options.pause)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--devices", type=int, default=0, help="simulated CPU devices of each; 0: those JAX finds")
    parser.add_argument("--restarts", type=int, default=10, help="in a row without a new checkpoint")
    parser.add_argument("--pause", type=float, default=2.0, help="seconds before starting again")
    parser.add_argument("--lost", type=float, default=30.0, help="seconds of silence after which a process counts as lost")
    parser.add_argument("--dry-run", action="store_true", help="print what would be run")
    parser.add_argument("command", nargs="+", metavar="-- COMMAND", help="of t2i, with its options")
    options = parser.parse_args(arguments)
    for name, least in (("processes", 1), ("devices", 0), ("restarts", 0), ("pause", 0), ("lost", 1)):
        if getattr(options, name) < least:
            parser.error(f"--{name} {getattr(options, name)} is impossible; accepted: {least} or more")
    if options.command[0] not in ("train", "evaluate", "sample"):
        parser.error(f"{options.command[0]!r} cannot be run by several processes; accepted: train, evaluate, sample")
    if options.dry_run:
        for command in commands(options, "127.0.0.1:PORT"):
            print(" ".join(command))
        sys.exit(0)
    return options


def commands(options: argparse.Namespace, coordinator: str) -> list[list[str]]:
    """What each process runs."""
    own = lambda index: ["--coordinator", coordinator, "--processes", str(options.processes), "--process", str(index),
                         "--lost", f"{options.lost:g}"]
    first, *rest = options.command
    return [[sys.executable, "-m", "t2i_jax", first, *own(index), *rest] for index in range(options.processes)]


def start(options: argparse.Namespace) -> list[subprocess.Popen]:
    """Start all processes; their output comes line by line, with their number before it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    if options.devices:
        environment |= {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(options.devices)}
    processes = []
    for index, command in enumerate(commands(options, f"127.0.0.1:{port}")):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                   errors="replace")
        threading.Thread(target=forward, args=(index, process.stdout), daemon=True).start()
        processes.append(process)
    return processes


def forward(index: int, stream) -> None:
    for line in stream:
        print(f"[{index}] {line}", end="", flush=True)


def wait(processes: list[subprocess.Popen], grace: float) -> list[int]:
    """Exit codes; what has not ended `grace` seconds after another failed is killed."""
    deadline = None
    while any(process.poll() is None for process in processes):
        if deadline is None and any(process.poll() not in (None, DONE) for process in processes):
            deadline = time.monotonic() + grace
        if deadline is not None and time.monotonic() > deadline:
            for process in processes:
                process.kill()
        time.sleep(0.05)
    return [process.returncode for process in processes]


def verdict(codes: list[int]) -> int:
    """The exit code of all together: what a person must see before what a restart mends."""
    if all(code == DONE for code in codes):
        return DONE
    return next((code for code in (PERSON, RESTART) if code in codes), FAULT)


def newest(command: list[str]) -> str:
    """The name of the run's newest finished checkpoint, "" where there is none."""
    where = [command[i + 1] for i, word in enumerate(command[:-1]) if word == "--workdir"]
    where += [word.removeprefix("--workdir=") for word in command if word.startswith("--workdir=")]
    finished = Path(where[0]).glob("checkpoints/*/COMMITTED") if where else ()
    return max((marker.parent.name for marker in finished), default="")


def say(line: str) -> None:
    print(f"launch: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

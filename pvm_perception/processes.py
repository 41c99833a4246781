"""Nodes as processes that belong together: started in turn, ended with the one that leads."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import IO, AnyStr

from pvm_perception import fast_dds
from pvm_perception.errors import PvmError
from pvm_perception.shipped import shipped
from pvm_perception.signals import Interrupted, Stop


def image_transport(env: Mapping[str, str]) -> dict[str, str]:
    """Return the variable that gives Fast DDS our profile, with room for images in shared memory.

    Empty where `env` already says how Fast DDS is to travel: somebody's own choice is left alone.
    """
    return fast_dds.variables(env, str(shipped("config/fastdds.xml")))


def run_together(commands: Mapping[str, Sequence[str]], leader: str, seconds: float) -> None:
    """Run processes until the leader ends, then end the others.

    They talk over DDS on this host only, in a domain of their own unless one is set.

    Parameters
    ----------
    commands
        Name and command line of each, in the order of starting.
    leader
        The name of the one that ends by itself.
    seconds
        How long it may take; then it is ended, too.

    Raises
    ------
    PvmError
        One of the others ended before the leader, or any ended with a code other than 0.
    Interrupted
        By a signal; the processes were ended first.
    """
    env = os.environ | {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "PYTHONUNBUFFERED": "1"}
    env |= image_transport(env)
    env.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))  # not another run's
    running: dict[str, subprocess.Popen] = {}
    with Stop(impatient=True) as stop:
        try:
            for name, command in commands.items():
                running[name] = subprocess.Popen(command, env=env)
            deadline = time.monotonic() + seconds
            while running[leader].poll() is None and time.monotonic() < deadline and not stop.wait(0.1):
                for name, process in running.items():
                    # a signal from the terminal reaches all of them, and this process not first
                    if name != leader and process.poll() is not None and not stop.wait(0.1):
                        raise PvmError(f"the {name} process ended early with code {process.returncode}")
        finally:
            codes = _end(running)
    if stop.is_set():
        raise Interrupted(stop.number)
    if any(codes.values()):
        raise PvmError("a process failed: " + ", ".join(f"{k} {v}" for k, v in codes.items()))


def piped(stream: IO[AnyStr] | None) -> IO[AnyStr]:
    """Return a process's stream that was opened with PIPE, which is never None."""
    if stream is None:
        raise ValueError("the stream is not a pipe")
    return stream


def _end(running: Mapping[str, subprocess.Popen]) -> dict[str, int]:
    """End processes in good order, those first that started last; at once where another signal comes."""
    codes: dict[str, int] = {}
    try:
        for name in reversed(list(running)):
            process = running[name]
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                codes[name] = process.wait(15)
    finally:
        for name, process in running.items():
            if process.poll() is None:
                process.kill()
                codes[name] = process.wait()
    return codes

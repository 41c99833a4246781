"""A node as a process: from its arguments to a clean end."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.exceptions import (
    InvalidParameterTypeException,
    InvalidParameterValueException,
    ParameterUninitializedException,
)
from rclpy.executors import SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.signals import SignalHandlerOptions

from pvm_perception.errors import PvmError
from pvm_perception.signals import Stop

FORBEARANCE = 0.1  # s before the executor is tried again after it failed


def run_node(make: Callable[[], Any], argv: list[str] | None = None) -> int:
    """Run a node until a signal ends it; return the exit code.

    Signals only set a flag: the context stays valid until the node's last publish is done.

    Parameters
    ----------
    make
        Makes the node: a Guarded rclpy node with `start()`, which raises PvmError where the node cannot
        work, and `stop()`, after which it publishes nothing and no thread of its own runs.
    argv
        Arguments after the program's name; None = the process's.
    """
    stop = Stop()
    try:
        rclpy.init(
            args=[sys.argv[0], *(sys.argv[1:] if argv is None else argv)],
            signal_handler_options=SignalHandlerOptions.NO,
        )
    except Exception as error:  # rclpy raises types of its own for arguments it cannot parse
        return _complain(error)
    node, executor = None, SingleThreadedExecutor()
    try:
        node = make()
        executor.add_node(node)
        node.start()
        spin = node.faults.guard("executor", executor.spin_once, lambda *_: stop.wait(FORBEARANCE))
        while not stop.is_set() and rclpy.ok():
            spin(0.1)
        return 0
    except (
        PvmError,
        InvalidParameterValueException,
        InvalidParameterTypeException,
        ParameterUninitializedException,
        rclpy_implementation.RCLError,
    ) as error:
        return _complain(error)
    finally:
        if node is not None:
            node.faults.guard("stop", node.stop)()
            node.destroy_node()
        executor.shutdown()
        rclpy.try_shutdown()


def steady_clock() -> Clock:
    """Return a clock that nobody can set and no simulation stops."""
    return Clock(clock_type=ClockType.STEADY_TIME)


def publish_last(publisher: Any, message: Any, seconds: float = 0.5) -> None:
    """Publish what must arrive before the node goes: wait until all who listen have it.

    A publisher that is destroyed takes with it what is still on its way.

    Parameters
    ----------
    publisher
        A reliable one.
    message
        What to publish.
    seconds
        How long to wait at most.
    """
    publisher.publish(message)
    publisher.wait_for_all_acked(Duration(nanoseconds=round(seconds * 1e9)))


def _complain(error: Exception) -> int:
    print(f"pvm_perception: error: {' '.join(str(error).split())}", file=sys.stderr)
    return 2

"""What goes wrong in a node: counted by kind, said on the console, and survived.

`Guarded` is the one place where exceptions of callbacks end: every node of this package derives from it.
"""

from __future__ import annotations

import functools
import inspect
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pvm_perception.errors import PvmError
from pvm_perception.ros.finite import odd_number

if TYPE_CHECKING:
    from rclpy.node import Node as Base
else:
    Base = object

AGAIN = 30.0  # s before the console shows the same words again
NUMBER = re.compile(r"[-+]?\d[\d.e+-]*|\b(nan|inf)\b")
SOON = 1.0  # s before it shows other words of the same kind


def nothing(_error: Exception, *_arguments: Any) -> None:
    """Answer nothing: what most callbacks owe their caller.

    Parameters
    ----------
    _error
        What went wrong; unused.
    *_arguments
        Of the callback; unused.
    """


def reason_of(error: Exception) -> str:
    """Return an exception as one line; the type of an error that is not ours tells a developer more."""
    text = " ".join(str(error).split())
    return text if isinstance(error, PvmError) else f"{type(error).__name__}: {text}"


@dataclass
class _Kind:
    count: int = 0
    words: str = ""  # that the console showed last, without their numbers
    said: float = float("-inf")  # when the console last showed it, monotonic


class Faults:
    """Counts faults by kind; the console shows the first, and the same words once in 30 s.

    Parameters
    ----------
    say
        (severity, text) -> None; severity is "warning" or "error".
    clock
        Seconds, of a clock that nobody sets.

    Attributes
    ----------
    last : the newest fault's kind and reason, in one line
    """

    def __init__(self, say: Callable[[str, str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._clock = say, clock
        self._lock = threading.Lock()
        self._kinds: dict[str, _Kind] = {}
        self.last = ""

    def note(self, kind: str, reason: str | Exception, severity: str = "error") -> None:
        """Count a fault.

        Parameters
        ----------
        kind
            One of a few names that the code knows: the topic, the service, the part of the node.
        reason
            What was wrong and what becomes of it; an exception says its type and its text.
        severity
            "warning" for a message that was left out, "error" for what should never happen.
        """
        if isinstance(reason, Exception):
            reason = reason_of(reason)
        with self._lock:
            entry = self._kinds.setdefault(kind, _Kind())
            entry.count += 1
            self.last = f"{kind}: {reason}"
            now, words, often = self._clock(), NUMBER.sub("#", str(reason)), ""
            if now - entry.said < (AGAIN if words == entry.words else SOON):
                return
            entry.said, entry.words = now, words
            if entry.count > 1:
                often = f" ({entry.count} times so far)"
        self._say(severity, f"{kind}: {reason}{often}")

    def count(self, kind: str | None = None) -> int:
        """Return how many faults there were, of one kind or of all."""
        with self._lock:
            return sum(entry.count for name, entry in self._kinds.items() if kind in (None, name))

    def guard(
        self, kind: str, callback: Callable[..., Any], otherwise: Callable[..., Any] = nothing
    ) -> Callable[..., Any]:
        """Return the callback with its exceptions counted under `kind`, and never raised.

        Parameters
        ----------
        kind
            The name under which faults are counted and reported.
        callback
            A function or a coroutine function.
        otherwise
            (exception, the callback's own arguments) -> the answer in place of the callback's.
        """
        if inspect.iscoroutinefunction(callback):

            @functools.wraps(callback)
            async def guarded(*arguments: Any) -> Any:
                try:
                    return await callback(*arguments)
                except Exception as error:
                    self.note(kind, error)
                    return otherwise(error, *arguments)
        else:

            @functools.wraps(callback)
            def guarded(*arguments: Any) -> Any:
                try:
                    return callback(*arguments)
                except Exception as error:
                    self.note(kind, error)
                    return otherwise(error, *arguments)

        return guarded


class Guarded(Base):
    """A mixin for nodes, to stand before `Node`: no callback ends the node, no odd number leaves it.

    Exceptions of subscriptions, timers, services, parameter callbacks and lifecycle transitions are noted
    in `faults`; a service then answers with the reason. Publishing a message that holds a number that is
    not finite is such an exception.
    """

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        for name in ("on_configure", "on_activate", "on_deactivate", "on_cleanup", "on_shutdown"):
            if name in cls.__dict__:
                setattr(cls, name, _transition(cls.__dict__[name]))

    @property
    def faults(self) -> Faults:
        """What went wrong in this node so far."""
        # made on demand: Node.__init__ itself creates services
        faults: Faults = self.__dict__.setdefault("_faults", Faults(self._say))
        return faults

    def _say(self, severity: str, text: str) -> None:
        log = self.get_logger()  # rclpy allows each line of code one severity
        if severity == "error":
            log.error(text)
        else:
            log.warning(text)

    def create_subscription(
        self, msg_type: Any, topic: str, callback: Callable[..., Any], *arguments: Any, **options: Any
    ) -> Any:
        """Subscribe; an exception of the callback is noted under the topic's name.

        Parameters
        ----------
        msg_type
            The message's class.
        topic
            Its name; the fault's kind as well.
        callback
            Takes the message.
        *arguments, **options
            As rclpy's own take them.
        """
        return super().create_subscription(
            msg_type, topic, self.faults.guard(topic, callback), *arguments, **options
        )

    def create_timer(
        self, period: float, callback: Callable[..., Any], *arguments: Any, **options: Any
    ) -> Any:
        """Create a timer; an exception of the callback is noted under the callback's name.

        Parameters
        ----------
        period
            Seconds.
        callback
            Takes nothing.
        *arguments, **options
            As rclpy's own take them.
        """
        return super().create_timer(
            period, self.faults.guard(callback.__name__.strip("_"), callback), *arguments, **options
        )

    def create_service(
        self, srv_type: Any, srv_name: str, callback: Callable[..., Any], *arguments: Any, **options: Any
    ) -> Any:
        """Create a service; an exception of the callback is noted, and is the answer's message.

        Parameters
        ----------
        srv_type
            The service's class.
        srv_name
            Its name; the fault's kind as well.
        callback
            Takes request and response, returns the response.
        *arguments, **options
            As rclpy's own take them.
        """
        return super().create_service(
            srv_type, srv_name, self.faults.guard(srv_name, callback, _failed), *arguments, **options
        )

    def add_on_set_parameters_callback(self, callback: Callable[..., Any]) -> None:
        """Let a callback judge parameters; an exception of it refuses them with the reason."""
        super().add_on_set_parameters_callback(self.faults.guard("parameters", callback, _refused))

    def add_post_set_parameters_callback(self, callback: Callable[..., Any]) -> None:
        """Let a callback follow parameters; an exception of it is noted."""
        super().add_post_set_parameters_callback(self.faults.guard("parameters", callback))

    def create_publisher(self, msg_type: Any, topic: str, *arguments: Any, **options: Any) -> Any:
        """Create a publisher that raises PvmError for a message with a number that is not finite.

        Parameters
        ----------
        msg_type
            The message's class.
        topic
            Its name.
        *arguments, **options
            As rclpy's own take them.
        """
        publisher = super().create_publisher(msg_type, topic, *arguments, **options)
        publish = publisher.publish

        def publish_finite(message: Any) -> None:
            odd = odd_number(message)
            if odd:
                raise PvmError(f"{topic} is not published: {odd}")
            publish(message)

        publisher.publish = publish_finite
        return publisher


def _failed(error: Exception, _request: Any, response: Any) -> Any:
    if hasattr(response, "success"):
        response.success = False
    if hasattr(response, "message"):
        response.message = reason_of(error)
    return response


def _refused(error: Exception, _changes: Any) -> Any:
    from rcl_interfaces.msg import SetParametersResult

    return SetParametersResult(successful=False, reason=reason_of(error))


def _transition(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a lifecycle callback whose exceptions are a failed transition, not the end of the node."""

    @functools.wraps(method)
    def guarded(self: Any, state: Any) -> Any:
        from rclpy.lifecycle import TransitionCallbackReturn

        failed = TransitionCallbackReturn.FAILURE
        return self.faults.guard(method.__name__, method, lambda *_: failed)(self, state)

    return guarded

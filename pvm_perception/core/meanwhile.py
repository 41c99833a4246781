"""Work that another thread does meanwhile, where the process may use a second core."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import cache
from typing import TypeVar

T = TypeVar("T")


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="meanwhile")


os.register_at_fork(after_in_child=_threads.cache_clear)  # only the thread that forks lives on in the child


def cores() -> int:
    """Return how many cores the calling thread may use."""
    allowed = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    return len(allowed(0)) if allowed else os.cpu_count() or 1


@contextmanager
def meanwhile(work: Callable[[], T], together: bool = True) -> Iterator[Callable[[], T]]:
    """Do some work while the body of `with` runs; both are done after it.

    Both save time where they mostly compute outside of Python, which runs one of them at a time.

    Parameters
    ----------
    work
        It must not depend on what the body does, nor the body on what it does; and it does no work of this
        kind itself.
    together
        Whether both may run at the same time. Where they may not, or there is one core for them, the work is
        done before the body.

    Yields
    ------
    Callable
        Returns what the work returned, and waits for it; raises what it raised. So does the end of the body.
    """
    if not together or cores() == 1:
        done = work()
        yield lambda: done
        return
    future = _threads().submit(copy_context().run, work)  # with what the caller set, as NumPy's `errstate`
    try:
        yield future.result
    finally:
        future.result()

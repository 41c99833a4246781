"""How far a piece of work is: a bar on a terminal; elsewhere a line on stderr every few seconds."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from typing import Any

from tqdm import tqdm

EVERY = 5.0  # s between two lines


class Bar(tqdm):
    """tqdm's bar, which is for a terminal; where stderr is none, lines such as ``frame: 120 of 300``.

    Parameters
    ----------
    *arguments, **settings
        As tqdm takes them.
    disable
        True for neither bar nor lines.
    """

    _said = -math.inf  # when the last line came, or the first bar began: short bars in a row speak as one

    def __init__(self, *arguments: Any, disable: bool | None = None, **settings: Any) -> None:
        self._silent, self.postfix = bool(disable), None
        if time.monotonic() - Bar._said > 2 * EVERY:
            Bar._said = time.monotonic()
        self._name = settings.get("desc") or settings.get("unit", "it")
        super().__init__(*arguments, disable=disable, **settings)

    def __iter__(self) -> Iterator[Any]:
        if not self.disable:
            yield from super().__iter__()
            return
        for item in self.iterable:
            yield item
            self.update()

    def update(self, n: float = 1) -> bool | None:
        """Count so many more; 0 is a sign of life.

        Parameters
        ----------
        n
            How many.
        """
        if not self.disable:
            return super().update(n)
        self.n += n
        now = time.monotonic()
        if now - Bar._said >= EVERY and not self._silent:
            Bar._said = now
            count = f"{self.n:g}" + (f" of {self.total:g}" if self.total else "")
            postfix = f", {self.postfix}" if self.postfix else ""
            print(f"{self._name}: {count}{postfix}", file=sys.stderr, flush=True)
        return None

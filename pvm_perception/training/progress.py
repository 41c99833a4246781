"""How far a training run is: its share of the time or frames asked for, its counts, its bar."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from pvm_perception.bar import Bar
from pvm_perception.core.interfaces import Losses

if TYPE_CHECKING:
    from pvm_perception.training.reducer import Reducer
    from pvm_perception.training.train import TrainOptions

FIRST_CHECK = 500  # steps before the first validation, to see early that a run learns
SHOWN_EVERY = 20  # steps over which the bar's losses are averaged


class Progress:
    """The clock and the counts of a run, from its first step on.

    Parameters
    ----------
    options
        Of the run: hours, frames, streams, seconds between validations.
    history
        Counts of all training behind the model, kept current here.
    ranks
        Of the run; the first of them shows the bar.
    """

    def __init__(self, options: TrainOptions, history: dict[str, Any], ranks: Reducer) -> None:
        self.options, self.history, self.ranks = options, history, ranks.size
        self.steps = 0
        self._frames, self._spent = history["frames"], history["seconds"]  # of earlier runs
        self._seconds = options.hours * 3600
        self._begin = self._last_check = self._now = time.monotonic()
        self._bar = Bar(
            total=round(self._seconds),
            desc="training, seconds",
            disable=True if ranks.rank else None,
            bar_format="{l_bar}{bar}| {elapsed}<{remaining} {postfix}",
        )

    @property
    def _new_frames(self) -> int:
        return self.history["frames"] - self._frames

    @property
    def enough(self) -> bool:
        """Whether as many frames were seen as were asked for."""
        return self.options.frames is not None and self._new_frames >= self.options.frames

    @property
    def speed(self) -> float:
        """Frames a second, of all ranks."""
        return self._new_frames / (self._now - self._begin)

    @property
    def left(self) -> float:
        """Seconds of the time asked for that are left."""
        return self._seconds - (self._now - self._begin)

    def share(self) -> float:
        """Look at the clock; return which share of the time or the frames is used up, 0..1."""
        self._now = time.monotonic()
        share = min((self._now - self._begin) / self._seconds, 1.0)
        if self.options.frames is not None:
            share = max(share, self._new_frames / self.options.frames)
        return min(share, 1.0)

    def count(self, steps: int, clips: int) -> None:
        """Count one step more.

        Parameters
        ----------
        steps
            Learning steps that are behind the model now.
        clips
            Clips rendered so far.
        """
        self.steps += 1
        self.history["frames"] += self.options.streams * self.ranks
        self.history["steps"], self.history["clips"] = steps, clips
        self.history["seconds"] = self._spent + self._now - self._begin

    def check_due(self) -> bool:
        """Return whether it is time to validate."""
        if self._last_check == self._begin and self.steps >= FIRST_CHECK:
            return True
        return self._now - self._last_check > self.options.validate_every

    def checked(self) -> None:
        """Begin anew to wait for the next validation."""
        self._last_check = time.monotonic()

    def advance(self) -> None:
        """Move the bar to the present."""
        self._bar.update(round(self._now - self._begin) - self._bar.n)

    def show(self, losses: list[Losses]) -> None:
        """Move the bar; write speed and the last steps' losses after it, now and then."""
        self.advance()
        if self.steps % SHOWN_EVERY:
            return
        recent = losses[-SHOWN_EVERY:]
        speed = self.steps * self.options.streams * self.ranks / (self._now - self._begin)
        self._bar.set_postfix_str(
            f"{speed:.0f} frames/s "
            f"presence {np.mean([x.presence for x in recent]):.2f} "
            f"box {np.mean([x.box for x in recent]):.3f}"
        )

    def close(self) -> None:
        """End the bar."""
        self._bar.close()

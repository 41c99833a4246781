"""The clips that a training run validates on: rendered once, the same in every run."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property

from pvm_perception.bar import Bar
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.streams.generated import Clip
from pvm_perception.training.pool import ClipPool, ClipRecipe
from pvm_perception.training.validate import Validation, validate

SEED = 977_000_001  # scenes that no training seed reaches
FRAMES = 8  # of a validation clip, whatever the lengths trained on: comparable between runs
STREAMS = 16  # validation clips side by side
LONG = 0.1  # share of the validation clips that are as long as the longest trained on

MakeNetwork = Callable[[int], Hierarchy]  # a network for so many streams


class ValidationSet:
    """Validation clips of a training run, short ones and a few long ones.

    Parameters
    ----------
    recipe
        Of the clips trained on: size, photographs and the longest length are taken from it.
    count
        Number of short clips.
    workers
        Processes that render.
    """

    def __init__(self, recipe: ClipRecipe, count: int, workers: int) -> None:
        self.recipe, self.count, self.workers = recipe, count, workers

    @cached_property
    def clips(self) -> list[Clip]:
        """The short clips."""
        return self._rendered(min(FRAMES, self.recipe.longest), self.count)

    @cached_property
    def long_clips(self) -> list[Clip]:
        """A few clips as long as the longest trained on; none where the others are."""
        if self.recipe.longest <= FRAMES:
            return []
        return self._rendered(self.recipe.longest, math.ceil(LONG * self.count))

    def render(self) -> None:
        """Render all clips now, so that it does not count as training time later."""
        _ = self.clips, self.long_clips

    def _rendered(self, frames: int, count: int) -> list[Clip]:
        size, photos = self.recipe.size, self.recipe.photos
        pool = ClipPool(ClipRecipe(size, frames, frames, photos, SEED), self.workers)
        try:
            return [pool.clip() for _ in Bar(range(count), desc="validation clips", leave=False)]
        finally:
            pool.close()

    def validate(self, network: MakeNetwork) -> Validation:
        """Score on the short clips, without the camera's motion."""
        return validate(network(min(STREAMS, len(self.clips))), self.clips)

    def other_scores(self, network: MakeNetwork) -> dict[str, float]:
        """Score with the camera's motion, where the network takes it, and late in long clips."""
        scores: dict[str, float] = {}
        trial = network(min(STREAMS, len(self.clips)))
        if trial.config.uses_motion:
            moved = validate(trial, self.clips, motion=True).row()
            scores |= {f"{k}_with_motion": v for k, v in moved.items()}
        if self.long_clips:
            late = validate(
                network(min(STREAMS, len(self.long_clips))), self.long_clips, run_up=self.recipe.longest // 2
            ).row()
            scores |= {f"{k}_late": v for k, v in late.items()}
        return scores

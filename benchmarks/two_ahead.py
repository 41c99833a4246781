"""A hierarchy whose units predict their signal two frames ahead: a variant of the ablation."""

from __future__ import annotations

from typing import Any

import numpy as np

from pvm_perception.core.config import INPUT, HierarchyConfig
from pvm_perception.core.encoder import Encoder
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.interfaces import Losses


class TwoAhead(Hierarchy):
    """Every unit predicts its signal two frames ahead, not one; the surprise among its inputs is that one's.

    Nobody foretold the first two frames of a stream. Copying means to repeat the frame before the last.
    """

    def __init__(self, config: HierarchyConfig, batch: int = 1, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, batch, *args, **kwargs)
        self.encoders = [PatientEncoder(config, layer, batch, self.xp) for layer in config.layers]
        self.second = np.zeros(batch, bool)  # streams whose next frame is their second
        self.seen_before = self.sources[INPUT].before  # (B, U + 1, N), two frames ago
        self.waiting = None  # the readout's error of the last frame, (B, U, N) per layer

    def step(
        self, images: np.ndarray, motion: np.ndarray | None = None, *args: Any, **kwargs: Any
    ) -> np.ndarray:
        self.seen_before = self.sources[INPUT].before.copy()
        first = self.fresh.copy()
        self.fresh |= self.second
        self.second = first
        return super().step(images, motion, *args, **kwargs)

    def learn(self, boxes: np.ndarray | None = None, rate: float | None = None) -> Losses:
        losses = super().learn(boxes, rate)
        self.dz_readout, self.waiting = self.waiting, self.dz_readout
        return losses

    def copy_error(self) -> np.ndarray:
        now = self.sources[INPUT].now
        change = now - self.seen_before
        return np.vdot(change, change) / np.float32(now[:, :-1].size)


class PatientEncoder(Encoder):
    """Inputs, code and prediction wait one frame longer for the signal that they predict."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.inputs.keep_past()
        self.foretold = np.zeros_like(self.prediction)  # (B, U, S) for the frame after the next
        names = ["h_before", *(["sums_before", "sizes_before"] if self.normalise else [])]
        self.places = [*((part, "before") for part in self.inputs.parts), *((self, name) for name in names)]
        self.kept = [np.zeros_like(getattr(*place)) for place in self.places]  # of two frames ago

    def forward(self, *args: Any) -> np.ndarray:
        for kept, place in zip(self.kept, self.places, strict=True):
            kept[...] = getattr(*place)
        self.prediction, self.foretold = self.foretold, self.prediction
        return super().forward(*args)

    def gradients(self, *args: Any) -> tuple[dict[str, np.ndarray], np.ndarray]:
        self._exchange()
        found = super().gradients(*args)
        self._exchange()
        return found

    def _exchange(self) -> None:
        """Let what was two frames ago be the frame before, or put it back."""
        for k, (owner, name) in enumerate(self.places):
            before = getattr(owner, name)
            setattr(owner, name, self.kept[k])
            self.kept[k] = before

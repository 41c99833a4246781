"""Validation on generated clips while training: raw readouts, no tracker, nothing tuned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pvm_perception.bar import Bar
from pvm_perception.core.cells import MIN_VISIBLE
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.evaluation.metrics import overlap
from pvm_perception.streams.generated import Clip
from pvm_perception.types import Truth

SPEED_KNOWN = 0.5  # as `Clip.ahead` takes it, where odometry tells the speed at a frame
THRESHOLDS = np.linspace(0.05, 0.95, 19)


@dataclass(frozen=True)
class Validation:
    """Scores by target: success AUC of the best box, presence F1 at the best threshold."""

    auc: dict[str, float]
    presence_f1: dict[str, float]
    prediction_ratio: float  # squared error of the forecast over that of copying the last frame

    def row(self) -> dict[str, float]:
        """Return the scores under flat names."""
        return (
            {f"auc_{t}": v for t, v in self.auc.items()}
            | {f"presence_f1_{t}": v for t, v in self.presence_f1.items()}
            | {"prediction_over_copy": self.prediction_ratio}
        )


def validate(
    network: Hierarchy,
    clips: list[Clip],
    looks: int = 1,
    reset_each_frame: bool = False,
    motion: bool = False,
    unknown_share: float | None = SPEED_KNOWN,
    run_up: int = 2,
) -> Validation:
    """Run clips of one length and score the readouts.

    Parameters
    ----------
    network
        For B streams; clips that are left over when B at a time were taken don't count.
    clips
        All of as many frames.
    looks
        How often each frame is looked at: the readout's last answer counts, and the forecast that
        the first look meets.
    reset_each_frame
        Forget the state before each frame. With two looks, so that the first may serve as the
        second's history, the difference is what the frames before are worth.
    motion
        Give the network the camera's motion.
    unknown_share
        Of the motion to the next frame, as `Clip.ahead` takes it; None: it is not known.
    run_up
        Frames at the start of each clip that don't count.
    """
    config, batch = network.config, network.batch
    ious: dict[int, list[float]] = {t: [] for t in range(len(config.targets))}
    scores: dict[int, list[tuple[float, bool]]] = {t: [] for t in range(len(config.targets))}
    errors, copies = 0.0, 0.0
    for start in Bar(range(0, len(clips) - batch + 1, batch), desc="validation", leave=False):
        group = clips[start : start + batch]
        network.reset()
        for k in range(len(group[0].images)):
            images = np.stack([clip.images[k] for clip in group])
            moved = np.nan_to_num(np.stack([clip.motion[k] for clip in group])) if motion else None
            ahead = None
            if motion and unknown_share is not None:
                ahead = np.stack([clip.ahead(unknown_share)[k] for clip in group])
            if reset_each_frame:
                network.reset()
            network.step(images, moved, ahead=ahead)
            if k >= run_up:
                forecast, copied = network.forecast_errors()
                errors, copies = errors + forecast, copies + copied
            for _ in range(looks - 1):
                network.step(images, foresee=False)
            if k < run_up:
                continue
            answers = network.candidates(0.01, most=1)
            for b, clip in enumerate(group):
                truth = clip.truth[k]
                for t, found in ious.items():
                    rows = truth[truth[:, Truth.TARGET] == t]
                    if len(rows) and (rows[:, Truth.VISIBLE] < MIN_VISIBLE).any():
                        continue
                    best = answers[b][t]
                    scores[t].append((float(best[0, 4]) if len(best) else 0.0, bool(len(rows))))
                    if len(rows):
                        found.append(
                            float(overlap(best[:1, :4], rows[:, Truth.BOX]).max()) if len(best) else 0.0
                        )
    names = config.targets
    return Validation(
        {names[t]: float(np.mean(v)) if v else 0.0 for t, v in ious.items()},
        {names[t]: _best_f1(v) for t, v in scores.items()},
        errors / max(copies, 1e-12),
    )


def _best_f1(pairs: list[tuple[float, bool]]) -> float:
    score, present = (np.array(x) for x in zip(*pairs, strict=True))
    best = 0.0
    for threshold in THRESHOLDS:
        reported = score >= threshold
        best = max(best, 2 * float((reported & present).sum()) / max(reported.sum() + present.sum(), 1))
    return best

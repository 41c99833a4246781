"""Run a tracker over labelled sequences and measure it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from pvm_perception.errors import PvmError
from pvm_perception.evaluation import metrics
from pvm_perception.evaluation.boxes import FrameBoxes, box_measures, first_detection, scores_and_hits
from pvm_perception.evaluation.forecast import Forecasts
from pvm_perception.evaluation.identity import MEASURES, track_measures
from pvm_perception.streams.files import FolderStream
from pvm_perception.streams.hold_out import Part
from pvm_perception.types import Frame, Track

if TYPE_CHECKING:
    from pvm_perception.api import Tracker

Answer = TypeVar("Answer")
REFERENCE_WIDTH = 320  # px; the precision at 20 px is measured at this width of the frame
PRECISION_LIMIT = 20.0  # px


@dataclass
class Shot:
    """One frame and one target: the best box against the truth."""

    frame: str
    iou: float  # 0 without a box
    score: float  # -1 without a box
    present: bool
    error: float  # centre distance, px at REFERENCE_WIDTH; inf without a box
    relative_error: float  # centre distance in units of the labelled box
    box: tuple[float, float, float, float] | None = None  # x, y, w, h; source px


@dataclass
class Result:
    """What one sequence gave for one target."""

    sequence: str
    target: str
    shots: list[Shot] = field(default_factory=list)
    late: list[Shot] = field(default_factory=list)  # the answer of each frame against the next
    ahead: list[Shot] = field(default_factory=list)  # the forecast of each frame against the next
    boxes: list[FrameBoxes] = field(default_factory=list)  # all that was reported, frame by frame
    stills: bool = False  # whether the frames have nothing to do with each other
    milliseconds: float = 0.0
    prediction_error: float = float("nan")
    copy_error: float = float("nan")

    def row(self) -> dict[str, float | int | str]:
        """Return all measures of `evaluation.metrics`, in the order of the table."""
        present = np.array([s.present for s in self.shots], bool)
        ious = np.array([s.iou for s in self.shots], float)
        scores = np.array([s.score for s in self.shots], float)
        seen = [s for s in self.shots if s.present]
        nan = float("nan")
        long = metrics.long_term(ious, scores, present)
        return {
            "sequence": self.sequence,
            "target": self.target,
            "frames": len(self.shots),
            "with_target": len(seen),
            "auc": metrics.success_auc(ious[present]) if seen else nan,
            "precision_20px": metrics.precision_at(np.array([s.error for s in seen]), PRECISION_LIMIT)
            if seen
            else nan,
            "normalised_precision": metrics.normalised_precision(np.array([s.relative_error for s in seen]))
            if seen
            else nan,
            "late_auc": _auc(self.late),
            "streaming_auc": _auc(self.ahead),
            "lt_precision": long["precision"] if seen else nan,
            "lt_recall": long["recall"] if seen else nan,
            "lt_f": long["f"] if seen else nan,
            **metrics.presence(scores >= 0, present),
            **box_measures(self.boxes),
            **self._over_time(),
            "prediction_error": self.prediction_error,
            "copy_error": self.copy_error,
            "ms_per_frame": self.milliseconds,
        }

    def _over_time(self) -> dict[str, float]:
        if self.stills:
            return dict.fromkeys((*MEASURES, "start_px", "first_px"), float("nan"))
        return track_measures(self.boxes) | first_detection(self.boxes)


def _auc(shots: list[Shot]) -> float:
    seen = [s.iou for s in shots if s.present]
    return metrics.success_auc(np.array(seen)) if seen else float("nan")


def sequences(data: Path) -> list[Path]:
    """Return the labelled folders at or below `data`.

    Raises
    ------
    PvmError
        If there is none.
    """
    if not data.is_dir():
        raise PvmError(f"{data} is not a folder")
    found = sorted(
        p.parent
        for p in [
            *data.glob("groundtruth.csv"),
            *data.glob("*/groundtruth.csv"),
            *data.glob("*/*/groundtruth.csv"),
        ]
    )
    if not found:
        raise PvmError(f"no sequence with a groundtruth.csv in {data}")
    return found


def shot(frame: Frame, target: str, tracks: Iterable[Track]) -> Shot:
    """Compare a frame's best-scored box of a target with the truth.

    With several instances in the frame, the nearest one counts: finding any is right.

    Parameters
    ----------
    frame, target, tracks
        As for `FrameBoxes.of`.
    """
    found = FrameBoxes.of(frame, target, tracks)
    if not len(found.boxes):
        return Shot(frame.name, 0.0, -1.0, bool(len(found.truth)), float("inf"), float("inf"))
    best = int(found.boxes[:, 4].argmax())
    x, y, w, h, score = found.boxes[best].tolist()
    nearest = (0.0, float("inf"), float("inf"))
    for iou, (tx, ty, tw, th) in zip(found.overlaps[best].tolist(), found.truth.tolist(), strict=True):
        dx, dy = x + w / 2 - tx - tw / 2, y + h / 2 - ty - th / 2
        error = float(np.hypot(dx, dy)) * REFERENCE_WIDTH / frame.image.shape[1]
        relative = float(np.hypot(dx / max(tw, 1e-6), dy / max(th, 1e-6)))
        nearest = (max(nearest[0], iou), min(nearest[1], error), min(nearest[2], relative))
    return Shot(frame.name, nearest[0], score, bool(len(found.truth)), *nearest[1:], (x, y, w, h))


def evaluate_sequence(
    folder: Path,
    make_tracker: Callable[[], Tracker],
    progress: Callable[[], None] = lambda: None,
    forecasts: Forecasts | None = None,
) -> list[Result]:
    """Track one sequence from its beginning; return a result for each labelled target.

    Parameters
    ----------
    folder
        The sequence. Where its name ends in `_stills` it holds unrelated images: the state is reset for each.
    make_tracker
        Makes a tracker without a past.
    progress
        Called after each frame.
    forecasts
        Takes what is expected of each frame; None where nobody asks.

    Raises
    ------
    PvmError
        If the sequence has no labels, or cannot be read.
    """
    tracker, errors = make_tracker(), []

    def step(frame: Frame) -> tuple[list[Track], float]:
        if is_stills(folder):
            return timed(tracker.track_still, frame.image)
        answer = timed(tracker.update, frame.image, frame.stamp)
        errors.append(tracker.prediction_error())
        if forecasts:
            forecasts.see(tracker, frame.image, frame.boxes)
        return answer

    results = measure_sequence(folder, tracker.targets, step, progress, lambda _tracks: tracker.forecast(1))
    mean = np.nanmean(errors, axis=0) if np.isfinite(errors).any() else (np.nan, np.nan)
    for result in results:
        result.prediction_error, result.copy_error = map(float, mean)
    return results


def is_stills(folder: Path) -> bool:
    """Tell whether a sequence is a set of unrelated images."""
    return folder.name.endswith("_stills")


def timed(function: Callable[..., Answer], *args: object) -> tuple[Answer, float]:
    """Call a function; return what it returns, and the seconds that it took.

    Parameters
    ----------
    function
        What is timed.
    *args
        What it is called with.
    """
    begin = time.perf_counter()
    answer = function(*args)
    return answer, time.perf_counter() - begin


def measure_sequence(
    folder: Path,
    targets: Iterable[str],
    step: Callable[[Frame], tuple[list[Track], float]],
    progress: Callable[[], None] = lambda: None,
    forecast: Callable[[list[Track]], list[Track]] = lambda tracks: tracks,
    part: Part | None = None,
) -> list[Result]:
    """Show a sequence's labelled frames, in order, to anything that answers with boxes.

    Parameters
    ----------
    folder
        The sequence.
    targets
        What is looked for; each that is labelled gets a result.
    step
        Takes a frame; returns its tracks, and the seconds that finding them took (NaN: not timed).
    progress
        Called once for each frame.
    forecast
        Makes of a frame's tracks what is expected at the next: streaming accuracy compares with
        the truth at the time when the answer arrives (Li et al. 2020, "Towards Streaming
        Perception"), here one frame later.
    part
        Of the labelled frames, as `streams.hold_out` has it; None takes all.
    """
    stream, targets = FolderStream(folder, part=part), tuple(targets)
    if stream.truth is None:
        raise PvmError(f"no groundtruth.csv in {folder}")
    labelled = [t for t in targets if t in stream.truth.targets]
    if not labelled:
        raise PvmError(
            f"{folder}/groundtruth.csv labels {', '.join(stream.truth.targets)}, but "
            f"the tracker looks for {', '.join(targets)}"
        )
    results = [Result(folder.name, target, stills=is_stills(folder)) for target in labelled]
    times, before = [], None
    for frame in stream:
        if frame.boxes is not None:
            tracks, seconds = step(frame)
            times.append(seconds)
            for result in results:
                result.shots.append(shot(frame, result.target, tracks))
                result.boxes.append(FrameBoxes.of(frame, result.target, tracks))
                if before is not None:
                    result.late.append(shot(frame, result.target, before[0]))
                    result.ahead.append(shot(frame, result.target, before[1]))
            before = None if is_stills(folder) else (tracks, forecast(tracks))
        progress()
    times = [t for t in times if np.isfinite(t)]
    for result in results:
        result.milliseconds = 1e3 * float(np.median(times)) if times else float("nan")
    return results


def pooled_scores(results: Iterable[Result], target: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the score of every box of a target, and whether it was right.

    Parameters
    ----------
    results
        Of any sequences.
    target
        Whose boxes are taken.

    Returns
    -------
    scores, hits
        (boxes,) each; the scores 0..1.
    """
    return scores_and_hits(f for r in results if r.target == target for f in r.boxes)


def summary(results: Iterable[Result]) -> dict[str, dict[str, float]]:
    """Return by target the mean over sequences of each measure that is defined there.

    The measures of `box_measures`, and `calibration_error`, are over the boxes of all sequences together;
    `id_switches` is the sum.
    """
    results = list(results)
    rows = [r.row() for r in results]
    means: dict[str, dict[str, float]] = {}
    for target in dict.fromkeys(r.target for r in results):
        mine = [r for r in rows if r["target"] == target]
        means[target] = {}
        for key, value in mine[0].items():
            if isinstance(value, float):
                values = np.array([r[key] for r in mine], float)
                values = values[np.isfinite(values)]
                put = np.sum if key == "id_switches" else np.mean
                means[target][key] = float(put(values)) if len(values) else float("nan")
        means[target] |= box_measures(f for r in results if r.target == target for f in r.boxes)
        means[target]["calibration_error"] = metrics.calibration_error(*pooled_scores(results, target))
    return means

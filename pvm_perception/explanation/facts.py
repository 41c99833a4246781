"""What a tracker saw, expected and believed at one frame, and what each kind of link is worth there."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pvm_perception.api import Tracker
from pvm_perception.core.backend import Floats, Images
from pvm_perception.core.config import MOTION, HierarchyConfig
from pvm_perception.core.config_parts import LINK_KINDS
from pvm_perception.core.model_file import save_model
from pvm_perception.errors import PvmError
from pvm_perception.types import Detection, Frame, Track
from pvm_perception.vision.track_state import Belief
from pvm_perception.vision.tracker_settings import TrackerSettings

CUT_RUN = 12  # frames up to the explained one that are run again without a kind of link
RECALL = "readout.recall"  # the weights by which the readout reads its own last answers
MEMORY = "memory of the readout"

Snapshot = tuple[HierarchyConfig, dict[str, Floats], dict[str, Any]]


@dataclass(frozen=True)
class Cut:
    """What a kind of link is worth at a frame: the same run without it.

    Attributes
    ----------
    links : in words; "nothing cut" for the whole network
    score : of the target's best detection, 0..1; 0 where there is none
    evidence : of the target's best track, reported or not; 0 where there is none
    reported : whether a box was reported
    forecast : the forecast's error over that of copying; NaN where it is not known
    """

    links: str
    score: float
    evidence: float
    reported: bool
    forecast: float


@dataclass(frozen=True)
class Facts:
    """One frame as a tracker saw it.

    Attributes
    ----------
    name, target : of the frame, and of the target that is asked about
    image : (H, W, 3) uint8 BGR
    expected : what was expected of it, (h, w, 3) uint8 BGR, without bars; None at a first frame
    seen : the part of `image` that was expected, at the same size
    surprise : (rows, cols)
    heat : the target's presence in the look at the whole frame, (rows, cols) in 0..1
    fovea : window x, y, w, h of the second look, px; None where there was none
    detections, beliefs, tracks : of the target: probabilities of boxes; what is followed; what is reported
    settings : from which evidence a track is born and kept
    history : (name, best detection's score, best evidence, whether reported) of the frames up to this one
    forecast : (the forecast's, copying's) mean squared error
    light : share of the light that came through a veil over the frame; 1 without one
    cuts : what each kind of link is worth
    model, known : the model's name, and the targets that it knows
    """

    name: str
    target: str
    image: Images
    expected: Images | None
    seen: Images | None
    surprise: Floats
    heat: Floats
    fovea: tuple[int, int, int, int] | None
    detections: tuple[Detection, ...]
    beliefs: tuple[Belief, ...]
    tracks: tuple[Track, ...]
    settings: TrackerSettings
    history: tuple[tuple[str, float, float, bool], ...]
    forecast: tuple[float, float]
    light: float
    cuts: tuple[Cut, ...]
    model: str
    known: tuple[str, ...]

    def verdict(self) -> str:
        """Say in one sentence why there is a box, or none."""
        s = self.settings
        best = max(self.detections, key=lambda d: d.score, default=None)
        if self.tracks:
            t = self.tracks[0]
            if t.state == "confirmed":
                return (
                    f"There is a box: track {t.id} has evidence {t.score:.2f}, at least keep_score "
                    f"{s.keep_score:g}, and a detection of this frame supports it."
                )
            return (
                f"There is a box, but nothing in this frame supports it: track {t.id} coasts on evidence "
                f"{t.score:.2f}, at most {s.coast:g} frames long."
            )
        believed = max(self.beliefs, key=lambda b: b.evidence, default=None)
        if best is None and believed is None:
            return f"There is no box: in neither look did any cell take anything for {self.target}."
        seen = f"the best detection has probability {best.score:.2f}" if best else "nothing was detected"
        if believed is None:
            return f"There is no box: {seen}, too little for a track to begin."
        if believed.born and believed.evidence >= s.keep_score:
            return (
                f"There is no box: {seen}, and track {believed.id} has been without support for "
                f"{believed.gap:.1f} frames, more than coast, {s.coast:g}."
            )
        if believed.born:
            return (
                f"There is no box: {seen}, and the evidence of track {believed.id}, "
                f"{believed.evidence:.2f}, fell below keep_score, {s.keep_score:g}."
            )
        return (
            f"There is no box yet: {seen}, and the evidence so far, {believed.evidence:.2f}, is below "
            f"birth_score, {s.birth_score:g}."
        )


def gather(tracker: Tracker, frames: Sequence[Frame], target: str, links: bool = True) -> Facts:
    """Run frames through a tracker and return the facts of the last one.

    Parameters
    ----------
    tracker
        Is reset first; knows the target.
    frames
        The frame that is asked about, last, and some of those before it.
    target
        The target's name.
    links
        Whether to measure what each kind of link is worth, which runs the last frames some six times.

    Raises
    ------
    PvmError
        There is no frame, or the target is not known.
    """
    if not frames:
        raise PvmError("there is no frame to explain")
    tracker.targets = (target,)
    tracker.reset()
    history = []
    expected = None
    for k, frame in enumerate(frames):
        if k == len(frames) - 1 and k:
            expected = tracker.prediction()
        tracks = tracker.update(frame.image, frame.stamp, frame.motion, frame.ahead)
        best = max((d.score for d in tracker.detections), default=0.0)
        evidence = max((b.evidence for b in tracker.beliefs()), default=0.0)
        history.append((frame.name, best, evidence, bool(tracks)))
    last = frames[-1]
    seen = None if expected is None else _resized(last.image, expected.shape[:2])
    return Facts(
        last.name,
        target,
        last.image,
        expected,
        seen,
        tracker.surprise(),
        tracker.heatmap(target),
        tracker.fovea,
        tuple(tracker.detections),
        tuple(tracker.beliefs()),
        tuple(tracks),
        tracker.settings,
        tuple(history),
        tracker.prediction_error(),
        tracker.light,
        tuple(_cuts(tracker, frames[-CUT_RUN:], target)) if links else (),
        tracker.model.name,
        tracker.known_targets,
    )


def _resized(image: Images, size: tuple[int, int]) -> Images:
    import cv2

    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def without(snapshot: Snapshot) -> list[tuple[str, Snapshot]]:
    """Return a model whole, and with each kind of its links cut, one after the other."""
    config, weights, history = snapshot
    variants = [("nothing cut", snapshot)]
    kinds = [k for k in LINK_KINDS if k != "feedforward"]
    for kind in kinds:
        cut = [k.kind == kind and k.source != MOTION for k in config.links]
        variants += _variant(f"{kind} links", snapshot, cut)
    variants += _variant(
        "links from the robot's motion", snapshot, [k.source == MOTION for k in config.links]
    )
    if RECALL in weights:
        variants.append((MEMORY, (config, weights | {RECALL: np.zeros_like(weights[RECALL])}, history)))
    return variants


def _variant(words: str, snapshot: Snapshot, cut: list[bool]) -> list[tuple[str, Snapshot]]:
    config, weights, history = snapshot
    if not any(cut):
        return []
    links = tuple(
        dataclasses.replace(link, gain=0.0) if off else link
        for link, off in zip(config.links, cut, strict=True)
    )
    return [(words, (dataclasses.replace(config, links=links), weights, history))]


def _cuts(tracker: Tracker, frames: Sequence[Frame], target: str) -> list[Cut]:
    """Run the last frames with each kind of link cut."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for k, (words, model) in enumerate(without(tracker.snapshot())):
            path = Path(folder) / f"{k}.safetensors"
            save_model(path, *model)
            other = Tracker((target,), path, tracker.device, settings=tracker.settings)
            for frame in frames:
                tracks = other.update(frame.image, frame.stamp, frame.motion, frame.ahead)
            forecast, copying = other.prediction_error()
            found.append(
                Cut(
                    words,
                    max((d.score for d in other.detections), default=0.0),
                    max((b.evidence for b in other.beliefs()), default=0.0),
                    bool(tracks),
                    forecast / copying if copying > 0 else math.nan,
                )
            )
    return found

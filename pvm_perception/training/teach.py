"""Teach a model a user's own labelled frames, among generated scenes so that it forgets nothing.

A fifth of each sequence, frames in a row, is never trained on (`streams.hold_out`). The model is
assessed before and after, on these frames and on generated scenes, and is only worth keeping when
it passes (`failures`).
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pvm_perception.api import Tracker
from pvm_perception.bar import Bar
from pvm_perception.core.config import HierarchyConfig
from pvm_perception.core.model_file import load_model, read_header, save_model
from pvm_perception.errors import PvmError
from pvm_perception.evaluation.evaluate import Result, measure_sequence, timed
from pvm_perception.streams.files import FolderStream
from pvm_perception.training.train import Trainer, TrainOptions
from pvm_perception.training.validate import Validation

LEAST_FRAMES = 5  # labelled, so that at least one is held out
RATE = 0.25  # highest learning rate, as a share of that of a training from nothing
VALIDATION_CLIPS = 96  # generated, for the marks before and after
CALIBRATION_SCENES = 32  # from which the meaning of the new scores is fitted
FORGOTTEN = 0.05  # what the mark on generated scenes may lose


@dataclass(frozen=True)
class Assessment:
    """What a model is worth: on the held-out frames, and on generated scenes.

    `held_out` has by target `auc`, `presence_f1` and `false_alarms`, NaN where not defined.
    """

    held_out: dict[str, dict[str, float]]
    generated: Validation

    @property
    def held_out_mark(self) -> float:
        """Mean of success AUC, presence F1 and 1 - false alarms over targets, 0..1."""
        return float(
            np.nanmean(
                [
                    v
                    for m in self.held_out.values()
                    for v in (m["auc"], m["presence_f1"], 1 - m["false_alarms"])
                ]
            )
        )

    @property
    def generated_mark(self) -> float:
        """Mean of success AUC and presence F1 over targets, 0..1."""
        return float(np.mean([*self.generated.auc.values(), *self.generated.presence_f1.values()]))

    def row(self) -> dict[str, Any]:
        """Return all of it as plain data, rounded; what is not defined is left out."""
        held_out = {
            f"{name}_{target}": round(v, 4)
            for target, m in self.held_out.items()
            for name, v in m.items()
            if not math.isnan(v)
        }
        return {"held_out": held_out, "generated": {k: round(v, 4) for k, v in self.generated.row().items()}}


@dataclass(frozen=True)
class Lesson:
    """A model that was taught, not yet written: what it is, and what it was worth before."""

    config: HierarchyConfig
    weights: dict[str, np.ndarray]
    history: dict[str, Any]
    before: Assessment
    after: Assessment

    def failures(self) -> list[str]:
        """Return in words why the model is not worth keeping; nothing where it is."""
        found = []
        if self.after.held_out_mark <= self.before.held_out_mark:
            found.append("it is no better on the held-out frames")
        if self.after.generated_mark < self.before.generated_mark - FORGOTTEN:
            found.append(f"it lost more than {FORGOTTEN} on generated scenes")
        return found

    def save(self, path: Path) -> None:
        """Write the model file."""
        save_model(path, self.config, self.weights, self.history)


@dataclass(frozen=True)
class HoldOut:
    """How many labelled frames there are to learn from, and how many are held out."""

    learnt: int
    held_out: int
    with_target: int  # of those held out

    def doubt(self) -> str:
        """Return what the examination cannot tell, or ""; to be said before the training."""
        if self.with_target < self.held_out:
            return ""
        return (
            "no held-out frame is without a target, so false alarms are not examined; label some frames "
            "without one, with blank boxes"
        )


def check_sequences(folders: Sequence[Path]) -> HoldOut:
    """Return what the folders give to learn from and to be examined on.

    Raises
    ------
    PvmError
        No images or labels, too few, or none held out that shows a target.
    """
    learnt = held_out = with_target = 0
    for folder in folders:
        stream = FolderStream(folder, part=(0.0, 1.0))
        if stream.truth is None:
            raise PvmError(f"no groundtruth.csv in {folder}")
        if stream.length < LEAST_FRAMES:
            raise PvmError(
                f"{folder} has {stream.length} labelled frames; at least {LEAST_FRAMES} "
                "are needed, of which a fifth is held out"
            )
        kept = FolderStream(folder, part="held out")
        held_out += kept.length
        with_target += sum(map(kept.shows, (p.name for p in kept.paths)))
        learnt += FolderStream(folder, part="taught").length
    if not with_target:
        raise PvmError(
            f"none of the {held_out} held-out frames shows a target, so nothing could be examined; label "
            "more frames with one: they are held out a fifth of a sequence in a row"
        )
    return HoldOut(learnt, held_out, with_target)


def held_out_marks(model: Path, device: str, folders: Sequence[Path]) -> dict[str, dict[str, float]]:
    """Look at each held-out frame for itself, as at a still; return the marks by target.

    Parameters
    ----------
    model
        Model file.
    device
        "cpu", "cuda" or "auto".
    folders
        Labelled sequences.
    """
    tracker = Tracker(model=model, device=device)
    pooled: dict[str, Result] = {}
    with Bar(
        total=sum(FolderStream(f, part="held out").length for f in folders),
        unit="frame",
        desc="held out",
        leave=False,
    ) as bar:
        for folder in folders:
            for r in measure_sequence(
                folder,
                tracker.targets,
                lambda frame: timed(tracker.track_still, frame.image),
                bar.update,
                part="held out",
            ):
                pooled.setdefault(r.target, Result("held out", r.target)).shots += r.shots
    rows = {target: result.row() for target, result in pooled.items()}
    return {
        target: {k: float(row[k]) for k in ("auc", "presence_f1", "false_alarms")}
        for target, row in rows.items()
    }


def teach(
    folders: Sequence[Path], model: Path, minutes: float, photos: Path | None = None, device: str = "cpu"
) -> Lesson:
    """Fine-tune a model on labelled frames and generated scenes.

    Parameters
    ----------
    folders
        Sequences: frames and groundtruth.csv. A target that a file never names counts as absent.
    model
        To start from; not changed.
    minutes
        Of training; the assessments come on top. A signal ends it early, with what was learnt by then.
    photos
        Folder of photographs for the generated scenes' backgrounds.
    device
        Where to run.

    Raises
    ------
    PvmError
        As `check_sequences`; a model that cannot be read.
    """
    config = read_header(model)["config"]
    parts = check_sequences(folders)
    with tempfile.TemporaryDirectory() as folder:
        options = TrainOptions(
            Path(folder),
            hours=minutes / 60,
            start=model,
            photos=photos,
            stills=tuple(folders),
            stills_part="taught",
            rate=RATE * config.learning.rate,
            shortest=3,
            longest=8,
            device=device,
            validate_every=float("inf"),
            validation_clips=VALIDATION_CLIPS,
            calibration_scenes=CALIBRATION_SCENES,
        )
        trainer = Trainer(options)
        begin = dict(trainer.history)
        before = Assessment(held_out_marks(model, device, folders), trainer.validate())
        validation = trainer.run()
        if validation is None:
            raise PvmError("teaching takes one process; run it without mpirun")
        path = Path(folder) / "model.safetensors"
        after = Assessment(held_out_marks(path, device, folders), validation)
        config, weights, history = load_model(path)
    lesson = {
        "from": model.name,
        "data": [f.resolve().name for f in folders],
        "learnt": parts.learnt,
        "held_out": parts.held_out,
        "frames": history["frames"] - begin["frames"],
        "minutes": round((history["seconds"] - begin["seconds"]) / 60, 2),
        "before": before.row(),
        "after": after.row(),
    }
    history["taught"] = [*load_model(model)[2].get("taught", ()), lesson]
    result = Lesson(config, weights, history, before, after)
    lesson["failures"] = result.failures()  # the reasons go with the model, where it is kept for all that
    return result

"""Days in the life of a tracker: places one after the other, with learning off, awake only, awake and asleep.

Painted places have a background and a light of their own; sequences are split by time, the first part to live
in. After each day every place's held-back frames are seen: success AUC, false alarms, forecast error over
copying's.
Usage: .venv/bin/python benchmarks/days.py [--sequences DIR ...] [--frames N] [--minutes M] [--output FILE]
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import cv2
import numpy as np
from tqdm import tqdm

from pvm_perception import Tracker
from pvm_perception.errors import PvmError
from pvm_perception.evaluation.metrics import overlap, success_auc
from pvm_perception.living.moments import MomentMemory
from pvm_perception.living.recorder import Recorder
from pvm_perception.living.sleep import SleepOptions, sleep
from pvm_perception.living.snapshots import Snapshots
from pvm_perception.shipped import default_model
from pvm_perception.streams.files import FolderStream
from pvm_perception.streams.scenes.backgrounds import background
from pvm_perception.streams.scenes.scene import EVERY_CAST, Scene
from pvm_perception.types import TARGETS, Truth

MEASURES = ("forecast_over_copy", "auc", "false_alarms")
CONDITIONS = ("off", "awake", "asleep")
SIZE, SCENE = (240, 320), 80  # rows and columns of painted frames; frames of a scene
LIVED = 0.6  # share of a sequence that is lived in
PLACES = {  # the background's seed, and the light in blue, green and red
    "morning": (11, (1.0, 0.95, 0.85)),
    "noon": (12, (1.15, 1.15, 1.15)),
    "dusk": (13, (0.5, 0.42, 0.38)),
}

Seen = tuple[np.ndarray, dict[str, np.ndarray], bool]  # image, boxes (n, 4) by target, whether it begins anew


class Backdrop(Scene):
    """A scene before the background of its place."""

    def __init__(self, place: int, *some: Any, **named: Any) -> None:
        self._place_seed = place
        super().__init__(*some, **named)

    def _background(self, rows: int, cols: int, photos: Sequence[np.ndarray]) -> np.ndarray:
        return background(np.random.default_rng(self._place_seed), rows, cols, photos)


@dataclass(frozen=True)
class Painted:
    """A painted place in its light."""

    name: str
    seed: int
    light: tuple[float, float, float]

    def live(self, frames: int) -> Iterator[Seen]:
        """Yield a day's frames."""
        yield from self._scenes(0, frames)

    def held_back(self, frames: int) -> Iterator[Seen]:
        """Yield frames of scenes that no day has."""
        yield from self._scenes(1_000_000, frames)

    def _scenes(self, first: int, frames: int) -> Iterator[Seen]:
        for n in range(frames):
            if n % SCENE == 0:
                cast = EVERY_CAST[n // SCENE % len(EVERY_CAST)]
                rng = np.random.default_rng((self.seed, first + n // SCENE))
                scene = Backdrop(self.seed, rng, SCENE, SIZE, None, 1, cast, 0.5, (0.04, 0.3), 0.6)
            image, truth = scene.render(n % SCENE)
            image = np.clip(image * np.float32(self.light), 0, 255).astype(np.uint8)
            boxes = {t: truth[truth[:, Truth.TARGET] == i, Truth.BOX] for i, t in enumerate(TARGETS)}
            yield image, boxes, n % SCENE == 0


@dataclass(frozen=True)
class Filmed:
    """A labelled sequence: its first part is lived in, there and back, the rest is held back."""

    folder: Path

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    def live(self, frames: int) -> Iterator[Seen]:
        """Yield a day's frames."""
        some = self._frames((0.0, LIVED))
        back = [*range(len(some)), *range(len(some) - 2, 0, -1)]
        for n in range(frames):
            image, boxes, _ = some[back[n % len(back)]]
            yield image, boxes, n == 0

    def held_back(self, frames: int) -> Iterator[Seen]:
        """Yield the end of the sequence."""
        yield from self._frames((LIVED, 1.0))[:frames]

    def _frames(self, part: tuple[float, float]) -> list[Seen]:
        found = []
        for frame in FolderStream(self.folder, part=part):
            arrays = {}
            for target in TARGETS:
                rows = [(b.x, b.y, b.w, b.h) for b in frame.boxes or () if b.target == target]
                arrays[target] = np.array(rows, float).reshape(-1, 4)
            found.append((frame.image, arrays, not found))
        return found


Place = Painted | Filmed


def marks(model: Path, place: Place, frames: int) -> dict[str, float]:
    """Return what a model makes of a place's held-back frames; it does not learn."""
    tracker, ious, alarms, errors = Tracker(model=model), [], [], []
    for image, boxes, cut in place.held_back(frames):
        if cut:
            tracker.reset()
        tracks = tracker.update(image)
        errors.append(tracker.prediction_error())
        for target, true in boxes.items():
            found = [(t.x, t.y, t.w, t.h) for t in tracks if t.target == target]
            if len(true):
                ious.append(max((float(overlap(np.array(f), true).max()) for f in found), default=0.0))
            else:
                alarms.append(bool(found))
    error = np.nansum(np.array(errors), 0)
    return {
        "auc": round(success_auc(np.array(ious)), 4) if ious else float("nan"),
        "false_alarms": round(float(np.mean(alarms)), 4) if alarms else float("nan"),
        "forecast_over_copy": round(float(error[0] / error[1]), 4),
    }


def live(frames: Iterable[Seen], tracker: Tracker, recorder: Recorder | None) -> None:
    """Show a tracker some frames; a recorder, where there is one, keeps moments of them."""
    for image, _, cut in frames:
        if cut:
            tracker.reset()
            if recorder is not None:
                recorder.forget_stream()
        tracks = tracker.update(image)
        if recorder is not None:
            recorder.see(image, None, None, tracks, float(tracker.surprise().mean()))


def days(
    condition: str, places: Sequence[Place], frames: int, held_back: int, minutes: float, scenes: int
) -> Iterator[dict[str, Any]]:
    """Live through the places, a day each; yield after each day a row for every place."""
    if condition == "off":  # nothing ever changes
        same = {other.name: marks(default_model(), other, held_back) for other in places}
        for day, place in enumerate(places):
            for name, found in same.items():
                row = {"condition": condition, "day": day + 1, "lived_in": place.name, "place": name}
                yield row | found | {"sleep": ""}
        return
    tracker = Tracker(learn=condition != "off")
    with tempfile.TemporaryDirectory() as folder:
        memory = Path(folder) / "memory"
        recorder = Recorder(MomentMemory(memory, 100.0), patient=True) if condition == "asleep" else None
        for day, place in enumerate(places):
            live(place.live(frames), tracker, recorder)
            model, outcome = Path(folder) / "now.safetensors", ""
            tracker.save(model)
            if recorder is not None:
                recorder.close()
                try:
                    slept = sleep(SleepOptions(memory, minutes, model, scenes=scenes, seed=day))
                    outcome = slept.words()
                    if slept.path is not None:
                        model = slept.path
                        tracker.swap(model)
                except PvmError as error:  # too few moments so far
                    outcome = str(error).replace(folder, "")
                recorder = Recorder(MomentMemory(memory, 100.0), patient=True)
            for other in places:
                row = {"condition": condition, "day": day + 1, "lived_in": place.name, "place": other.name}
                yield row | marks(model, other, held_back) | {"sleep": outcome if other is place else ""}
        if recorder is not None:
            recorder.close()
            assert len(Snapshots(memory, default_model()).paths()) <= len(places)


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return for each condition and day the marks at the place of the day, and their mean elsewhere."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for r in rows:
        key = str(r["condition"]), int(r["day"])
        row = found.setdefault(key, {"condition": key[0], "day": key[1], "lived_in": r["lived_in"]})
        row["sleep"] = row.get("sleep") or r["sleep"]
    for (condition, day), row in found.items():
        for measure in MEASURES:
            for words, here in (("here", True), ("elsewhere", False)):
                values = [
                    float(r[measure])
                    for r in rows
                    if (r["condition"], int(r["day"])) == (condition, day)
                    and (r["place"] == r["lived_in"]) == here
                ]
                row[f"{measure}_{words}"] = round(float(np.nanmean(values)), 4)
        row["sleep"] = row.pop("sleep")  # as the last column
    return list(found.values())


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw a summary: forecast and AUC, at the place of the day and elsewhere, by day and condition."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6.4), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True)
    for axis, (measure, where) in zip(
        axes.flat, [(m, w) for m in MEASURES[:2] for w in ("here", "elsewhere")], strict=True
    ):
        for condition, line in zip(CONDITIONS, ("k--", "C0-o", "C3-s"), strict=True):
            some = [r for r in rows if r["condition"] == condition]
            axis.plot(
                [r["day"] for r in some], [r[f"{measure}_{where}"] for r in some], line, label=condition
            )
        words = "at the place of the day" if where == "here" else "everywhere else"
        axis.set_title(f"{measure.replace('_', ' ')}, {words}", fontsize=10)
        axis.grid(alpha=0.3)
    axes[0][0].legend()
    for axis in axes[1]:
        axis.set_xlabel("day")
    figure.savefig(path, dpi=90)


def write(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write a table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Live, write the table and draw it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sequences", type=Path, nargs="*", default=[], metavar="DIR", help="labelled sequences, a day each"
    )
    parser.add_argument(
        "--frames",
        type=int,
        default=240,
        help="frames of a day; 20000 for the long form (default: %(default)s)",
    )
    parser.add_argument(
        "--held-back", type=int, default=60, help="held-back frames of each place (default: %(default)s)"
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=1.0,
        help="minutes of each sleep, without its exam (default: %(default)s)",
    )
    parser.add_argument(
        "--scenes", type=int, default=8, help="painted scenes of each exam (default: %(default)s)"
    )
    parser.add_argument(
        "--conditions",
        nargs="+",
        choices=CONDITIONS,
        default=CONDITIONS,
        help="how the days are lived (default: %(default)s)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("benchmarks/days.csv"),
        help="summary to write, as CSV (default: %(default)s)",
    )
    parser.add_argument(
        "--picture",
        type=Path,
        default=Path("docs/living.png"),
        help="picture to write (default: %(default)s)",
    )
    args = parser.parse_args()
    cv2.setNumThreads(1)
    places: list[Place] = [Painted(name, *some) for name, some in PLACES.items()]
    places += [Filmed(folder) for folder in args.sequences]
    rows: list[dict[str, Any]] = []
    with tqdm(total=len(args.conditions) * len(places) ** 2, unit="row", disable=None) as bar:
        for condition in args.conditions:
            for row in days(condition, places, args.frames, args.held_back, args.minutes, args.scenes):
                rows.append(row)
                write(rows, args.output.with_stem(f"{args.output.stem}_matrix"))  # a run that is cut short
                bar.update()
    write(summary(rows), args.output)
    draw(summary(rows), args.picture)


if __name__ == "__main__":
    main()

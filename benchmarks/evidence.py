"""What surprise says of a ball: how often a box is right, by its score and by how it surprises.

Whole tracker, without evidence from surprise, on throws (every second with real balls where `--stills` is
given), on generated scenes, and on real video without targets: of each candidate the score, the logarithm of
its surprise over what is usual around it (`Surprise.factor`), and whether it overlaps a ball by half. Printed
and written: by factor and score, the share that is right; and the log odds for each factor of e, as far as it
counts (`surprise.counted`), that make all this likeliest, the scores being taken for what they say:
`EVIDENCE` of vision/surprise.py. The scenes are those of no other benchmark.
Usage: .venv/bin/python benchmarks/evidence.py [--scenes N] [--photos DIR] [--stills DIR] [--video DIR ...]
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from itertools import chain, islice, pairwise
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"
import generated_sequences
import numpy as np
import throws
from scores import shares_right
from tqdm import tqdm

from pvm_perception import Tracker
from pvm_perception.commands.evaluate import write_csv
from pvm_perception.core.model_file import load_model
from pvm_perception.evaluation.metrics import overlap
from pvm_perception.streams.files import FolderStream
from pvm_perception.streams.scenes.photos import load_photos
from pvm_perception.streams.scenes.real_targets import cut_out
from pvm_perception.streams.stills import load_stills
from pvm_perception.types import Frame
from pvm_perception.vision.calibration import Calibration
from pvm_perception.vision.frame import View
from pvm_perception.vision.surprise import Surprise, counted

TARGET = "green_ball"
FIRST = 100_000  # number of the first scene, far beyond those of the benchmarks
PART = (0.0, 0.9)  # of the stills by name
FRAMES = 40  # of a clip of real video
LEAST_SCORE, RIGHT, WRONG = 0.03, 0.5, 0.2  # overlaps in between say nothing
FACTORS = (-np.inf, 0.5, 1.0, 2.0, np.inf)
SCORES = (0.03, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0)
SHARES = np.arange(0, 2.01, 0.05)  # log odds that are tried


def clips(
    scenes: int, photos: list[np.ndarray] | None, sprites: Sequence[np.ndarray], videos: Sequence[Path]
) -> Iterator[tuple[str, Iterator[Frame]]]:
    """Yield where each clip comes from, and its frames."""
    for n in range(FIRST, FIRST + scenes):
        balls = sprites if n % 2 else ()
        yield "throws", (frame for frame, _ in throws.sequence(n, photos, balls))
        yield "generated", (frame for frame, _ in generated_sequences.sequence(n, photos))
    for folder in videos:
        yield "video", islice(FolderStream(folder), FRAMES)


def sights(
    tracker: Tracker, size: tuple[int, int], frames: Iterator[Frame]
) -> list[tuple[float, float, bool]]:
    """Return score, factor and whether it is right of each candidate of a clip."""
    found = []
    tracker.reset()
    for k, frame in enumerate(frames):
        tracker.update(frame.image, k / 30 if frame.stamp is None else frame.stamp)
        truth = [np.array([b.x, b.y, b.w, b.h]) for b in frame.boxes or () if b.target == TARGET]
        if k == 0 or any(b.weight == 0 for b in frame.boxes or ()):
            continue
        surprise = Surprise(tracker.surprise(), View.fit(frame.image.shape[:2], size), ())
        for d in tracker.detections:
            near = max((float(overlap(np.array([d.x, d.y, d.w, d.h]), t)) for t in truth), default=0.0)
            if d.target == TARGET and d.score > LEAST_SCORE and not WRONG <= near < RIGHT:
                found.append((d.score, surprise.factor(d), near >= RIGHT))
    return found


def likeliest(score: np.ndarray, factor: np.ndarray, right: np.ndarray) -> float:
    """Return the log odds for each factor of e that make what was right likeliest."""
    odds = np.log(score / (1 - score))
    total = odds + SHARES[:, None] * np.array([counted(f) for f in factor], float)  # (shares, candidates)
    loss = (np.logaddexp(0, total) - right * total).sum(axis=1)
    return float(SHARES[loss.argmin()])


def main() -> None:
    """Collect, print and write."""
    parser = generated_sequences.scene_arguments(__doc__, 60)
    parser.add_argument("--stills", type=Path, help="folder of labelled pictures of green balls to cut out")
    parser.add_argument("--video", type=Path, nargs="*", default=[], help="folders of frames without targets")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("build/evidence.csv"),
        help="table to write (default: %(default)s)",
    )
    args = parser.parse_args()
    photos = load_photos(args.photos) if args.photos else None
    stills = load_stills(args.stills, PART) if args.stills else []
    sprites = [c.sprite for c in cut_out(stills) if c.target == throws.TARGET]
    config, _, history = load_model(args.model[0])
    calibration = dataclasses.replace(Calibration.of(history), hears_evidence=False)
    tracker = Tracker(model=args.model[0], calibration=calibration)
    rows: dict[str, list[tuple[float, float, bool]]] = {}
    every = clips(args.scenes, photos, sprites, args.video)
    for source, frames in tqdm(every, total=2 * args.scenes + len(args.video), unit="clip", disable=None):
        rows.setdefault(source, []).extend(sights(tracker, (config.height, config.width), frames))
    table = []
    for source, found in {**rows, "all": list(chain(*rows.values()))}.items():
        columns = np.array(found, float).reshape(-1, 3).T  # (3, candidates), of which there may be none
        score, factor, right = np.minimum(columns[0], 0.999), columns[1], columns[2]
        for low, high in pairwise(FACTORS):
            there = (factor >= low) & (factor < high)
            shares = shares_right(SCORES, score[there], right[there])
            table.append(
                {"source": source, "factor": str(low), "to": str(high), "candidates": int(there.sum())}
                | shares
            )
        print(
            f"{source}: {len(found)} candidates, log odds for each factor of e: "
            f"{likeliest(score, factor, right):.2f}"
        )
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_csv(args.output, table)


if __name__ == "__main__":
    main()

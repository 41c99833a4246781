"""Learn models/descriptor.safetensors: what tells things apart, for targets that are shown in a few boxes.

Thousands of things are seen in scenes of their own, in other light, at other places and distances: cut-outs
and pieces of photographs, balls, signs, painted look-alikes. Of each scene what some cells read is kept, the
picture and the codes of the model's network around them, and from it a descriptor learns
(pvm_perception/training/contrast.py). The last photographs are left out: things that are cut out of them tell
how well it does on what it never saw. What is gathered is kept in --work, and a run that is begun again goes
on with it.
Usage: .venv/bin/python scripts/learn_descriptor.py --photos build/photos [--things N] [--steps N]
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import numpy as np
from safetensors.numpy import save_file
from tqdm import tqdm, trange

from pvm_perception.core.backend import OneThread
from pvm_perception.core.cells import Cells
from pvm_perception.core.descriptor import VALUES, Descriptor
from pvm_perception.core.model_file import load_model
from pvm_perception.core.placement import build_network
from pvm_perception.core.shown import CellReader
from pvm_perception.core.size import shown_width
from pvm_perception.errors import PvmError
from pvm_perception.shipped import default_model
from pvm_perception.streams.scenes import balls, signs
from pvm_perception.streams.scenes.distractors import LOOK_ALIKES, cutout
from pvm_perception.streams.scenes.one_thing import one_thing
from pvm_perception.streams.scenes.paint import Rng
from pvm_perception.streams.scenes.photos import load_photos
from pvm_perception.streams.scenes.pieces import piece
from pvm_perception.training.contrast import Contrast, rate_at
from pvm_perception.types import Truth
from pvm_perception.vision.teacher import around, box_answers

Painter = Callable[[Rng, int], np.ndarray]
PHOTOS_LEFT_OUT = 40  # places, and as many things that are cut out
CUT_OUT, PHOTOGRAPHED = 0.4, 0.6  # shares of the things: cut out of photographs, and these and their pieces
# (up to which share, painter, whether it may be mirrored); what is left of the shares: the look-alikes' table
PAINTED: tuple[tuple[float, Painter, bool], ...] = (
    (0.68, balls.other_ball, True),
    (0.77, signs.other_sign, False),
    (0.8, lambda g, size: balls.ball(g, True, size), True),
    (0.82, signs.stop_sign, False),
)
SCENES = 4  # of each thing
CELLS, WITHOUT = 3, 4  # of each scene, at most: on the thing, and away from it
SIZES = (0.1, 0.6)  # a thing's height as a share of the frame's
CHUNK = 500  # things that are kept together
BATCH, OTHERS = 192, 768  # things of a step, and cells without one
RATE = 1e-3
BANK = 20_000  # cells without a thing, which it is compared with
ALARM = 5e-4  # share of them that may be taken for it
RIDGE = 3.0  # in variances


class Things:
    """Draws things, and gathers what a network makes of them.

    Parameters
    ----------
    model
        Whose network describes them.
    photos
        Folder of photographs.
    known
        Whether their photographs are those that are learnt from, or those that are left out.
    """

    def __init__(self, model: Path, photos: Path, known: bool) -> None:
        config, weights, history = load_model(model)
        self.network, _ = build_network(config, weights, "cpu", history.get("steps", 0))
        self.width, self.known = shown_width(config), known
        self._reader = CellReader(config, Descriptor.drawn(self.width))
        self._cells = Cells(1, (config.cells.rows, config.cells.cols), config.stride, 1)
        self._size = config.height, config.width
        pictures = load_photos(photos)
        self._places, self._cut_out = (
            self._part([p for p in pictures if p.shape[2] == channels]) for channels in (3, 4)
        )

    def _part(self, pictures: list[np.ndarray]) -> list[np.ndarray]:
        if len(pictures) <= PHOTOS_LEFT_OUT:
            raise PvmError(f"--photos needs photographs and cut-out things, more than {PHOTOS_LEFT_OUT} each")
        return pictures[:-PHOTOS_LEFT_OUT] if self.known else pictures[-PHOTOS_LEFT_OUT:]

    def _draw(self, rng: Rng) -> tuple[Painter, bool]:
        """Return what paints a thing, and whether it may be mirrored."""

        def one_of(pictures: Sequence[np.ndarray]) -> np.ndarray:
            return pictures[int(rng.integers(len(pictures)))]

        kind = rng.random() * (1 if self.known else PHOTOGRAPHED)
        if kind < CUT_OUT:
            picture = one_of(self._cut_out)
            return lambda g, size: cutout(g, picture, size), True
        if kind < PHOTOGRAPHED:
            photo = one_of(self._places)
            return lambda g, size: piece(g, photo, size), True
        for most, painter, mirrors in PAINTED:
            if kind < most:
                return painter, mirrors
        return LOOK_ALIKES[int(rng.integers(len(LOOK_ALIKES)))][0], True

    def gather(self, first: int, count: int) -> dict[str, np.ndarray]:
        """Return what is read of so many things.

        "read" (cells, D), "box" (cells, 4), "thing" and "scene" (cells,) of cells on things; "without"
        (cells, D) of others.

        Parameters
        ----------
        first, count
            The things' numbers: which ones.
        """
        found: dict[str, list] = {k: [] for k in ("read", "box", "thing", "scene", "without")}
        for thing in range(first, first + count):
            rng = np.random.default_rng((4242, self.known, thing))
            painter, mirrors = self._draw(rng)
            kind = one_thing(painter, int(rng.integers(2**31)), varies=True, mirrors=mirrors)
            for scene in range(SCENES):
                rows = self._see(np.random.default_rng((777, self.known, thing, scene)), kind)
                if rows is not None:
                    read, box, without = rows
                    found["read"].append(read)
                    found["box"].append(box)
                    found["thing"].append(np.full(len(read), thing))
                    found["scene"].append(np.full(len(read), scene))
                    found["without"].append(without)
        return {name: np.concatenate(parts) for name, parts in found.items()}

    def _see(self, rng: Rng, kind: type) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Return what cells on a thing read, their boxes, and what others read; None: it is out of view."""
        some = [
            pictures[int(k)]
            for pictures, n in ((self._places, 3), (self._cut_out, 4))
            for k in rng.integers(len(pictures), size=n)
        ]
        scene = kind(
            rng, 6, self._size, some, supersample=1, cast=("thing",), calm=0.5, sizes=SIZES, hardest=0.3
        )
        self.network.reset()
        for k in (2, 3):
            image, truth = scene.render(k)
            self.network.step(np.ascontiguousarray(image[None]), foresee=False)
        rows = [r for r in truth if r[Truth.TARGET] >= 0 and r[Truth.VISIBLE] > 0.5]
        if not rows:
            return None
        box = rows[0][Truth.BOX].astype(float)
        heat = self._cells.truth(np.array([[[0, *box, 1, 1]]], np.float32)).heat.reshape(-1)
        on = np.argsort(-heat)[:CELLS]
        on = on[heat[on] > 0.3]
        off = rng.permutation(np.flatnonzero(~around(self._cells, box)))[:WITHOUT]
        read = self._reader.around(self.network, image).astype(np.float16)
        return read[on], box_answers(self._cells, box)[on], read[off]


def gathered(things: Things, count: int, work: Path) -> dict[str, np.ndarray]:
    """Return what is read of things, as `Things.gather` does.

    Parameters
    ----------
    things
        Draws them.
    count
        How many.
    work
        Folder for what is gathered; what lies there is not gathered again.
    """
    parts = []
    for first in trange(0, count, CHUNK, unit=f"{CHUNK} things", disable=None):
        path = work / f"{'known' if things.known else 'left_out'}_{first}.npz"
        if not path.is_file():
            part = path.with_suffix(".part.npz")
            np.savez(part, **things.gather(first, min(CHUNK, count - first)))
            part.replace(path)
        parts.append(np.load(path))
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0].files}


def standardised(seen: dict[str, np.ndarray], width: int) -> Descriptor:
    """Return an untaught descriptor that listens to each value in its own spread.

    Parameters
    ----------
    seen
        As `gathered` returns it.
    width
        D.
    """
    mean = seen["without"].mean(axis=0, dtype=np.float64)
    spread = seen["without"].astype(np.float32).std(axis=0) + 1e-3
    drawn = Descriptor.drawn(width, seed=1)
    w1 = (drawn.w1 * 2**0.5 / spread[:, None]).astype(np.float32)
    return Descriptor(w1, (-(mean @ w1)).astype(np.float32), drawn.w2, drawn.b2, drawn.guess, drawn.b_guess)


def learn(seen: dict[str, np.ndarray], width: int, steps: int, rng: Rng) -> Descriptor:
    """Return a descriptor that learnt from what was gathered.

    Parameters
    ----------
    seen, width
        As for `standardised`.
    steps
        How many it learns.
    rng
        Draws things and cells.
    """
    rows: dict[int, dict[int, list[int]]] = {}
    for row, (thing, scene) in enumerate(zip(seen["thing"], seen["scene"], strict=True)):
        rows.setdefault(int(thing), {}).setdefault(int(scene), []).append(row)
    rows = {thing: scenes for thing, scenes in rows.items() if len(scenes) > 1}
    names = np.array(list(rows))
    learner, losses = Contrast(standardised(seen, width)), []
    with tqdm(range(1, steps + 1), unit="step", disable=None) as bar:
        for step in bar:
            things = names[rng.integers(len(names), size=BATCH)]
            pairs = np.array(
                [
                    [rng.choice(rows[thing][k]) for k in rng.choice(list(rows[thing]), 2, replace=False)]
                    for thing in things
                ]
            )
            on = pairs.T.reshape(-1)  # (2 B,)
            off = rng.integers(len(seen["without"]), size=OTHERS)
            read = np.concatenate([seen["read"][on], seen["without"][off]]).astype(np.float32)
            losses.append(learner.learn(read, things, seen["box"][on], rate_at(step, steps, RATE)))
            if step % 500 == 0:
                loss, error = np.mean(losses[-500:], axis=0)
                tqdm.write(f"step {step}: loss {loss:.3f}, error of the boxes' answers {error:.3f}")
    return learner.averaged


def judge(descriptor: Descriptor, seen: dict[str, np.ndarray], rng: Rng, scenes: int) -> float:
    """Return how often a thing is known again, one cell in `1 / ALARM` elsewhere scoring as high.

    Parameters
    ----------
    descriptor
        What describes the cells.
    seen
        As `gathered` returns it, of things that nothing was learnt from.
    rng
        Draws the cells elsewhere.
    scenes
        How many of a thing's scenes are shown; it is sought in the others.
    """

    def describe(read: np.ndarray) -> np.ndarray:
        return descriptor.read(read.astype(np.float32) @ descriptor.w1)[:, VALUES]

    bank = describe(seen["without"][rng.permutation(len(seen["without"]))[: 2 * BANK]])
    bank, check = bank[::2], bank[1::2]
    mean, spread = bank.mean(axis=0), np.cov(bank.T)
    inverse = np.linalg.inv(spread + RIDGE * np.trace(spread) / len(spread) * np.eye(len(spread)))
    found = []
    for thing in np.unique(seen["thing"]):
        rows = np.flatnonzero(seen["thing"] == thing)
        shown = np.isin(seen["scene"][rows], np.unique(seen["scene"][rows])[:scenes])
        if shown.all():
            continue
        weights = inverse @ (describe(seen["read"][rows[shown]]).mean(axis=0) - mean)
        least = np.quantile(check @ weights, 1 - ALARM)
        scores = describe(seen["read"][rows[~shown]]) @ weights
        where = seen["scene"][rows[~shown]]
        found.append(np.mean([scores[where == k].max() > least for k in np.unique(where)]))
    return float(np.mean(found))


def main() -> None:
    """Gather, learn, judge, and write the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shipped = default_model().parent / "descriptor.safetensors"
    parser.add_argument("--photos", type=Path, required=True, help="folder of photographs: make train-data")
    parser.add_argument(
        "--model", type=Path, default=default_model(), help="whose codes are described (default: the shipped)"
    )
    parser.add_argument("--things", type=int, default=20_000, help="to learn from (default: %(default)s)")
    parser.add_argument("--left-out", type=int, default=500, help="to judge by (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=10_000, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of weights and batches (default: %(default)s)")
    parser.add_argument("--work", type=Path, default=Path("build/descriptor"), help="what is gathered")
    parser.add_argument(
        "--output", type=Path, default=shipped, help="file to write (default: the shipped one)"
    )
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    with OneThread():
        known = Things(args.model, args.photos, known=True)
        seen = gathered(known, args.things, args.work)
        unknown = gathered(Things(args.model, args.photos, known=False), args.left_out, args.work)
    descriptor = learn(seen, known.width, args.steps, np.random.default_rng(args.seed))
    save_file(descriptor.tensors(), args.output)
    for name, one in (("drawn", standardised(seen, known.width)), ("learnt", descriptor)):
        rates = [judge(one, unknown, np.random.default_rng(1), scenes) for scenes in (1, 3)]
        print(f"{name}: things left out are known again after 1 scene {rates[0]:.3f}, after 3 {rates[1]:.3f}")


if __name__ == "__main__":
    main()

"""What history and context are worth: the same scenes in steady and in changing light, and thrown balls.

Each scene is rendered twice, with the same place, things and motion: once in even light through a
good lens, once with sweeping shadows, flicker, steps of light, blur and noise. Beside them are the small
thrown balls of `throws.py`, as the first eye sees them. The readouts (no tracker, one look a frame) are
scored running on, with the state reset before each frame that is then looked at twice, and with kinds of
links cut.
Usage: .venv/bin/python benchmarks/context.py [--model FILE] [--scenes N] [--photos DIR] [--output FILE]
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy as np
from generated_sequences import scene_arguments
from throws import sequence as thrown_balls

from pvm_perception.commands.evaluate import write_csv
from pvm_perception.core.config import HierarchyConfig
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.model_file import load_model
from pvm_perception.streams.generated import Clip
from pvm_perception.streams.scenes.light import Camera, Light
from pvm_perception.streams.scenes.photos import load_photos
from pvm_perception.streams.scenes.scene import EVERY_CAST, Scene
from pvm_perception.training.validate import validate
from pvm_perception.types import Box, Truth
from pvm_perception.vision.frame import View, network_input

FRAMES, STREAMS = 24, 16
SEED = 424_242


def conditions(scene: Scene, rng: np.random.Generator, hard: bool) -> None:
    """Give a scene steady or changing light, and a lens to match."""
    size = scene.size
    while True:
        light, camera = Light(rng, *size, float(hard)), Camera(rng, float(hard))
        if not hard:
            light.shadow, light.drift, light.flicker, light.step = None, 0.0, (0.0, 1.0), None
            camera.noise, camera.defocus, camera.enlarge = 0.005, 0.0, 1.0
            break
        if light.shadow is not None and (light.step or light.flicker[0] or camera.noise > 0.03):
            break
    scene.light, scene.camera = light, camera
    scene.shutter = 0.8 if hard else 0.0


def clips(config: HierarchyConfig, count: int, hard: bool) -> list[Clip]:
    """Render scenes."""
    result = []
    for n in range(count):
        cast = EVERY_CAST[n % len(EVERY_CAST)]
        scene = Scene(
            np.random.default_rng((SEED, n)),
            FRAMES,
            (config.height, config.width),
            None,
            cast=cast,
            calm=0.5,
            sizes=(0.08, 0.5),
            hardest=0.3,
        )
        conditions(scene, np.random.default_rng((SEED, n, 1)), hard)
        parts = zip(*((*scene.render(k), scene.motion(k)) for k in range(FRAMES)), strict=True)
        result.append(Clip(*map(np.stack, parts)))
    return result


def throws(config: HierarchyConfig, count: int, photos: Sequence[np.ndarray] | None) -> list[Clip]:
    """Return thrown balls as the network sees the whole picture."""

    def on_network(box: Box, view: View) -> Box:
        x, y, w, h = map(float, view.to_network(np.array([box.x, box.y, box.w, box.h])))
        return dataclasses.replace(box, x=x, y=y, w=w, h=h)

    result = []
    for n in range(count):
        images, truth = [], []
        for frame, clear in thrown_balls(n, photos, ()):
            view = View.fit(frame.image.shape[:2], (config.height, config.width))
            images.append(network_input(frame.image, view))
            truth.append(Truth.rows([on_network(box, view) for box in clear]))
        result.append(Clip(np.stack(images), np.stack(truth), np.zeros((len(images), 4), np.float32)))
    return result


def cut(config: HierarchyConfig, weights: dict[str, np.ndarray], kinds: set[str]) -> dict[str, np.ndarray]:
    """Return the weights with those of some kinds of links set to zero."""
    weights = {k: w.copy() for k, w in weights.items()}
    for encoder in Hierarchy(config, 1, np, weights).encoders:
        for link, part in encoder.inputs.context:
            if link.kind in kinds:
                weights[f"{encoder.layer.name}.w1"][part.rows] = 0
    if "memory" in kinds and "readout.recall" in weights:
        weights["readout.recall"][...] = 0
    return weights


def main() -> None:
    """Score every variant on both sets; print the table and write it."""
    parser = scene_arguments(__doc__, 128)
    parser.add_argument(
        "--output", type=Path, default=Path("build/context.csv"), help="table to write (default: %(default)s)"
    )
    args = parser.parse_args()
    config, weights, _ = load_model(args.model[0])
    photos = load_photos(args.photos) if args.photos else None
    sets = {
        "steady": clips(config, args.scenes, False),
        "changing": clips(config, args.scenes, True),
        "thrown": throws(config, args.scenes, photos),
    }
    context = {"lateral", "feedback", "global"}
    variants = {
        "running on": (set(), False),
        "reset, look twice": (set(), True),
        "memory of the readout cut": ({"memory"}, False),
        "lateral cut": ({"lateral"}, False),
        "feedback cut": ({"feedback"}, False),
        "global cut": ({"global"}, False),
        "all context cut": (context | {"memory"}, False),
    }
    rows = []
    for name, (kinds, reset) in variants.items():
        row: dict[str, str] = {"variant": name}
        for light, scenes in sets.items():
            network = Hierarchy(config, min(STREAMS, args.scenes), np, cut(config, weights, kinds))
            result = validate(network, scenes, 1 + reset, reset_each_frame=reset)
            row |= {
                f"{light}_{k}": f"{v:.3f}" for k, v in result.row().items() if not k.startswith("prediction")
            }
        rows.append(row)
        print(" ".join(f"{k}={v}" for k, v in row.items()), flush=True)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_csv(args.output, rows)


if __name__ == "__main__":
    main()

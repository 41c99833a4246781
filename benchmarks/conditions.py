"""The labelled sequences once more, as a worse day would show them: dark, foggy, blurred, in moving shadows.

Each condition makes of every frame what the same camera might have seen; nothing of it is learnt from. All
methods see the same frames: ours, and such peers (`make peers`) as are installed. Trackers that are given the
first true box are measured on the sequences that have the target. Success AUC is the mean over sequences;
false boxes are of all frames.
Usage: .venv/bin/python benchmarks/conditions.py --data DIR [--model FILE] [--peers NAME ...] [--output FILE]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import cv2
import numpy as np
from tqdm import tqdm

from pvm_perception import Tracker
from pvm_perception.commands.evaluate import OURS, write_csv
from pvm_perception.errors import writing
from pvm_perception.evaluation.evaluate import Result, evaluate_sequence, sequences, summary
from pvm_perception.evaluation.peers import PEERS, run_peer
from pvm_perception.streams.files import FolderStream
from pvm_perception.vision.veil import GAMMA

Condition = Callable[[np.ndarray, int], np.ndarray]  # of a frame (H, W, 3) uint8 and its number
QUALITY = 92  # of the JPEG files that methods see
MEASURES = ("auc", "presence_f1", "false_boxes")


def _light(image: np.ndarray) -> np.ndarray:
    """Return linear light, (H, W, 3) float32, 0..1: what lenses blur and what is added up."""
    return (image.astype(np.float32) / 255) ** GAMMA


def _picture(light: np.ndarray) -> np.ndarray:
    """Return the picture (H, W, 3) uint8 of linear light."""
    return np.clip(255 * np.clip(light, 0, 1) ** (1 / GAMMA) + 0.5, 0, 255).astype(np.uint8)


def _noisy(light: np.ndarray, k: int, photons: float) -> np.ndarray:
    """Return light as a sensor counts it that catches so many photons where all is white."""
    rng = np.random.default_rng((11, k))
    noise = rng.standard_normal(light.shape, np.float32)
    return light + noise * np.sqrt(np.maximum(light, 0) / photons + (3 / photons) ** 2)


def dusk(image: np.ndarray, k: int) -> np.ndarray:
    """Four stops less light, and the noise of a sensor that makes up for two of them."""
    return _picture(4 * _noisy(_light(image) / 16, k, 2000))


def noise(image: np.ndarray, k: int) -> np.ndarray:
    """As bright as before, by gain: a sensor that catches few photons."""
    return _picture(_noisy(_light(image), k, 150))


def changing_light(image: np.ndarray, k: int) -> np.ndarray:
    """Light that falls to a fifth and comes back, once in 24 frames."""
    return _picture(_light(image) * 5 ** (0.5 * np.cos(2 * np.pi * k / 24) - 0.5))


@cache
def _leaves() -> np.ndarray:
    """Return soft noise (256, 256) float32, above 0 where leaves are; it comes round again without a seam."""
    tiles = np.tile(np.random.default_rng(5).standard_normal((256, 256), np.float32), (3, 3))
    return cv2.GaussianBlur(tiles, (0, 0), 12)[256:512, 256:512]


def leaf_shadow(image: np.ndarray, k: int) -> np.ndarray:
    """A tree's shadow that moves over the picture by a hundredth of its width each frame."""
    height, width = image.shape[:2]
    cast = np.roll(_leaves(), round(2.56 * k), 1)
    cast = cv2.resize(cast, (width, height), interpolation=cv2.INTER_LINEAR)
    shade = 1 / (1 + np.exp(-cast / cast.std() * 6))  # mostly in it or out of it, with soft edges
    return _picture(_light(image) * (1 - 0.85 * shade[..., None]))


def fog(image: np.ndarray, _k: int) -> np.ndarray:
    """A quarter of the light comes through a bright veil."""
    return _picture(0.25 * _light(image) + 0.4)


def backlight(image: np.ndarray, _k: int) -> np.ndarray:
    """A low sun above the picture: a veil from the top, and all that faces the camera darker."""
    height, width = image.shape[:2]
    y, x = np.mgrid[0 : 1 : height * 1j, -0.5 : 0.5 : width * 1j].astype(np.float32)
    veil = np.exp(-(x * x + y * y) / 0.18)[..., None]
    return _picture(0.3 * _light(image) + 0.7 * veil)


def defocus(image: np.ndarray, _k: int) -> np.ndarray:
    """A lens out of focus: a disc of a fortieth of the width."""
    side = max(image.shape[1] // 40, 3) | 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)).astype(np.float32)
    return _picture(cv2.filter2D(_light(image), -1, disc / disc.sum(), borderType=cv2.BORDER_REPLICATE))


def shaken(image: np.ndarray, k: int) -> np.ndarray:
    """A camera that shakes while the shutter is open: streaks of a thirtieth of the width, each its way."""
    side = max(image.shape[1] // 30, 3) | 1
    angle = np.random.default_rng((13, k)).uniform(0, np.pi)
    streak, half = np.zeros((side, side), np.float32), side // 2
    off = (round(half * np.cos(angle)), round(half * np.sin(angle)))
    cv2.line(streak, (half - off[0], half - off[1]), (half + off[0], half + off[1]), 1, 1, cv2.LINE_AA)
    return _picture(cv2.filter2D(_light(image), -1, streak / streak.sum(), borderType=cv2.BORDER_REPLICATE))


def bad_link(image: np.ndarray, _k: int) -> np.ndarray:
    """Half of the pixels each way, at a JPEG quality of 15: what a weak radio link lets through."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    packed = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 15])[1]
    came = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR))
    return cv2.resize(came, (width, height), interpolation=cv2.INTER_LINEAR)


CONDITIONS: dict[str, Condition] = {
    "as it was": lambda image, _k: image,
    "dusk": dusk,
    "noise": noise,
    "changing light": changing_light,
    "leaves' shadow": leaf_shadow,
    "fog": fog,
    "backlight": backlight,
    "defocus": defocus,
    "shaken": shaken,
    "bad link": bad_link,
}


def shown(folder: Path, condition: Condition, to: Path) -> Path:
    """Write a sequence as a condition shows it, with its labels; return its folder."""
    to = to / folder.name
    with writing(to):
        to.mkdir(parents=True)
        (to / "groundtruth.csv").write_bytes((folder / "groundtruth.csv").read_bytes())
        for k, frame in enumerate(FolderStream(folder)):
            path = to / Path(frame.name).with_suffix(".jpg").name
            cv2.imwrite(str(path), condition(frame.image, k), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            if path.name != frame.name:
                path.rename(to / frame.name)
    return to


def marks(method: str, results: list[Result]) -> dict[str, dict[str, str]]:
    """Return a method's measures by target, as the table's columns."""
    return {
        target: {f"{name}_{method}": f"{mean[name]:.4f}" for name in MEASURES}
        for target, mean in summary(results).items()
    }


def row(condition: str, target: str, found: list[dict[str, dict[str, str]]]) -> dict[str, Any]:
    """Return the table's row of a condition and a target, with what each method found."""
    columns = {name: value for of in found for name, value in of.get(target, {}).items()}
    return {"condition": condition, "target": target} | columns


def main() -> None:
    """Show all sequences in all conditions to all methods; print the table and write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of labelled sequences")
    parser.add_argument("--model", type=Path, help="model file (default: the shipped one)")
    parser.add_argument(
        "--peers",
        nargs="*",
        choices=[name for name, peer in PEERS.items() if peer.installed],
        default=["HSV + Kalman"],
        help="peers to compare with, of those installed (default: %(default)s)",
    )
    parser.add_argument(
        "--conditions", nargs="+", choices=CONDITIONS, default=list(CONDITIONS), help="which (default: all)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("build/conditions.csv"),
        help="table to write (default: %(default)s)",
    )
    args = parser.parse_args()
    cv2.setNumThreads(1)
    folders, rows = sequences(args.data), []
    args.output.parent.mkdir(parents=True, exist_ok=True)
    for name in tqdm(args.conditions, unit="condition", disable=None):
        with tempfile.TemporaryDirectory() as folder:
            seen = [shown(f, CONDITIONS[name], Path(folder)) for f in folders]
            ours = [r for f in seen for r in evaluate_sequence(f, lambda: Tracker(model=args.model))]
            targets = tuple(dict.fromkeys(r.target for r in ours))
            found = [marks(OURS, ours)]
            for peer in args.peers:
                found.append(marks(peer, [r for f in seen for r in run_peer(PEERS[peer], f, targets)]))
        rows += [row(name, target, found) for target in targets]
        write_csv(args.output, rows)
        for some in rows[-len(targets) :]:
            print(" ".join(f"{k}={v}" for k, v in some.items()), flush=True)


if __name__ == "__main__":
    main()

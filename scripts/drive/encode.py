"""Make the clip of the rendered frames, and its truth (run by `make drive`, with bpy).

    python scripts/drive/encode.py --frames build/drive --output clips/drive.webm

The clip is VP9 in WebM; the truth, `drive.groundtruth.csv` beside it, names each frame by its number in
the clip and gives the day as `scene`.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).parent))

from days import DAYS
from render import FPS, SIZE

TARGETS = ("green_ball", "stop_sign")
COLUMNS = ("frame", "target", "x", "y", "w", "h", "visible_fraction", "weight", "scene")


def encode(pictures: list[Path], output: Path) -> None:
    """Write pictures as a film.

    Parameters
    ----------
    pictures
        Its frames in order, all of one size.
    output
        The file, `.webm`.
    """
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    size = bpy.data.images.load(str(pictures[0])).size
    scene.render.resolution_x, scene.render.resolution_y = size
    scene.render.fps, scene.frame_start, scene.frame_end = FPS, 1, len(pictures)
    scene.view_settings.view_transform = "Standard"
    with tempfile.TemporaryDirectory() as folder:
        for number, picture in enumerate(pictures):
            shutil.copy(picture, Path(folder) / f"{number:05d}.png")
        strips = scene.sequence_editor_create().strips
        first = str(Path(folder) / "00000.png")
        strip = strips.new_image("frames", first, channel=1, frame_start=1, fit_method="ORIGINAL")
        for number in range(1, len(pictures)):
            strip.elements.append(f"{number:05d}.png")
        scene.render.image_settings.media_type = "VIDEO"
        film = scene.render.ffmpeg
        film.format, film.codec, film.constant_rate_factor = "WEBM", "WEBM", "LOWEST"
        film.ffmpeg_preset, film.gopsize, film.audio_codec = "GOOD", 2 * FPS, "NONE"
        scene.render.filepath = str(output.absolute())
        scene.render.use_file_extension = False
        bpy.ops.render.render(animation=True)


def main() -> int:
    """Write clip and truth of the frames that are there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=Path, default=Path("build/drive"), help="folder of the frames")
    parser.add_argument("--output", type=Path, default=Path("clips/drive.webm"), help="the clip")
    parser.add_argument("--truth-only", action="store_true", help="write the truth, encode nothing")
    args = parser.parse_args()
    pictures: list[Path] = []
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with args.output.with_suffix(".groundtruth.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for day in DAYS:
            folder = args.frames / day.name
            found = sorted(p for p in folder.glob("*.png") if p.stem.isdecimal())
            if args.truth_only:
                found = [folder / f"{k:04d}.png" for k in range(round(day.seconds * FPS))]
            if not found:
                continue
            width = SIZE[0] if args.truth_only else bpy.data.images.load(str(found[0])).size[0]
            truth = _read(folder / "truth.csv", width / SIZE[0])
            for picture in found:
                boxes = truth[int(picture.stem)]
                for target in TARGETS:
                    mine = [b for b in boxes if b[0] == target] or [(target, *[""] * 6)]
                    table.writerows([len(pictures), *box, day.name] for box in mine)
                pictures.append(picture)
    if not pictures:
        print(f"drive: no frames in {args.frames}; run render.py first", file=sys.stderr)
        return 2
    if args.truth_only:
        return 0
    encode(pictures, args.output)
    print(f"drive: {args.output}: {len(pictures)} frames, {args.output.stat().st_size / 1e6:.1f} MB")
    return 0


def _read(path: Path, scale: float) -> dict[int, list[tuple]]:
    """Return the boxes of each frame, in pixels of pictures `scale` times as large as the table's."""
    table = defaultdict(list)
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            numbers = (f"{scale * float(row[c]):.2f}" for c in "xywh")
            table[int(row["frame"])].append((row["target"], *numbers, row["visible_fraction"], row["weight"]))
    return table


if __name__ == "__main__":
    sys.exit(main())

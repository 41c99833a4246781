"""Render the demo's clip: a robot drives along a street on five days (run by `make drive`, with bpy).

    python scripts/drive/render.py --output build/drive

Each frame is a picture in `OUTPUT/DAY/`, beside it a table of its targets; frames that are there already are
kept, so that a run that was ended goes on. `encode.py` makes the clip and its truth of them.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
import time
from pathlib import Path

import bpy
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from days import DAYS, Day
from light import illuminate
from materials import rubber
from motion import RADIUS, roll
from shapes import ball, place
from street import build
from truth import Screen, boxes

FPS, SIZE, VIEW = 12, (640, 480), 60.0  # frames a second; pixels; degrees across
SHUTTER = 0.28  # share of a frame's time
GREEN, LINE = (0.025, 0.30, 0.035), (0.012, 0.16, 0.018)  # of the ball and the lines on it
SUBFRAMES = 4  # keys a frame for what moves fast


def compose(day: Day, seed: int = 3) -> tuple[bpy.types.Object, dict[str, list]]:
    """Build a day's scene; return the camera, and each target's things.

    Parameters
    ----------
    day
        Which.
    seed
        Fixes the street; the same on all days.
    """
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.world = bpy.data.worlds.new("sky")
    rng = np.random.default_rng(seed)
    wood, signs = build(rng, day.wet, day.night)
    camera = place("camera", bpy.data.cameras.new("camera"))
    camera.data.angle_x, camera.data.clip_start = math.radians(VIEW), 0.05
    scene.camera = camera
    green = ball("green_ball", RADIUS, rubber("green rubber", GREEN, LINE))
    frames = round(day.seconds * FPS)
    _animate(day, frames, camera, green, wood.crowns, rng)
    illuminate(day, camera)
    return camera, {"green_ball": [green], "stop_sign": [parts[0] for parts in signs]}


def _animate(day: Day, frames: int, camera, green, crowns, rng: np.random.Generator) -> None:
    """Give camera, ball and crowns their movement, from a frame before the first to one after the last."""
    keys = [k / SUBFRAMES for k in range(-SUBFRAMES, (frames + 1) * SUBFRAMES)]
    times = [max(0.0, (k + 1) / FPS) for k in keys]
    green.rotation_mode = "QUATERNION"
    poses = day.route.poses(times, rng)
    for key, (at, angles), (middle, turn) in zip(keys, poses, roll(day.legs, times), strict=True):
        camera.location, camera.rotation_euler = at, angles
        green.location, green.rotation_quaternion = middle, turn
        for thing, kinds in (
            (camera, ("location", "rotation_euler")),
            (green, ("location", "rotation_quaternion")),
        ):
            for kind in kinds:
                thing.keyframe_insert(kind, frame=key)
    for crown in crowns:
        phase, still = rng.uniform(0, 6.28, 2), crown.rotation_euler.copy()
        for key in range(-1, frames + 2):
            sway = [
                math.sin(2 * math.pi * f * key / FPS + p) for f, p in zip((0.45, 0.8), phase, strict=True)
            ]
            crown.rotation_euler = (
                math.radians(day.wind) * 0.6 * sway[0],
                math.radians(day.wind) * 0.45 * sway[1],
                still.z + math.radians(day.wind) * 0.5 * sway[1],
            )
            crown.keyframe_insert("rotation_euler", frame=key)


def settle(samples: int, threads: int) -> None:
    """Set the renderer up.

    Parameters
    ----------
    samples
        Paths for each pixel, before the noise is removed.
    threads
        Number of threads; 0 takes all cores.
    """
    scene = bpy.context.scene
    render, cycles = scene.render, scene.cycles
    render.engine, render.use_persistent_data = "CYCLES", True
    render.resolution_x, render.resolution_y = SIZE
    render.fps = FPS
    render.use_motion_blur, render.motion_blur_shutter = True, SHUTTER
    render.image_settings.file_format, render.image_settings.compression = "PNG", 40
    render.threads_mode, render.threads = ("FIXED", threads) if threads else ("AUTO", 1)
    cycles.device, cycles.samples, cycles.use_adaptive_sampling = "CPU", samples, True
    cycles.adaptive_threshold, cycles.adaptive_min_samples = 0.1, 4
    cycles.use_denoising, cycles.denoiser = True, "OPENIMAGEDENOISE"
    cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 3, 2, 2
    cycles.transmission_bounces, cycles.transparent_max_bounces = 1, 2
    cycles.use_fast_gi, cycles.fast_gi_method, cycles.ao_bounces_render = True, "REPLACE", 1
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.sample_clamp_indirect, cycles.blur_glossy = 4.0, 0.5


def main() -> int:
    """Render what is missing; write each day's table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("build/drive"), help="folder of the frames")
    parser.add_argument("--days", nargs="*", default=[d.name for d in DAYS], help="which days")
    parser.add_argument("--samples", type=int, default=8, help="paths for each pixel")
    parser.add_argument("--threads", type=int, default=0, help="threads; 0 takes all cores")
    parser.add_argument("--frames", type=int, nargs="*", help="only these frames of each day")
    parser.add_argument("--percent", type=int, default=100, help="size of the frames, for a quick look")
    parser.add_argument("--truth-only", action="store_true", help="write the tables, render nothing")
    args = parser.parse_args()
    for day in (d for d in DAYS if d.name in args.days):
        folder = args.output / day.name
        folder.mkdir(parents=True, exist_ok=True)
        camera, targets = compose(day)
        settle(args.samples, args.threads)
        bpy.context.scene.render.resolution_percentage = args.percent
        frames = range(round(day.seconds * FPS)) if args.frames is None else args.frames
        if args.frames is None or args.truth_only:
            _write_truth(folder / "truth.csv", frames, camera, targets)
        for frame in frames if not args.truth_only else ():
            path = folder / f"{frame:04d}.png"
            if path.exists():
                continue
            begun, worked = time.monotonic(), time.process_time()
            bpy.context.scene.frame_set(frame)
            bpy.context.scene.render.filepath = str(path.with_suffix(".part.png"))
            bpy.ops.render.render(write_still=True)
            path.with_suffix(".part.png").replace(path)
            spent, work = time.monotonic() - begun, time.process_time() - worked
            print(
                f"drive: {day.name} {frame} of {len(frames)}: {spent:.1f} s, {work:.1f} s of processor",
                flush=True,
            )
    return 0


def _write_truth(path: Path, frames, camera, targets) -> None:
    bpy.context.scene.frame_set(0)
    screen = Screen(bpy.context.evaluated_depsgraph_get(), [t for things in targets.values() for t in things])
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["frame", "target", "x", "y", "w", "h", "visible_fraction", "weight"])
        for frame in frames:
            for target, *numbers in boxes(frame, SHUTTER, camera, targets, screen, SIZE):
                table.writerow([frame, target, *(f"{n:.2f}" for n in numbers)])


if __name__ == "__main__":
    sys.exit(main())

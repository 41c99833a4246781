"""An evaluation as pictures: success curves, best and worst frames, contact sheets of all methods."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from pvm_perception.errors import writing
from pvm_perception.evaluation import metrics
from pvm_perception.evaluation.evaluate import Result, Shot, pooled_scores
from pvm_perception.streams.files import FolderStream
from pvm_perception.types import Frame
from pvm_perception.vision.compressed_image import write_image
from pvm_perception.vision.draw import WHITE, colour_of, draw_box, write

SHOWN = 3  # best and worst frames per sequence
SPREAD, WORST = 5, 2  # frames of a contact sheet: evenly spread; of the rest, the worst of each half
THUMB = (240, 180)  # px
MARGIN, HEAD = 150, 20  # px; of a contact sheet, for the methods' names and the frames'
BACKGROUND = 32  # grey

Colour = tuple[int, int, int]  # BGR


def draw_report(results: Iterable[Result], folders: dict[str, Path], path: Path) -> None:
    """Write curves and a contact sheet as one PNG.

    Parameters
    ----------
    results
        From `evaluate_sequence`.
    folders
        Where each sequence lies, by name.
    path
        The PNG to write.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    everything = list(results)
    results = [r for r in everything if any(s.present for s in r.shots)]
    if not results:
        return
    count = len(results)
    figure = plt.figure(figsize=(15, 5 + 2.0 * count), layout="constrained")
    grid = figure.add_gridspec(count + 1, 2 * SHOWN, height_ratios=[2.4] + [1] * count)
    curves, presence, trust = (figure.add_subplot(grid[0, k : k + 2]) for k in (0, 2, 4))
    for r in results:
        ious = np.array([s.iou for s in r.shots if s.present])
        name = f"{r.sequence}: {r.target}"
        curves.plot(
            metrics.STEPS, metrics.success_curve(ious), label=f"{name} {metrics.success_auc(ious):.2f}"
        )
        presence.plot([max(s.score, 0) for s in r.shots], label=name, lw=0.8)
    curves.set(xlabel="overlap threshold", ylabel="share of frames", title="success (AUC)")
    presence.set(xlabel="frame", ylabel="score of the best box", ylim=(0, 1), title="score")
    trust.plot([0, 1], [0, 1], "k:", lw=0.8)
    for target in dict.fromkeys(r.target for r in everything):
        score, hit, count = metrics.reliability(*pooled_scores(everything, target)).T
        trust.plot(score, hit, ".-", label=f"{target}, {int(count.sum())} boxes")
    trust.set(
        xlabel="score",
        ylabel="share with overlap 0.5 and more",
        title="reliability of all boxes",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    for axis in (curves, presence, trust):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    for i, r in enumerate(results):
        order = sorted((s for s in r.shots if s.present), key=lambda s: s.iou)
        chosen = [*order[::-1][:SHOWN], *order[:SHOWN]]
        frames = frames_of(folders[r.sequence], {s.frame for s in chosen})
        shots = _by_frame(o for o in everything if o.sequence == r.sequence)
        for k, s in enumerate(chosen):
            axis = figure.add_subplot(grid[i + 1, k])
            marks = [(shot, colour_of(target)) for target, shot in shots[s.frame]]
            axis.imshow(_thumb(frames[s.frame], marks)[..., ::-1])
            axis.set_title(
                f"{r.sequence} {s.frame}\n{r.target}, {'best' if k < SHOWN else 'worst'}: IoU {s.iou:.2f}",
                fontsize=7,
            )
            axis.axis("off")
    with writing(path):
        figure.savefig(path, dpi=80)
    plt.close(figure)


def draw_peers(methods: dict[str, list[Result]], path: Path) -> None:
    """Write success curves of all methods as one PNG: for each target the mean over sequences.

    Parameters
    ----------
    methods
        Results by the method's name; the first is drawn thick.
    path
        The PNG to write.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    targets = list(
        dict.fromkeys(
            r.target for results in methods.values() for r in results if any(s.present for s in r.shots)
        )
    )
    if not targets:
        return
    figure, axes = plt.subplots(
        1, len(targets), figsize=(8.5 * len(targets), 5), squeeze=False, layout="constrained"
    )
    for axis, target in zip(axes[0], targets, strict=True):
        for k, (name, results) in enumerate(methods.items()):
            ious = [[s.iou for s in r.shots if s.present] for r in results if r.target == target]
            curves = [metrics.success_curve(np.array(i)) for i in ious if i]
            if curves:
                area = np.mean([metrics.success_auc(np.array(i)) for i in ious if i])
                axis.plot(
                    metrics.STEPS,
                    np.mean(curves, axis=0),
                    color=f"C{k}",
                    lw=1.2 if k else 2.6,
                    label=f"{name} {area:.2f} ({len(curves)} sequences)",
                )
        axis.set(
            xlabel="overlap threshold",
            ylabel="share of frames",
            xlim=(0, 1),
            ylim=(0, 1),
            title=f"{target}: success (AUC)",
        )
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    with writing(path):
        figure.savefig(path, dpi=100)
    plt.close(figure)


def draw_sheet(methods: dict[str, list[Result]], folder: Path, path: Path) -> None:
    """Write a contact sheet of one sequence: methods below each other, frames side by side.

    Evenly spread frames, and those on which the first method is worst; the truth in white, each
    method's best box of each target in its colour, with its overlap.

    Parameters
    ----------
    methods
        Results by the method's name, in the order and so in the colours of `draw_peers`; one that
        did not run on this sequence has no row.
    folder
        Where the sequence lies.
    path
        The picture to write.
    """
    from matplotlib.colors import to_rgb

    colours: dict[str, Colour] = {}
    for k, name in enumerate(methods):
        red, green, blue = (round(255 * v) for v in to_rgb(f"C{k}"))
        colours[name] = blue, green, red
    mine = {name: [r for r in results if r.sequence == folder.name] for name, results in methods.items()}
    mine = {name: results for name, results in mine.items() if results}
    columns = _columns(next(iter(mine.values())))
    frames = frames_of(folder, set(columns))
    head = np.full((HEAD, MARGIN + THUMB[0] * len(columns), 3), BACKGROUND, np.uint8)
    for k, (name, why) in enumerate(columns.items()):
        write(head, name + why, (MARGIN + k * THUMB[0] + 4, HEAD - 6), WHITE)
    rows = [head]
    for name, results in mine.items():
        shots = _by_frame(results)
        rows.append(
            np.hstack(
                [
                    _name(name, results, colours[name]),
                    *(
                        _filled(_thumb(frames[f], [(shot, colours[name]) for _, shot in shots[f]]))
                        for f in columns
                    ),
                ]
            )
        )
    write_image(path, np.vstack(rows))


def _columns(results: list[Result]) -> dict[str, str]:
    """Return the frames of a contact sheet in their order, and what to add to the worst ones' names."""
    names = [s.frame for s in results[0].shots]
    bad = np.max([[1 - s.iou if s.present else max(s.score, 0.0) for s in r.shots] for r in results], axis=0)
    spread = np.linspace(0, len(names) - 1, min(SPREAD, len(names))).round().astype(int)
    bad[spread] = -1.0  # shown anyway
    worst = [
        part[bad[part].argmax()]
        for part in np.array_split(np.arange(len(names)), WORST)
        if len(part) and bad[part].max() >= 0
    ]
    return {names[k]: " (worst)" if k in worst else "" for k in sorted({*spread, *worst})}


def _by_frame(results: Iterable[Result]) -> dict[str, list[tuple[str, Shot]]]:
    """Return by frame each target and what was reported of it."""
    shots: dict[str, list[tuple[str, Shot]]] = {}
    for r in results:
        for s in r.shots:
            shots.setdefault(s.frame, []).append((r.target, s))
    return shots


def frames_of(folder: Path, wanted: set[str]) -> dict[str, Frame]:
    """Return the wanted frames of a sequence by name.

    Parameters
    ----------
    folder
        The sequence.
    wanted
        File names of the frames; others are not read.
    """
    stream = FolderStream(folder)
    stream.paths = [p for p in stream.paths if p.name in wanted]
    return {frame.name: frame for frame in stream}


def _name(name: str, results: list[Result], colour: Colour) -> np.ndarray:
    """Return the margin of a method's row: its name, and its AUC where there is a target."""
    margin = np.full((THUMB[1], MARGIN, 3), BACKGROUND, np.uint8)
    write(margin, name, (8, 24), colour, 0.5)
    for k, r in enumerate(r for r in results if any(s.present for s in r.shots)):
        write(margin, f"{r.target} {r.row()['auc']:.2f}", (8, 48 + 20 * k), WHITE)
    return margin


def _thumb(frame: Frame, marks: Iterable[tuple[Shot, Colour]]) -> np.ndarray:
    """Return a frame, within THUMB, with the truth and boxes; what is missed, in words."""
    height, width = frame.image.shape[:2]
    scale = min(THUMB[0] / width, THUMB[1] / height)
    picture = cv2.resize(
        frame.image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA
    )
    for b in frame.boxes or ():
        draw_box(picture, tuple(scale * v for v in (b.x, b.y, b.w, b.h)), WHITE)
    for shot, colour in marks:
        if shot.box:
            draw_box(
                picture,
                tuple(scale * v for v in shot.box),
                colour,
                f"{shot.iou:.2f}" if shot.present else "false alarm",
            )
        elif shot.present:
            write(picture, "missed", (4, picture.shape[0] - 8), colour)
    return picture


def _filled(picture: np.ndarray) -> np.ndarray:
    """Return a picture filled up to THUMB, so that those of all shapes stand in rows."""
    height, width = picture.shape[:2]
    return cv2.copyMakeBorder(
        picture, 0, THUMB[1] - height, 0, THUMB[0] - width, cv2.BORDER_CONSTANT, value=[BACKGROUND] * 3
    )

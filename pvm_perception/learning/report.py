"""An evaluation as a picture: success curves, and the best and worst frames of each sequence."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from pvm_perception.learning import metrics
from pvm_perception.learning.evaluate import Result, said
from pvm_perception.streams.files import FolderStream
from pvm_perception.vision.draw import draw_tracks

SHOWN = 3  # best and worst frames per sequence
THUMB = (240, 180)  # px


def draw_report(results: Iterable[Result], folders: dict[str, Path], make_tracker: object,
                path: Path) -> None:
    """Write curves and a contact sheet as one PNG.

    Parameters
    ----------
    results
        From `evaluate_sequence`.
    folders
        Where each sequence lies, by name.
    make_tracker
        Returns a new tracker, for the boxes on the frames that are shown.
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
    curves, presence, trust = (figure.add_subplot(grid[0, k:k + 2]) for k in (0, 2, 4))
    for r in results:
        ious = np.array([s.iou for s in r.shots if s.present])
        name = f"{r.sequence}: {r.target}"
        curves.plot(metrics.STEPS, metrics.success_curve(ious),
                    label=f"{name} {metrics.success_auc(ious):.2f}")
        presence.plot([max(s.score, 0) for s in r.shots], label=name, lw=0.8)
    curves.set(xlabel="overlap threshold", ylabel="share of frames", title="success (AUC)")
    presence.set(xlabel="frame", ylabel="score of the best box", ylim=(0, 1), title="score")
    trust.plot([0, 1], [0, 1], "k:", lw=0.8)
    for target in dict.fromkeys(r.target for r in everything):
        score, hit, count = metrics.reliability(*said(everything, target)).T
        trust.plot(score, hit, ".-", label=f"{target}, {int(count.sum())} boxes")
    trust.set(xlabel="score", ylabel="share with overlap 0.5 and more", title="reliability",
              xlim=(0, 1), ylim=(0, 1))
    for axis in (curves, presence, trust):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    for i, r in enumerate(results):
        order = sorted((s for s in r.shots if s.present), key=lambda s: s.iou)
        chosen = [*order[::-1][:SHOWN], *order[:SHOWN]]
        pictures = _pictures(folders[r.sequence], make_tracker, {s.frame for s in chosen})
        for k, s in enumerate(chosen):
            axis = figure.add_subplot(grid[i + 1, k])
            axis.imshow(pictures[s.frame][..., ::-1])
            axis.set_title(f"{'best' if k < SHOWN else 'worst'} {s.frame} IoU {s.iou:.2f}",
                           fontsize=7)
            axis.axis("off")
    figure.savefig(path, dpi=80)
    plt.close(figure)


def draw_peers(methods: dict[str, list[Result]], path: Path) -> None:
    """Write success curves of all methods as one PNG: for each target the mean over sequences.

    Parameters
    ----------
    methods
        Results by the method's name; the first is drawn thick.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    targets = list(dict.fromkeys(r.target for results in methods.values() for r in results
                                 if any(s.present for s in r.shots)))
    if not targets:
        return
    figure, axes = plt.subplots(1, len(targets), figsize=(8.5 * len(targets), 5), squeeze=False,
                                layout="constrained")
    for axis, target in zip(axes[0], targets, strict=True):
        for k, (name, results) in enumerate(methods.items()):
            ious = [[s.iou for s in r.shots if s.present] for r in results if r.target == target]
            curves = [metrics.success_curve(np.array(i)) for i in ious if i]
            if curves:
                area = np.mean([metrics.success_auc(np.array(i)) for i in ious if i])
                axis.plot(metrics.STEPS, np.mean(curves, axis=0), lw=1.2 if k else 2.6,
                          label=f"{name} {area:.2f} ({len(curves)} sequences)")
        axis.set(xlabel="overlap threshold", ylabel="share of frames", xlim=(0, 1), ylim=(0, 1),
                 title=f"{target}: success (AUC)")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(path, dpi=100)
    plt.close(figure)


def _pictures(folder: Path, make_tracker: object, wanted: set[str]) -> dict[str, np.ndarray]:
    """Track the sequence again and return the wanted frames with boxes, as thumbnails."""
    tracker, found = make_tracker(), {}
    stills = folder.name.endswith("_stills")
    for frame in FolderStream(folder):
        if frame.boxes is None:
            continue
        tracks = tracker.look(frame.image) if stills else tracker.update(frame.image, frame.stamp)
        if frame.name in wanted:
            picture = draw_tracks(frame.image, tracks, frame.boxes)
            scale = min(THUMB[0] / picture.shape[1], THUMB[1] / picture.shape[0])
            found[frame.name] = cv2.resize(picture, None, fx=scale, fy=scale,
                                           interpolation=cv2.INTER_AREA)
    return found

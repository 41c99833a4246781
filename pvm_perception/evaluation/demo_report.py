"""What the demo found, scene by scene, and the page that shows it."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pvm_perception.evaluation.boxes import TOUCH
from pvm_perception.evaluation.metrics import overlap
from pvm_perception.types import Box, Track


@dataclass
class Tally:
    """Counts of some frames whose truth is known."""

    frames: int = 0
    wanted: int = 0  # targets in view, one for each target of a frame
    found: int = 0  # those with a box of their target
    wrong: int = 0  # frames with a box that touches no target
    overlaps: list[float] = field(default_factory=list)  # of the found: with the best of their boxes

    def add(self, tracks: Sequence[Track], truth: Sequence[Box]) -> None:
        """Count a frame; a box is wrong, on whatever frame, as `evaluate` counts it.

        A label of weight 0, as of what is hardly in view, need not be found; what touches it is not wrong.

        Parameters
        ----------
        tracks
            Reported of the frame.
        truth
            Its true boxes, pixels.
        """
        self.frames += 1
        sure = [b for b in truth if b.weight > 0]
        for target in {b.target for b in sure}:
            self.wanted += 1
            best = [_overlap(t, b) for t in tracks for b in sure if t.target == b.target == target]
            self.found += bool(best)
            self.overlaps += [max(best)] if best else []
        self.wrong += any(
            max((_overlap(t, b) for b in truth if t.target == b.target), default=0.0) < TOUCH for t in tracks
        )

    @property
    def mean_iou(self) -> float:
        """Mean overlap of the found; NaN where none was."""
        return sum(self.overlaps) / len(self.overlaps) if self.overlaps else float("nan")

    def words(self) -> str:
        """Return the counts as one line."""
        if not self.wanted:
            return f"no target; false boxes on {self.wrong} of {self.frames} frames"
        share = 100 * self.found / self.wanted
        return (
            f"boxes on {share:.0f} % of {self.wanted} targets in view, mean IoU {self.mean_iou:.2f}; "
            f"false boxes on {self.wrong} of {self.frames} frames"
        )


def _overlap(a: Track | Box, b: Track | Box) -> float:
    return float(overlap(*(np.array([box.x, box.y, box.w, box.h]) for box in (a, b))))


PAGE = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>pvm_perception: demo</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
video {{ width: 100%; background: #000 }} td, th {{ text-align: left; padding: .2rem 1rem .2rem 0 }}
code {{ background: #eee; padding: .1rem .3rem }}
</style>
<h1>What the camera saw, what the tracker said</h1>
<p>Boxes carry target, track and score; the truth, where it is known, is white.</p>
<video src="{video}" controls autoplay muted loop></video>
<h2>Figures</h2>
<p><code>{line}</code></p>
<p>Latency: from the camera's stamp to the receiver, over DDS, in milliseconds.</p>
<table><tr><th>scene</th><th>result</th></tr>
{rows}
</table>
<h2>Next</h2>
<ul>
<li>Your own pictures: <code>make demo INPUT=clip.mp4</code>, a folder of images, or
<code>INPUT=/dev/video0</code></li>
<li>What the network sees and expects: <code>make watch</code></li>
<li>A simulated robot that follows a ball: <code>make sim</code></li>
<li>On your robot: docs/install.md, then docs/first_robot.md</li>
<li>It misses your ball: docs/teach_your_ball.md</li>
</ul>
</html>
"""


def page(path: Path, video: str, line: str, scenes: Sequence[tuple[str, Tally]]) -> None:
    """Write the page that shows the video and the figures.

    Parameters
    ----------
    path
        The file.
    video
        The video's name, in the same folder.
    line
        The demo's last line.
    scenes
        Each scene's name and what was found there.
    """
    rows = "\n".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(t.words())}</td></tr>" for name, t in scenes
    )
    path.write_text(PAGE.format(video=video, line=html.escape(line), rows=rows), encoding="utf-8")

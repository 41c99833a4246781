"""A page about the last moments of a running tracker, made beside it."""

from __future__ import annotations

import html
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pvm_perception.api import Tracker
from pvm_perception.atomic_file import atomic_file
from pvm_perception.core.model_file import save_model
from pvm_perception.explanation.facts import Snapshot, gather
from pvm_perception.explanation.page import page
from pvm_perception.types import Frame
from pvm_perception.vision.recent import Moment
from pvm_perception.vision.tracker_settings import TrackerSettings

MOST_FRAMES = 40  # moments that are run again, the newest


def explain_moments(
    path: Path,
    moments: Sequence[Moment],
    model: Snapshot,
    device: str,
    settings: TrackerSettings,
    targets: Sequence[str],
) -> None:
    """Write a page about the newest of some moments, each target under the other.

    The moments are run again through a tracker of their own, from a fresh state: what was reported then
    stands in the page's last line.

    Parameters
    ----------
    path
        Page to write.
    moments
        Oldest first, at least one.
    model, device, settings, targets
        Of the tracker that ran.

    Raises
    ------
    PvmError
        The page cannot be written.
    """
    last = moments[-1]
    frames = [Frame(m.image, f"{m.stamp:.3f} s", m.stamp or None) for m in moments[-MOST_FRAMES:]]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.safetensors"
        save_model(file, *model)
        tracker = Tracker(targets, file, device, settings=settings)
        network = tracker.config.height, tracker.config.width
        texts = [page(gather(tracker, frames, target), network) for target in targets]
    then = ", ".join(f"{t.target} {t.id} ({t.score:.2f}, {t.state})" for t in last.tracks) or "nothing"
    reported = f"<p>When the frame came, this was reported: {html.escape(then)}.</p>"
    with atomic_file(path, "page") as part:
        part.write_text(joined(texts, reported), encoding="utf-8")


def joined(pages: Sequence[str], end: str) -> str:
    """Return several pages as one, with a last paragraph.

    Parameters
    ----------
    pages
        HTML, whole pages; at least one.
    end
        HTML of the paragraph.
    """
    head, _, _ = pages[0].partition("<body>")
    bodies = [text.partition("<body>")[2].partition("</body>")[0] for text in pages]
    return f"{head}<body>{'<hr>'.join(bodies)}{end}</body></html>\n"

"""Whether a target keeps its track: HOTA, MOTA and IDF1, as TrackEval computes them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable

import numpy as np

from pvm_perception.evaluation.boxes import FrameBoxes

MEASURES = ("hota", "mota", "idf1", "id_switches")
HOW = "HOTA, MOTA and IDF1 need TrackEval: pip install --no-deps -r requirements/tracks.txt"


def installed() -> bool:
    """Return whether TrackEval can be imported."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it says what else it could do
            import trackeval.metrics  # noqa: F401
    except ImportError:
        return False
    return True


def track_measures(frames: Iterable[FrameBoxes]) -> dict[str, float]:
    """Return how well tracks of one sequence keep to their targets.

    Parameters
    ----------
    frames
        Of one target, in order.

    Returns
    -------
    dict
        `hota` (Luiten et al. 2020), `mota` and `id_switches` (Bernardin & Stiefelhagen 2008), `idf1`
        (Ristani et al. 2016), the last three at overlap 0.5. NaN without TrackEval, where no target is
        labelled, and where two boxes of a frame have the same id, which are no tracks.
    """
    frames = list(frames)
    reported, true = (
        np.unique(np.concatenate([np.zeros(0, int), *parts]))
        for parts in ([f.ids for f in frames], [f.instances for f in frames])
    )
    twice = any(len(set(ids)) < len(ids) for f in frames for ids in (f.ids, f.instances))
    if not len(true) or twice or not installed():
        return dict.fromkeys(MEASURES, float("nan"))
    from trackeval.metrics import CLEAR, HOTA, Identity

    data = {
        "num_timesteps": len(frames),
        "num_gt_ids": len(true),
        "num_tracker_ids": len(reported),
        "num_gt_dets": sum(len(f.truth) for f in frames),
        "num_tracker_dets": sum(len(f.boxes) for f in frames),
        "gt_ids": [np.searchsorted(true, f.instances) for f in frames],
        "tracker_ids": [np.searchsorted(reported, f.ids) for f in frames],
        "similarity_scores": [f.overlaps.T for f in frames],
    }
    quiet = {"PRINT_CONFIG": False}
    clear = CLEAR(quiet).eval_sequence(data)
    return {
        "hota": float(np.mean(HOTA().eval_sequence(data)["HOTA"])),
        "mota": float(clear["MOTA"]),
        "idf1": float(Identity(quiet).eval_sequence(data)["IDF1"]),
        "id_switches": float(clear["IDSW"]),
    }

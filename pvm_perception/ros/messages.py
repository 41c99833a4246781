"""Tracks, labels and model versions as vision_msgs; the time in a header."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from vision_msgs.msg import (
    Detection2D,
    Detection2DArray,
    LabelInfo,
    ObjectHypothesisWithPose,
    VisionClass,
    VisionInfo,
)

from pvm_perception.types import Track

IMAGES = re.compile(r", images of ([1-9]\d{0,5})x([1-9]\d{0,5}) px$")
MOST_LETTERS = 100  # of a text that are looked at


def seconds_of(header: Any) -> float:
    """Return a header's stamp in seconds."""
    return float(header.stamp.sec + header.stamp.nanosec * 1e-9)


def detection_array(tracks: Iterable[Track], header: Any) -> Detection2DArray:
    """Return tracks as a Detection2DArray; boxes in pixels of the image with that header.

    Parameters
    ----------
    tracks
        Boxes in pixels of the image.
    header
        The image's.
    """
    message = Detection2DArray(header=header)
    for track in tracks:
        detection = Detection2D(header=header, id=str(track.id))
        detection.bbox.center.position.x = track.x + track.w / 2
        detection.bbox.center.position.y = track.y + track.h / 2
        detection.bbox.size_x, detection.bbox.size_y = float(track.w), float(track.h)
        result = ObjectHypothesisWithPose()
        result.hypothesis.class_id, result.hypothesis.score = track.target, float(track.score)
        detection.results = [result]
        message.detections.append(detection)
    return message


def tracks_of(message: Detection2DArray) -> list[Track]:
    """Return the tracks that a tracker's message holds: what `detection_array` was given."""
    return [
        Track(
            d.results[0].hypothesis.class_id,
            d.bbox.center.position.x - d.bbox.size_x / 2,
            d.bbox.center.position.y - d.bbox.size_y / 2,
            d.bbox.size_x,
            d.bbox.size_y,
            d.results[0].hypothesis.score,
            int(d.id),
        )
        for d in message.detections
        if d.results
    ]


def score_of(detection: Detection2D, target: str) -> float:
    """Return how sure it is that a detection is a target, 0..1; -1 where nothing says so.

    Parameters
    ----------
    detection
        Of any detector.
    target
        The target's name.
    """
    scores = (r.hypothesis.score for r in detection.results if r.hypothesis.class_id == target)
    return max((score for score in scores if 0 <= score <= 1), default=-1.0)


def vision_info(
    header: Any, network: str, model: str, version: int, size: tuple[int, int] | None
) -> VisionInfo:
    """Return what makes the detections.

    Parameters
    ----------
    header
        Of now.
    network, model
        The network's name and its file.
    version
        Counts the model's changes by learning.
    size
        Rows and columns of the images in whose pixels the boxes are; None before there was one.
    """
    images = "" if size is None else f", images of {size[1]}x{size[0]} px"
    return VisionInfo(
        header=header,
        method=f"future-encoder hierarchy ({network}){images}",
        database_location=model,
        database_version=version % (1 << 31),
    )


def image_size(info: VisionInfo) -> tuple[int, int] | None:
    """Return (width, height) of the images that detections are of, where a VisionInfo says so."""
    found = IMAGES.search(info.method[-MOST_LETTERS:])
    return None if found is None else (int(found[1]), int(found[2]))


def label_info(header: Any, targets: Sequence[str], threshold: float) -> LabelInfo:
    """Return the names that class_id can take, and the score from which a track is born.

    Parameters
    ----------
    header
        Of now.
    targets
        Names that class_id can take.
    threshold
        Score, 0 to 1, from which a track is born.
    """
    return LabelInfo(
        header=header,
        threshold=float(threshold),
        class_map=[VisionClass(class_id=i, class_name=name) for i, name in enumerate(targets)],
    )

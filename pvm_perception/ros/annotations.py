"""Tracks as foxglove_msgs: boxes and names that Foxglove draws over the camera's own picture."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from foxglove_msgs.msg import Color, ImageAnnotations, Point2, PointsAnnotation, TextAnnotation

from pvm_perception.types import Track
from pvm_perception.vision.draw import colour_of


def image_annotations(tracks: Iterable[Track], header: Any, width: int) -> ImageAnnotations:
    """Return each track's box, its target, id and score, in the target's colour.

    Parameters
    ----------
    tracks
        Boxes in pixels of the image with that header.
    header
        The image's: its stamp is how Foxglove finds the picture that the boxes belong to.
    width
        The image's, px; lines and letters grow with it.
    """
    message = ImageAnnotations()
    if hasattr(message, "timestamp"):  # not in foxglove_msgs 3.3.0 and older
        message.timestamp = header.stamp
    black = Color(a=0.6)
    for t in tracks:
        b, g, r = (v / 255 for v in colour_of(t.target))
        colour = Color(r=r, g=g, b=b, a=1.0)
        corners = [
            Point2(x=float(x), y=float(y))
            for x, y in ((t.x, t.y), (t.x + t.w, t.y), (t.x + t.w, t.y + t.h), (t.x, t.y + t.h))
        ]
        message.points.append(
            PointsAnnotation(
                timestamp=header.stamp,
                type=PointsAnnotation.LINE_LOOP,
                points=corners,
                outline_color=colour,
                thickness=max(1.0, width / 320),
            )
        )
        message.texts.append(
            TextAnnotation(
                timestamp=header.stamp,
                position=corners[0],
                text=f"{t.target} {t.id} {t.score:.2f}",
                font_size=max(8.0, width / 50),
                text_color=colour,
                background_color=black,
            )
        )
    return message

"""The facts of one frame as an HTML page that stands alone: pictures are in it, nothing is fetched."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from pvm_perception.core.backend import Floats, Images
from pvm_perception.errors import PvmError
from pvm_perception.explanation.facts import Facts
from pvm_perception.vision.draw import colour_map, colour_of, draw_box, draw_tracks
from pvm_perception.vision.frame import View
from pvm_perception.vision.tracker import PROVEN

WIDTH = 480  # px of a picture on the page
TOP_SURPRISE = 4.0  # that is shown in full colour; 1 is usual
SHARE = 0.55  # of a map laid over a picture
STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#1c2430}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem;border-bottom:1px solid #ccd}
.verdict{font-size:1.2rem;background:#eef3fb;border-left:5px solid #3a6bb4;padding:.6rem 1rem}
.pictures{display:flex;flex-wrap:wrap;gap:1rem}figure{margin:0}figcaption{font-size:.85rem;max-width:30rem}
img{max-width:100%;image-rendering:pixelated}table{border-collapse:collapse}
td,th{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #dde}
td:first-child,th:first-child{text-align:left}
"""


def _embedded(image: Images) -> str:
    """Return an image as an address that holds it."""
    scale = WIDTH / image.shape[1]
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    good, jpeg = cv2.imencode(".jpg", cv2.resize(image, None, fx=scale, fy=scale, interpolation=way))
    if not good:
        raise PvmError("a picture of the page could not be encoded")
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode("ascii")


def _figure(image: Images, words: str) -> str:
    text = html.escape(words)
    return f'<figure><img alt="{text}" src="{_embedded(image)}"><figcaption>{text}</figcaption></figure>'


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["".join(f"<th>{html.escape(name)}</th>" for name in head)]
    lines += ["".join(f"<td>{html.escape(_cell(v))}</td>" for v in row) for row in rows]
    if len(lines) == 1:
        return "<p>None.</p>"
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.2f}"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def over(image: Images, values: Floats, network: tuple[int, int], top: float) -> Images:
    """Return an image with a map over it.

    Parameters
    ----------
    image
        (H, W, 3) uint8 BGR.
    values
        (rows, cols) of units, which cover the network's input, bars included.
    network
        (height, width) of the input, pixels.
    top
        The value of the strongest colour.
    """
    height, width = image.shape[:2]
    view = View.fit((height, width), network)
    whole = cv2.resize(colour_map(values, top), network[::-1], interpolation=cv2.INTER_LINEAR)
    rows, cols = view.shown
    part = whole[view.top : view.top + rows, view.left : view.left + cols]
    laid = cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR)
    return cv2.addWeighted(image, 1 - SHARE, laid, SHARE, 0).astype(np.uint8, copy=False)


def _curve(facts: Facts) -> str:
    """Return the last frames' scores and evidence as a drawing."""
    steps = max(len(facts.history) - 1, 1)

    def line(column: int, colour: str) -> str:
        places = " ".join(
            f"{10 + 580 * k / steps:.1f},{110 - 100 * float(row[column]):.1f}"
            for k, row in enumerate(facts.history)
        )
        return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2"/>'

    s = facts.settings
    levels = "".join(
        f'<line x1="10" x2="590" y1="{110 - 100 * v:.1f}" y2="{110 - 100 * v:.1f}" stroke="#999" '
        f'stroke-dasharray="4"/><text x="594" y="{114 - 100 * v:.1f}" font-size="11">{name} {v:g}</text>'
        for name, v in (("birth_score", s.birth_score), ("keep_score", s.keep_score))
    )
    return (
        '<svg viewBox="0 0 700 120" role="img" aria-label="score and evidence over the last frames">'
        f"{levels}{line(1, '#d08020')}{line(2, '#3a6bb4')}</svg>"
        "<p>Orange: probability of the best detection. Blue: evidence of the best track. The last point is "
        "this frame.</p>"
    )


def page(facts: Facts, network: tuple[int, int], similar: Sequence[tuple[Images, str]] = ()) -> str:
    """Return the page.

    Parameters
    ----------
    facts
        What it shows.
    network
        (rows, cols) of the network's input.
    similar
        Pictures of remembered moments that resemble the frame, each with words.
    """
    f = facts
    frame = draw_tracks(f.image, f.tracks)
    for d in f.detections:
        draw_box(frame, (d.x, d.y, d.w, d.h), colour_of(d.target), f"{d.score:.2f}")
    if f.fovea is not None:
        x, y, w, h = map(float, f.fovea)
        draw_box(frame, (x, y, w, h), (200, 200, 200), "second look")
    pictures = [_figure(frame, "The frame: detections (thin), reported boxes, the second look (grey)")]
    pictures.append(
        _figure(
            over(f.image, f.heat, network, 1.0),
            f"Where {f.target} is in the look at the whole frame, at most {float(f.heat.max()):.2f}",
        )
    )
    if f.seen is not None and f.expected is not None:
        pictures.append(_figure(f.seen, "What it saw, at the network's resolution"))
        pictures.append(_figure(f.expected, "What it expected to see"))
    pictures.append(
        _figure(
            over(f.image, f.surprise, network, TOP_SURPRISE),
            f"Surprise: mean {float(f.surprise.mean()):.2f}, where 1 is usual",
        )
    )
    forecast, copying = f.forecast
    expected = (
        f"The forecast of this frame had {forecast / copying:.2f} of the error of copying the frame before."
        if copying > 0
        else "There was no forecast of this frame."
    )
    if f.light < 1:
        expected += f" A veil lay over the frame, as of fog: {100 * f.light:.0f} % of the light came through."
    title = html.escape(f"{f.target} at frame {f.name}")
    parts = [
        f"<h1>{title}</h1>",
        f'<p class="verdict">{html.escape(f.verdict())}</p>',
        f"<p>Model {html.escape(f.model)}, which knows {html.escape(', '.join(f.known))}. {expected}</p>",
        "<h2>What it saw and expected</h2>",
        f'<div class="pictures">{"".join(pictures)}</div>',
        "<h2>Detections of this frame</h2>",
        "<p>From all looks, with the probability that the box is right, and how much of its log odds is "
        "surprise, for what moves against calm surroundings is likelier a ball, and size, for a large box of "
        "a middling score is mostly wrong.</p>",
        _table(
            ("target", "x", "y", "w", "h", "probability", "of it surprise", "of it size"),
            ((d.target, d.x, d.y, d.w, d.h, d.score, d.evidence, 0.0 - d.doubt) for d in f.detections),
        ),
        "<h2>Tracks</h2>",
        f"<p>A track is reported from evidence {f.settings.birth_score:g} (birth_score) on, until it falls "
        f"below {f.settings.keep_score:g} (keep_score), or below birth_score again where it never reached "
        f"{PROVEN:g}, or nothing has supported it for more than {f.settings.coast:g} frames (coast).</p>",
        _table(
            ("track", "evidence", "frames without support", "was reported"),
            ((b.id, b.evidence, b.gap, b.born) for b in f.beliefs),
        ),
        _curve(f),
    ]
    if f.cuts:
        parts += [
            "<h2>What each kind of link is worth here</h2>",
            "<p>The same last frames, from a fresh state, with one kind of link cut after the other.</p>",
            _table(
                ("cut", "best detection", "evidence", "reported", "forecast error / copying"),
                ((c.links, c.score, c.evidence, c.reported, c.forecast) for c in f.cuts),
            ),
        ]
    if similar:
        parts += [
            "<h2>The most similar remembered moments</h2>",
            f'<div class="pictures">{"".join(_figure(image, words) for image, words in similar)}</div>',
        ]
    head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def similar_moments(folder: Path, image: Images, most: int = 3) -> list[tuple[Images, str]]:
    """Return pictures of the moments of a memory that resemble an image most, with words.

    Parameters
    ----------
    folder
        The memory's.
    image
        (H, W, 3) uint8 BGR.
    most
        The largest number of moments.

    Raises
    ------
    PvmError
        There is no such memory.
    """
    from pvm_perception.living.moments import MomentMemory, thumbnail

    if not folder.is_dir():
        raise PvmError(f"{folder} is no memory of moments: not a folder")
    wanted = thumbnail(image)
    found: list[tuple[float, Images, str]] = []
    for path, moment in MomentMemory(folder).moments():
        away = float(np.sqrt(((thumbnail(moment.images[0]) - wanted) ** 2).mean()))
        names = sorted({t.target for tracks in moment.tracks for t in tracks})
        words = f"{path.stem}: differs by {away:.2f}; tracked: {', '.join(names) or 'nothing'}"
        found = sorted(
            [*found, (away, draw_tracks(moment.images[0], moment.tracks[0]), words)], key=lambda m: m[0]
        )
        found = found[:most]
    return [(picture, words) for _, picture, words in found]

"""What one scale of a forecast makes of one frame: its geometry and its arrays; `forecast_steps` fill them.

Shapes: U units of a scale (rows x cols), K moves, N code width, D inputs, H x W px of its picture.
What the units have is a row of L `lanes` values for each kind of value, of which the first U count: units
lie side by side, as vectors and GPUs read them. Planes are (PHASES, COLOURS, lines, pitch), the picture with
a margin, blue, green and red, at whole pixels and half a pixel to the right, down, and both. Pixels are
int16, WHITE of them to 1: compiled code multiplies twice as many at a time as float32, and adds up their
products exactly. A move is (down, right) in half pixels: the place, seen from here, that this place's content
comes from.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from pvm_perception.core.backend import cache_aligned
from pvm_perception.core.size import (
    FORECAST_BLOCK,
    FORECAST_EXTRAS,
    FORECAST_KINDS,
    FORECAST_STATISTICS,
    FORECAST_TERMS,
)

BLOCK, WINDOW = FORECAST_BLOCK, 8  # px: side of what a unit owns, and of what it judges moves by
OUTSIDE = (WINDOW - BLOCK) // 2
COLOURS, PHASES = 3, 4
KINDS = FORECAST_TERMS[:FORECAST_KINDS]  # of evidence: over the block, the window, the siblings' windows
STATISTICS = FORECAST_STATISTICS  # of each kind, which a unit's code takes
TERMS = FORECAST_TERMS  # of a choice; each has a gate
WHITE = 2040  # a pixel of 1: bytes are multiples of 8, so the means of 2 x 2 of them are exact
MARGIN = 12  # px around the picture: a window that lies outside sees the edge repeated
LANES, LINE = 16, 16  # values in a vector, and in a line of the cache

Moves = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Geometry:
    """The geometry of one scale and what its units try and take in.

    Attributes
    ----------
    height, width : px of the scale's picture
    shared : moves that all units try, none further than 8 half px
    inherited, kept : what is tried around twice the parent's move, and around the unit's last
    code : N
    top : whether no scale lies above
    context : which codes and motion a unit takes in, as in the configuration
    margin : px around the picture
    limit : half px; larger moves of the parent and of the last frame are cut to it
    """

    height: int
    width: int
    shared: Moves
    inherited: Moves
    kept: Moves
    code: int
    top: bool = False
    context: tuple[str, ...] = ()
    margin: int = MARGIN
    limit: int = 96

    @property
    def rows(self) -> int:
        """Units from top to bottom."""
        return self.height // BLOCK

    @property
    def cols(self) -> int:
        """Units from left to right."""
        return self.width // BLOCK

    @property
    def units(self) -> int:
        """U."""
        return self.rows * self.cols

    @property
    def lanes(self) -> int:
        """L: whole vectors, an odd number of the cache's lines, or rows would collide there."""
        return (-(-self.units // LINE) | 1) * LINE

    @property
    def pitch(self) -> int:
        """Values in a line of a plane."""
        return self.width + 2 * self.margin

    @property
    def lines(self) -> int:
        """Lines of a plane."""
        return self.height + 2 * self.margin

    @property
    def alike(self) -> int:
        """How many moves, from the first, a unit's siblings try, too."""
        return len(self.shared) + len(self.inherited)

    @property
    def moves(self) -> int:
        """K."""
        return self.alike + len(self.kept)

    @cached_property
    def tried(self) -> np.ndarray:
        """All moves, (K, 2) int16: the shared, and what is added to the parent's and to the last."""
        return np.array(self.shared + self.inherited + self.kept, np.int16).reshape(-1, 2)

    @property
    def parts(self) -> dict[str, slice]:
        """Which rows of the inputs are statistics, extras, the parent's and the neighbours' codes."""
        return input_parts(self.code, self.top)

    @property
    def inputs(self) -> int:
        """D."""
        return self.parts["lateral"].stop

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of a frame's arrays, by name."""
        lanes, picture = (self.lanes,), (COLOURS, self.height, self.width)
        return {
            "planes": (PHASES, COLOURS, self.lines, self.pitch),
            "moves": (self.moves, 2, *lanes),
            "same": (self.moves - len(self.shared), *lanes),
            "evidence": (len(KINDS), self.moves, *lanes),
            "choice": (self.moves, *lanes),
            "habit": (len(self.shared), *lanes),
            "inputs": (self.inputs, *lanes),
            "sums": (self.code, *lanes),
            "sizes": lanes,
            "code": (self.code, *lanes),
            "gates": (len(TERMS), *lanes),
            "parent": (2, *lanes),
            "motion": (2, *lanes),
            "mean": (2, *lanes),
            "likeliest": (2, *lanes),
            "chosen": (1,),
            "moved": (1,),
            "shown": (4,),
            "picture": picture,
            "error": picture,
            "wrong": lanes,
            "changed": lanes,
        }


def input_parts(code: int, top: bool) -> dict[str, slice]:
    """Return which rows of a unit's inputs are of which part.

    Parameters
    ----------
    code
        N.
    top
        Whether no scale lies above, so that there is no parent's code.

    Returns
    -------
    dict
        "statistics" and "extras" of the evidence, "feedback" (the parent's code), "lateral" (the mean of the
        neighbours' codes).
    """
    parts, end = {}, 0
    for name, width in (
        ("statistics", len(KINDS) * STATISTICS),
        ("extras", FORECAST_EXTRAS),
        ("feedback", 0 if top else code),
        ("lateral", code),
    ):
        parts[name] = slice(end, end + width)
        end += width
    return parts


@dataclass
class Frame:
    """What one scale makes of one frame, kept until the next tells how good it was.

    `zeros` makes that of B streams, each array with the streams first; `stream` returns the part of one,
    which the steps take. Shapes as in `Geometry.shapes`; float32 where nothing else is said.

    Attributes
    ----------
    planes : the picture; int16, WHITE to 1
    moves, same : int16, the moves that units try; of each of a unit's own an equal earlier one, or -1
    evidence : logarithm of the mean difference over that of each move; of block, window, siblings' windows
    choice : each move's share
    habit : logarithm of the shares in the frame before
    inputs, sums, sizes, code, gates : from what a unit takes in to the gates of the terms of its choice
    parent, motion : px, the parent's move and what the robot's own motion does to the unit's place
    mean, likeliest : the move that is expected, px; the likeliest, half px, int16
    chosen, moved : int32, 1 where there was a frame before; where the robot's motion is known
    shown : int32, top, left, rows, cols of the part of the picture that a camera filled
    picture, error : the forecast of the next frame; what came less it; int16, WHITE to 1
    wrong, changed : mean squares of each unit's error and change
    """

    planes: Any
    moves: Any
    same: Any
    evidence: Any
    choice: Any
    habit: Any
    inputs: Any
    sums: Any
    sizes: Any
    code: Any
    gates: Any
    parent: Any
    motion: Any
    mean: Any
    likeliest: Any
    chosen: Any
    moved: Any
    shown: Any
    picture: Any
    error: Any
    wrong: Any
    changed: Any

    KEPT: ClassVar = ("shown", "picture", "error", "wrong", "changed")  # from frame to frame, in one place
    WHOLE: ClassVar = {
        "planes": np.int16,
        "picture": np.int16,
        "error": np.int16,
        "moves": np.int16,
        "same": np.int16,
        "likeliest": np.int16,
        "chosen": np.int32,
        "moved": np.int32,
        "shown": np.int32,
    }

    @classmethod
    def zeros(cls, g: Geometry, batch: int, before: Frame | None = None) -> Frame:
        """Return the arrays of a frame, all zero but for moves and sizes.

        Parameters
        ----------
        g
            Geometry of the scale.
        batch
            Number of streams B, which lead all arrays.
        before
            Another frame of the scale, whose arrays of the names in `KEPT` this one shares.
        """
        arrays = {
            name: cache_aligned(np.zeros((batch, *shape), cls.WHOLE.get(name, np.float32)))
            if before is None or name not in cls.KEPT
            else getattr(before, name)
            for name, shape in g.shapes().items()
        }
        shared = np.array(g.shared, np.int16)  # (shared, 2)
        arrays["moves"][:, : len(shared)] = shared[..., None]
        arrays["sizes"][...] = 1
        return cls(**arrays)

    def stream(self, b: int) -> Frame:
        """Return the part of one stream: views."""
        return Frame(**{f.name: getattr(self, f.name)[b] for f in fields(self)})

    def forget(self, streams: np.ndarray) -> None:
        """Zero what the next frame takes from this one, of streams marked (B,) bool."""
        for array in (self.code, self.mean, self.likeliest, self.chosen):
            array[streams] = 0

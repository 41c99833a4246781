"""The parts of a network's configuration: layers, links, readout, learning and forecast, each by itself.

Each checks its own values; `config` puts them together and checks how they fit each other.
"""

from __future__ import annotations

import reprlib
from dataclasses import dataclass

from pvm_perception.core.settings import check, setting
from pvm_perception.core.size import FORECAST_TERMS
from pvm_perception.errors import PvmError

TERMS = ("signal", "derivative", "integral", "error")
FORECAST_CONTEXT = ("lateral", "feedback", "motion")
LINK_KINDS = ("feedforward", "lateral", "feedback", "global", "context")
MOST_LAYERS = 16
MOST_GAIN = 8.0  # of a link


@dataclass(frozen=True)
class Layer:
    """A grid of units of one size."""

    name: str
    rows: int = setting(1, "units from top to bottom", low=1, high=256)
    cols: int = setting(1, "units from left to right", low=1, high=256)
    code: int = setting(48, "values in each unit's code", low=1, high=1024)
    children: tuple[int, int] = (2, 2)  # the block of the layer below that one unit predicts
    terms: tuple[str, ...] = TERMS  # which views of its signal a unit gets
    start: int = setting(0, "learning step at which the layer begins to run", low=0)

    def __post_init__(self) -> None:
        check(self)
        if not all(1 <= n <= 256 for n in self.children):
            raise PvmError(f"layer {self.name}: children are {self.children}; each must be 1 to 256")
        if (
            "signal" not in self.terms
            or set(self.terms) - set(TERMS)
            or len(set(self.terms)) != len(self.terms)
        ):
            raise PvmError(f"layer {self.name}: terms must hold 'signal', be different and among {TERMS}")


@dataclass(frozen=True)
class Link:
    """Which units read which. The target's units read the source's units around their own place.

    A `feedforward` link carries the signal of this frame: its radius is how many children
    beyond its own block a unit sees. Every other kind carries codes of the frame before;
    `lateral`, `feedback` and `global` name the usual cases, `context` any other. A context link
    from `motion` carries the robot's own motion up to this frame.
    """

    source: str
    target: str
    kind: str = setting(
        "context",
        "what the link carries to the target: its signal (feedforward), or context",
        choices=LINK_KINDS,
    )
    radius: int = setting(
        0,
        "neighbours on each side that a unit reads beyond its own place, in units of the source; 0 = none",
        low=0,
        high=16,
    )
    gain: float = setting(1.0, "strength: 0 cuts the link (graded recurrence)", low=0.0, high=MOST_GAIN)
    start: int = setting(0, "learning step at which the link opens", low=0)
    shape: str = setting("disk", "form of the neighbourhood of `radius`", choices=("disk", "square"))

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class ReadoutConfig:
    """How codes become heat maps and boxes."""

    kind: str = setting(
        "box", "box: one head per cell; heatmap: the paper's, one per unit", choices=("box", "heatmap")
    )
    hidden: int = setting(96, "values in the readout's hidden layer", low=1, high=1024)
    radius: tuple[int, ...] = (1,)  # neighbourhood in each layer, from the bottom; last repeats
    shape: str = setting("disk", "form of the neighbourhoods of `radius`", choices=("disk", "square"))
    cells: str = setting("", "layer whose units are the cells that answer; empty = the first")
    memory: int = setting(0, "cells on each side whose last answers a cell reads; 0 = none", low=0, high=8)
    mixing: int = setting(0, "values in a second hidden layer of the readout, 0 = none", low=0, high=1024)

    def __post_init__(self) -> None:
        check(self)
        if not 1 <= len(self.radius) <= MOST_LAYERS or not all(0 <= r <= 16 for r in self.radius):
            raise PvmError(
                f"readout radius is {reprlib.repr(self.radius)}; it must be a list of 1 to "
                f"{MOST_LAYERS} numbers, each 0 to 16"
            )


@dataclass(frozen=True)
class Learning:
    """Online learning; the same for training and for a node that goes on learning."""

    optimizer: str = setting(
        "adam", "rule by which gradients change the weights", choices=("adam", "muon", "momentum")
    )
    rate: float = setting(1e-3, "learning rate at the start", low=0.0, high=1.0)
    final_rate: float = setting(2e-5, "learning rate at the end of the schedule", low=0.0, high=1.0)
    momentum: float = setting(
        0.5,
        "share of the running gradient that each step keeps, with optimizer momentum",
        low=0.0,
        high=0.999,
    )
    clip: float = setting(
        5.0, "largest norm of a step's gradient, to which larger ones are cut; 0 = none is cut", low=0.0
    )
    prediction_weight: float = setting(1.0, "factor of the prediction error in learning", low=0.0)
    presence_weight: float = setting(1.0, "factor of the readout's presence error in learning", low=0.0)
    box_weight: float = setting(1.0, "factor of the readout's box error in learning", low=0.0)
    credit_depth: int = setting(
        16,
        "layers that the readout's error descends below the one it enters; 0 = it stays in that layer",
        low=0,
        high=16,
    )
    decay: float = setting(
        0.0,
        "share of a weight that is lost per step and unit of rate, with optimizer muon",
        low=0.0,
        high=10.0,
    )
    gain_speed: float = setting(
        0.0,
        "learning rate of the context links' gains over that of the weights; 0 = gains stay",
        low=0.0,
        high=100.0,
    )
    average: float = setting(
        0.999,
        "share of the weights' running mean that each step keeps; the mean is what is used later, 0 = no "
        "mean",
        low=0.0,
        high=0.99999,
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Forecast:
    """How the next picture is foreseen: units of several scales that choose among moves.

    Each of `terms` has a gate that the unit's code sets: evidence over the unit's block, its window and its
    siblings' windows; and expectations: to stay, to move as the parent, as was chosen in the frame before,
    as the robot's own motion says, to the right, down, by little.
    """

    code: int = setting(
        0,
        "values in each unit's code",
        low=0,
        high=256,
    )
    scales: int = setting(4, "scales of the picture, each half as fine as the one below", low=1, high=5)
    whole: int = setting(2, "moves that every unit tries, whole px of its scale each way", low=0, high=4)
    half: int = setting(
        1,
        "px of its scale each way up to which a unit also tries moves of half a pixel; 0 = none",
        low=0,
        high=2,
    )
    inherit: int = setting(
        2, "half px around its parent's move that a unit tries, each way; 0 = none", low=0, high=4
    )
    keep: int = setting(1, "half px around its own last move that a unit tries, each way", low=0, high=2)
    context: tuple[str, ...] = FORECAST_CONTEXT  # what a code reads besides the evidence
    terms: tuple[str, ...] = FORECAST_TERMS
    trust: float = setting(
        0.95,
        "decay by frame of the running errors that set how far a forecast departs from the last picture: "
        "nearly all the way where moves have explained what came; 0 = always all the way",
        low=0.0,
        high=0.999,
    )
    weight: float = setting(0.05, "factor of the forecast's error in learning", low=0.0, high=100.0)

    def __post_init__(self) -> None:
        check(self)
        for name, known in (("context", FORECAST_CONTEXT), ("terms", FORECAST_TERMS)):
            value = getattr(self, name)
            if set(value) - set(known) or len(set(value)) != len(value):
                raise PvmError(f"forecast {name} must be different and among {', '.join(known)}")

"""The network as data: how its parts (`config_parts`) fit together; presets `robot` and `paper`."""

from __future__ import annotations

import dataclasses
import itertools
import re
import reprlib
from dataclasses import dataclass, field
from typing import Any

from pvm_perception.core.config_parts import MOST_LAYERS, Forecast, Layer, Learning, Link, ReadoutConfig
from pvm_perception.core.settings import check, setting
from pvm_perception.core.size import FORECAST, FORECAST_BLOCK, check_size
from pvm_perception.errors import PvmError

__all__ = [  # a configuration's parts are imported from here, too
    "INPUT",
    "MOTION",
    "MOTION_VALUES",
    "PRESETS",
    "Forecast",
    "HierarchyConfig",
    "Layer",
    "Learning",
    "Link",
    "Readout",
    "ReadoutConfig",
    "preset",
]

INPUT = "input"
MOTION = "motion"  # a source of context, not a layer: what the robot's motion does to the picture
MOTION_VALUES = 4  # shift right, shift down, roll, growth; see `Hierarchy.step`
READOUT = "readout"  # its weights' first word, as a layer's is the layer's name
LAYER_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")
MOST_LINKS, MOST_TARGETS, LONGEST_NAME = 128, 64, 64
LEAST_CONTRAST = 1e-3  # between the input values of black and white
Readout = ReadoutConfig  # the name under which scripts outside of this repository import it


@dataclass(frozen=True)
class HierarchyConfig:
    """Everything that fixes a network's shape and its learning; stored in the model file."""

    name: str
    height: int = setting(144, "rows of the network's input, pixels", low=8, high=2048)
    width: int = setting(192, "columns of the network's input, pixels", low=8, high=2048)
    block: int = setting(3, "side in pixels of the input's blocks, the children of layer 1", low=1, high=64)
    layers: tuple[Layer, ...] = ()
    links: tuple[Link, ...] = ()
    targets: tuple[str, ...] = ("green_ball", "stop_sign")
    shared: bool = setting(
        True,
        "one set of weights for all units of a layer; false = own weights for each unit, as in the paper",
    )
    activation: str = setting(
        "tanh",
        "non-linearity of a unit's code; polynomial = the paper's sigmoid",
        choices=("tanh", "leaky", "polynomial"),
    )
    normalise: bool = setting(
        False,
        "bring the sums before each unit's non-linearity to a root "
        "mean square of 1, so that codes neither saturate nor run away",
    )
    output: str = setting(
        "change",
        "what a code's prediction is: the signal itself (linear, or "
        "activation: through the code's non-linearity), or its change, "
        "so that a code need not carry what merely stays",
        choices=("linear", "activation", "change"),
    )
    schedule: str = setting(
        "sweep",
        "sweep: a layer sees this frame's codes of the layer below; "
        "parallel: those of the frame before, as in the paper",
        choices=("sweep", "parallel"),
    )
    integral_decay: float = setting(
        0.98, "share of a signal's running mean that each frame keeps", low=0.0, high=1.0
    )
    low: float = setting(-1.0, "input value of a black pixel", low=-8.0, high=8.0)
    high: float = setting(1.0, "input value of a white pixel", low=-8.0, high=8.0)
    readout: ReadoutConfig = field(default_factory=ReadoutConfig)
    learning: Learning = field(default_factory=Learning)
    forecast: Forecast = field(default_factory=Forecast)

    def __post_init__(self) -> None:
        check(self)
        self._check_wiring()

        check_size(self)

    def _check_wiring(self) -> None:
        if not 1 <= len(self.layers) <= MOST_LAYERS or len(self.links) > MOST_LINKS:
            raise PvmError(
                f"a hierarchy has 1 to {MOST_LAYERS} layers and at most {MOST_LINKS} links, not "
                f"{len(self.layers)} and {len(self.links)}"
            )
        names = [layer.name for layer in self.layers]
        if (
            len(set(names)) != len(names)
            or {INPUT, MOTION, READOUT} & set(names)
            or any(name.startswith(FORECAST) for name in names)
        ):
            raise PvmError(
                f"layer names must differ from each other, from {INPUT}, {MOTION} and {READOUT}, "
                f"and not begin with {FORECAST}"
            )
        if not all(map(LAYER_NAME.fullmatch, names)):
            raise PvmError(
                f"layers are called {reprlib.repr(names)}; each name must be 1 to 32 letters, digits, _ or -"
            )
        for name in (self.name, *self.targets):
            if not name.isprintable() or not 1 <= len(name) <= LONGEST_NAME:
                raise PvmError(
                    f"a name is {reprlib.repr(name)}; it must be 1 to {LONGEST_NAME} printable characters"
                )
        if self.high - self.low < LEAST_CONTRAST:
            raise PvmError(
                f"low is {self.low} and high {self.high}; white must be above black by "
                f"{LEAST_CONTRAST} at least"
            )
        if self.height % self.block or self.width % self.block:
            raise PvmError(f"input {self.width}x{self.height} is no multiple of block {self.block}")
        if not 1 <= len(self.targets) <= MOST_TARGETS or len(set(self.targets)) != len(self.targets):
            raise PvmError(f"targets must be a list of 1 to {MOST_TARGETS} different names")
        known = [INPUT]
        for layer in self.layers:
            forward = [k for k in self.links if k.target == layer.name and k.kind == "feedforward"]
            if len(forward) != 1 or forward[0].source not in known:
                raise PvmError(f"layer {layer.name} needs one feedforward link from a layer below")
            rows, cols = self.grid(forward[0].source)
            if layer.children[0] > rows or layer.children[1] > cols:
                raise PvmError(f"layer {layer.name}: children {layer.children} exceed its source")
            known.append(layer.name)
        for link in self.links:
            sources = known if link.kind == "feedforward" else (*names, MOTION)
            if link.target not in names or link.source not in sources:
                raise PvmError(
                    f"{link.kind} link {reprlib.repr(link.source)} to {reprlib.repr(link.target)} "
                    "names no layer that can be read there"
                )
        side = FORECAST_BLOCK << self.forecast.scales - 1
        if self.forecast.code and (self.height % side or self.width % side):
            raise PvmError(
                f"input {self.width}x{self.height} is no multiple of {side}, which a forecast on "
                f"{self.forecast.scales} scales needs"
            )
        if self.readout.cells not in ("", *names):
            raise PvmError(f"readout cells {reprlib.repr(self.readout.cells)} is no layer")

    def layer(self, name: str) -> Layer:
        """Return the layer called `name`."""
        return next(layer for layer in self.layers if layer.name == name)

    def grid(self, name: str) -> tuple[int, int]:
        """Return (rows, cols) of a layer, of the input's blocks, or of the robot's motion."""
        if name == INPUT:
            return self.height // self.block, self.width // self.block
        if name == MOTION:
            return 1, 1
        return self.layer(name).rows, self.layer(name).cols

    def code_width(self, name: str) -> int:
        """Return the number of values per unit of a source: a layer, the input, the motion."""
        if name == MOTION:
            return MOTION_VALUES
        return 3 * self.block**2 if name == INPUT else self.layer(name).code

    @property
    def uses_motion(self) -> bool:
        """Whether any unit reads the robot's own motion."""
        return any(link.source == MOTION for link in self.links)

    @property
    def cells(self) -> Layer:
        """The layer whose units answer for the readout."""
        return self.layer(self.readout.cells) if self.readout.cells else self.layers[0]

    @property
    def stride(self) -> tuple[float, float]:
        """Network pixels per cell of the readout, (down, right)."""
        return self.height / self.cells.rows, self.width / self.cells.cols

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, as stored in the model file."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> HierarchyConfig:
        """Build a configuration from plain data; raise PvmError on anything that does not fit."""

        def build(cls: type, values: Any) -> Any:
            fields = dataclasses.fields(cls)
            needed = {f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING}
            if not isinstance(values, dict):
                raise PvmError(f"configuration of {cls.__name__} is no table of names and values")
            odd = sorted((set(values) - {f.name for f in fields}) | (needed - set(values)))
            if odd:
                raise PvmError(
                    f"configuration of {cls.__name__} has unknown or missing entries: {reprlib.repr(odd[0])}"
                )
            return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})

        def build_all(cls: type, values: Any) -> Any:
            return tuple(build(cls, v) for v in values) if isinstance(values, (list, tuple)) else values

        if not isinstance(data, dict):
            raise PvmError("the network's configuration is no table of names and values")
        parts = {
            "layers": build_all(Layer, data.get("layers", ())),
            "links": build_all(Link, data.get("links", ())),
            "readout": build(ReadoutConfig, data.get("readout", {})),
            "learning": build(Learning, data.get("learning", {})),
            "forecast": build(Forecast, data.get("forecast", {})),
        }
        return build(HierarchyConfig, data | parts)


def _robot() -> HierarchyConfig:
    """Weights shared in a layer, about a million of them; layer 1 has 32 x 40 units of 4 x 4 px."""
    cheap = ("signal", "error")
    layers = (
        Layer("L1", 32, 40, 24, children=(1, 1), terms=cheap),
        Layer("L2", 16, 20, 64, terms=cheap),
        Layer("L3", 8, 10, 96, terms=cheap),
        Layer("L4", 4, 5, 96, terms=cheap),
        Layer("L5", 1, 1, 64, children=(4, 5), terms=("signal",)),
    )
    names = [INPUT] + [layer.name for layer in layers]
    links = []
    for below, name in itertools.pairwise(names):
        links.append(Link(below, name, "feedforward", radius=0 if name == "L5" else 1, shape="square"))
        links.append(Link(name, name, "lateral", radius=1))
    links += [Link(above, name, "feedback") for name, above in itertools.pairwise(names[1:-1])]
    links += [Link("L5", name, "global") for name in names[1:-1]]
    links += [Link(MOTION, name) for name in names[1:]]
    return HierarchyConfig(
        "robot",
        height=128,
        width=160,
        block=4,
        layers=layers,
        links=tuple(links),
        activation="leaky",
        normalise=True,
        readout=ReadoutConfig(hidden=128, radius=(0, 1, 1), cells="L2", memory=2, mixing=128),
        forecast=Forecast(code=48),
        learning=Learning("muon", rate=2e-3, final_rate=4e-5, prediction_weight=20.0, decay=0.1),
    )


def _paper() -> HierarchyConfig:
    """As described in arXiv 1607.06854: own weights per unit, lateral radius 2, staged start."""
    sides = (16, 8, 4, 3, 2, 1)
    layers = tuple(
        Layer(f"L{i + 1}", side, side, 49, children=(1, 1) if i == 0 else (2, 2))
        for i, side in enumerate(sides)
    )
    names = [INPUT] + [layer.name for layer in layers]
    links = []
    for below, name in itertools.pairwise(names):
        links.append(Link(below, name, "feedforward"))
        links.append(Link(name, name, "lateral", radius=2, start=100_000))
    links += [Link(above, name, "feedback", start=700_000) for name, above in itertools.pairwise(names[1:])]
    links += [Link("L6", name, "global", start=900_000) for name in names[1:-1]]
    # at the paper's own rate, 2e-4, 76,000 frames hardly moved it: see models/README.md
    learning = Learning("momentum", rate=0.8, final_rate=1e-5, clip=0.0, credit_depth=0, average=0.0)
    return HierarchyConfig(
        "paper",
        height=80,
        width=80,
        block=5,
        layers=layers,
        links=tuple(links),
        shared=False,
        activation="polynomial",
        output="activation",
        schedule="parallel",
        low=0.0,
        high=1.0,
        readout=ReadoutConfig("heatmap", hidden=98, radius=(0,)),
        learning=learning,
    )


PRESETS = {"robot": _robot, "paper": _paper}


def preset(name: str, **changes: Any) -> HierarchyConfig:
    """Return the preset called `name` with some settings changed.

    Parameters
    ----------
    name
        "robot" or "paper" (arXiv 1607.06854).
    **changes
        Other values of fields of `HierarchyConfig`, by name.

    Raises
    ------
    PvmError
        If no preset has that name, or the changed configuration does not fit together.
    """
    if name not in PRESETS:
        raise PvmError(f"no preset {name!r}; there are {', '.join(PRESETS)}")
    return dataclasses.replace(PRESETS[name](), **changes)

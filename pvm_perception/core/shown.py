"""Targets that were shown in a few boxes: a linear readout of what a descriptor makes of the codes.

Each cell reads the codes that the box readout reads around it, of the layers up to the one above its own, and
the picture around it (`core.surroundings`). A descriptor (`core.descriptor`) makes of them what the readouts
of shown targets read; they answer as the box readout does (`core.cells`). Nothing of the trained network
changes.

Shapes: R x C cells, T shown targets, READ values read at a cell, U units of a layer, N values of a code.
"""

from __future__ import annotations

import re
import reprlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from pvm_perception.core import wiring
from pvm_perception.core.backend import Floats, Images
from pvm_perception.core.cells import Cells
from pvm_perception.core.config import HierarchyConfig
from pvm_perception.core.descriptor import Descriptor
from pvm_perception.core.interfaces import Network
from pvm_perception.core.settings import check_type
from pvm_perception.core.size import (
    BOX_ANSWERS,
    READ,
    SHOWN,
    readout_neighbourhood,
    shown_layers,
    shown_shapes,
)
from pvm_perception.core.surroundings import Surroundings
from pvm_perception.errors import PvmError

MOST_SHOWN = 8  # shown targets of one model
MOST_BOXES = 20  # of one of them that are learnt from
NAME = re.compile(r"[^\W_][\w .:+-]{0,63}")


def check_name(name: object) -> str:
    """Return a target's name; raise PvmError unless it is 1 to 64 letters, digits and the like."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise PvmError(
            f"a target's name is {reprlib.repr(name)}; it must begin with a letter or digit and be 1 to 64 "
            "letters, digits, spaces or . : + - _"
        )
    return name


def shown_entries(history: dict[str, Any], config: HierarchyConfig) -> list[dict[str, Any]]:
    """Return what a model's history says of its shown targets: "target" and "boxes" of each.

    Parameters
    ----------
    history
        Of a model file, as it holds it.
    config
        Of the model's network.

    Raises
    ------
    PvmError
        It says something odd, or the network is one that targets cannot be shown to.
    """
    entries = history.get(SHOWN, [])
    check_type("its history's shown", list, entries)
    if len(entries) > MOST_SHOWN:
        raise PvmError(f"its history names {len(entries)} shown targets; at most {MOST_SHOWN} are read")
    for entry in entries:
        check_type("a shown target of its history", dict, entry)
        check_name(entry.get("target"))
        check_type("a shown target's boxes", int, entry.get("boxes"))
        if set(entry) != {"target", "boxes"} or not 1 <= entry["boxes"] <= MOST_BOXES:
            raise PvmError(f"a shown target has a target and 1 to {MOST_BOXES} boxes, nothing else")
    if len({entry["target"] for entry in entries}) != len(entries):
        raise PvmError("two of its shown targets have one name")
    if entries and config.readout.kind != "box":
        raise PvmError(f"a network with a {config.readout.kind} readout has no shown targets")
    return entries


@dataclass(frozen=True)
class ShownTargets:
    """What a model knows of its shown targets.

    Attributes
    ----------
    names : of the T targets
    boxes : how many boxes each was learnt from
    weights : (T, READ, 5) float32, from what a cell reads to its answers
    bias : (T, 5) float32
    descriptor : makes what a cell reads of the codes; None where there is no target
    """

    names: tuple[str, ...]
    boxes: tuple[int, ...]
    weights: Floats
    bias: Floats
    descriptor: Descriptor | None = None

    @staticmethod
    def of(config: HierarchyConfig, weights: dict[str, Floats], history: dict[str, Any]) -> ShownTargets:
        """Return the shown targets of a loaded model.

        Parameters
        ----------
        config, weights, history
            As `load_model` returns them.

        Raises
        ------
        PvmError
            As `shown_entries`.
        """
        entries = shown_entries(history, config)
        if not entries:
            return ShownTargets(
                (), (), np.zeros((0, READ, BOX_ANSWERS), np.float32), np.zeros((0, 5), np.float32)
            )
        return ShownTargets(
            tuple(e["target"] for e in entries),
            tuple(e["boxes"] for e in entries),
            weights[f"{SHOWN}.w"],
            weights[f"{SHOWN}.b"],
            Descriptor.of(weights, f"{SHOWN}."),
        )

    def tensors(self) -> dict[str, Floats]:
        """Return the weights by their names in a model file."""
        if self.descriptor is None:
            return {}
        return {f"{SHOWN}.w": self.weights, f"{SHOWN}.b": self.bias} | self.descriptor.tensors(f"{SHOWN}.")

    def entries(self) -> list[dict[str, Any]]:
        """Return what a model's history says of them."""
        return [{"target": t, "boxes": n} for t, n in zip(self.names, self.boxes, strict=True)]

    def without(self, name: str) -> ShownTargets:
        """Return all but one."""
        kept = [k for k, other in enumerate(self.names) if other != name]
        return ShownTargets(
            tuple(self.names[k] for k in kept),
            tuple(self.boxes[k] for k in kept),
            self.weights[kept],
            self.bias[kept],
            self.descriptor if kept else None,
        )

    def with_target(
        self, name: str, boxes: int, weights: Floats, bias: Floats, descriptor: Descriptor
    ) -> ShownTargets:
        """Return these targets and one more, or with it in place of one of the same name.

        Parameters
        ----------
        name
            Of the target.
        boxes
            How many boxes it was shown in.
        weights, bias
            (READ, 5) and (5,) of its readout.
        descriptor
            What makes what it reads; the one of these targets, where there are any.
        """
        rest = self.without(name)
        return ShownTargets(
            (*rest.names, name),
            (*rest.boxes, boxes),
            np.concatenate([rest.weights, weights[None]]),
            np.concatenate([rest.bias, bias[None]]),
            descriptor,
        )


class CellReader:
    """Reads at each cell of a network what shown targets are told by.

    Parameters
    ----------
    config
        Of a network with a box readout.
    descriptor
        What describes the codes around a cell; it must fit the network.
    """

    def __init__(self, config: HierarchyConfig, descriptor: Descriptor) -> None:
        self.descriptor = descriptor
        if config.readout.kind != "box":
            raise PvmError(f"targets cannot be shown to a network with a {config.readout.kind} readout")
        self.rows, self.cols = config.cells.rows, config.cells.cols
        self.layers = [config.layers[i] for i in shown_layers(config)]
        self._index, self._grids = [], []
        for i, layer in enumerate(self.layers):
            grid, block, radius = readout_neighbourhood(config, i)
            self._grids.append(grid)
            self._index.append(
                wiring.block_index((layer.rows, layer.cols), grid, block, radius)
                if block
                else wiring.neighbour_index(grid, grid, radius, config.readout.shape)
            )
        self._up = [  # from each grid to the cells: (R, r) and (C, c)
            (wiring.resize_matrix(rows, self.rows), wiring.resize_matrix(cols, self.cols))
            for rows, cols in self._grids
        ]
        widths = [index.shape[1] * layer.code for index, layer in zip(self._index, self.layers, strict=True)]
        self._surroundings = Surroundings(config)
        # by layer, and of the picture
        *self._w1, self._w1_picture = np.split(descriptor.w1, np.cumsum(widths))

    def _parts(self, network: Network) -> list[Floats]:
        """Return by layer what is read at the places of its grid, (r * c, K * N)."""
        parts = []
        for layer, index in zip(self.layers, self._index, strict=True):
            codes = network.codes(layer.name)[0]  # (U, N)
            around = np.concatenate([codes, np.zeros((1, codes.shape[1]), np.float32)])  # (U + 1, N)
            parts.append(around[index].reshape(len(index), -1))
        return parts

    def _upsample(self, values: Floats, i: int) -> Floats:
        """Bring (r * c, M) from the grid of layer i to the cells, (R * C, M)."""
        rows, cols = self._grids[i]
        if (rows, cols) == (self.rows, self.cols):
            return values
        down, right = self._up[i]
        tall = (down @ values.reshape(rows, -1)).reshape(self.rows, cols, -1)  # (R, c, M)
        wide: Floats = np.matmul(right, tall).reshape(self.rows * self.cols, -1)
        return wide

    def around(self, network: Network, picture: Images) -> Floats:
        """Return the codes and the picture around the cells, (R * C, D).

        Parameters
        ----------
        network
            Of one stream; it has stepped to a frame.
        picture
            (H, W, 3) uint8 BGR, that frame as its layers saw it.
        """
        codes = [self._upsample(p, i) for i, p in enumerate(self._parts(network))]
        return np.concatenate([*codes, self._surroundings.read(picture)], axis=1)

    def read(self, network: Network, picture: Images) -> Floats:
        """Return what the cells read, (R * C, READ).

        Parameters
        ----------
        network, picture
            As for `around`.
        """
        sums = self._surroundings.read(picture) @ self._w1_picture  # (R * C, hidden)
        for i, (part, w1) in enumerate(zip(self._parts(network), self._w1, strict=True)):
            sums += self._upsample(part @ w1, i)  # fewer values are brought to the cells than codes are read
        return self.descriptor.read(sums)

    def answers(self, network: Network, picture: Images, shown: ShownTargets) -> Floats:
        """Return the cells' answers to a network's last frame.

        Parameters
        ----------
        network, picture
            As for `around`.
        shown
            The targets that are asked for.

        Returns
        -------
        Floats
            (1, R, C, T, 5) as `BoxReadout.forward` returns them.
        """
        flat = shown.weights.transpose(1, 0, 2).reshape(READ, -1)  # (READ, T * 5)
        out = self.read(network, picture) @ flat + shown.bias.reshape(-1)  # (R * C, T * 5)
        return out.reshape(1, self.rows, self.cols, len(shown.names), BOX_ANSWERS)


class ShownReadout:
    """Finds the shown targets of a model in what a network saw last.

    Parameters
    ----------
    config
        Of the network that is read.
    shown
        The model's shown targets; at least one.
    """

    def __init__(self, config: HierarchyConfig, shown: ShownTargets) -> None:
        self.shown = shown
        assert shown.descriptor is not None  # there is a target
        self._reader = CellReader(config, shown.descriptor)
        cells = config.cells
        self._cells = Cells(1, (cells.rows, cells.cols), config.stride, len(shown.names))

    def candidates(self, network: Network, picture: Images, least: float) -> list[tuple[str, Floats]]:
        """Return each shown target's candidate boxes in a network's last frame.

        Parameters
        ----------
        network, picture
            As for `CellReader.around`.
        least
            The least presence of a candidate, 0..1.

        Returns
        -------
        list
            Names, and (n, 5) rows as `Cells.decode` returns them.
        """
        found = self._cells.decode(self._reader.answers(network, picture, self.shown), least)[0]
        return list(zip(self.shown.names, found, strict=True))

    def heat(self, network: Network, picture: Images, name: str) -> Floats:
        """Return a target's presence in a network's last frame, (R, C) in 0..1.

        Parameters
        ----------
        network, picture
            As for `CellReader.around`.
        name
            Of a shown target.

        Raises
        ------
        ValueError
            No shown target has that name.
        """
        out = self._reader.answers(network, picture, self.shown)
        heat: Floats = self._cells.heat(out)[0, :, :, self.shown.names.index(name)]
        return heat


def expected_tensors(config: HierarchyConfig, history: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of what a model knows of shown targets, by the tensors' names.

    Parameters
    ----------
    config
        Of the model's network.
    history
        Of its file; see `shown_entries`, which checks it.

    Raises
    ------
    PvmError
        As `shown_entries`.
    """
    return shown_shapes(config, len(shown_entries(history, config)))

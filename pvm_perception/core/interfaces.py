"""What the network's parts promise each other, as protocols and records.

Shapes: B streams, U units of a layer, N values of a unit's code, R x C cells of the readout, T targets.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Protocol

import numpy as np

from pvm_perception.core.algebra import Gradient
from pvm_perception.core.backend import Array, Floats, Images, Mask, Rectangles
from pvm_perception.core.config import HierarchyConfig
from pvm_perception.core.forecast import Forecaster


@dataclass(frozen=True)
class Losses:
    """What one learning step cost.

    Attributes
    ----------
    prediction, copy : mean squared errors of layer 1's forecast and of repeating the last frame, in
        squared input units
    presence, box : the readout's losses, for each target in view
    gradient : norm of the gradient before it was clipped; infinite where it was not used
    by_stream : (B,) float32, the readout's loss of each stream; zeros where no boxes were given
    """

    prediction: float
    copy: float
    presence: float
    box: float
    gradient: float
    by_stream: Floats

    def means(self) -> dict[str, float]:
        """Return the losses that are means over the streams, by name."""
        return {name: value for name, value in asdict(self).items() if name != "by_stream"}


@dataclass(frozen=True)
class ReadoutLosses:
    """The losses of a readout at one frame, on the device.

    Attributes
    ----------
    presence, box : () float32, for each target in view
    by_stream : (B,) float32, how wrong the presence of each stream was
    """

    presence: Array
    box: Array
    by_stream: Array


class Readout(Protocol):
    """From all layers' codes to heat maps and boxes, with its learning.

    A new readout is a class with these methods and an entry in `hierarchy.READOUTS`.

    Attributes
    ----------
    rows, cols : R and C, the grid of cells that answer
    targets : T
    stride : network pixels from one cell to the next, (down, right)
    """

    rows: int
    cols: int
    targets: int
    stride: tuple[float, float]

    def parameters(self, rng: np.random.Generator) -> dict[str, Floats]:
        """Draw new weights, by name."""
        ...

    @property
    def products(self) -> list[tuple[int, int, int]]:
        """The matrix products for one frame of one stream, as (rows, D, N)."""
        ...

    def forward(self, p: dict[str, Array], codes: list[Array]) -> Array:
        """Return the raw answers of all cells to a frame.

        Parameters
        ----------
        p
            The readout's weights, by name.
        codes
            Each layer's codes (B, U + 1, N), whose last row is zeros.

        Returns
        -------
        Array
            (B, R, C, T, ...); what the last axis holds is the readout's own.
        """
        ...

    def forget(self, streams: Array | slice) -> None:
        """Zero the state of the streams with these indices."""
        ...

    def backward(
        self, p: dict[str, Array], out: Array, boxes: Floats, soft: Floats | None = None, codes: bool = True
    ) -> tuple[dict[str, Gradient], list[Array], ReadoutLosses]:
        """Compare the answers `out` of the last `forward` with the true boxes.

        Parameters
        ----------
        p
            The readout's weights.
        out
            What `forward` returned.
        boxes
            (B, M, Truth.COLUMNS) the true boxes in network pixels, as `types.Truth` lays them out.
        soft
            (B, R, C, T, 5) answers to learn instead of the truth: presence, 0..1, and the box; NaN where
            the truth is learnt.
        codes
            Whether the errors of the codes are wanted, too.

        Returns
        -------
        gradients, code_errors, losses
            The gradients of the weights, by name; each layer's error of its codes (B, U + 1, N), none where
            they are not wanted.
        """
        ...

    def heat(self, out: Array) -> Floats:
        """Return the presence (B, R, C, T) in 0..1 from raw answers."""
        ...

    def decode(self, out: Array, least: float, most: int = 8) -> list[list[Floats]]:
        """Return candidate boxes by stream and target: (n, 5) rows x, y, w, h, score, best first.

        Parameters
        ----------
        out
            What `forward` returned.
        least
            The least presence of a candidate, 0..1.
        most
            The largest number of candidates of one target.
        """
        ...


class Network(Protocol):
    """A network that runs frames of B streams, whatever computes it.

    `hierarchy.Hierarchy` (arrays) and `kernels.engine.Engine` (kernels) are such networks.

    Attributes
    ----------
    config : shape and wiring
    batch : B
    xp : the array module of the device
    step_count : learning steps behind these weights
    fresh : (B,) streams whose next frame is their first
    known : (B,) streams whose last frame had one before it
    """

    config: HierarchyConfig
    batch: int
    xp: ModuleType
    fresh: Mask
    known: Mask

    @property
    def weights(self) -> dict[str, Array]:
        """The weights by name, on the host or on the device."""
        ...

    @property
    def step_count(self) -> int:
        """How many learning steps are behind these weights."""
        ...

    @property
    def runs_on(self) -> str:
        """What computes the network, in words: "cpu kernels (avx2)", "cuda arrays" or the like."""
        ...

    def twin(self) -> Network:
        """Return a network with a state of its own that shares these very weights."""
        ...

    def copy(self, into: Network | None = None) -> Network:
        """Return a network with these weights that goes on from this state; this one stays as it is.

        Parameters
        ----------
        into
            An earlier copy of this network, whose memory may be used again.
        """
        ...

    @property
    def forecaster(self) -> Forecaster | None:
        """What foresees the next picture by moves, on the host; None where layer 1 predicts it alone."""
        ...

    def forecast_weights(self) -> dict[str, Floats]:
        """Return the forecast's weights on the host, by name: the arrays that the forecaster works with."""
        ...

    def forecast_learnt(self) -> None:
        """Take over what changed in the arrays of `forecast_weights`."""
        ...

    def step(
        self,
        images: Images,
        motion: Floats | None = None,
        shown: Rectangles | None = None,
        foresee: bool = True,
        ahead: Floats | None = None,
        clear: Images | None = None,
    ) -> object:
        """Run one frame of every stream.

        Parameters
        ----------
        images
            (B, H, W, 3) uint8 BGR, of the network's size.
        motion
            (B, 4) of the robot, as `Hierarchy.step` takes it; None where it is not known.
        shown
            (B, 4) top, left, rows, cols of the part of the image that a camera filled; None: all.
        foresee
            Whether the forecast by moves is made, which only forecasts and their surprise need.
        ahead
            (B, 4) of the robot until the next frame, as `Hierarchy.step` takes it.
        clear
            (B, H, W, 3) the images as the layers see them, where a veil was lifted; None: as they are.

        Raises
        ------
        PvmError
            If images or motions have another shape, or the motion is not finite.
        """
        ...

    def candidates(self, least: float, most: int = 8) -> list[list[Floats]]:
        """Return the last frame's candidate boxes by stream and target; see `Readout.decode`.

        Parameters
        ----------
        least
            The least presence of a candidate, 0..1.
        most
            The largest number of candidates of one target.

        Returns
        -------
        list
            For each stream and target (n, 5) rows x, y, w, h in network pixels, score; best first.
        """
        ...

    def heat(self) -> Floats:
        """Return the last frame's presence, (B, R, C, T) in 0..1."""
        ...

    def reset(self, streams: Mask | None = None) -> None:
        """Forget the past of the marked streams, or of all; the weights stay."""
        ...

    def codes(self, name: str) -> Floats:
        """Return the last frame's codes of a layer, (B, U, N)."""
        ...

    def forecast_errors(self) -> tuple[float, float]:
        """Return the last frame's mean squared errors of the forecast and of copying."""
        ...

    def layer_errors(self) -> tuple[float, float]:
        """Return the last frame's mean squared errors of layer 1's own prediction and of copying."""
        ...

    def surprise(self) -> Floats:
        """Return each unit's surprise at the last frame, (B, rows, cols), as `Hierarchy.surprise` does."""
        ...

    def moves(self) -> Floats | None:
        """Return the move that each unit expects; see `hierarchy.Hierarchy.moves`."""
        ...

    def predicted_images(self, whole: bool = False) -> Images:
        """Return the frames expected next, (B, H, W, 3) uint8 BGR; `whole` as for `Forecaster.images`."""
        ...

"""The network's pictures and motion: from images to its input, and from its predictions to images."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from pvm_perception.core.algebra import Scratch
from pvm_perception.core.backend import Array, Floats, Images
from pvm_perception.core.config import INPUT, MOTION_VALUES, HierarchyConfig
from pvm_perception.errors import PvmError

MOTION_UNIT = 0.025  # motion that becomes an input of 1, the usual size of a code
MOTION_LIMIT = 4.0  # the largest input from motion: in a faster turn nothing stays in the picture


def as_blocks(config: HierarchyConfig, batch: int, images: Images, scratch: Scratch, xp: ModuleType) -> Array:
    """Cut images into the input's blocks, (B, rows * cols, 3 * block**2), scaled to the input's values.

    Parameters
    ----------
    config
        The network's configuration.
    batch
        B.
    images
        (B, H, W, 3) uint8, BGR, at the network's size.
    scratch
        Memory for the blocks: the next call uses it again.
    xp
        Array module of the blocks.

    Raises
    ------
    PvmError
        If the images have another shape or type.
    """
    c = config
    rows, cols = c.grid(INPUT)
    check_images(c, batch, images)
    x = xp.asarray(images).reshape(batch, rows, c.block, cols, c.block, 3)
    blocks = scratch(batch, rows, cols, c.block, c.block, 3)
    blocks[...] = x.transpose(0, 1, 3, 2, 4, 5)
    blocks *= np.float32((c.high - c.low) / 255)
    blocks += np.float32(c.low)
    return blocks.reshape(batch, rows * cols, -1)


def scaled_motion(batch: int, motion: Floats) -> Floats:
    """Return the robot's motion in the size of codes, (B, 4), cut to a limit.

    Parameters
    ----------
    batch
        B.
    motion
        (B, 4) as `Hierarchy.step` takes it.
    """
    check_motion(batch, motion)
    scaled = np.asarray(motion, np.float32) / np.float32(MOTION_UNIT)
    return np.clip(scaled, -MOTION_LIMIT, MOTION_LIMIT)


def motion_ahead(batch: int, motion: Floats | None, ahead: Floats | None) -> Floats | None:
    """Return the robot's motion until the next frame, (B, 4), NaN where it is not known; None: nowhere.

    Parameters
    ----------
    batch
        B.
    motion, ahead
        (B, 4) as `Hierarchy.step` takes them.

    Raises
    ------
    PvmError
        What is ahead is of another shape.
    """
    if motion is None and ahead is None:
        return None
    goes_on = np.full((batch, MOTION_VALUES), np.nan, np.float32)
    if motion is not None:
        moves = np.any(motion, axis=1)  # (B,); zeros may mean that there is no odometry
        goes_on[moves] = motion[moves]
    if ahead is None:
        return goes_on
    check_shape("the motion ahead", batch, ahead)
    return np.where(np.isnan(ahead), goes_on, ahead).astype(np.float32)


def as_images(config: HierarchyConfig, block: Array, prediction: Array, xp: ModuleType) -> Array:
    """Return layer 1's prediction as images, (B, H, W, 3) uint8, BGR.

    Parameters
    ----------
    config
        The network's configuration.
    block
        (U, K) the input's blocks that each unit predicts.
    prediction
        (B, U, S).
    xp
        Array module of both.
    """
    c, batch = config, len(prediction)
    rows, cols = c.grid(INPUT)
    grid = xp.zeros((batch, rows * cols + 1, 3 * c.block**2), np.float32)
    grid[:, block] = prediction.reshape(batch, *block.shape, -1)
    x = grid[:, :-1].reshape(batch, rows, cols, c.block, c.block, 3)
    x = x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, c.height, c.width, 3)
    return xp.clip((x - c.low) * (255 / (c.high - c.low)) + 0.5, 0, 255).astype(np.uint8)


def check_images(config: HierarchyConfig, batch: int, images: Images) -> None:
    """Raise an error unless images are of the network's size and type.

    Parameters
    ----------
    config
        Of the network.
    batch
        B.
    images
        Should be (B, H, W, 3) uint8.

    Raises
    ------
    PvmError
        They are not.
    """
    shape = (batch, config.height, config.width, 3)
    if images.shape != shape or images.dtype != np.uint8:
        raise PvmError(f"the network takes uint8 images of shape {shape}, not {images.dtype} {images.shape}")


def check_motion(batch: int, motion: Floats) -> None:
    """Raise an error unless the motion has its shape and is finite.

    Parameters
    ----------
    batch
        B.
    motion
        Should be (B, 4).

    Raises
    ------
    PvmError
        It is not, or is not finite.
    """
    check_shape("motion", batch, motion)
    if not np.isfinite(motion).all():  # a value that is not finite would stay in the codes for ever
        raise PvmError("motion must be finite numbers; give zeros where it is not known")


def check_shape(name: str, batch: int, motion: Floats) -> None:
    """Raise an error, which names what it is, unless values of motion are (B, 4).

    Parameters
    ----------
    name
        What they are.
    batch
        B.
    motion
        The values.
    """
    if np.shape(motion) != (batch, MOTION_VALUES):
        raise PvmError(f"{name} must be an array of shape {(batch, MOTION_VALUES)}, not {np.shape(motion)}")

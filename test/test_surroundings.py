"""What a descriptor reads of the picture around the cells."""

import numpy as np

from pvm_perception.core.config import preset
from pvm_perception.core.size import SQUARE, SQUARES, SURROUNDINGS
from pvm_perception.core.surroundings import Surroundings

CONFIG = preset("robot")


def read(picture):
    """Return means (R, C, 3, squares down, squares right), and mean and spread of the picture (R, C, 6)."""
    found = Surroundings(CONFIG).read(picture).reshape(CONFIG.cells.rows, CONFIG.cells.cols, SURROUNDINGS)
    return found[..., :-6].reshape(*found.shape[:2], 3, SQUARES, SQUARES), found[..., -6:]


def test_a_cell_reads_means_of_squares_around_its_middle():
    picture = np.random.default_rng(0).integers(0, 256, (CONFIG.height, CONFIG.width, 3)).astype(np.uint8)
    near, _ = read(picture)
    row, col = 7, 9
    y, x = (round((k + 0.5) * stride) for k, stride in zip((row, col), CONFIG.stride, strict=True))
    half = SQUARE * SQUARES // 2
    window = picture[y - half : y + half, x - half : x + half] / 255
    means = window.reshape(SQUARES, SQUARE, SQUARES, SQUARE, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(near[row, col], means.transpose(2, 0, 1), atol=1e-5)


def test_beyond_the_border_the_picture_goes_on_as_it_ends():
    picture = np.zeros((CONFIG.height, CONFIG.width, 3), np.uint8)
    picture[:, :SQUARE] = 255
    near, _ = read(picture)
    left = near[5, 0, 0, 0]
    inside = round(CONFIG.stride[1] / 2 / SQUARE)  # squares from the border to the cell's middle
    middle = SQUARES // 2
    np.testing.assert_array_equal(left[: middle - inside + 1], 1)
    np.testing.assert_array_equal(left[middle - inside + 1 :], 0)


def test_every_cell_reads_mean_and_spread_of_the_picture():
    picture = np.random.default_rng(1).integers(0, 256, (CONFIG.height, CONFIG.width, 3)).astype(np.uint8)
    _, whole = read(picture)
    flat = picture.reshape(-1, 3) / 255
    np.testing.assert_allclose(whole, np.broadcast_to([*flat.mean(0), *flat.std(0)], whole.shape), atol=1e-4)

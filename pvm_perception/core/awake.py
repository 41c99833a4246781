"""Learning while it works: of a network only the forecast of the next picture learns.

No code and no readout depends on the forecast, so that boxes stay exactly those of a network that does not
learn. Steps are small, drawn back to the weights that the network came with, and within a budget of computing
time: where that does not suffice for every frame, the more surprising ones are learnt from. Now and then a
copy of the forecaster with the last good weights foresees the same frames: weights that foresee worse than
it, or that are not finite, are given up for the good ones.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

import numpy as np

from pvm_perception.core.backend import Floats, Images, Rectangles
from pvm_perception.core.config import HierarchyConfig, Learning
from pvm_perception.core.forecast import Forecaster
from pvm_perception.core.interfaces import Network
from pvm_perception.core.optimizer import Optimizer
from pvm_perception.core.size import FORECAST

RATE = 5e-5  # of Adam; twice as much raised the error of one of six development sequences late in 20 passes
FRAMES = 8  # whose gradients make a step: one alone may be far from what the place is like
CLIP = 1.0  # largest norm of a gradient
PULL = 10.0  # share of the way back to the first weights, per step and unit of rate: a bound of 1 / PULL
STILL = 2e-5  # mean squared change of a picture below which nothing moves, full range squared
STEP = 0.05  # of the error's logarithm, by which the surprise that is worth a step follows the budget
CHECK_EVERY = 128  # learning steps after which the weights are compared with the last good ones
CHECKED = 32  # frames of such a comparison
WORSE = 1.01  # error over that of the last good weights from which the new ones are given up
SAVED_UP = 1.0  # s without learning whose budget may be used later


class ForecastLearner:
    """Teaches a network's forecaster of one stream by the frames it is shown.

    Parameters
    ----------
    config
        The network's; its `forecast.code` is above 0.
    forecaster
        Of the network; it has stepped to a frame when `learn` is called.
    weights
        The forecast's weights on the host, by name: the very arrays that the forecaster is stepped with.
    changed
        Called after the weights changed, for copies of them elsewhere.
    budget
        Share of a core that learning may take, 0..1; at 1 it learns from every frame that moves.

    Attributes
    ----------
    budget : as given; may be changed between frames
    steps : how often it changed the weights
    returns : how often weights were given up for the last good ones
    """

    def __init__(
        self,
        config: HierarchyConfig,
        forecaster: Forecaster,
        weights: Mapping[str, Floats],
        changed: Callable[[], None],
        budget: float = 1.0,
    ) -> None:
        self._config, self._forecaster, self._changed = config, forecaster, changed
        self._weights = {name: w for name, w in weights.items() if name.startswith(FORECAST)}
        self._first = self._copy()
        self._optimizer = self._new_optimizer()
        self.budget = budget
        self.steps = self.returns = 0
        self._good = self._first
        self._worth: float | None = None  # the error's logarithm from which a frame is learnt from
        self._shadow: Forecaster | None = None  # foresees with the last good weights
        self._compared: list[tuple[float, float]] = []  # errors: these weights', the last good ones'
        self._since_check = 0
        self._gradients: list[dict[str, Floats]] = []  # of the frames since the last step
        self._credit, self._last = 0.0, time.monotonic()

    def _copy(self) -> dict[str, Floats]:
        return {name: w.copy() for name, w in self._weights.items()}

    def _new_optimizer(self) -> Optimizer:
        return Optimizer(self._weights, Learning("adam", clip=CLIP, average=0.0), np)

    def learn(self, images: Images, ahead: Floats | None, shown: Rectangles | None) -> bool:
        """Learn from the frame that the forecaster was shown last, if it is worth it.

        Parameters
        ----------
        images, ahead, shown
            As the forecaster was shown them.

        Returns
        -------
        bool
            Whether the weights changed.
        """
        now, begun = time.monotonic(), time.thread_time()
        self._credit = min(self._credit + self.budget * (now - self._last), SAVED_UP * self.budget)
        self._last = now
        if self.budget < 1 and self._credit <= 0:
            self._shadow = None  # a comparison needs frames without a gap
            return False
        learnt = self._learn(images, ahead, shown)
        self._credit -= time.thread_time() - begun
        return learnt

    def _learn(self, images: Images, ahead: Floats | None, shown: Rectangles | None) -> bool:
        wrong, copied = self._errors(self._forecaster)
        if not (math.isfinite(wrong) and self._finite()):
            return self._give_up(spoilt=True)
        if self._shadow is not None and self._compare(images, ahead, shown, wrong):
            return True
        if not self._forecaster.known[0] or copied < STILL or not self._surprises(wrong):
            return False
        self._gradients.append(self._forecaster.gradients(self._weights, 1.0))
        if len(self._gradients) < FRAMES:
            return False
        mean = {
            name: np.divide(sum(g[name] for g in self._gradients), np.float32(FRAMES))
            for name in self._weights
        }
        self._gradients = []
        norm = self._optimizer.update(self._weights, mean, RATE)
        if not math.isfinite(norm):
            return False  # the optimizer left the weights as they were
        for name, w in self._weights.items():
            w -= np.float32(RATE * PULL) * (w - self._first[name])
        if not self._finite():
            return self._give_up(spoilt=True)
        self._changed()
        self.steps += 1
        self._since_check += 1
        if self._since_check >= CHECK_EVERY and self._shadow is None:
            self._begin_check()
        return True

    def _finite(self) -> bool:
        return all(np.isfinite(w).all() for w in self._weights.values())

    def _errors(self, forecaster: Forecaster) -> tuple[float, float]:
        """Return the forecast's and copying's mean squared error, full range from black to white squared."""
        span = (self._config.high - self._config.low) ** 2
        wrong, copied = forecaster.mean_errors()
        return wrong / span, copied / span

    def _surprises(self, wrong: float) -> bool:
        """Whether a frame of this error is worth a step, so that the steps keep within the budget."""
        if self.budget >= 1:
            return True
        level = math.log(wrong + 1e-9)
        if self._worth is None:
            self._worth = level
        self._worth += STEP if self._credit < SAVED_UP / 2 * self.budget else -STEP
        self._worth = min(max(self._worth, level - 1), level + 1)  # never out of reach of what comes
        return level >= self._worth

    def _begin_check(self) -> None:
        """Let a copy of the forecaster go on from here with the last good weights."""
        self._compared = []
        self._shadow = Forecaster(self._config, 1)
        self._shadow.copy_state(self._forecaster)

    def _compare(self, images: Images, ahead: Floats | None, shown: Rectangles | None, wrong: float) -> bool:
        """Show the copy this frame, too; after enough frames decide. Return whether the weights changed."""
        shadow = self._shadow
        if shadow is None or not self._forecaster.known[0]:
            self._shadow = None  # the stream began anew
            return False
        shadow.step(images, self._good, ahead, shown)
        self._compared.append((wrong, self._errors(shadow)[0]))
        if len(self._compared) < CHECKED:
            return False
        mine, good = np.array(self._compared[1:]).sum(0)  # both foresaw the first with the same weights
        self._shadow, self._since_check = None, 0
        if mine > WORSE * good:
            return self._give_up()
        self._good = self._copy()
        return False

    def _give_up(self, spoilt: bool = False) -> bool:
        """Go back to the last good weights; where the forecast itself is `spoilt`, begin it anew, too."""
        if spoilt:
            self._forecaster.reset(np.ones(1, bool))
        for name, w in self._weights.items():
            w[...] = self._good[name]
        self._optimizer, self._shadow, self._since_check = self._new_optimizer(), None, 0
        self._gradients = []
        self.returns += 1
        self._changed()
        return True


def forecast_learner(network: Network, budget: float = 1.0) -> ForecastLearner | None:
    """Return what teaches a network's forecast while it works.

    Parameters
    ----------
    network
        A network that is stepped frame by frame.
    budget
        Share of a core that learning may take, 0..1; see `ForecastLearner`.

    Returns
    -------
    ForecastLearner | None
        None where the network has no forecast by moves, or several streams.
    """
    if network.forecaster is None or network.batch != 1:
        return None
    return ForecastLearner(
        network.config, network.forecaster, network.forecast_weights(), network.forecast_learnt, budget
    )

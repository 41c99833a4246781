"""A world in MuJoCo: the robot drives, the ball rolls, the camera sees; and the truth of it all."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from pvm_perception.closed_loop.robot import Base
from pvm_perception.closed_loop.world import BALL_RADIUS, OVERVIEW, STEP, World, sign_corners
from pvm_perception.errors import PvmError
from pvm_perception.types import Box

BALL_SPEED = 0.22  # m/s, mean; it gets slower and faster by the half
PULL, DRAG = 20.0, 8.0  # 1/s², 1/s: how the ball is drawn along its path
NEEDS = "mujoco~=4.0"  # as requirements/sim.txt pins and setup.py's extra asks
ROBOT = frozenset(("robot", "left", "right"))  # its bodies
FLOORS = frozenset(("floor", "road"))
APART = 1.0  # s between two touches of a thing that count as two collisions


def engine() -> Any:
    """Return the module `mujoco`, set to render without a screen where there is none.

    Raises
    ------
    PvmError
        MuJoCo is not installed.
    """
    if "DISPLAY" not in os.environ:
        os.environ.setdefault("MUJOCO_GL", "egl")  # it is read when the module is imported
    try:
        import mujoco
    except ImportError as error:
        raise PvmError(
            f"the simulation needs MuJoCo ({error}); run `python -m pip install "
            f"'{NEEDS}'` (Python 3.11 or newer)"
        ) from error
    return mujoco


class Simulation:
    """One run of a world, from time 0.

    Parameters
    ----------
    world
        What `world.ball_world` or `world.sign_world` return.

    Raises
    ------
    PvmError
        MuJoCo is not installed, or finds no OpenGL to render with.
    """

    def __init__(self, world: World) -> None:
        self.world, self.base, self.collisions = world, Base(), 0
        self._mujoco = mujoco = engine()
        self._model = mujoco.MjModel.from_xml_string(world.mjcf, world.assets)
        self._data = mujoco.MjData(self._model)
        try:
            self._eye = self._renderer(world.camera.height, world.camera.width)
            self._sky = self._renderer(OVERVIEW, OVERVIEW)
        except Exception as error:  # each OpenGL backend raises its own
            raise PvmError(
                f"MuJoCo cannot render here ({error}); apt install libegl1 libgl1-mesa-dri, "
                "or set MUJOCO_GL to egl, osmesa or glfw"
            ) from error
        self._touched: dict[str, float] = {}  # thing and when last, s
        self._along = 0.0  # m along the ball's path
        mujoco.mj_forward(self._model, self._data)

    def _renderer(self, height: int, width: int) -> Any:
        renderer = self._mujoco.Renderer(self._model, height, width)
        renderer.scene.flags[self._mujoco.mjtRndFlag.mjRND_SHADOW] = 0  # half the time of a frame
        return renderer

    @property
    def time(self) -> float:
        """Return the simulated time, s."""
        return self._data.time

    def advance(self, seconds: float) -> None:
        """Go on for some time with the speeds that `base` was last commanded."""
        data = self._data
        for _ in range(round(seconds / STEP)):
            before = self._wheels()
            data.ctrl[:] = self.base.drive(STEP)
            if self.world.target == "green_ball":
                self._roll()
            self._mujoco.mj_step(self._model, data)
            left, right = self._wheels() - before
            self.base.reckon(left, right, STEP)
            self._count_collisions()

    def _wheels(self) -> np.ndarray:
        """Return how far the wheels have turned, (2,) rad: left, right."""
        return np.array([self._data.joint(name).qpos[0] for name in ("left", "right")])

    def _roll(self) -> None:
        """Draw the ball by its middle after a point that moves along the path; the floor rolls it."""
        path, body = self.world.path, self._data.body("ball")
        speed = BALL_SPEED * (1 + 0.5 * math.sin(2 * math.pi * self.time / 11)) * min(self.time / 2, 1)
        self._along += speed * STEP
        k = self._along / 0.02
        here, there = path[int(k) % len(path)], path[(int(k) + 1) % len(path)]
        point, ahead = here + (k % 1) * (there - here), (there - here) / 0.02
        mass = self._model.body("ball").mass[0]
        body.xfrc_applied[:2] = mass * (
            PULL * (point - body.xpos[:2])
            + DRAG * (speed * ahead - self._data.joint(self._model.body("ball").jntadr[0]).qvel[:2])
        )

    def _count_collisions(self) -> None:
        """Count what the robot touches other than the floor; bouncing at the same thing counts once."""
        model = self._model
        for pair in self._data.contact.geom:
            names = [
                model.geom(g).name for g in pair if model.body(model.geom(g).bodyid[0]).name not in ROBOT
            ]
            if len(names) == 1 and names[0] not in FLOORS:
                last = self._touched.get(names[0], -math.inf)
                self.collisions += self.time - last > APART
                self._touched[names[0]] = self.time

    # --- pictures and positions

    def image(self) -> np.ndarray:
        """Return what the robot's camera sees, (H, W, 3) uint8 BGR."""
        return self._render(self._eye, "camera")

    def from_above(self) -> np.ndarray:
        """Return a view from above, (OVERVIEW, OVERVIEW, 3) uint8 BGR."""
        return self._render(self._sky, "above")

    def _render(self, renderer: Any, camera: str) -> np.ndarray:
        self._model.light_diffuse[0] = self.world.daylight(self.time)
        renderer.update_scene(self._data, camera)
        return np.ascontiguousarray(renderer.render()[..., ::-1])

    # --- the truth

    @property
    def pose(self) -> tuple[float, float, float]:
        """Return where the robot truly is: x, y, yaw."""
        body = self._data.body("robot")
        return body.xpos[0], body.xpos[1], math.atan2(body.xmat[3], body.xmat[0])

    @property
    def speed(self) -> float:
        """Return the robot's true speed over the floor, m/s."""
        return float(np.hypot(*self._data.body("robot").cvel[3:5]))

    @property
    def target(self) -> np.ndarray:
        """Return the middle of the ball or of the sign, (3,) m."""
        return self._data.body(self._name).xpos.copy()

    @property
    def _name(self) -> str:
        return "ball" if self.world.target == "green_ball" else "sign"

    def optical(self, points: np.ndarray) -> np.ndarray:
        """Return (N, 3) points of the world in the camera's optical frame: right, down, ahead."""
        camera = self._data.camera("camera")
        return (np.asarray(points) - camera.xpos) @ camera.xmat.reshape(3, 3) * [1, -1, -1]

    def distance(self) -> float:
        """Return the camera's distance from the target's middle, over the floor, m."""
        x, _, z = self.optical(self.target)
        return math.hypot(x, z)

    def box(self) -> Box | None:
        """Return where the target is in the image, cut at its edges; None when its middle is out."""
        camera, middle = self.world.camera, self.optical(self.target)
        if middle[2] <= 0:
            return None
        if self.world.target == "green_ball":  # a sphere's outline touches planes through the camera
            sides = [
                [
                    math.tan(
                        math.atan2(a, middle[2])
                        + s * math.asin(min(BALL_RADIUS / math.hypot(a, middle[2]), 1))
                    )
                    for s in (-1, 1)
                ]
                for a in middle[:2]
            ]
            edges = np.array(sides).T
        else:
            body = self._data.body("sign")
            corners = self.optical(sign_corners() @ body.xmat.reshape(3, 3).T + body.xpos)
            if (corners[:, 2] <= 0).any():
                return None
            tangents = corners[:, :2] / corners[:, 2:]
            edges = np.array([tangents.min(0), tangents.max(0)])
        size = np.array([camera.width, camera.height])
        at = middle[:2] / middle[2] * camera.focal + size / 2
        if (at < 0).any() or (at > size).any():
            return None
        low, high = np.clip(edges * camera.focal + size / 2, 0, size)
        (x, y), (w, h) = low.tolist(), (high - low).tolist()
        return Box(self.world.target, x, y, w, h)

    def close(self) -> None:
        """Let go of the graphics."""
        self._eye.close()
        self._sky.close()

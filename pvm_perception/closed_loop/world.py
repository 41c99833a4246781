"""Scenes as MJCF: a yard with a green ball, a road with a stop sign; and the robot that drives there.

Metres, seconds, radians; x ahead of the robot's start, y to its left, z up. Each seed is another place:
other surfaces, other light, the target elsewhere. Nothing here needs MuJoCo.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from pvm_perception.closed_loop.robot import TRACK, WHEEL_RADIUS
from pvm_perception.closed_loop.textures import grey, masonry, png, road, slabs, surface
from pvm_perception.streams.scenes.paint import Rng, polygon_mask
from pvm_perception.streams.scenes.signs import WHITE, octagon, write

BALL_RADIUS, SIGN_SIZE = 0.1, 0.6  # as in worlds/ball_and_sign.sdf
STEP = 0.0025  # s of one step of the physics
OVERVIEW = 480  # px, either side of the view from above
TILED = 'texuniform="true" texrepeat="0.5 0.5"'  # a texture's side is 2 m
SIGN_RED = np.array([0.12, 0.09, 0.70], np.float32)  # BGR


@dataclass(frozen=True)
class Camera:
    """The robot's camera, level and straight ahead; a pinhole without distortion."""

    width: int = 640
    height: int = 480
    fovy: float = math.radians(48)  # vertical field of view
    ahead: float = 0.16  # m before the axle
    above: float = 0.2  # m over the floor

    @property
    def focal(self) -> float:
        """Return the focal length, px; pixels are square."""
        return self.height / 2 / math.tan(self.fovy / 2)

    @property
    def centre(self) -> tuple[float, float]:
        """Return the principal point, px, where whole numbers are the middles of pixels."""
        return (self.width - 1) / 2, (self.height - 1) / 2


@dataclass(frozen=True)
class World:
    """One scene.

    Attributes
    ----------
    target
        "green_ball" or "stop_sign".
    mjcf, assets
        For `mujoco.MjModel.from_xml_string`.
    camera
        The robot's.
    light
        Its mean, its change and the change's period and phase; see `daylight`.
    path : (N, 2) float, metres
        A closed line that the ball is driven along, in equal steps; empty where there is none.
    """

    target: str
    mjcf: str
    assets: dict[str, bytes]
    camera: Camera
    light: tuple[float, float, float, float]
    path: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))

    def daylight(self, time: float) -> np.ndarray:
        """Return the sun's colour (3,) RGB at a time: clouds come and go, and clouded is bluer."""
        mean, change, period, phase = self.light
        strength = mean + change * math.sin(2 * math.pi * time / period + phase)
        warmth = 0.06 * (strength - mean) / change
        return strength * np.array([1 + warmth, 1.0, 1 - warmth])


def ball_world(seed: int, camera: Camera | None = None) -> World:
    """Return a walled yard in which a ball of `BALL_RADIUS` rolls along a bent figure of eight.

    Parameters
    ----------
    seed
        Number of the place.
    camera
        Of the robot; None: the default one.
    """
    rng, camera = np.random.default_rng(seed), camera or Camera()
    path = _eight(rng)
    half = 4.5  # of the yard's side
    assets = {
        "floor.png": png(slabs(rng, grey(rng, 0.45, 0.65), 8)),
        "wall.png": png(masonry(rng)),
        "wood.png": png(surface(rng, np.array([0.2, 0.35, 0.5], np.float32), (512, 64))),
    }
    walls = "".join(
        _wall(f"wall{k}", (x, y), half, 2.5, along)
        for k, (x, y, along) in enumerate(((half, 0, "y"), (-half, 0, "y"), (0, half, "x"), (0, -half, "x")))
    )
    things = "".join(
        f'<geom name="thing{k}" type="box" size="{size}" pos="{pos}" {look}/>'
        for k, (size, pos, look) in enumerate(
            (
                ("0.25 0.6 0.4", "4.1 1.8 0.4", 'material="wood"'),
                ("0.3 0.2 0.25", "-4.1 -1.5 0.25", 'rgba="0.2 0.3 0.6 1"'),
                ("0.2 0.2 0.3", "1.5 4.1 0.3", 'rgba="0.65 0.15 0.12 1"'),
                ("0.5 0.2 0.35", "-1.5 -4.1 0.35", 'rgba="0.75 0.72 0.65 1"'),
            )
        )
    )
    ball = (
        f'<body name="ball" pos="{_numbers(*path[0], BALL_RADIUS)}"><freejoint/>'
        f'<geom name="ball" type="sphere" size="{BALL_RADIUS}" mass="0.2" condim="4" '
        f'material="ball"/></body>'
    )
    assets["ball.png"] = png(surface(rng, np.array([0.16, 0.62, 0.15], np.float32), (256, 256), 0.06))
    heading = path[10] - path[0]
    ahead = math.atan2(heading[1], heading[0])
    back = 1.2 + camera.ahead  # the ball begins a little too far away, and aside
    start = path[0] - back * np.array([math.cos(ahead), math.sin(ahead)])
    return World(
        "green_ball",
        _mjcf(
            camera,
            (*start, ahead + rng.uniform(-0.15, 0.15)),
            _floor(6) + walls + things + ball,
            (0.0, 0.0, 11.0),
            ("wall", "wood", "ball"),
        ),
        assets,
        camera,
        _light(rng),
        path,
    )


def sign_world(seed: int, camera: Camera | None = None) -> World:
    """Return a road along x between house walls, with a stop sign of `SIGN_SIZE` to its right.

    Parameters
    ----------
    seed
        Number of the place.
    camera
        Of the robot; None: the default one.
    """
    rng, camera = np.random.default_rng(seed), camera or Camera()
    assets = {
        "floor.png": png(surface(rng, grey(rng, 0.4, 0.55), (1024, 1024), 0.05)),
        "road.png": png(road(rng)),
        "wall.png": png(masonry(rng)),
        "sign.png": png(sign_face(512)),
    }
    at = (rng.uniform(5.5, 6.5), rng.uniform(-0.95, -0.7), rng.uniform(0.55, 0.7))
    turn = rng.uniform(-15, 15)  # degrees away from the road's direction
    scene = (
        '<geom name="road" type="box" material="road" size="9 0.6 0.001" pos="7 0 0.0005" '
        'contype="0" conaffinity="0"/>'
        + _wall("left_houses", (6, rng.uniform(2.5, 4)), 12, 4, "x")
        + _wall("right_houses", (6, -rng.uniform(2.5, 4)), 12, 4, "x")
        + _wall("last_house", (18, 0), 8, 5, "y")
        + f'<body name="sign" pos="{_numbers(*at)}" euler="0 0 {turn:.2f}">'
        f'<geom name="post" type="cylinder" size="0.02 {at[2] / 2:.4f}" '
        f'pos="0.035 0 {-at[2] / 2:.4f}" rgba="0.5 0.5 0.52 1"/>'
        f'<geom name="sign" type="mesh" mesh="sign" material="sign"/></body>'
    )
    return World(
        "stop_sign",
        _mjcf(
            camera,
            (0.0, rng.uniform(-0.1, 0.1), rng.uniform(-0.1, 0.1)),
            _floor(20) + scene,
            (4.5, 0.0, 10.5),
            ("road", "wall", "sign"),
            _sign_mesh(),
        ),
        assets,
        camera,
        _light(rng),
    )


def sign_face(size: int) -> np.ndarray:
    """Return the picture (size, size, 3) BGR uint8 of a stop sign's face, from corner to corner."""
    canvas = np.empty((size, size, 3), np.float32)
    canvas[:] = WHITE
    inner = polygon_mask((size, size), octagon(size, size * 0.94))[..., None]
    canvas += inner * (SIGN_RED - canvas)
    write(canvas, "STOP", (0.14 * size, 0.335 * size, 0.72 * size, 0.33 * size), 0.05 * size, WHITE)
    return (canvas * 255).round().astype(np.uint8)


def sign_corners() -> np.ndarray:
    """Return the corners (8, 3) of the sign's face in the sign's own frame; it looks along -x."""
    corners = octagon(SIGN_SIZE, SIGN_SIZE) - SIGN_SIZE / 2
    return np.column_stack([np.zeros(8), -corners[:, 0], -corners[:, 1]])


def _mjcf(
    camera: Camera,
    start: tuple[float, float, float],
    scene: str,
    above: tuple[float, float, float],
    materials: tuple[str, ...],
    meshes: str = "",
) -> str:
    """Return a whole model: the scene, the robot at x, y, yaw, the sun, and a camera above."""
    wide = max(camera.width, OVERVIEW), max(camera.height, OVERVIEW)
    looks = "".join(
        f'<texture name="{m}" type="2d" file="{m}.png"/>'
        f'<material name="{m}" texture="{m}" specular="0.1" shininess="0.1" '
        f"{'' if m in ('sign', 'ball', 'road') else TILED}/>"
        for m in ("floor", *materials)
    )
    # a span of 9 m fits the picture from above
    fovy = math.degrees(2 * math.atan(4.9 / above[2]))
    return f"""<mujoco model="closed_loop">
  <compiler angle="degree"/>
  <option timestep="{STEP}" integrator="implicitfast"/>
  <visual>
    <global offwidth="{wide[0]}" offheight="{wide[1]}"/>
    <quality offsamples="0"/>
    <headlight ambient="0.42 0.42 0.44" diffuse="0 0 0" specular="0 0 0"/>
    <map znear="0.005" zfar="20"/>
  </visual>
  <asset>
    <texture name="sky" type="skybox" builtin="gradient" rgb1="0.55 0.68 0.85" rgb2="0.85 0.88 0.9"
             width="64" height="384"/>
    {looks}{meshes}
  </asset>
  <worldbody>
    <light name="sun" directional="true" castshadow="false" pos="0 0 8" dir="0.5 -0.3 -0.8"/>
    <camera name="above" pos="{_numbers(*above)}" xyaxes="1 0 0 0 1 0" fovy="{fovy:.3f}"/>
    {scene}
    <body name="robot" pos="{_numbers(*start[:2], 0)}" euler="0 0 {math.degrees(start[2]):.4f}">
      <freejoint/>
      <geom name="chassis" type="box" size="0.14 0.1 0.04" pos="-0.02 0 0.09" mass="3"
            rgba="0.2 0.2 0.23 1"/>
      <geom name="mast" type="box" size="0.01 0.02 0.05" mass="0.1" rgba="0.85 0.5 0.1 1"
            pos="{_numbers(camera.ahead - 0.05, 0, camera.above - 0.05)}"/>
      <geom name="caster" type="sphere" size="0.025" pos="-0.12 0 0.025" condim="1" mass="0.1"/>
      <camera name="camera" pos="{_numbers(camera.ahead, 0, camera.above)}" xyaxes="0 -1 0 0 0 1"
              fovy="{math.degrees(camera.fovy):.6f}"/>
      {_wheel("left", TRACK / 2)}{_wheel("right", -TRACK / 2)}
    </body>
  </worldbody>
  <actuator>
    <velocity name="left" joint="left" kv="1" forcerange="-2 2"/>
    <velocity name="right" joint="right" kv="1" forcerange="-2 2"/>
  </actuator>
</mujoco>
"""


def _wheel(name: str, y: float) -> str:
    return (
        f'<body name="{name}" pos="0 {y:.4f} {WHEEL_RADIUS}"><joint name="{name}" type="hinge" '
        f'axis="0 1 0"/><geom name="{name}" type="cylinder" size="{WHEEL_RADIUS} 0.012" '
        f'euler="90 0 0" mass="0.2" friction="1.2 0.005 0.0001" rgba="0.1 0.1 0.1 1"/></body>'
    )


def _floor(half: float) -> str:
    return f'<geom name="floor" type="plane" size="{half} {half} 0.1" material="floor"/>'


def _wall(name: str, at: tuple[float, float], half: float, height: float, along: str) -> str:
    """Return a wall along x or y; textures lie in a box's own x and y, so that it is laid on its side."""
    axes = {"x": "1 0 0 0 0 1", "y": "0 1 0 0 0 1"}[along]
    return (
        f'<geom name="{name}" type="box" material="wall" size="{_numbers(half, height / 2, 0.1)}" '
        f'pos="{_numbers(*at, height / 2)}" xyaxes="{axes}"/>'
    )


def _sign_mesh() -> str:
    """Return the mesh of an octagonal plate of 1 cm; its front has the face, all else the rim."""
    front = sign_corners()
    back = front + [0.01, 0, 0]
    face = octagon(1, 1)  # of the texture, whose origin is at its top left
    rim = np.full((8, 2), [0.5, 0.99])
    # the front's corners are there twice: for the face, and for the sides, which take the rim's colour
    vertices, texture = np.concatenate([front, front, back]), np.concatenate([face, rim, rim])
    faces = [corner for k in range(1, 7) for corner in ((0, k + 1, k), (16, 16 + k, 17 + k))]
    for k in range(8):
        here, there = 8 + k, 8 + (k + 1) % 8
        faces += [(here, there, 8 + there), (here, 8 + there, 8 + here)]
    return (
        f'<mesh name="sign" smoothnormal="false" vertex="{_numbers(*vertices.ravel())}" '
        f'texcoord="{_numbers(*texture.ravel())}" '
        f'face="{" ".join(str(i) for face in faces for i in face)}"/>'
    )


def _eight(rng: Rng) -> np.ndarray:
    """Return a figure of eight, bent a little otherwise for each seed, in steps of 2 cm."""
    t = np.linspace(0, 2 * np.pi, 4000)
    bend = rng.uniform(-0.25, 0.25, 2)
    x = 2.4 * np.sin(t) + bend[0] * np.sin(3 * t)
    y = 1.5 * np.sin(2 * t) + bend[1] * np.sin(t)
    way = np.concatenate([[0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    even = np.arange(0, way[-1], 0.02)
    return np.column_stack([np.interp(even, way, x), np.interp(even, way, y)])


def _light(rng: Rng) -> tuple[float, float, float, float]:
    return rng.uniform(0.65, 0.8), rng.uniform(0.15, 0.25), rng.uniform(12, 25), rng.uniform(0, 6.3)


def _numbers(*values: float) -> str:
    return " ".join(f"{v:.5f}" for v in values)

"""Solid things, drawn by panda3d's software renderer: no GPU, no window, one engine a process.

Textures have no mipmaps (the renderer does not heed them under a texture's scale): whoever makes one
makes it about as large as it is seen.
"""

from __future__ import annotations

import weakref
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from pvm_perception.errors import PvmError

NEEDS = "panda3d~=1.10.15"  # as requirements/solid.txt pins and setup.py's extra asks
SETTINGS = """
load-display p3tinydisplay
audio-library-name null
notify-level error
garbage-collect-states 0
texture-quality-level best
"""
NEAR_FAR = (0.04, 150.0)  # m
LARGEST = 256  # px, of a texture
PICTURE, LABELS = 0, 1  # bits of the two cameras
STEP = 40  # grey levels from target to target in the picture of labels
NUMBERS = ((np.arange(256) + STEP // 2) // STEP).astype(np.uint8)  # of grey levels, which are drawn roughly


@lru_cache(maxsize=1)
def panda() -> Any:
    """Return the module `panda3d.core`, set to draw in software.

    Raises
    ------
    PvmError
        panda3d is not installed.
    """
    try:
        import panda3d.core as module
    except ImportError as error:
        raise PvmError(
            f"solid scenes need panda3d ({error}); run `python -m pip install '{NEEDS}'` or leave --solid out"
        ) from error
    module.load_prc_file_data("", SETTINGS)
    # by default things are drawn in the order of addresses, which shows where two are equally far
    bins = module.CullBinManager.get_global_ptr()
    bins.set_bin_type(bins.find_bin("opaque"), module.CullBinManager.BT_unsorted)
    return module


@lru_cache(maxsize=1)
def _outputs() -> tuple[Any, Any, dict]:
    """Return this process's engine and pipe, and what they draw into, by size."""
    pipes = panda().GraphicsPipeSelection.get_global_ptr()
    return panda().GraphicsEngine.get_global_ptr(), pipes.make_pipe("TinyOffscreenGraphicsPipe"), {}


def _output(rows: int, cols: int, bit: int) -> tuple[Any, Any, Any]:
    """Return the buffer for pictures of a size, the region in it and the memory it is copied to."""
    engine, pipe, made = _outputs()
    if (rows, cols, bit) not in made:
        p = panda()
        kind = p.FrameBufferProperties()
        kind.set_rgba_bits(8, 8, 8, 8)
        kind.set_depth_bits(16)
        buffer = engine.make_output(
            pipe, "", 0, kind, p.WindowProperties.size(cols, rows), p.GraphicsPipe.BF_refuse_window
        )
        memory = p.Texture()
        buffer.add_render_texture(memory, p.GraphicsOutput.RTM_copy_ram)
        made[rows, cols, bit] = (buffer, buffer.make_display_region(), memory)
    return made[rows, cols, bit]


def power_of_two(pixels: float) -> int:
    """Return how large a texture is that is seen so many pixels large."""
    return int(np.clip(2 ** np.ceil(np.log2(max(pixels, 1.0))), 8, LARGEST))


def texture(picture: np.ndarray, repeat: bool = True, smooth: bool = True) -> Any:
    """Return the texture of a picture (H, W, 3 or 4) uint8 with sides that are powers of two.

    One that is not `smooth` is drawn in half the time: enough where its pixels are small.

    Parameters
    ----------
    picture
        (H, W, 3 or 4) uint8 BGR or BGR and alpha; its sides are powers of two.
    repeat
        Whether it goes on beyond its edges; else the edge's colours do.
    smooth
        Whether its pixels are interpolated. Without, it is drawn in half the time: enough where they are
        small.
    """
    p = panda()
    rows, cols, channels = picture.shape
    made = p.Texture()
    made.setup_2d_texture(
        cols, rows, p.Texture.T_unsigned_byte, p.Texture.F_rgba if channels == 4 else p.Texture.F_rgb
    )
    made.set_ram_image(np.ascontiguousarray(picture[::-1]).tobytes())
    filtering = p.SamplerState.FT_linear if smooth else p.SamplerState.FT_nearest
    made.set_minfilter(filtering)
    made.set_magfilter(filtering)
    if not repeat:
        made.set_wrap_u(p.SamplerState.WM_clamp)
        made.set_wrap_v(p.SamplerState.WM_clamp)
    return made


def card_picture(sprite: np.ndarray, pixels: float) -> np.ndarray:
    """Return the picture of a sprite for a card, (S, S, 4) uint8.

    Its colours go on where it is transparent, so that its rim has no other.

    Parameters
    ----------
    sprite
        (h, w, 4), premultiplied, 0..1.
    pixels
        About how high the card is seen, pixels; S is a power of two.
    """
    side = power_of_two(pixels)
    kind = cv2.INTER_AREA if sprite.shape[0] > side else cv2.INTER_LINEAR
    small = cv2.resize(sprite, (side, side), interpolation=kind)
    alpha = small[..., 3:]
    mean = small[..., :3].sum((0, 1)) / max(float(alpha.sum()), 1e-3)
    bgr = np.where(alpha > 0.1, small[..., :3] / np.maximum(alpha, 0.1), mean)
    return (np.concatenate([bgr, alpha], axis=2).clip(0, 1) * 255 + 0.5).astype(np.uint8)


@lru_cache(maxsize=1)
def soft_disc() -> Any:
    """Return the texture of a shadow's shape: there in the middle, gone at the rim."""
    axis = np.linspace(-1, 1, 32)
    there = np.clip(1.2 - 1.2 * np.hypot(axis, axis[:, None]), 0, 1)
    return texture(np.repeat((there * 255).astype(np.uint8)[..., None], 4, axis=2), repeat=False)


def _let_go(root: Any) -> None:
    """Break the rings that keep a place in memory: lit places hold lamps, lamps places; states states."""
    root.clear_light()
    panda().RenderState.clear_cache()


class World:
    """Things in a place, lit, and two cameras on one spot: one sees the picture, one what is what."""

    def __init__(self, fov: tuple[float, float]) -> None:
        p = panda()
        self.root = p.NodePath("")
        weakref.finalize(self, _let_go, self.root)
        self.sky = np.zeros(3)  # BGR of what is beyond everything
        lens = p.PerspectiveLens()
        lens.set_fov(*np.degrees(fov))
        lens.set_near_far(*NEAR_FAR)
        self.cameras = [p.Camera("", lens), p.Camera("", lens)]
        self.eye = self.root.attach_new_node("")
        self.views = [self.eye.attach_new_node(camera) for camera in self.cameras]
        for bit, camera in enumerate(self.cameras):
            camera.set_camera_mask(p.BitMask32.bit(bit))
        self.cameras[LABELS].set_initial_state(self._flat(0, 1, cut=True))
        self.cameras[LABELS].set_tag_state_key("target")
        self.cameras[LABELS].set_tag_state("0", self._flat(0, 2))  # what hides all of what is behind it
        self.targets = 0

    @staticmethod
    def _flat(grey: int, priority: int, mask: Any = None, cut: bool = False) -> Any:
        """Return the state in which a thing is seen in one grey level, whatever its colours.

        It has the outline of a mask, or, `cut`, that of its own skin, for which it must be black.
        """
        p = panda()
        state = p.RenderState.make(
            p.ColorAttrib.make_flat((grey / 255, grey / 255, grey / 255, 1)),
            p.LightAttrib.make_all_off(),
            p.ColorScaleAttrib.make_off(),
            priority,
        )
        if cut:
            return state
        skin = p.TextureAttrib.make(mask) if mask is not None else p.TextureAttrib.make_all_off()
        return state.add_attrib(skin, priority)

    def light(self, ambient: np.ndarray, sun: np.ndarray, towards: np.ndarray) -> None:
        """Light everything.

        Parameters
        ----------
        ambient
            (3,) BGR of the sky's light, 0..1.
        sun
            (3,) BGR of the sun's light, 0..1.
        towards
            (3,) the direction in which it shines.
        """
        p = panda()
        for lamp, colour in ((p.AmbientLight(""), ambient), (p.DirectionalLight(""), sun)):
            lamp.set_color((*map(float, colour[::-1]), 1))
            node = self.root.attach_new_node(lamp)
            self.root.set_light(node)
        node.look_at(*map(float, towards))

    def add(self, shape: Any, skin: Any, tint: np.ndarray | None = None) -> Any:
        """Return the node of a new thing.

        Parameters
        ----------
        shape
            Its triangles, as `meshes` makes them.
        skin
            Its texture; what has an alpha below a half is not there.
        tint
            (3,) BGR by which the texture's colours are multiplied; None leaves them.
        """
        p = panda()
        geometry = p.GeomNode("")
        geometry.add_geom(shape)
        node = self.root.attach_new_node(geometry)
        node.set_texture(skin)
        if skin.get_num_components() == 4:
            node.set_transparency(p.TransparencyAttrib.M_binary)
        else:
            node.set_tag("target", "0")
        if tint is not None:
            node.set_color_scale(*map(float, tint[::-1]), 1)
        return node

    @staticmethod
    def repeat(node: Any, across: float, up: float) -> None:
        """Repeat a thing's skin.

        Parameters
        ----------
        node
            Of the thing.
        across, up
            How often, in either direction of the texture.
        """
        node.set_tex_scale(panda().TextureStage.get_default(), float(across), float(up))

    @staticmethod
    def gloss(node: Any, strength: float, sharpness: float) -> None:
        """Let a thing shine.

        Parameters
        ----------
        node
            Of the thing.
        strength
            Of the highlight, 0..1.
        sharpness
            Exponent of the highlight; larger ones make it smaller.
        """
        material = panda().Material()
        material.set_ambient((1, 1, 1, 1))
        material.set_diffuse((1, 1, 1, 1))
        material.set_specular((strength, strength, strength, 1))
        material.set_shininess(float(sharpness))
        node.set_material(material)

    @staticmethod
    def veil(node: Any, opacity: float) -> None:
        """Make a thing a shadow: black, see-through, and hiding no target.

        Parameters
        ----------
        node
            Of the thing.
        opacity
            0..1.
        """
        p = panda()
        node.set_light_off()
        node.set_color_scale(0, 0, 0, float(opacity))
        node.set_transparency(p.TransparencyAttrib.M_alpha)
        node.set_depth_write(False)
        node.hide(p.BitMask32.bit(LABELS))

    @staticmethod
    def move(node: Any, pose: np.ndarray) -> None:
        """Put a thing somewhere.

        Parameters
        ----------
        node
            Of the thing.
        pose
            (4, 4), whose rows are the thing's axes and its place, m.
        """
        node.set_mat(panda().LMatrix4f(*pose.ravel().tolist()))

    def name(self, node: Any, mask: Any = None) -> None:
        """Make a thing the next target.

        Parameters
        ----------
        node
            Of the thing.
        mask
            Texture of the thing's skin in white; None where all of it is solid.
        """
        self.targets += 1
        node.set_tag("target", str(self.targets))
        self.cameras[LABELS].set_tag_state(str(self.targets), self._flat(self.targets * STEP, 2, mask))

    def look(
        self, eye: np.ndarray, rows: int, cols: int, labels: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return what is seen from a pose.

        Parameters
        ----------
        eye
            (4, 4), whose rows are the directions to the right, forward and up, and the place, m.
        rows, cols
            Size of the picture, pixels.
        labels
            Whether the second picture is made.

        Returns
        -------
        picture, targets
            (rows, cols, 3) uint8 BGR; (rows, cols), which target each pixel shows: the first is 1, none is 0.
            Without `labels` the second is None.
        """
        p = panda()
        engine, _, made = _outputs()
        self.eye.set_mat(p.LMatrix4f(*eye.ravel().tolist()))
        passes = [PICTURE, LABELS] if labels else [PICTURE]
        seen = [_output(rows, cols, bit) for bit in passes]
        for buffer, _, _ in made.values():
            buffer.set_active(False)
        for bit, (buffer, region, _) in zip(passes, seen, strict=True):
            buffer.set_active(True)
            region.set_camera(self.views[bit])
            buffer.set_clear_color((*map(float, self.sky[::-1]), 1) if bit == PICTURE else (0, 0, 0, 1))
        engine.render_frame()
        drawn = [
            np.frombuffer(memory.get_ram_image(), np.uint8).reshape(rows, cols, 4)  # last row first
            for _, _, memory in seen
        ]
        picture = cv2.flip(cv2.cvtColor(drawn[0], cv2.COLOR_BGRA2BGR), 0)
        if not labels:
            return picture, None
        return picture, cv2.flip(NUMBERS[cv2.extractChannel(drawn[1], 0)], 0)

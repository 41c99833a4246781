"""Sun, sky with clouds, and the robot's own lamp at night."""

from __future__ import annotations

import math

import bpy
from days import Day
from materials import Nodes

DAYLIGHT = 0.12  # the sky texture's own brightness → that of the film


def illuminate(day: Day, camera: bpy.types.Object) -> None:
    """Give the scene the light of a day.

    Parameters
    ----------
    day
        Its light and its camera's exposure.
    camera
        At night it carries a small lamp.
    """
    scene, light = bpy.context.scene, day.light
    scene.view_settings.view_transform = "AgX"
    scene.view_settings.look = "AgX - Medium High Contrast"
    scene.view_settings.exposure = light.exposure
    up, right = (math.radians(a) for a in light.sun)
    sun = bpy.data.lights.new("sun", "SUN")
    sun.energy, sun.color, sun.angle = light.strength, light.colour, math.radians(light.width)
    thing = bpy.data.objects.new("sun", sun)
    thing.rotation_euler = (math.pi / 2 - up, 0, math.pi - right)
    scene.collection.objects.link(thing)
    _sky(scene.world, up, right, light.sky, light.clouds)
    if day.night:
        lamp = bpy.data.lights.new("headlight", "SPOT")
        lamp.energy, lamp.color = 45.0, (1.0, 0.93, 0.82)
        lamp.spot_size, lamp.spot_blend, lamp.shadow_soft_size = 1.15, 0.8, 0.03
        carried = bpy.data.objects.new("headlight", lamp)
        carried.location, carried.parent = (0.0, -0.12, 0.0), camera
        scene.collection.objects.link(carried)


def _sky(world: bpy.types.World, up: float, right: float, strength: float, clouds: float) -> None:
    """Paint the sky: the atmosphere's own colour at that sun, and clouds in front of it."""
    world.use_nodes = True
    world.cycles.sampling_method, world.cycles.sample_map_resolution = "MANUAL", 256
    nodes = Nodes(world.node_tree)
    way = nodes.add("TexCoord").outputs["Generated"]
    air = nodes.add("TexSky", sky_type="MULTIPLE_SCATTERING", sun_disc=False, sun_elevation=up)
    air.sun_rotation = right
    clear = nodes.add("Mix", data_type="RGBA", blend_type="MULTIPLY")
    clear.inputs[0].default_value = 1.0
    nodes.tree.links.new(air.outputs[0], clear.inputs[6])
    clear.inputs[7].default_value = (DAYLIGHT,) * 3 + (1,)
    x, y, z = nodes.add("SeparateXYZ", {0: way}).outputs
    height = nodes.number("ADD", nodes.number("MAXIMUM", z, 0.0), 0.18)
    flat = nodes.add(
        "CombineXYZ", {0: nodes.number("DIVIDE", x, height), 1: nodes.number("DIVIDE", y, height)}
    ).outputs[0]
    shape = nodes.noise(flat, 1.1, 4)
    low = 0.72 - 0.5 * clouds
    share = nodes.between(shape, low, low + 0.16)
    bright = min(1.0, 0.25 + math.sin(up) * 1.1)
    warm = max(0.0, 0.35 - math.sin(up)) * 1.6
    shade = nodes.between(shape, 0.8, 0.3)
    white = (0.85 * bright, (0.86 - 0.3 * warm) * bright, (0.9 - 0.55 * warm) * bright)
    cloud = nodes.mix(shade, tuple(0.55 * c for c in white), white)
    seen = nodes.mix(share, clear.outputs[2], cloud)
    back = nodes.add("Background", {"Color": seen, "Strength": strength})
    nodes.add("OutputWorld", {"Surface": back.outputs[0]})

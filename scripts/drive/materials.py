"""Materials, all procedural: their patterns are functions of the place, so that nothing needs a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import bpy

Colour = Sequence[float]  # red, green, blue; linear, 0..1


class Nodes:
    """The node tree of a material or world, as formulas.

    Parameters
    ----------
    tree
        Is emptied.
    """

    def __init__(self, tree: bpy.types.NodeTree) -> None:
        self.tree = tree
        tree.nodes.clear()

    def add(self, kind: str, inputs: dict[str | int, Any] | None = None, **settings: Any) -> Any:
        """Add a node; return it.

        Parameters
        ----------
        kind
            Name of its class, without `ShaderNode`.
        inputs
            Its inputs by name or number: a number, a colour, or another node's output.
        **settings
            Its properties.
        """
        node = self.tree.nodes.new(f"ShaderNode{kind}")
        for name, value in settings.items():
            setattr(node, name, value)
        for name, value in (inputs or {}).items():
            if isinstance(value, bpy.types.NodeSocket):
                self.tree.links.new(value, node.inputs[name])
            elif isinstance(value, (tuple, list)) and len(value) == 3 and node.inputs[name].type == "RGBA":
                node.inputs[name].default_value = (*value, 1)
            else:
                node.inputs[name].default_value = value
        return node

    def noise(self, place: Any, scale: float, detail: float = 3.0) -> Any:
        """Return noise about 0.5.

        Parameters
        ----------
        place
            Where: an output of positions.
        scale
            Waves a metre.
        detail
            Octaves.
        """
        return self.add("TexNoise", {"Vector": place, "Scale": scale, "Detail": detail}).outputs[0]

    def between(self, share: Any, low: float, high: float) -> Any:
        """Return 0 below `low`, 1 above `high`, and a straight line between.

        Parameters
        ----------
        share
            The number.
        low, high
            Where the line begins and ends.
        """
        return self.add("MapRange", {"Value": share, "From Min": low, "From Max": high}).outputs[0]

    def mix(self, share: Any, first: Any, second: Any) -> Any:
        """Return a mixture of two colours.

        Parameters
        ----------
        share
            Of the second, 0..1.
        first, second
            Colours or outputs.
        """
        node = self.add("Mix", data_type="RGBA")
        for name, value in ((0, share), (6, first), (7, second)):
            if isinstance(value, bpy.types.NodeSocket):
                self.tree.links.new(value, node.inputs[name])
            else:
                node.inputs[name].default_value = value if name == 0 else (*value, 1)
        return node.outputs[2]

    def number(self, operation: str, first: Any, second: Any = 0.0) -> Any:
        """Return the outcome of an operation of the Math node.

        Parameters
        ----------
        operation
            Its name in Blender.
        first, second
            Numbers or outputs.
        """
        return self.add("Math", {0: first, 1: second}, operation=operation).outputs[0]

    def surface(self, bump: Any = None, depth: float = 0.0, **inputs: Any) -> None:
        """End a material.

        Parameters
        ----------
        bump
            Height of the surface, or None for a smooth one.
        depth
            What a height of 1 is, m.
        **inputs
            Of the Principled BSDF; `_` stands for a space.
        """
        named = {k.replace("_", " "): v for k, v in inputs.items()}
        if bump is not None:
            raised = self.add("Bump", {"Height": bump, "Distance": depth, "Strength": 1.0})
            named["Normal"] = raised.outputs[0]
        shader = self.add("BsdfPrincipled", named)
        self.add("OutputMaterial", {"Surface": shader.outputs[0]})


def _new(name: str) -> tuple[bpy.types.Material, Nodes, Any]:
    """Return a material, its nodes, and the output that gives the place in the world."""
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    nodes = Nodes(material.node_tree)
    return material, nodes, nodes.add("NewGeometry").outputs["Position"]


def plain(name: str, colour: Colour, rough: float = 0.6, **inputs: Any) -> bpy.types.Material:
    """Return a material of one colour.

    Parameters
    ----------
    name
        Of the material.
    colour
        Of the surface.
    rough
        0 mirrors, 1 is dull.
    **inputs
        As `Nodes.surface` takes them.
    """
    material, nodes, _ = _new(name)
    nodes.surface(Base_Color=(*colour, 1), Roughness=rough, **inputs)
    return material


def mottled(
    name: str,
    dark: Colour,
    light: Colour,
    scale: float,
    depth: float = 0.002,
    rough: float = 0.85,
    stretch: Colour = (1, 1, 1),
) -> bpy.types.Material:
    """Return a material of two colours that change irregularly: plaster, bark, concrete, wood.

    Parameters
    ----------
    name
        Of the material.
    dark, light
        The two colours.
    scale
        Waves a metre.
    depth
        Of its relief, m.
    rough
        0 mirrors, 1 is dull.
    stretch
        Factors on the scale in x, y and z.
    """
    material, nodes, place = _new(name)
    place = nodes.add("VectorMath", {0: place, 1: stretch}, operation="MULTIPLY").outputs[0]
    fine, coarse = nodes.noise(place, scale, 3), nodes.noise(place, scale / 9, 2)
    share = nodes.between(nodes.number("ADD", fine, coarse), 0.7, 1.3)
    nodes.surface(fine, depth, Base_Color=nodes.mix(share, dark, light), Roughness=rough)
    return material


def bricks(name: str, first: Colour, second: Colour, mortar: Colour, width: float, upright: bool = True):
    """Return masonry, or paving, in rows.

    Parameters
    ----------
    name
        Of the material.
    first, second
        Between these the colour of the bricks varies.
    mortar
        Colour of the joints.
    width
        Of a brick, m; it is a third as high in a wall, half as long on the ground.
    upright
        Whether it is a wall along x or y, not the ground.
    """
    material, nodes, place = _new(name)
    x, y, z = nodes.add("SeparateXYZ", {0: place}).outputs
    flat = (nodes.number("ADD", x, y), z) if upright else (x, y)
    at = nodes.add("CombineXYZ", {0: flat[0], 1: flat[1]}).outputs[0]
    rows = width / (3 if upright else 2)
    wall = nodes.add(
        "TexBrick",
        {
            "Vector": at,
            "Color1": first,
            "Color2": second,
            "Mortar": mortar,
            "Scale": 1.0,
            "Mortar Size": width / 25,
            "Mortar Smooth": 0.2,
            "Brick Width": width,
            "Row Height": rows,
        },
    )
    dirt = nodes.between(nodes.noise(place, 1.3, 2), 0.3, 0.8)
    stained = nodes.add("Mix", data_type="RGBA", blend_type="MULTIPLY")
    nodes.tree.links.new(dirt, stained.inputs[0])
    nodes.tree.links.new(wall.outputs[0], stained.inputs[6])
    stained.inputs[7].default_value = (0.62, 0.6, 0.58, 1)
    height = nodes.number("SUBTRACT", nodes.noise(place, 60, 2), wall.outputs["Fac"])
    nodes.surface(height, 0.004, Base_Color=stained.outputs[2], Roughness=0.85)
    return material


def asphalt(wet: float) -> bpy.types.Material:
    """Return the lane: stones in tar, patches, and after rain a film of water with puddles.

    Parameters
    ----------
    wet
        0 is dry, 1 is after a night of rain.
    """
    material, nodes, place = _new("asphalt")
    stones, patches = nodes.noise(place, 55, 3), nodes.noise(place, 0.6, 3)
    worn = nodes.mix(nodes.between(patches, 0.36, 0.64), (0.062, 0.06, 0.06), (0.135, 0.131, 0.125))
    grains = nodes.between(nodes.noise(place, 130, 1), 0.35, 0.7)
    base = nodes.mix(grains, (0.035, 0.034, 0.034), worn)
    bent = nodes.add("VectorMath", {0: place, 1: nodes.noise(place, 1.6, 5)}, operation="ADD").outputs[0]
    cracks = nodes.add("TexVoronoi", {"Vector": bent, "Scale": 0.3}, feature="DISTANCE_TO_EDGE")
    broken = nodes.number("ADD", cracks.outputs[0], nodes.between(nodes.noise(place, 0.9, 2), 0.42, 1.2))
    base = nodes.mix(nodes.between(broken, 0.003, 0.009), (0.02, 0.02, 0.02), base)
    if not wet:
        nodes.surface(stones, 0.0035, Base_Color=base, Roughness=0.88)
        return material
    puddle = nodes.between(nodes.noise(place, 0.55, 3), 0.50, 0.56)
    dark = nodes.mix(0.55 * wet, base, (0.012, 0.012, 0.013))
    dry = nodes.number("SUBTRACT", 1.0, puddle)
    nodes.surface(
        nodes.number("MULTIPLY", stones, dry),
        0.003,
        Base_Color=dark,
        Roughness=nodes.number("ADD", nodes.number("MULTIPLY", dry, 0.30), 0.04),
        IOR=1.33,
        Coat_Weight=0.3,
        Coat_Roughness=0.08,
    )
    return material


def leaf(name: str, dark: Colour, light: Colour) -> bpy.types.Material:
    """Return leaves or grass: light shines through, and no two are quite alike.

    Parameters
    ----------
    name
        Of the material.
    dark, light
        Between these their colour varies.
    """
    material, nodes, place = _new(name)
    share = nodes.between(
        nodes.number("ADD", nodes.noise(place, 14, 2), nodes.noise(place, 0.8, 1)), 0.7, 1.3
    )
    colour = nodes.mix(share, dark, light)
    front = nodes.add("BsdfPrincipled", {"Base Color": colour, "Roughness": 0.5})
    through = nodes.add("BsdfTranslucent", {"Color": colour})
    both = nodes.add("MixShader", {0: 0.35, 1: front.outputs[0], 2: through.outputs[0]})
    nodes.add("OutputMaterial", {"Surface": both.outputs[0]})
    return material


def striped(name: str, first: Colour, second: Colour, width: float) -> bpy.types.Material:
    """Return slanted stripes, as barriers have them.

    Parameters
    ----------
    name
        Of the material.
    first, second
        Colours of the stripes.
    width
        Of a pair of stripes, m.
    """
    material, nodes, _ = _new(name)
    place = nodes.add("TexCoord").outputs["Object"]
    x, _y, z = nodes.add("SeparateXYZ", {0: place}).outputs
    phase = nodes.number("FRACT", nodes.number("DIVIDE", nodes.number("ADD", x, z), width))
    nodes.surface(
        Base_Color=nodes.mix(nodes.number("GREATER_THAN", phase, 0.5), first, second), Roughness=0.45
    )
    return material


def rubber(name: str, colour: Colour, line: Colour) -> bpy.types.Material:
    """Return a play ball's skin: two great circles of another colour show how it rolls.

    Parameters
    ----------
    name
        Of the material.
    colour
        Of the ball.
    line
        Of the circles.
    """
    material, nodes, _ = _new(name)
    place = nodes.add("TexCoord").outputs["Object"]
    x, y, _z = nodes.add("SeparateXYZ", {0: place}).outputs
    nearest = nodes.number("MINIMUM", nodes.number("ABSOLUTE", x), nodes.number("ABSOLUTE", y))
    scuffs = nodes.between(nodes.noise(place, 25, 4), 0.35, 0.75)
    worn = nodes.mix(nodes.number("MULTIPLY", scuffs, 0.25), colour, tuple(0.55 * c for c in colour))
    nodes.surface(
        nodes.noise(place, 300, 2),
        0.0006,
        Base_Color=nodes.mix(nodes.between(nearest, 0.003, 0.0045), line, worn),
        Roughness=0.42,
    )
    return material

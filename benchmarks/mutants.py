"""Model files that somebody bent: odd values, neighbours of good configurations, broken bytes."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import struct
from typing import Any

import numpy as np
from safetensors.numpy import save

from pvm_perception.core import size
from pvm_perception.core.config import MOTION, Forecast, HierarchyConfig, Layer, Learning, Link, ReadoutConfig
from pvm_perception.core.model_file import FORMAT
from pvm_perception.errors import PvmError

AFFORDABLE = 1 << 22  # multiply-adds of a frame up to which an accepted mutant is run, not only loaded
HUGE = 10**300  # ints beyond are no floats
SHIPPED_CALIBRATION = [2.26, 1.22]
ODD: tuple[Any, ...] = (
    0,
    1,
    2,
    3,
    7,
    16,
    255,
    1024,
    1025,
    -1,
    0.5,
    1.0,
    1e-3,
    1e9,
    1e308,
    2**31,
    2**63,
    10**400,
    float("nan"),
    float("inf"),
    True,
    False,
    None,
    "",
    "L1",
    "input",
    "motion",
    "readout",
    "x" * 5000,
    "a\nb",
    "\x1b[2J",
    [],
    [1],
    [1, 1],
    [0, 0],
    [2, 3],
    ["a", "b"],
    [0.5],
    [[]],
    {},
    {"a": 1},
    "box",
    "heatmap",
    "square",
)


def base(which: int) -> HierarchyConfig:
    """Return one of four small networks: as `robot` without and with foresight, tanh codes, as `paper`."""
    cheap = ("signal", "error")
    links = [
        Link("input", "L1", "feedforward", 1, shape="square"),
        Link("L1", "L1", "lateral", 1),
        Link("L1", "L2", "feedforward"),
        Link("L2", "L1", "feedback"),
        Link("L3", "L1", "global"),
        Link("L2", "L3", "feedforward"),
        Link(MOTION, "L1"),
    ]
    layers = (
        Layer("L1", 6, 8, 6, children=(1, 1), terms=cheap),
        Layer("L2", 3, 4, 9, terms=cheap),
        Layer("L3", 1, 1, 5, children=(3, 4), terms=("signal",)),
    )
    if which in (0, 3):
        readout = ReadoutConfig(radius=(0, 1), cells="L2", memory=1, mixing=7, hidden=10)
        return HierarchyConfig(
            "small",
            height=24,
            width=32,
            block=4,
            layers=layers,
            links=tuple(links),
            activation="leaky",
            normalise=True,
            readout=readout,
            forecast=Forecast(code=5 if which else 0, scales=2),
            learning=Learning("muon"),
        )
    if which == 1:
        return HierarchyConfig(
            "small",
            height=24,
            width=32,
            block=4,
            links=tuple(links),
            layers=tuple(dataclasses.replace(k, terms=Layer("x").terms) for k in layers),
        )
    return HierarchyConfig(
        "small",
        height=24,
        width=32,
        block=4,
        layers=layers,
        links=tuple(links),
        shared=False,
        activation="polynomial",
        output="activation",
        schedule="parallel",
        low=0.0,
        readout=ReadoutConfig("heatmap", hidden=8),
        learning=Learning("momentum"),
    )


def places(tree: Any, path: tuple = ()) -> list[tuple]:
    """Return the paths of all values in plain data."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(p for key, value in items for p in places(value, (*path, key)))]


def replaced(tree: Any, path: tuple, change: Any) -> Any:
    """Return plain data in which the value at a path went through `change`."""
    if not path:
        return change(tree)
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[path[0]] = replaced(copy[path[0]], path[1:], change)
    return copy


def bent(value: Any, draw: random.Random) -> Any:
    """Return another value: an odd one, or one a little away."""
    if isinstance(value, list) and value and draw.random() < 0.6:
        some = [draw.choice(value) for _ in range(draw.randint(0, len(value) + 1))]
        return draw.choice((value[::-1], value[:-1], [*value, draw.choice(value)], some, value * 40))
    if isinstance(value, dict) and value and draw.random() < 0.6:
        gone = draw.choice(list(value))
        return draw.choice(
            (
                {k: v for k, v in value.items() if k != gone},
                value | {"odd": 1},
                value | {gone: draw.choice(ODD)},
            )
        )
    if isinstance(value, (int, float)) and not isinstance(value, bool) and draw.random() < 0.5:
        if abs(value) > HUGE:  # an int that was bent before: no float holds it
            return draw.choice((value + 1, value - 1, value * 2, value // 2, -value))
        return draw.choice((value + 1, value - 1, value * 2, value / 2, -value, value + 0.5, float(value)))
    return draw.choice(ODD)


def neighbour(config: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """Return a configuration of another shape that may well be valid: what the kernels then have to run."""
    layers, links, readout = config["layers"], config["links"], config["readout"]
    names = [layer["name"] for layer in layers]
    for _ in range(draw.randint(1, 4)):
        kind = draw.randrange(9)
        layer, link = draw.choice(layers), draw.choice(links)
        if kind == 0:
            layer["rows"], layer["cols"] = draw.randint(1, 9), draw.randint(1, 12)
        elif kind == 1:
            layer["code"] = draw.choice((1, 2, 15, 16, 17, 33, 64))
        elif kind == 2:
            layer["children"] = [draw.randint(1, 6), draw.randint(1, 8)]
        elif kind == 3:
            link["radius"], link["shape"] = draw.choice((0, 1, 2, 5, 16)), draw.choice(("disk", "square"))
        elif kind == 4:
            link["gain"] = draw.choice((0.0, 0.5, 1.0, 8.0))
        elif kind == 5 and len(links) < 20:
            links.append(
                {
                    "source": draw.choice([*names, MOTION]),
                    "target": draw.choice(names),
                    "radius": draw.choice((0, 0, 1, 3)),
                    "kind": "context",
                }
            )
        elif kind == 6:
            config["block"] = draw.choice((1, 2, 4, 8))
        elif kind == 7:
            config["targets"] = [f"t{k}" for k in range(draw.randint(1, 12))]
        else:
            readout |= {
                "radius": [draw.choice((0, 1, 4, 16)) for _ in range(draw.randint(1, 3))],
                "cells": draw.choice(["", *names]),
                "memory": draw.choice((1, 1, 2, 8)),
                "hidden": draw.choice((1, 10, 40)),
                "mixing": draw.choice((1, 7, 33)),
            }
    return config


def fitting(config: HierarchyConfig, seed: int) -> dict[str, np.ndarray]:
    """Return weights of a configuration's shapes, within 1 around 0."""
    rng = np.random.default_rng(seed)
    return {name: rng.random(shape, np.float32) * 2 - 1 for name, shape in size.weight_shapes(config).items()}


def packed(header: Any, body: bytes) -> bytes:
    """Return a safetensors file, whatever its header says."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def unpacked(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return a good file's header and body."""
    end = 8 + struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:end]), data[end:]


def mutant(seed: int) -> bytes:
    """Return the file of a seed."""
    draw = random.Random(seed)
    config = base(draw.randrange(4))
    history = {
        "steps": 40,
        "frames": 640,
        "clips": 7,
        "seconds": 12.5,
        "calibration": SHIPPED_CALIBRATION,
        "validation": {"prediction_over_copy": 0.9, "auc": 0.5},
        "taught": [{"from": "a", "data": ["b"], "learnt": 3, "minutes": 1.5}],
    }
    kind = draw.randrange(10)
    if kind < 4:  # another network, whole and consistent, if there is one
        with contextlib.suppress(PvmError):
            another = HierarchyConfig.from_dict(neighbour(json.loads(json.dumps(config.to_dict())), draw))
            if sum(map(np.prod, size.weight_shapes(another).values())) < AFFORDABLE:
                config = another
    header, body = unpacked(
        save(
            fitting(config, seed),
            {"format": FORMAT, "config": json.dumps(config.to_dict()), "history": json.dumps(history)},
        )
    )
    scale = draw.choice((0.1, 0.1, 0.1, 0.0, 1.0, 30.0, 9e3, 1e20, 3e38, 1e-42))
    body = (np.frombuffer(body, np.float32) * np.float32(scale)).tobytes()
    if kind < 4:
        return packed(header, body)
    metadata = header["__metadata__"]
    if kind in (4, 5, 6):  # odd values in the configuration or the history
        part = "history" if kind == 6 and draw.random() < 0.6 else "config"
        tree = json.loads(metadata[part])
        for _ in range(draw.choice((1, 1, 1, 2, 5))):
            tree = replaced(tree, draw.choice(places(tree)), lambda value: bent(value, draw))
        metadata[part] = json.dumps(tree)
        if draw.random() < 0.1:
            metadata[part] = draw.choice(("", "9" * 5000, "[" * 5000, "null", "\x00", metadata[part][:-5]))
    elif kind == 7:  # tensors
        for _ in range(draw.choice((1, 1, 3))):
            header = replaced(header, draw.choice(places(header)[1:]), lambda value: bent(value, draw))
    data = packed(header, body)
    if kind == 8:  # bytes
        damaged = bytearray(data)
        for _ in range(draw.choice((1, 3, 100))):
            where = draw.randrange(8 if draw.random() < 0.2 else len(damaged))
            damaged[where] = draw.choice((draw.randrange(256), damaged[where] ^ (1 << draw.randrange(8))))
        data = bytes(damaged)
    elif kind == 9:  # cut, repeated, another format, too long a header
        cut = draw.randrange(len(data) + 1)
        data = draw.choice(
            (
                data[:cut],
                data + data,
                data[:cut] + os.urandom(64),
                data[cut:],
                struct.pack("<Q", draw.choice((0, 1, 2**63, 2**64 - 1, len(data)))) + data[8:],
                data.replace(FORMAT.encode(), b"pvm_perception/9"),
                data[:8],
                bytes(len(data)),
            )
        )
    return data

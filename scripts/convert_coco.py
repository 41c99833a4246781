"""Turn a TF.js graph model (JSON and weights) into ONNX, as far as the COCO detectors need it.

    python convert_coco.py MODEL.json MODEL.onnx OUTPUT...

Only what the named outputs depend on is translated; what depends on constants alone is computed.
TensorFlow's tensors lie as (N, H, W, C), ONNX's convolutions want (N, C, H, W): each gets a
transpose on both sides, and the runtime cancels those that meet.

Extension: an operation is one function and one entry in `OPERATIONS`.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 18  # Resize with axes
TO_NCHW, TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]


def read_weights(path: Path, manifest: list[dict]) -> dict[str, np.ndarray]:
    """Return the constants by name; weights that are stored in 16 bits become float32.

    Parameters
    ----------
    path
        The model's JSON file; the files of weights lie beside it.
    manifest
        Its `weightsManifest`.

    Raises
    ------
    NotImplementedError
        If weights are stored with a scale.
    """
    arrays = {}
    for group in manifest:
        data, at = b"".join((path.parent / p).read_bytes() for p in group["paths"]), 0
        for w in group["weights"]:
            stored = np.dtype(w.get("quantization", {}).get("dtype", w["dtype"]))
            if "scale" in w.get("quantization", {}):
                raise NotImplementedError(f"{w['name']}: weights with a scale")
            count = int(np.prod(w["shape"]))
            array = np.frombuffer(data, stored, count, at).reshape(w["shape"])
            arrays[w["name"]] = array.astype(w["dtype"])
            at += count * stored.itemsize
    return arrays


class Converter:
    """One graph on its way from TensorFlow's operations to ONNX's.

    Parameters
    ----------
    graph
        Nodes of the TensorFlow graph.
    constants
        Values of its constants, by name.
    """

    def __init__(self, graph: list[dict], constants: dict[str, np.ndarray]) -> None:
        self.source = {n["name"]: n for n in graph}
        self.constants = constants
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self.done: set[str] = set()

    def need(self, name: str) -> None:
        """Translate what makes `name` (without its output's index), and all before it."""
        stack = [name]
        while stack:
            node = self.source[stack[-1]]
            missing = [i.split(":")[0] for i in node.get("input", ())]
            missing = [i for i in missing if i not in self.done]
            if missing and node["name"] not in self.done:
                stack += missing
                continue
            stack.pop()
            if node["name"] not in self.done:
                self.done.add(node["name"])
                self._translate(node)

    def _translate(self, node: dict) -> None:
        name, op, inputs = node["name"], node["op"], node.get("input", [])
        if op == "Const":
            return
        if op == "Placeholder":
            shape = [int(d["size"]) for d in node["attr"]["shape"]["shape"]["dim"]]
            self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        elif op in FOLDED and all(i in self.constants for i in inputs):
            self.constants[name] = FOLDED[op](*(self.constants[i] for i in inputs))
        elif op in OPERATIONS:
            OPERATIONS[op](self, node, name, inputs)
        else:
            raise NotImplementedError(f"{name}: operation {op}")

    def emit(self, op: str, inputs: list[str], output: str | list[str], **attributes: object) -> str:
        """Add an ONNX node; constants among its inputs become initializers. Return its first output.

        Parameters
        ----------
        op
            ONNX's name of the operation.
        inputs
            Names of values.
        output
            Name of the value that it makes, or the names of several.
        **attributes
            Of the node.
        """
        for i in inputs:
            if i in self.constants and i not in self.initializers:
                self.initializers[i] = numpy_helper.from_array(self.constants[i], i)
        outputs = [output] if isinstance(output, str) else output
        self.nodes.append(helper.make_node(op, inputs, outputs, **attributes))
        return outputs[0]

    def constant(self, name: str, value: np.ndarray) -> str:
        """Add a constant; return its name.

        Parameters
        ----------
        name
            What it is called.
        value
            Of any shape and type.
        """
        self.constants[name] = np.ascontiguousarray(value)
        return name

    def ints(self, name: str) -> list[int]:
        """Return a constant of whole numbers as a flat list."""
        return [int(v) for v in self.constants[name].ravel()]

    def spatial(self, op: str, inputs: list[str], name: str, **attributes: object) -> str:
        """Add a node that wants its first input as (N, C, H, W), between two transposes; return its output.

        Parameters
        ----------
        op
            ONNX's name of the operation.
        inputs
            Names of values; the first is (N, H, W, C).
        name
            Of the value that it makes, (N, H, W, C).
        **attributes
            Of the node.
        """
        first = self.emit("Transpose", inputs[:1], f"{name}/nchw", perm=TO_NCHW)
        out = self.emit(op, [first, *inputs[1:]], f"{name}/out", **attributes)
        return self.emit("Transpose", [out], name, perm=TO_NHWC)


def _window(node: dict) -> dict[str, object]:
    """Return stride, dilation, kernel and padding of a convolution or pooling."""

    def pair(key: str) -> list[int]:
        return [int(v) for v in node["attr"][key]["list"]["i"]][1:3]

    padding = base64.b64decode(node["attr"]["padding"]["s"]).decode()
    found = {"strides": pair("strides"), "auto_pad": {"SAME": "SAME_UPPER", "VALID": "VALID"}[padding]}
    if "ksize" in node["attr"]:
        return found | {"kernel_shape": pair("ksize")}
    return found | {"dilations": pair("dilations")}


def _convolution(c: Converter, node: dict, name: str, inputs: list[str]) -> None:
    """Conv2D and its depthwise and fused forms: bias, then perhaps a rectifier."""
    w = c.constants[inputs[1]]
    if "Depthwise" in node["op"]:  # (H, W, C, M) -> (C M, 1, H, W)
        groups = w.shape[2]
        w = w.transpose(2, 3, 0, 1).reshape(-1, 1, *w.shape[:2])
    else:  # (H, W, in, out) -> (out, in, H, W)
        groups, w = 1, w.transpose(3, 2, 0, 1)
    fused = [
        base64.b64decode(s).decode() for s in node["attr"].get("fused_ops", {}).get("list", {}).get("s", [])
    ]
    after = [f for f in fused if f != "BiasAdd"]
    weights = [c.constant(f"{name}/weights", w), *(inputs[2:3] if "BiasAdd" in fused else [])]
    out = c.spatial(
        "Conv", [inputs[0], *weights], name + ("/linear" if after else ""), group=groups, **_window(node)
    )
    if after:
        OPERATIONS[after[0]](c, node, name, [out])


def _resize(c: Converter, node: dict, name: str, inputs: list[str]) -> None:
    how = (
        "align_corners"
        if node["attr"]["align_corners"]["b"]
        else "half_pixel"
        if node["attr"]["half_pixel_centers"]["b"]
        else "asymmetric"
    )
    size = c.constant(f"{name}/size", np.array(c.ints(inputs[1]), np.int64))
    c.spatial(
        "Resize",
        [inputs[0], "", "", size],
        name,
        axes=[2, 3],
        mode="linear",
        coordinate_transformation_mode=how,
    )


def _pad(c: Converter, _node: dict, name: str, inputs: list[str]) -> None:
    pads = c.constants[inputs[1]].T.astype(np.int64).ravel()  # all before, then all after
    c.emit("Pad", [inputs[0], c.constant(f"{name}/pads", pads), *inputs[2:]], name)


def _split(c: Converter, _node: dict, name: str, inputs: list[str]) -> None:
    sizes = c.ints(inputs[1])
    c.emit(
        "Split",
        [inputs[0], c.constant(f"{name}/sizes", np.array(sizes, np.int64))],
        [name, *(f"{name}:{k}" for k in range(1, len(sizes)))],
        axis=c.ints(inputs[2])[0],
    )


def _mean(c: Converter, node: dict, name: str, inputs: list[str]) -> None:
    axes = c.constant(f"{name}/axes", np.array(c.ints(inputs[1]), np.int64))
    c.emit("ReduceMean", [inputs[0], axes], name, keepdims=int(node["attr"]["keep_dims"]["b"]))


def _reshape(c: Converter, _node: dict, name: str, inputs: list[str]) -> None:
    shape = c.constant(f"{name}/shape", np.array(c.ints(inputs[1]), np.int64))
    c.emit("Reshape", [inputs[0], shape], name)


def _relu6(c: Converter, _node: dict, name: str, inputs: list[str]) -> None:
    ends = [c.constant(f"clip/{v}", np.array(v, np.float32)) for v in (0, 6)]
    c.emit("Clip", [inputs[0], *ends], name)


def _sparse(where: np.ndarray, shape: np.ndarray, values: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Return the dense array of sparse constants, as SparseToDense does."""
    dense = np.full(shape.ravel(), rest, values.dtype)
    dense[tuple(np.atleast_2d(where.T))] = values
    return dense


def _same(op: str) -> Callable[[Converter, dict, str, list[str]], None]:
    """Return the translation of an operation that ONNX has under the name `op`."""
    return lambda c, _node, name, inputs: c.emit(op, inputs, name)


FOLDED = {"SparseToDense": _sparse, "Add": np.add, "AddV2": np.add, "Identity": lambda a: a}
OPERATIONS = {
    **{k: _same(k) for k in ("Add", "Mul", "Sub", "Relu", "Sigmoid", "Identity")},
    **dict.fromkeys(
        ("Conv2D", "_FusedConv2D", "DepthwiseConv2dNative", "FusedDepthwiseConv2dNative"), _convolution
    ),
    "AddV2": _same("Add"),
    "Relu6": _relu6,
    "Pad": _pad,
    "PadV2": _pad,
    "SplitV": _split,
    "Mean": _mean,
    "Reshape": _reshape,
    "ResizeBilinear": _resize,
    "LeakyRelu": lambda c, node, name, inputs: c.emit(
        "LeakyRelu", inputs, name, alpha=float(node["attr"]["alpha"]["f"])
    ),
    "MaxPool": lambda c, node, name, inputs: c.spatial("MaxPool", inputs, name, **_window(node)),
    "Transpose": lambda c, _node, name, inputs: c.emit("Transpose", inputs[:1], name, perm=c.ints(inputs[1])),
    "ConcatV2": lambda c, _node, name, inputs: c.emit(
        "Concat", inputs[:-1], name, axis=c.ints(inputs[-1])[0]
    ),
}


def main(source: Path, target: Path, outputs: list[str]) -> int:
    """Convert one model.

    Parameters
    ----------
    source
        The model's JSON file.
    target
        The ONNX file, which is written over.
    outputs
        Names of the values to translate.
    """
    model = json.loads(source.read_text(encoding="utf-8"))
    converter = Converter(model["modelTopology"]["node"], read_weights(source, model["weightsManifest"]))
    for name in outputs:
        converter.need(name)
    shapes = {
        k.split(":")[0]: [int(d["size"]) for d in v["tensorShape"]["dim"]]
        for k, v in model["signature"]["outputs"].items()
    }
    values = [helper.make_tensor_value_info(o, TensorProto.FLOAT, shapes[o]) for o in outputs]
    graph = helper.make_graph(
        converter.nodes, source.stem, converter.inputs, values, list(converter.initializers.values())
    )
    result = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    onnx.checker.check_model(result)
    onnx.save(result, target)
    print(f"{target}: {len(converter.nodes)} operations")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))

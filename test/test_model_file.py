"""Model files: what is written comes back; what is damaged is reported in one line."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import tiny
from safetensors.numpy import load_file, save_file

from pvm_perception.core.config import PRESETS, HierarchyConfig, Layer, Link, ReadoutConfig, preset
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.model_file import FORMAT, load_model, read_header, save_model
from pvm_perception.core.size import check_size, weight_shapes
from pvm_perception.core.wiring import check_index
from pvm_perception.errors import PvmError


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "tiny.safetensors"
    network = Hierarchy(tiny(), seed=5)
    save_model(path, network.config, network.weights, {"steps": 7, "frames": 9})
    return path, network


def test_round_trip(saved):
    path, network = saved
    config, weights, history = load_model(path)
    assert config == network.config
    assert history == {"steps": 7, "frames": 9}
    for name, value in network.weights.items():
        np.testing.assert_array_equal(weights[name], value)
    assert read_header(path)["weights"] == sum(w.size for w in weights.values())


def refused(path):
    with pytest.raises(PvmError) as error:
        load_model(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_file_cut_short(saved, share):
    path, _ = saved
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    refused(path)


def test_missing_folder_and_foreign_files(tmp_path):
    assert "No such file" in refused(tmp_path / "none.safetensors")
    refused(tmp_path)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"a": np.zeros(3, np.float32)}, foreign)
    assert FORMAT in refused(foreign)
    foreign.write_bytes(b"\x80\x04\x95pickle")
    refused(foreign)


def rewrite(path, weights=None, **metadata):
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        data = file.metadata() | metadata
    save_file(weights or load_file(path), path, data)


def test_values_that_are_not_finite(saved):
    path, _ = saved
    weights = load_file(path)
    weights["L1.w1"][0, 0] = np.nan
    rewrite(path, weights)
    assert "not finite" in refused(path)


def test_shapes_and_types_are_checked_against_the_configuration(saved):
    path, _ = saved
    weights = load_file(path)
    rewrite(path, weights | {"L1.b1": np.zeros(5, np.float32)})
    assert "L1.b1" in refused(path)
    rewrite(path, weights | {"L1.b1": weights["L1.b1"].astype(np.float64)})
    assert "L1.b1" in refused(path)
    rewrite(path, weights | {"extra": np.zeros(2, np.float32)})
    assert "extra" in refused(path)
    rewrite(path, {k: v for k, v in weights.items() if k != "L2.w2"})
    assert "L2.w2" in refused(path)


@pytest.mark.parametrize(
    "config",
    [
        "no json",
        "[]",
        "{}",
        '{"name": "x", "unknown": 1}',
        '{"name": "x", "height": 1e9}',
        '{"name": "x", "layers": [5]}',
        '{"name": "x", "layers": [{"name": "L1", "rows": "many"}]}',
    ],
)
def test_a_configuration_that_is_none(saved, config):
    path, _ = saved
    rewrite(path, config=config)
    refused(path)


def test_a_huge_configuration_is_refused_before_anything_is_allocated(saved):
    path, network = saved
    config = network.config.to_dict()
    config["layers"][0]["code"] = 1024
    rewrite(path, config=json.dumps(config))
    assert "expected" in refused(path)


def test_a_folder_that_cannot_be_written(tmp_path):
    network = Hierarchy(tiny())
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PvmError, match="cannot write the model"):
        save_model(tmp_path / "file" / "m.safetensors", network.config, network.weights)


def test_what_could_not_be_loaded_again_is_not_saved(saved):
    path, network = saved
    before = path.read_bytes()
    with pytest.raises(PvmError, match=r"L1\.w1 holds values that are not finite"):
        save_model(path, network.config, network.weights | {"L1.w1": network.weights["L1.w1"] * np.nan})
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("links", 1, "radius"), 0.5),
        (("links", 1, "radius"), 1.0),
        (("links", 1, "radius"), True),
        (("layers", 1, "rows"), 3.0),
        (("layers", 1, "rows"), "3"),
        (("layers", 1, "children"), []),
        (("layers", 1, "children"), [2]),
        (("layers", 1, "children"), [0, 2]),
        (("layers", 1, "children"), ["a"]),
        (("layers", 1, "name"), 3),
        (("layers", 1, "name"), "L.2"),
        (("layers", 1, "name"), "readout"),
        (("layers", 1, "terms"), ["signal", "signal"]),
        (("layers", 1, "terms"), "signal"),
        (("layers",), {}),
        (("links", 0), None),
        (("links", 5, "source"), "input"),
        (("readout", "radius"), 5),
        (("readout", "radius"), []),
        (("readout", "radius"), [0.5]),
        (("readout", "hidden"), 96.5),
        (("learning", "rate"), "1"),
        (("learning", "clip"), float("inf")),
        (("targets",), [1, 2]),
        (("targets",), ["a\nb", "c"]),
        (("targets",), "ab"),
        (("name",), "x" * 65),
        (("high",), -1.0),
        (("low",), float("nan")),
        (("block",), 2.0),
        (("shared",), 1),
        (("height",), 10**400),
        (("readout",), []),
    ],
)
def test_every_entry_of_the_configuration_has_its_type_and_range(saved, where, value):
    path, network = saved
    config = json.loads(json.dumps(network.config.to_dict()))
    part = config
    for key in where[:-1]:
        part = part[key]
    part[where[-1]] = value
    rewrite(path, config=json.dumps(config))
    assert len(refused(path)) < 400


@pytest.mark.parametrize(
    "history",
    [
        '{"validation": 5}',
        '{"validation": {"auc": "x"}}',
        '{"steps": [1]}',
        '{"steps": 1.5}',
        '{"steps": -1}',
        '{"seconds": "long"}',
        '{"taught": 3}',
        '{"taught": [3]}',
        '{"taught": [{"from": "a"}]}',
        "[]",
        "9" * 5000,
        '{"steps": ' + "9" * 5000 + "}",
        "[" * 100_000,
        "",
    ],
)
def test_a_history_that_is_none(saved, history):
    path, _ = saved
    rewrite(path, history=history)
    refused(path)


def test_a_history_may_have_further_entries_and_marks_that_are_no_numbers(saved):
    path, network = saved
    history = {"validation": {"prediction_over_copy": float("nan")}, "note": ["anything", {"else": 1}]}
    save_model(path, network.config, network.weights, history)
    assert load_model(path)[2]["note"] == history["note"]


def test_a_header_that_is_too_long_is_not_read(saved):
    path, _ = saved
    data = path.read_bytes()
    path.write_bytes((1 << 21).to_bytes(8, "little") + data[8:] + bytes(1 << 21))
    assert "header" in refused(path)


def test_a_flipped_bit_of_an_exponent_is_found(saved):
    path, network = saved
    bits = network.weights["L1.w2"].copy()
    bits.view(np.uint32)[0, 0] |= 0x7F000000
    rewrite(path, network.weights | {"L1.w2": bits})
    assert "L1.w2" in refused(path)


def test_an_optimizers_state_is_of_a_weight(saved):
    path, network = saved
    for name in ("optimizer.m.L9.w1", "optimizer.odd.L1.w1", "optimizer.", "optimizer.m"):
        rewrite(path, network.weights | {name: np.zeros(3, np.float32)})
        assert name in refused(path)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("kind", ["box", "heatmap"])
def test_shapes_by_arithmetic_are_those_of_the_network(shared, kind):
    finer = tiny().layers[1]
    for cells, radius in (("", (1,)), ("L2", (0, 2)), ("L3", (16, 1, 0))):
        readout = ReadoutConfig(kind, radius=radius, cells=cells, memory=2, mixing=5)
        config = tiny(
            shared=shared,
            readout=readout,
            layers=(tiny().layers[0], dataclasses.replace(finer, cols=9), tiny().layers[2]),
        )
        made = Hierarchy(config, 0, learns=False)._new_weights(np.random.default_rng(0))
        assert {name: w.shape for name, w in made.items()} == weight_shapes(config)


def test_the_preset_networks_are_far_within_the_limits():
    for name in PRESETS:
        check_size(dataclasses.replace(preset(name), height=4 * preset(name).height))


def test_what_a_small_file_may_not_ask_for():
    """Each of these has a header of some KB and few weights."""
    wide = {"height": 256, "width": 256, "block": 1, "readout": ReadoutConfig(hidden=1, radius=(0,))}
    layer = Layer("L1", 256, 256, 1, children=(1, 1), terms=("signal",))
    feed = Link("input", "L1", "feedforward")
    with pytest.raises(PvmError, match="pairs of a unit and one that it reads"):
        HierarchyConfig("x", layers=(layer,), links=(feed, Link("L1", "L1", "lateral", 16)), **wide)
    with pytest.raises(PvmError, match="values in a frame"):
        HierarchyConfig("x", layers=(dataclasses.replace(layer, code=1024),), links=(feed,), **wide)
    with pytest.raises(PvmError, match="multiply-adds in a frame"):
        HierarchyConfig(
            "x",
            layers=(dataclasses.replace(layer, rows=64, cols=64, code=1024),),
            links=(feed, *[Link("L1", "L1", "lateral", 1) for _ in range(4)]),
            **wide,
        )
    with pytest.raises(PvmError, match="weights"):
        tiny(layers=(*tiny().layers[:2], Layer("L3", 256, 256, 1024, children=(1, 1))), shared=False)
    with pytest.raises(PvmError, match="16 layers"):
        HierarchyConfig("x", layers=(layer,) * 17, links=(feed,), **wide)
    with pytest.raises(PvmError, match="128 links"):
        HierarchyConfig("x", layers=(layer,), links=(feed,) * 129, **wide)


def test_a_table_that_names_units_that_are_not_there():
    check_index(np.array([[0, 4]]), 4)
    for index in ([[5]], [[-1]], [[0.5]]):
        with pytest.raises(PvmError, match="units"):
            check_index(np.array(index), 4)


def test_some_hundred_damaged_or_odd_files(tmp_path, monkeypatch):
    """Each runs or is refused in one line; `make torture` tries more, under sanitizers."""
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "benchmarks")
    from torture_models import mutant, verdict

    path, verdicts = tmp_path / "mutant.safetensors", []
    with np.errstate(all="ignore"):
        for seed in range(100_000, 100_200):
            path.write_bytes(mutant(seed))
            verdicts.append(verdict(path))
    assert verdicts.count("ran") > 50 and verdicts.count("refused") > 80


def test_killed_while_saving(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "benchmarks")
    from torture_models import kill_while_saving

    assert kill_while_saving(10, seed=1) == {"kills": 10, "half": 0, "left": 0}

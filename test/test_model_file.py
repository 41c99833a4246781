"""Model files: what is written comes back; what is damaged is told in one line."""

import json

import numpy as np
import pytest
from conftest import tiny
from safetensors.numpy import load_file, save_file

from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.model_file import FORMAT, load_model, read_header, save_model
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
    path.write_bytes(data[:int(len(data) * share)])
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


@pytest.mark.parametrize("config", [
    "no json", "[]", "{}", '{"name": "x", "unknown": 1}', '{"name": "x", "height": 1e9}',
    '{"name": "x", "layers": [5]}', '{"name": "x", "layers": [{"name": "L1", "rows": "many"}]}'])
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

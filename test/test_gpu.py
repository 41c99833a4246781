"""On a real GPU: kernels, tracker and learning there, against NumPy on the CPU."""

import pytest
from host_kernels import compare
from test_cupy import CONFIGS, learn_beside
from test_engine import assert_same_tracks, lost_beside, track_beside
from test_kernels import small

from pvm_perception.core.backend import find_gpu
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.kernels.cuda import CudaRunner
from pvm_perception.core.kernels.engine import Engine
from pvm_perception.core.model_file import load_model
from pvm_perception.shipped import default_model
from pvm_perception.streams.generated import SimulatedStream

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def cupy():
    module, why = find_gpu()
    if module is None:
        pytest.skip(f"needs an NVIDIA GPU: {why}")
    return module


@pytest.fixture(scope="module")
def images():
    return [f.image for f in SimulatedStream(3, (240, 320), 30.0, 48, seconds=1.0)]


@pytest.mark.parametrize("batch", [1, 2])
def test_shipped_model_computes_what_the_network_computes(cupy, batch):
    config, weights, _ = load_model(default_model())
    network = Hierarchy(config, batch, weights=weights)
    compare(network, Engine(network, CudaRunner()))


@pytest.mark.parametrize("multiprocessors", [1, 4, 16, 64])  # the tiles that cards of other sizes get
def test_ragged_tiles_gains_and_cut_links(cupy, multiprocessors):
    network, runner = Hierarchy(small(), 3, seed=3), CudaRunner()
    runner.multiprocessors = multiprocessors
    compare(network, Engine(network, runner), 5)


@pytest.mark.parametrize("fovea", [True, False])
def test_the_tracker_answers_as_on_the_cpu(cupy, numpy_on_the_cpu, images, fovea):
    track_beside(images, fovea)


def test_a_state_that_lost_itself_is_begun_anew(cupy, numpy_on_the_cpu, images):
    host, device = lost_beside(images[:6])
    cupy.cuda.get_current_stream().synchronize()
    for image in images[6:9]:
        assert_same_tracks(host.update(image), device.update(image))
    assert (host.times_diverged, device.times_diverged) == (1, 1)


@pytest.mark.parametrize("name", CONFIGS)
def test_learning_on_arrays_is_that_of_numpy(cupy, name):
    learn_beside(CONFIGS[name], cupy)

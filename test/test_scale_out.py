"""Training by several ranks: two real ones under mpirun, on one host and on two."""

import importlib.util
import inspect
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from pvm_perception.core.model_file import load_model
from pvm_perception.core.optimizer import Optimizer
from pvm_perception.training.curve import read_curve
from pvm_perception.training.reducer import LAUNCHED, Alone, join

MPI = pytest.mark.skipif(
    shutil.which("mpirun") is None or importlib.util.find_spec("mpi4py") is None,
    reason="needs Open MPI (apt install openmpi-bin) and requirements/scale-out.txt",
)
ENV = {k: v for k, v in os.environ.items() if k not in LAUNCHED} | {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",  # containers
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_odls_base_sigkill_timeout": "5",
    "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'test'}",
}
TWO = ["mpirun", "-n", "2", sys.executable]
SMALL = [
    "--streams",
    "2",
    "--shortest",
    "3",
    "--longest",
    "6",
    "--replay",
    "0",
    "--validation-clips",
    "4",
    "--calibration-scenes",
    "0",
]


def ranks(code, folder):
    """Run a program by two ranks."""
    path = folder / "ranks.py"
    path.write_text(code)
    done = subprocess.run(
        [*TWO, str(path)], cwd=folder, env=ENV, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr


def train(output, *more):
    return [sys.executable, "-m", "pvm_perception", "train", "--output", str(output), *SMALL, *more]


def at_work(output):
    """Start two ranks that train without end; return mpirun a while after the first validation."""
    with (output.parent / "log").open("w") as log:
        process = subprocess.Popen(
            ["mpirun", "-n", "2", *train(output, "--validate-every", "20", "--average-every", "3")],
            cwd=ROOT,
            env=ENV,
            stdout=log,
            stderr=log,
        )
    for _ in range(2000):
        if "min left" in (output.parent / "log").read_text():
            time.sleep(2)
            return process
        assert process.poll() is None, (output.parent / "log").read_text()
        time.sleep(0.1)
    process.kill()
    raise AssertionError((output.parent / "log").read_text())


def rank_of(process, rank):
    """Return the process id of one of the ranks that an mpirun started."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == process.pid and (
                f"OMPI_COMM_WORLD_RANK={rank}\0" in (folder / "environ").read_text()
            ):
                return int(folder.name)
        except (OSError, UnicodeDecodeError):
            continue
    raise AssertionError(f"no rank {rank}")


@MPI
def test_ranks_see_other_scenes_and_are_equal_after_they_met(tmp_path):
    ranks(
        """
from pathlib import Path
import numpy as np
from pvm_perception.training.reducer import join
from pvm_perception.training.train import Trainer, TrainOptions

if __name__ == "__main__":
    team = join("cpu", 2)
    options = TrainOptions(Path("out"), streams=2, shortest=3, longest=6, replay=0, average_every=4,
                           frames=40, validation_clips=4, calibration_scenes=0)
    trainer = Trainer(options, team)
    mean, met = team.mean, []
    def watched(arrays, meanwhile):
        before = [a.copy() for a in arrays]
        mean(arrays, meanwhile)
        met.append((before, [a.copy() for a in arrays]))
    team.mean = watched
    trainer.run()
    before, after = met[1]
    np.savez(f"{team.rank}.npz", meetings=len(met), clips=trainer.history["clips"],
             steps=trainer.network.step_count, names=list(trainer.network.weights),
             ever=len(met[0][0]), last=len(met[-1][0]),
             **{f"before{i}": a for i, a in enumerate(before)},
             **{f"after{i}": a for i, a in enumerate(after)})
""",
        tmp_path,
    )
    one, two = (np.load(tmp_path / f"{rank}.npz") for rank in (0, 1))
    assert one["meetings"] == two["meetings"] == 3  # after steps 4 and 8, and when enough were seen
    assert one["steps"] == two["steps"] == 10
    assert one["clips"] == two["clips"]
    names = list(one["names"])
    assert len(names) < one["ever"] < one["last"]  # moments, too; averaged weights at the last
    differed = 0
    for i in range(int(one["ever"])):
        np.testing.assert_array_equal(one[f"after{i}"], two[f"after{i}"])
        np.testing.assert_allclose(
            one[f"after{i}"], (one[f"before{i}"] + two[f"before{i}"]) / 2, rtol=1e-6, atol=1e-12
        )
        differed += not np.array_equal(one[f"before{i}"], two[f"before{i}"])
    assert differed > 0.9 * len(names)


@MPI
def test_a_curve_counts_the_frames_of_all_ranks(tmp_path):
    output = tmp_path / "out"
    done = subprocess.run(
        ["mpirun", "-n", "2", *train(output, "--frames", "40", "--average-every", "4")],
        cwd=ROOT,
        env=ENV,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("auc_green_ball=") == 1  # rank 0 speaks, for all
    (row,) = read_curve(output / "curve.csv")
    assert (int(row["frames"]), int(row["steps"])) == (40, 10)
    assert int(row["clips"]) >= 8  # two streams each, and as many waiting for them, at the least
    for name in ("model", "checkpoint"):
        assert load_model(output / f"{name}.safetensors")[2]["frames"] == 40


@MPI
def test_a_rank_that_gets_a_signal_stops_all_in_good_order(tmp_path):
    output = tmp_path / "out"
    process = at_work(output)
    os.kill(rank_of(process, 1), signal.SIGTERM)
    assert process.wait(240) == 0, (tmp_path / "log").read_text()
    history = load_model(output / "checkpoint.safetensors")[2]
    assert "validation" in history
    assert history["frames"] == int(read_curve(output / "curve.csv")[-1]["frames"])


@MPI
@pytest.mark.parametrize("how", ["a rank is killed", "mpirun gets a signal"])
def test_a_run_that_is_cut_off_leaves_a_checkpoint_to_go_on_from(tmp_path, how):
    output = tmp_path / "out"
    process = at_work(output)
    seen = int(read_curve(output / "curve.csv")[-1]["frames"])
    if how == "a rank is killed":
        os.kill(rank_of(process, 1), signal.SIGKILL)
    else:
        process.send_signal(signal.SIGTERM)
    assert process.wait(120) != 0
    assert "Traceback" not in (tmp_path / "log").read_text()
    checkpoint = output / "checkpoint.safetensors"
    frames = load_model(checkpoint, optimizer=True)[2]["frames"]
    assert frames > seen  # it is of the last moment, not of the last validation
    again = subprocess.run(
        ["mpirun", "-n", "2", *train(output, "--frames", "8", "--from", str(checkpoint))],
        cwd=ROOT,
        env=ENV,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    assert int(read_curve(output / "curve.csv")[-1]["frames"]) == frames + 8


@MPI
def test_an_error_of_one_rank_ends_all(tmp_path):
    done = subprocess.run(
        ["mpirun", "-n", "2", *train(tmp_path, "--from", str(tmp_path / "none"))],
        cwd=ROOT,
        env=ENV,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert "cannot be opened" in done.stderr
    assert "Traceback" not in done.stderr


@MPI
@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("tc") is None, reason="network namespaces need root and iproute2"
)
def test_two_hosts(tmp_path):
    allowed = subprocess.run(["unshare", "--net", "--uts", "true"], capture_output=True, check=False)
    if allowed.returncode:
        pytest.skip("this machine allows no network namespaces")
    code = (
        "import socket; from pvm_perception.training.reducer import join; import numpy as np; "
        "team = join('cpu', 2); a = np.full(3, team.rank, np.float32); team.mean([a], lambda: None); "
        "print(socket.gethostname(), a.tolist(), flush=True); team.close()"
    )
    done = subprocess.run(
        ["sh", str(ROOT / "scripts/two_hosts.sh"), sys.executable, "-c", code],
        cwd=ROOT,
        env=ENV,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split("\n")) == ["", "pvm-a [0.5, 0.5, 0.5]", "pvm-b [0.5, 0.5, 0.5]"]


@MPI
def test_a_gpu_for_each_rank_on_a_stand_in(tmp_path):
    """NCCL itself never ran; here MPI carries what it would."""
    ranks(
        """
import sys
from types import SimpleNamespace
import numpy as np
import mpi4py
mpi4py.rc.finalize = False
from mpi4py import MPI
from strict_cupy import StrictCupy
from pvm_perception.training.reducer import NcclReducer

used = []
class Group:
    def all_reduce(self, in_array, out_array, op="sum", stream=None):
        host = in_array.get()
        MPI.COMM_WORLD.Allreduce(MPI.IN_PLACE, host)
        out_array[...] = xp.asarray(host)

xp = StrictCupy()
xp.cuda.runtime.getDeviceCount = lambda: 2
xp.cuda.Device = lambda k: SimpleNamespace(use=lambda: used.append(k))
sys.modules["cupyx"] = SimpleNamespace()
sys.modules["cupyx.distributed"] = SimpleNamespace(
    init_process_group=lambda n_devices, rank, *, use_mpi: Group())
team = NcclReducer(MPI, xp)
assert used == [team.rank]
arrays = [xp.asarray(np.full(shape, team.rank + 1, np.float32)) for shape in ((2, 3), (4,))]
xp.counts.clear()
team.mean(arrays, lambda: None)
for a in arrays:
    assert (a.get() == 1.5).all()
xp.cuda.runtime.getDeviceCount = lambda: 1
try:
    NcclReducer(MPI, xp)
except ValueError as error:
    assert "2 ranks on a machine with 1 GPU" in str(error)
else:
    raise AssertionError("two ranks share a GPU")
team.close()
""",
        tmp_path,
    )


def test_the_calls_to_nccl_are_those_of_the_installed_cupy():
    distributed = pytest.importorskip(
        "cupyx.distributed", reason="CuPy is not installed (requirements/gpu.txt)"
    )
    inspect.signature(distributed.init_process_group).bind(2, 0, use_mpi=True)
    inspect.signature(distributed.NCCLBackend.all_reduce).bind(None, "total", "total")


def test_a_process_alone_needs_no_mpi():
    code = (
        "import sys; sys.modules['mpi4py'] = None; from pvm_perception.training.reducer import "
        "join; team = join('cpu', 2); print(team.rank, team.size)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=ENV, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["0", "1"]
    a = np.arange(3, dtype=np.float32)
    Alone().mean([a], lambda: None)
    np.testing.assert_array_equal(a, [0, 1, 2])


def test_mpirun_without_mpi4py_names_what_to_install(tmp_path):
    code = (
        "import sys; sys.modules['mpi4py'] = None; from pvm_perception.__main__ import main; "
        f"sys.exit(main(['train', '--output', {str(tmp_path)!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=ENV | {"OMPI_COMM_WORLD_SIZE": "2"},
        check=False,
    )
    assert done.returncode == 2
    assert "requirements/scale-out.txt" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_mean_of_momentum_kept_as_factors_is_not_taken():
    from pvm_perception.core.config import Learning

    weights = {"own.w1": np.zeros((2, 3, 4), np.float32), "shared.w1": np.zeros((3, 4), np.float32)}
    optimizer = Optimizer(weights, Learning("momentum"), np, streams=1)
    assert optimizer.by_factors == {"own.w1"}
    assert [m.shape for m in optimizer.moments()] == [(3, 4)]
    assert join("cpu", 1).size == 1

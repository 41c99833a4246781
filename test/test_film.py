"""Films that are written and read: every frame, in its own time, or one line."""

import os
import resource
import subprocess
import sys

import cv2
import numpy as np
import pytest
from conftest import ROOT

from pvm_perception.errors import PvmError
from pvm_perception.streams.files import VideoStream, open_stream
from pvm_perception.streams.film import Film
from pvm_perception.streams.library_words import without

UNEVEN = [0.0, 0.033, 0.066, 0.5, 0.533, 0.9, 1.9, 2.0, 2.01, 3.5]  # s


def pictures(count, size=(120, 160)):
    for k in range(count):
        image = np.full((*size, 3), 90, np.uint8)
        cv2.circle(image, (20 + 10 * k % 120, 60), 15, (0, 200, 0), -1)
        yield image


def film(path, stamps, fps=30.0):
    with Film(path, fps) as written:
        for image, stamp in zip(pictures(len(stamps)), stamps, strict=True):
            written.write(image, stamp)
    return path


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm"])
def test_frames_keep_their_own_time(tmp_path, name, capfd):
    path = film(tmp_path / name, [100 + t for t in UNEVEN])
    frames = list(open_stream(path))
    assert [f.stamp for f in frames] == pytest.approx(UNEVEN, abs=1e-3)
    assert [f.name for f in frames] == [str(k) for k in range(len(UNEVEN))]
    for frame, image in zip(frames, pictures(len(UNEVEN)), strict=True):  # the right picture at each time
        assert np.abs(frame.image.astype(int) - image).mean() < 8
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert capfd.readouterr().err == ""  # nothing for a user to wonder about


def test_one_remark_is_left_out_and_no_other_line(capfd):
    with without("'VP80' is no"):
        os.write(2, b"the disk is on fire\ntag 'VP80' is not supported\nno encoder")
    assert capfd.readouterr().err == "the disk is on fire\nno encoder"
    with pytest.raises(ZeroDivisionError), without("VP80"):
        os.write(2, b"why\n")
        raise ZeroDivisionError
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "why\nafter\n"


@pytest.mark.parametrize("name", ["a.mp4", "a.avi"])
@pytest.mark.parametrize("stamps", [[None] * 8, [k / 25 for k in range(8)], [5.0] * 8])
def test_a_fixed_rate_stays_one(tmp_path, name, stamps):
    path = film(tmp_path / name, stamps, fps=25.0)
    stream = VideoStream(str(path))
    assert stream.fps == pytest.approx(25)
    assert [f.stamp for f in stream] == pytest.approx([k / 25 for k in range(8)], abs=1e-3)


def test_a_clock_that_was_set_makes_no_film_of_years(tmp_path):
    path = film(tmp_path / "a.mp4", [0.0, 1 / 30, 1.7e9, 1.7e9 + 1 / 30, 3.0])
    assert [f.stamp for f in open_stream(path)] == pytest.approx([k / 30 for k in range(5)], abs=1e-3)


def test_another_size_is_stretched_and_no_frame_is_no_file(tmp_path):
    with Film(tmp_path / "a.mp4", 30.0) as written:
        for size in ((120, 160), (240, 200)):
            written.write(np.zeros((*size, 3), np.uint8))
    assert [f.image.shape for f in open_stream(tmp_path / "a.mp4")] == [(120, 160, 3)] * 2
    with Film(tmp_path / "b.mp4", 30.0):
        pass
    assert not (tmp_path / "b.mp4").exists()


def test_a_colon_in_a_name_is_a_colon(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("run:1.mp4", "http:2.mp4", "12"):
        film((tmp_path / name).with_suffix(".mp4"), [None] * 3).rename(tmp_path / name)
        assert len(list(open_stream(name))) == 3


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm", "a.avi"])
def test_a_full_disk_is_one_line_and_no_file(tmp_path, name):
    script = (
        "import numpy as np, sys\nfrom pathlib import Path\n"
        "from pvm_perception.streams.film import Film\n"
        "rng = np.random.default_rng(0)\nwith Film(Path(sys.argv[1]), 30.0) as film:\n"
        "    for k in range(30): film.write(rng.integers(0, 256, (120, 160, 3), np.uint8))"
    )
    process = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / name)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000)),
    )
    assert "PvmError" in process.stderr and "of 30 frames are in it" in process.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["no/such.xyz", "a.txt"])
def test_what_cannot_be_written_is_one_line(tmp_path, name):
    (tmp_path / "no").write_text("a file")
    with pytest.raises(PvmError, match=r"a video|cannot write"):
        film(tmp_path / name, [None])
    assert [p.name for p in tmp_path.iterdir()] == ["no"]


@pytest.mark.parametrize("address", ["rtsp://127.0.0.1:9/none", "http://127.0.0.1:9/none.mp4"])
def test_an_address_that_does_not_answer_is_one_line_with_the_reason(address, capfd):
    with pytest.raises(PvmError, match=r"cannot be opened: Connection refused$"):
        open_stream(address)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("camera", ["97", "/dev/video97"])
def test_a_camera_that_is_not_there_is_one_line(camera, capfd):
    with pytest.raises(PvmError, match="there is no camera /dev/video97; "):
        open_stream(camera)
    assert capfd.readouterr().err == ""

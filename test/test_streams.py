"""Streams and labels: what is there comes out, what is broken is named."""

import cv2
import numpy as np
import pytest

from pvm_perception.errors import PvmError
from pvm_perception.streams.files import open_stream
from pvm_perception.streams.groundtruth import read_groundtruth, write_groundtruth
from pvm_perception.streams.scenes.light import Camera
from pvm_perception.streams.stills import (
    StillsStream,
    load_stills,
    still_clip,
)
from pvm_perception.types import Box
from pvm_perception.vision.frame import View, network_input


def test_folder_leaves_a_damaged_image_out_and_names_it(simulated, tmp_path, capsys):
    frames = sorted((simulated / "frames").iterdir())[:5]
    for path in frames:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    cut = tmp_path / frames[2].name
    cut.write_bytes(cut.read_bytes()[:3000])
    (tmp_path / "notes.txt").write_text("no image")
    names = [f.name for f in open_stream(tmp_path)]
    assert names == [p.name for k, p in enumerate(frames) if k != 2]
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert frames[2].name in lines[0]


def numbered(folder, names):
    folder.mkdir()
    for name in names:
        cv2.imwrite(str(folder / name), np.full((16, 16, 3), 99, np.uint8))
    return folder


@pytest.mark.parametrize("pattern", ["{}.png", "frame_{}.png", "run2_{}.png", "{}_left.png"])
def test_frames_come_in_the_natural_order_of_their_names(tmp_path, pattern):
    names = [pattern.format(k) for k in (1, 2, 9, 10, 11, 100)]
    assert [f.name for f in open_stream(numbered(tmp_path / "clip", names))] == names


def test_names_of_any_kind_have_an_order(tmp_path):
    names = ["01.png", "1.png", "1a.png", "a.png", "a1.png", "a1b2.png", "a1b10.png", "a01.png", "².png"]
    assert sorted(f.name for f in open_stream(numbered(tmp_path / "clip", names))) == sorted(names)


def test_labels_that_name_no_image_are_reported(tmp_path, capsys):
    folder = numbered(tmp_path / "clip", ["1.png", "2.png"])
    labels = folder / "groundtruth.csv"
    write_groundtruth(labels, [("1.png", ()), ("3.png", ()), ("4.png", ())], ["green_ball"])
    assert [f.boxes for f in open_stream(folder)] == [(), None]
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "2 of 3 frames" in error and "'3.png'" in error
    write_groundtruth(labels, [("frames/1.png", ())], ["green_ball"])
    with pytest.raises(PvmError, match=r"names no image of .*'frames/1.png'.*'1.png'"):
        open_stream(folder)


def test_video_gives_its_frames_with_stamps(tmp_path):
    path = str(tmp_path / "clip.mp4")
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"mp4v"), 20.0, (64, 48))
    for k in range(7):
        writer.write(np.full((48, 64, 3), 30 * k, np.uint8))
    writer.release()
    frames = list(open_stream(path))
    assert [f.name for f in frames] == [str(k) for k in range(7)]
    assert frames[2].stamp == pytest.approx(0.1)
    assert frames[0].image.shape == (48, 64, 3)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: p / "nothing",
        lambda p: p,
        lambda p: _file(p, "a.mp4", b""),
        lambda p: _file(p, "a.mp4", b"no video"),
        lambda p: _file(p, "a.mcap", b"x"),
    ],
)
def test_inputs_that_hold_nothing(tmp_path, make):
    with pytest.raises(PvmError) as error:
        list(open_stream(make(tmp_path)))
    assert "\n" not in str(error.value)


def _file(folder, name, data):
    (folder / name).write_bytes(data)
    return folder / name


def test_labels_round_trip(tmp_path):
    path = tmp_path / "groundtruth.csv"
    boxes = (Box("green_ball", 1.5, 2, 3, 4, 0.5), Box("green_ball", 9, 9, 2, 2))
    write_groundtruth(path, [("a.jpg", boxes), ("b.jpg", ())], ("green_ball", "stop_sign"))
    truth = read_groundtruth(path)
    assert truth.boxes == {"a.jpg": boxes, "b.jpg": ()}
    assert truth.targets == ("green_ball", "stop_sign")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("frame,target,x,y,w\n", "no column 'h'"),
        ("", "no column 'frame'"),
        ("frame,target,x,y,w,h\na.jpg,green_ball,1,2,x,4\n", "line 2"),
        ("frame,target,x,y,w,h\na.jpg,green_ball,1,2,,4\n", "line 2"),
        ("frame,target,x,y,w,h\na.jpg,green_ball,1,2,-3,4\n", "line 2"),
        ("frame,target,x,y,w,h\n,green_ball,1,2,3,4\n", "line 2"),
        ("frame,target,x,y,w,h\na.jpg,green_ball,nan,2,3,4\n", "line 2"),
    ],
)
def test_wrong_labels_are_named(tmp_path, text, words):
    path = tmp_path / "groundtruth.csv"
    path.write_text(text)
    with pytest.raises(PvmError, match=words):
        read_groundtruth(path)


@pytest.mark.parametrize(
    "source", [(480, 640), (720, 1280), (640, 350), (144, 192), (50, 40), (1080, 1920), (100, 900)]
)
def test_boxes_survive_the_way_to_the_network_and_back(source):
    view = View.fit(source, (144, 192))
    box = np.array([source[1] * 0.3, source[0] * 0.2, source[1] * 0.4, source[0] * 0.5])
    np.testing.assert_allclose(view.to_source(view.to_network(box)), box, atol=1e-6)
    image = np.zeros((*source, 3), np.uint8)
    x, y, w, h = box.round().astype(int)
    image[y : y + h, x : x + w] = 255
    small = network_input(image, view)
    assert small.shape == (144, 192, 3)
    bright = np.argwhere(small[..., 0] > 127 + 60)
    nx, ny, _, nh = view.to_network(box)
    assert abs(bright[:, 1].min() - nx) <= 1.5
    assert abs(bright[:, 0].max() + 1 - ny - nh) <= 1.5


@pytest.mark.parametrize("source", [(480, 640), (720, 1280), (1080, 1920), (480, 600), (237, 311)])
def test_halves_are_the_mean_of_what_each_pixel_covers(source):
    image = np.random.default_rng(0).integers(0, 256, (*source, 3), np.uint8)
    view = View.fit(source, (128, 160))
    rows, cols = view.shown
    whole = cv2.resize(image, (cols, rows), interpolation=cv2.INTER_AREA)
    ours = network_input(image, view)[view.top : view.top + rows, view.left : view.left + cols]
    assert np.abs(ours.astype(int) - whole).max() <= 1


def test_a_window_enlarges_a_part_and_stays_in_the_frame():
    image = np.zeros((480, 640, 3), np.uint8)
    image[100:140, 500:560] = 255
    for centre in ((530, 120), (639, 0), (0, 479)):
        view = View.window((480, 640), (128, 160), centre, 1.0)
        assert 0 <= view.x <= 640 - view.width
        assert 0 <= view.y <= 480 - view.height
        assert network_input(image, view).shape == (128, 160, 3)
    view = View.window((480, 640), (128, 160), (530, 120), 1.0)
    np.testing.assert_array_equal(
        network_input(image, view), image[view.y : view.y + 128, view.x : view.x + 160]
    )
    box = np.array([500.0, 100, 60, 40])
    np.testing.assert_allclose(view.to_source(view.to_network(box)), box)


def test_stills_under_a_virtual_camera(tmp_path, monkeypatch):
    """Green discs on grey, without light and lens: wherever the camera goes, boxes fit the discs.

    And their blur, to where a quarter of the light is the disc's.
    """
    monkeypatch.setattr(
        Camera, "develop", lambda _self, image, _light: np.uint8(image.clip(0, 1) ** 0.5 * 255 + 0.5)
    )
    for k in range(3):
        image = np.full((600, 800, 3), 128, np.uint8)
        cv2.circle(image, (300 + 80 * k, 280), 70, (0, 255, 0), -1)
        cv2.imwrite(str(tmp_path / f"{k}.png"), image)
    write_groundtruth(
        tmp_path / "groundtruth.csv",
        [(f"{k}.png", (Box("green_ball", 230 + 80 * k, 210, 140, 140),)) for k in range(3)],
        ("green_ball",),
    )
    stills = load_stills(tmp_path)
    places = []
    for frame in StillsStream(stills, 4, (240, 320), 30.0, 240, seconds=0.5):
        for b in frame.boxes:
            if b.visible < 0.99 or b.x < 2 or b.y < 2 or b.x + b.w > 318 or b.y + b.h > 238:
                continue
            part = frame.image[int(b.y) - 2 : int(b.y + b.h) + 3, int(b.x) - 2 : int(b.x + b.w) + 3]
            rows, cols = np.nonzero(part[..., 1].astype(int) - part[..., 0] > 57)
            assert np.ptp(cols) + 1 == pytest.approx(b.w, abs=3)
            assert np.ptp(rows) + 1 == pytest.approx(b.h, abs=3)
            places.append((round(b.x), round(b.y), round(b.w)))
    assert len(places) > 20
    assert len(set(places)) > 15  # it moves
    clip = still_clip(np.random.default_rng(0), 5, (144, 192), stills)
    assert clip.images.shape == (5, 144, 192, 3)
    assert (clip.truth[..., 0] <= 0).all()


def test_stills_without_labels_are_refused(simulated, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((50, 50, 3), np.uint8))
    with pytest.raises(PvmError, match="groundtruth"):
        load_stills(tmp_path)
    with pytest.raises(PvmError, match="not a folder"):
        load_stills(tmp_path / "none")

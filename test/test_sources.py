"""What networks learn from beside painted scenes: labelled stills, real video, targets pasted onto it."""

import dataclasses

import cv2
import numpy as np
import pytest

from pvm_perception.errors import PvmError
from pvm_perception.streams import footage
from pvm_perception.streams.footage import Footage, Shot, footage_clip
from pvm_perception.streams.groundtruth import read_groundtruth
from pvm_perception.streams.scenes.light import Camera
from pvm_perception.streams.stills import load_stills, still_clip
from pvm_perception.training.pool import ClipPool, ClipRecipe, render
from pvm_perception.training.source_paths import SHARES, SourcePaths
from pvm_perception.training.sources import Sources
from pvm_perception.types import TARGETS, Box, Truth

SIZE = (128, 160)


def textured(rng, rows=240, cols=320):
    """Return a grey-blue picture with some texture, (rows, cols, 3) uint8."""
    grain = cv2.GaussianBlur(rng.normal(0, 60, (rows, cols, 3)), (0, 0), 3)
    return np.clip(grain * 3 + [150, 120, 110], 0, 255).astype(np.uint8)


def disc(picture, middle, radius, colour=(40, 200, 60)):
    cv2.circle(picture, middle, radius, colour, -1, cv2.LINE_AA)
    return Box("green_ball", middle[0] - radius, middle[1] - radius, 2.0 * radius, 2.0 * radius)


@pytest.fixture
def stills(tmp_path):
    """Return a folder of two pictures: a green ball; another ball, and one that may be green."""
    folder, rng = tmp_path / "stills", np.random.default_rng(1)
    folder.mkdir()
    for k in range(2):
        picture = textured(rng)
        disc(picture, (100, 120), 30, (40, 200, 60) if k == 0 else (30, 90, 230))
        disc(picture, (250, 120), 20, (40, 200, 60) if k == 0 else (60, 210, 220))
        cv2.imwrite(str(folder / f"{k}.png"), picture)
    (folder / "labels.csv").write_text(
        "frame,target,x,y,w,h,weight\n0.png,green_ball,70,90,60,60,\n0.png,green_ball,230,100,40,40,1\n"
        "0.png,stop_sign,,,,,\n1.png,other_ball,70,90,60,60,\n1.png,green_ball,230,100,40,40,0\n"
    )
    return folder


@pytest.fixture
def clips(tmp_path):
    """Return a folder of two videos, whose frames' grey tells which frame it is: a folder and a file."""
    root = tmp_path / "video"
    (root / "walk" / "frames").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "broken.mp4").write_bytes(b"no video")
    writer = cv2.VideoWriter(str(root / "ride.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 20, (160, 120))
    for k in range(90):
        if k < 40:
            cv2.imwrite(str(root / "walk" / "frames" / f"{k:04}.png"), numbered(k))
        writer.write(numbered(k))
    writer.release()
    return root


def numbered(k):
    """Return a frame that is as light as its number says, and lighter to the right."""
    return np.repeat(np.uint8(2 * k + np.linspace(0, 40, 160))[None, :, None], 120, 0).repeat(3, 2)


def numbers_of(images):
    return np.round((images[:, 40:80, 70:90].mean(axis=(1, 2, 3)) - 20) / 2).astype(int)


def test_labels_of_sets_for_learning(stills):
    ball, other = load_stills(stills)
    assert [b.target for b in ball.boxes] == ["green_ball"] * 2
    assert [(b.target, b.weight) for b in other.boxes] == [("other_ball", 1), ("green_ball", 0)]
    kinds, weights = set(), set()
    for seed in range(20):
        clip = still_clip(np.random.default_rng(seed), 2, SIZE, [other])
        rows = clip.truth[clip.truth[..., Truth.TARGET] >= 0]
        kinds |= set(rows[:, Truth.TARGET])
        weights |= set(rows[:, Truth.WEIGHT])
    assert kinds == {0}  # the other ball has no row: whoever sees a target there is wrong
    assert weights == {0}
    (stills / "groundtruth.csv").write_text("frame,target,x,y,w,h\n0.png,stop_sign,,,,\n")
    assert [s.boxes for s in load_stills(stills)] == [()]  # groundtruth.csv comes first


@pytest.mark.parametrize("weight", ["2", "-0.1", "often"])
def test_a_weight_that_is_none_is_refused(tmp_path, weight):
    path = tmp_path / "labels.csv"
    path.write_text(f"frame,target,x,y,w,h,weight\na.png,green_ball,1,2,3,4,{weight}\n")
    with pytest.raises(PvmError, match="line 2"):
        read_groundtruth(path)


def test_a_virtual_camera_stays_in_its_picture(stills, monkeypatch):
    """Nothing is mirrored at the border: where a target is seen there is one, and it has a box."""
    monkeypatch.setattr(
        Camera, "develop", lambda _self, image, _light: np.uint8(image.clip(0, 1) ** 0.5 * 255)
    )
    picture = np.zeros((240, 320, 3), np.uint8)
    box = disc(picture, (24, 24), 22)  # in the corner
    cv2.imwrite(str(stills / "0.png"), picture)
    still = dataclasses.replace(load_stills(stills)[0], boxes=(box,))
    seen = 0
    for seed in range(30):
        clip = still_clip(np.random.default_rng(seed), 3, SIZE, [still])
        for image, truth in zip(clip.images, clip.truth, strict=True):
            discs = cv2.connectedComponents(np.uint8(image[..., 1] > 100))[0] - 1
            assert discs <= len(Truth.boxes(truth)) <= 1
            seen += discs
    assert seen > 40


def test_video_now_and_then_stands_still_and_jumps(clips, monkeypatch):
    monkeypatch.setattr(footage, "PAUSES", 1.0)
    steps = [
        np.abs(np.diff(numbers_of(Footage([clips]).shot(np.random.default_rng(n), n, 12).images)))
        for n in range(12)
    ]
    assert 0.2 < np.mean(np.concatenate(steps) == 0) < 0.8  # else it goes on by one or two frames
    assert max(map(max, steps)) <= 2


def test_video_is_cut_into_clips_of_following_frames(clips, capsys, monkeypatch):
    monkeypatch.setattr(footage, "PAUSES", 0.0)
    video = Footage([clips])
    assert sum(p.end - p.begin for p in video.pieces) == 130
    assert {p.path.name for p in video.pieces} == {"walk", "ride.avi"}
    assert "broken.mp4 cannot be opened" in capsys.readouterr().err  # named, and left out
    steps, mirrored = set(), set()
    for n in range(60):
        shot = video.shot(np.random.default_rng(n), n, 6)
        assert shot.images.shape == (6, 120, 160, 3)
        step = np.diff(numbers_of(shot.images))
        turns = np.flatnonzero(np.diff(np.sign(step)))
        assert len(turns) <= 1 or len(shot.images) > 40
        assert len(set(np.abs(step))) == 1, numbers_of(shot.images)
        steps.add(int(step[0]))
        mirrored.add(bool(shot.images[0, 0, 0, 0] > shot.images[0, 0, -1, 0]))
    assert steps == {1, -1, 2, -2}
    assert mirrored == {True, False}
    again = video.shot(np.random.default_rng(7), 7, 6)
    np.testing.assert_array_equal(again.images, Footage([clips]).shot(np.random.default_rng(7), 7, 6).images)
    seen = numbers_of(video.shot(np.random.default_rng(3), 3, 200).images)  # longer than any piece
    assert set(np.abs(np.diff(seen))) <= {1, 2}


def test_video_waits_in_memory_of_a_bounded_size(clips, monkeypatch):
    decoded, real = [], footage._decoded
    monkeypatch.setattr(footage, "_decoded", lambda piece: decoded.append(piece) or real(piece))
    video = Footage([clips])
    for n in range(200):
        video.shot(np.random.default_rng(n), n, 4)
    assert len(decoded) == len(video.pieces) == 3  # each was decoded once
    decoded.clear()
    small = Footage([clips], memory=1)
    for n in range(240):
        small.shot(np.random.default_rng(n), n, 4)
        assert len(small._decoded) == 1
    assert set(decoded) == set(small.pieces)  # all have their turn
    assert len(decoded) == 240 // footage.STEP


def test_large_video_is_kept_small(tmp_path):
    for k in range(4):
        cv2.imwrite(str(tmp_path / f"{k}.jpg"), np.zeros((720, 1280, 3), np.uint8))
    video = Footage([tmp_path])
    assert video.frames(video.pieces[0]).shape == (4, 180, 320, 3)


def test_video_that_is_not_there(tmp_path):
    with pytest.raises(PvmError, match="does not exist"):
        Footage([tmp_path / "none"])
    with pytest.raises(PvmError, match="no video in"):
        Footage([tmp_path])


@pytest.mark.parametrize("known", [True, False])
def test_video_says_nothing_of_targets_or_that_there_is_none(clips, known):
    shot = Footage([clips]).shot(np.random.default_rng(0), 0, 5)
    clip = footage_clip(np.random.default_rng(0), shot, SIZE, known)
    assert clip.images.shape == (5, *SIZE, 3)
    assert np.isnan(clip.motion).all()  # of the camera's motion nothing is known, either
    rows = clip.truth[clip.truth[..., Truth.TARGET] >= 0]
    if known:
        assert not len(rows)
    else:
        assert (rows[:, Truth.WEIGHT] == 0).all()
        assert (rows[:, Truth.BOX] == [0, 0, SIZE[1], SIZE[0]]).all()
        assert len(rows) == 5 * len(TARGETS)


def test_clips_move_as_the_video_does():
    """In most clips nothing but the video moves: of a still one, all frames are alike."""
    images = np.repeat(textured(np.random.default_rng(0))[None], 4, 0)
    alike = 0
    for seed in range(40):
        clip = footage_clip(np.random.default_rng(seed), Shot(images), SIZE, False)
        alike += bool((clip.images == clip.images[0]).all())
    assert 5 < alike < 30


def test_kinds_come_as_often_as_their_shares_say(stills, clips):
    wanted = (("pasted", 0.2), ("stills", 0.2), ("turning", 0.1))
    paths = SourcePaths((str(stills),), None, (str(clips),), (str(clips),), wanted)
    assert paths.kinds() == {
        "stills": 0.2,
        "pasted": 0.2,
        "video": SHARES["video"],
        "negatives": SHARES["negatives"],
        "turning": 0.1,
    }
    sources, counts = Sources(paths), dict.fromkeys([*SHARES, "painted"], 0)
    for kind in SHARES:
        setattr(sources, f"_{kind}", lambda *_, kind=kind: kind)
    recipe = ClipRecipe((24, 32), 2, 3, seed=9, paths=paths)
    plain = ClipRecipe((24, 32), 2, 3, seed=9)
    for number in range(400):
        clip = render(recipe, number, sources)
        counts[clip if isinstance(clip, str) else "painted"] += 1
        if not isinstance(clip, str) and number < 60:  # the other kinds change no painted clip
            np.testing.assert_array_equal(clip.images, render(plain, number).images)
    shares = {kind: count / 400 for kind, count in counts.items()}
    assert shares == pytest.approx(paths.kinds() | {"painted": 0.2}, abs=0.06)


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ((("stils", 0.1),), "no clips of kind 'stils'"),
        ((("video", 0.1),), "needs --video"),
        ((("stills", 0.7), ("pasted", 0.7)), "at most 1, not 1.4"),
        ((("stills", float("nan")),), "at most 1"),
    ],
)
def test_shares_that_cannot_be_are_refused(shares, message):
    with pytest.raises(PvmError, match=message):
        SourcePaths(stills=("some",), shares=shares).kinds()


def test_every_kind_comes_through_the_ring_as_it_was_made(stills, clips):
    paths = SourcePaths(
        (str(stills),),
        (0.0, 1.0),
        (str(clips),),
        (str(clips),),
        (("pasted", 0.25), ("stills", 0.2), ("video", 0.25), ("negatives", 0.2), ("turning", 0.1)),
    )
    recipe, sources = ClipRecipe(SIZE, 3, 6, seed=2, paths=paths), Sources(paths)
    pool = ClipPool(recipe)
    try:
        for number in range(12):
            clip, right = pool.clip(), render(recipe, number, sources)
            np.testing.assert_array_equal(clip.images, right.images)
            np.testing.assert_array_equal(clip.truth[:, : right.truth.shape[1]], right.truth)
            assert (clip.truth[:, right.truth.shape[1] :] == Truth.NONE).all()
    finally:
        pool.close()


def test_training_from_all_sources(command_line, stills, clips, tmp_path):
    process = command_line(
        "train",
        "--output",
        tmp_path / "out",
        "--frames",
        96,
        "--streams",
        4,
        "--stills",
        stills,
        "--video",
        clips,
        "--negatives",
        clips / "walk",
        "--shares",
        "pasted=0.2",
        "--validation-clips",
        4,
        "--calibration-scenes",
        0,
        "--longest",
        4,
    )
    assert process.returncode == 0, process.stderr
    assert "prediction_over_copy=" in process.stdout
    for arguments, message in (
        (("--video", tmp_path / "none"), "does not exist"),
        (("--shares", "pasted=0.2"), "needs --stills"),
        (("--shares", "pasted"), "not KIND=NUMBER"),
        (("--stills", stills, "--stills-part", 0.9, 0.1), "--stills-part"),
    ):
        process = command_line("train", "--output", tmp_path / "out", *arguments)
        assert process.returncode == 2
        assert message in process.stderr
        assert "Traceback" not in process.stderr

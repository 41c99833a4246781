"""What clips are made of: painted scenes, labelled stills, real video, and real targets pasted onto that.

Each clip is of one kind, drawn by shares: a network learns from all kinds side by side in one run.
"""

from __future__ import annotations

from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from pvm_perception.errors import PvmError
from pvm_perception.streams.footage import Footage, footage_clip
from pvm_perception.streams.generated import Clip, make_clip
from pvm_perception.streams.scenes.pasted import PastedScene
from pvm_perception.streams.scenes.photos import load_photos
from pvm_perception.streams.scenes.real_targets import Cutting, cut_out
from pvm_perception.streams.stills import Still, load_stills, still_clip
from pvm_perception.training.source_paths import SourcePaths

ON_VIDEO = 0.5  # share of the pasted scenes that are on video, where there is any


class Sources:
    """The material, loaded; `clip` makes a clip of it.

    Parameters
    ----------
    paths
        Where it lies.
    photos
        Folder of photographs for backgrounds, or None.

    Raises
    ------
    PvmError
        Whatever is wrong with the paths or with what lies there.
    """

    def __init__(self, paths: SourcePaths, photos: str | None = None) -> None:
        self.kinds = paths.kinds()
        self.photos = load_photos(photos) if photos else None
        self.stills: list[Still] = [s for f in paths.stills for s in load_stills(f, paths.stills_part)]
        self.video, self.negatives = (
            Footage(map(Path, p)) if p else None for p in (paths.video, paths.negatives)
        )

    @cached_property
    def cuttings(self) -> list[Cutting]:
        """Targets cut out of the stills; takes seconds, once."""
        found = cut_out(self.stills)
        if not found:
            raise PvmError("no target in the stills can be cut out: they need whole ones of 24 px and more")
        return found

    def clip(
        self,
        rng: np.random.Generator,
        number: tuple[int, int],
        frames: int,
        size: tuple[int, int],
        solid: float,
    ) -> Clip:
        """Make a clip.

        Parameters
        ----------
        rng
            Draws what is in it.
        number
            The run's seed and the clip's number; they decide on the kind.
        frames, size
            As for `generated.make_clip`.
        solid
            Share of the painted scenes that are in three dimensions.
        """
        drawn = np.random.default_rng((*number, 1)).random()
        for kind, share in self.kinds.items():
            drawn -= share
            if drawn < 0:
                return getattr(self, f"_{kind}")(rng, number[1], frames, size)
        seed = int(rng.integers(2**62))
        return make_clip(seed, frames, size, photos=self.photos, solid=rng.random() < solid)

    def _turning(self, rng: np.random.Generator, _number: int, frames: int, size: tuple[int, int]) -> Clip:
        return make_clip(int(rng.integers(2**62)), frames, size, photos=self.photos, turns=1.0)

    def _stills(self, rng: np.random.Generator, _number: int, frames: int, size: tuple[int, int]) -> Clip:
        return still_clip(rng, frames, size, self.stills)

    def _video(self, rng: np.random.Generator, number: int, frames: int, size: tuple[int, int]) -> Clip:
        return footage_clip(rng, _given(self.video).shot(rng, number, frames), size, known=False)

    def _negatives(self, rng: np.random.Generator, number: int, frames: int, size: tuple[int, int]) -> Clip:
        return footage_clip(rng, _given(self.negatives).shot(rng, number, frames), size, known=True)

    def _pasted(self, rng: np.random.Generator, number: int, frames: int, size: tuple[int, int]) -> Clip:
        some: dict[str, Any] = {"cuttings": self.cuttings}
        footage = [(f, f is self.negatives) for f in (self.video, self.negatives) if f]
        if footage and rng.random() < ON_VIDEO:
            pieces = np.array([len(f.pieces) for f, _ in footage])
            source, known = footage[int(rng.choice(len(footage), p=pieces / pieces.sum()))]
            some |= {"images": source.shot(rng, number, frames).images, "known": known}
        seed = int(rng.integers(2**62))
        return make_clip(seed, frames, size, photos=self.photos, scene=partial(PastedScene, **some))


def _given(footage: Footage | None) -> Footage:
    """Return video that a clip is to be made of: `SourcePaths.kinds` names no kind without its paths."""
    if footage is None:
        raise PvmError("clips of video were asked for, but no video was given")
    return footage

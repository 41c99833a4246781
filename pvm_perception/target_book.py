"""Which targets a tracker knows and looks for, and how it is shown new ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pvm_perception.core.backend import Images
from pvm_perception.core.config import HierarchyConfig
from pvm_perception.core.shown import ShownTargets
from pvm_perception.errors import PvmError
from pvm_perception.vision.perception import Perception
from pvm_perception.vision.teacher import Teacher
from pvm_perception.vision.tracker import TrackManager


class TargetBook:
    """The part of a `Tracker` that knows its targets.

    Attributes
    ----------
    place : returns pictures of the robot's surroundings, such as remembered ones, (H, W, 3) uint8 BGR each:
        examples of what a new target is not. It may be set
    """

    config: HierarchyConfig
    _shown: ShownTargets
    place: Callable[[], Sequence[Images]] = tuple
    _teacher: Teacher | None
    _versions: int
    _targets: tuple[str, ...]
    _perception: Perception
    _tracks: TrackManager

    def _checked_targets(self, targets: Sequence[str]) -> tuple[str, ...]:
        names = (targets,) if isinstance(targets, str) else tuple(targets)
        unknown = [t for t in names if t not in self.known_targets]
        if unknown or not names:
            what = f"unknown target {unknown[0]!r}" if unknown else "no target was named"
            raise PvmError(f"{what}; this model knows {', '.join(self.known_targets)}")
        return names

    @property
    def known_targets(self) -> tuple[str, ...]:
        """The targets that the model knows: those it was trained for, and those that it was shown."""
        return tuple(dict.fromkeys((*self.config.targets, *self._shown.names)))

    @property
    def shown(self) -> ShownTargets:
        """What the model knows of the targets that it was shown; may be replaced between frames.

        A target that is gone then is not looked for any more.
        """
        return self._shown

    @shown.setter
    def shown(self, value: ShownTargets) -> None:
        self._shown = value
        self._perception.find_shown(value)
        self._versions += 1
        kept = tuple(t for t in self._targets if t in self.known_targets)
        if kept != self._targets:
            self.targets = kept or self.config.targets

    @property
    def teacher(self) -> Teacher:
        """What learns shown targets; it may work on another thread than the tracker.

        Raises
        ------
        PvmError
            Targets cannot be shown to this model.
        """
        if self._teacher is None or self._teacher.of is not self._perception.network:
            self._teacher = Teacher(self._perception.network)
        self._teacher.place = self.place
        return self._teacher

    def teach(self, image: Images, target: str, box: Sequence[float]) -> None:
        """Show it a target in one image; from then on it is looked for.

        What a target was shown in counts together, up to 20 boxes. What the network was trained for stays
        as it is; of such a target a shown box adds to what is found. Takes about a second for the first
        box, less for the next ones.

        Parameters
        ----------
        image
            As for `update`.
        target
            Its name, known or new.
        box
            x, y, width and height, pixels of `image`.

        Raises
        ------
        PvmError
            An odd name, image or box, more targets than are kept, or a model that nothing can be shown to;
            nothing changes then.
        """
        self.shown = self.teacher.learn(self._shown, image, target, box)
        if target not in self._targets:
            self.targets = (*self._targets, target)

    def forget(self, target: str) -> None:
        """Take back what was shown of a target; what the network was trained for stays.

        Raises
        ------
        PvmError
            The target was never shown.
        """
        if target not in self._shown.names:
            names = ", ".join(self._shown.names) or "none"
            raise PvmError(f"{target!r} was never shown; shown targets: {names}")
        if self._teacher is not None:
            self._teacher.forget(target)
        self.shown = self._shown.without(target)

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets that are looked for; may be replaced between frames.

        The tracks of a target that is not looked for any more end at once.

        Raises
        ------
        PvmError
            If the model does not know one of them, or none is named; nothing changes then.
        """
        return self._targets

    @targets.setter
    def targets(self, names: Sequence[str]) -> None:
        checked = self._checked_targets(names)
        if checked != self._targets:
            self._targets = checked
            self._tracks.keep_targets(checked)
            self._perception.change_targets()

"""What the tracker sees, expects and believes, frame by frame on a `LivePage`."""

from __future__ import annotations

from pathlib import Path

from pvm_perception.api import Tracker
from pvm_perception.live_page import LivePage, colour
from pvm_perception.types import Box, Frame, Track
from pvm_perception.vision.draw import mosaic

GREY = (128, 128, 128)
ORANGE = (255, 160, 0)
TOP_SURPRISE = 6.0  # at the colour map's end; where all is as usual it is about 0.5


class LiveView(LivePage):
    """A page that grows by one frame with each `show`.

    Parameters
    ----------
    tracker
        Whose view it is.
    record, port, address
        As for `LivePage`.
    """

    def __init__(
        self,
        tracker: Tracker,
        record: Path | None = None,
        port: int | None = None,
        address: str = "127.0.0.1",
    ) -> None:
        super().__init__(record, port, address)
        self._tracker = tracker
        b = self.blueprint
        maps = [b.Spatial2DView(origin=f"heat/{t}", name=f"heat: {t}") for t in tracker.targets]
        maps += [
            b.Spatial2DView(origin="network/prediction", name="expected next"),
            b.Spatial2DView(origin="network/surprise", name="surprise"),
        ]
        codes = [
            b.Spatial2DView(origin=f"codes/{layer.name}", name=f"codes: {layer.name}")
            for layer in tracker.config.layers
        ]
        self.lay_out(maps, codes, [("scores", "scores"), ("error", "prediction error")])
        for target in tracker.targets:
            for kind, width in (("seen", 1.0), ("track", 3.0)):
                self.name_curve(f"scores/{target}/{kind}", f"{target}, {kind}", colour(target), width)
        for name in ("birth_score", "keep_score"):
            self.name_curve(f"scores/{name}", name, GREY)
        for name in ("forecast", "copying"):
            self.name_curve(f"error/{name}", name, None)

    def show(self, index: int, frame: Frame, tracks: list[Track]) -> None:
        """Add one frame, after `tracker.update` has looked at it.

        Parameters
        ----------
        index
            Of the frame in its stream, from 0.
        frame
            What the camera saw; with its true boxes where they are known.
        tracks
            What `update` returned.
        """
        self.set_time(index, frame.stamp)
        scale = self.show_camera(frame.image, tracks, frame.boxes)
        window = self._tracker.fovea  # of the second look
        windows = []
        if window is not None:
            x, y, w, h = map(float, window)
            windows = [Box("fovea", x, y, w, h)]
        self.log(
            "camera/fovea",
            self.boxes(windows, scale, [ORANGE] * len(windows), ["fovea"] * len(windows)),
        )
        self._show_network()
        self._show_scores(tracks)

    def _show_network(self) -> None:
        rr, tracker = self._rr, self._tracker
        for target in tracker.targets:
            self.log(
                f"heat/{target}",
                rr.DepthImage(tracker.heatmap(target), colormap="turbo", depth_range=(0.0, 1.0)),
            )
        self.log("network/prediction", self.jpeg(tracker.prediction()))
        self.log(
            "network/surprise",
            rr.DepthImage(tracker.surprise(), colormap="inferno", depth_range=(0.0, TOP_SURPRISE)),
        )
        for name, codes in tracker.codes().items():
            self.log(f"codes/{name}", rr.Image(mosaic(codes), color_model="L"))

    def _show_scores(self, tracks: list[Track]) -> None:
        """Show the best score of each target, as seen in this frame and as a track says it."""
        tracker, settings = self._tracker, self._tracker.settings
        values = {"scores/birth_score": settings.birth_score, "scores/keep_score": settings.keep_score}
        for target in tracker.targets:
            for kind, found in (("seen", tracker.detections), ("track", tracks)):
                values[f"scores/{target}/{kind}"] = max(
                    (f.score for f in found if f.target == target), default=0.0
                )
        forecast, copying = tracker.prediction_error()  # not finite before the second frame
        self.show_curves(values | {"error/forecast": forecast, "error/copying": copying})

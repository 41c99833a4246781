"""What the tracker sees, as a Rerun recording: shown in the browser, written to a file, or both."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import subprocess
import time
import webbrowser
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np

from pvm_perception.api import Tracker
from pvm_perception.errors import PvmError
from pvm_perception.types import Box, Frame, Track
from pvm_perception.vision.draw import colour_of, mosaic

NEEDS = "rerun-sdk~=0.41.0"  # as requirements/watch.txt pins and setup.py's extra asks
START = 20.0  # seconds that the page's server may take to listen
HISTORY = "1GiB"  # what the server keeps for a browser that comes late; the oldest goes first
JPEG = (cv2.IMWRITE_JPEG_QUALITY, 85)
TOP_SURPRISE = 6.0  # at the colour map's end; where all is as usual it is about 0.5


def load_rerun() -> ModuleType:
    """Return the module `rerun`; raise PvmError with the way to install it."""
    try:
        import rerun
        import rerun.blueprint
    except (ImportError, RuntimeError) as error:  # RuntimeError: a Python that is too old for it
        raise PvmError(
            f"watch needs Rerun ({error}); run `make watch`, or `python -m pip install '{NEEDS}'`"
        ) from error
    return rerun


class LiveView:
    """A recording that grows by one frame with each `show`.

    Parameters
    ----------
    tracker
        Whose view it is.
    record
        File to write, .rrd; None writes none.
    port
        Of the web page; the data come through the next one. None serves none.
    address
        On which both listen, a name or an IP address: by default this host can open them, no other.

    Attributes
    ----------
    url : of the page, to open in a browser; empty where none is served

    Raises
    ------
    PvmError
        Rerun is not installed, the file cannot be written, the address is none of this host's, or a port is
        taken.
    """

    def __init__(
        self,
        tracker: Tracker,
        record: Path | None = None,
        port: int | None = None,
        address: str = "127.0.0.1",
    ) -> None:
        self._rr = rr = load_rerun()
        self._tracker = tracker
        sinks: list[Any] = []
        if record is not None:
            _check_writable(record)
            sinks.append(rr.FileSink(record))
        if port is not None:
            for number in (port, port + 1):
                ip = _listening_ip(address, number)
            host = _host_in_url(ip)
            pages = None if host == "localhost" else [f"http://*:{port}"]  # that may read the data
            sinks.append(
                rr.GrpcServerSink(ip, port + 1, server_memory_limit=HISTORY, cors_allow_origin=pages)
            )
        rr.set_strict_mode(True)
        self._recording = rr.RecordingStream("pvm_perception")
        self._recording.set_sinks(*sinks)
        self._recording.send_blueprint(self._layout(live=port is not None))
        self._name_curves()
        self.url, self._page = "", None
        if port is not None:
            data = f"rerun+http://{host}:{port + 1}/proxy"
            self.url = f"http://{host}:{port}/?url={quote(data, safe='')}"
            self._page = _serve_page(ip, port, data)
            if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
                webbrowser.open(self.url)

    def _layout(self, live: bool) -> Any:
        """Return which panel lies where, until a person moves them; live, it follows the newest frame."""
        b = self._rr.blueprint
        maps = [b.Spatial2DView(origin=f"heat/{t}", name=f"heat: {t}") for t in self._tracker.targets]
        maps += [
            b.Spatial2DView(origin="network/prediction", name="expected next"),
            b.Spatial2DView(origin="network/surprise", name="surprise"),
        ]
        codes = [
            b.Spatial2DView(origin=f"codes/{layer.name}", name=f"codes: {layer.name}")
            for layer in self._tracker.config.layers
        ]
        return b.Blueprint(
            b.Horizontal(
                b.Vertical(
                    b.Spatial2DView(origin="camera", name="camera"),
                    b.TimeSeriesView(origin="scores", name="scores"),
                    b.TimeSeriesView(origin="error", name="prediction error"),
                    row_shares=[5, 2, 2],
                ),
                b.Vertical(b.Grid(*maps, grid_columns=2), b.Grid(*codes, grid_columns=3)),
                column_shares=[3, 2],
            ),
            b.TimePanel(timeline="frame", state="collapsed", play_state="following" if live else "paused"),
            collapse_panels=True,
        )

    def _name_curves(self) -> None:
        """Give each curve its name and colour, once for all time."""
        lines = self._rr.SeriesLines
        for target in self._tracker.targets:
            for kind, width in (("seen", 1.0), ("track", 3.0)):
                self._log(
                    f"scores/{target}/{kind}",
                    lines(names=f"{target}, {kind}", colors=_colour(target), widths=width),
                    static=True,
                )
        for name in ("birth_score", "keep_score"):
            self._log(f"scores/{name}", lines(names=name, colors=(128, 128, 128)), static=True)
        for name in ("forecast", "copying"):
            self._log(f"error/{name}", lines(names=name), static=True)

    def _log(self, path: str, thing: Any, static: bool = False) -> None:
        self._recording.log(path, thing, static=static)

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
        self._recording.set_time("frame", sequence=index)
        if frame.stamp is not None:
            self._recording.set_time("stream_time", duration=float(frame.stamp))
        self._show_camera(frame, tracks)
        self._show_network()
        self._show_curves(tracks)

    def _show_camera(self, frame: Frame, tracks: list[Track]) -> None:
        """Show frame, boxes, truth and the window of the second look, in the frame's px."""
        self._log("camera/image", self._jpeg(frame.image))
        self._log(
            "camera/tracks",
            self._boxes(
                tracks,
                [f"{t.target} {t.id} {t.score:.2f}" for t in tracks],
                [_colour(t.target) for t in tracks],
            ),
        )
        if frame.boxes is not None:
            self._log(
                "camera/truth",
                self._boxes(
                    frame.boxes,
                    [f"truth: {b.target}" for b in frame.boxes],
                    [(255, 255, 255)] * len(frame.boxes),
                ),
            )
        window = self._tracker.fovea
        windows = []
        if window is not None:
            x, y, w, h = map(float, window)
            windows = [Box("fovea", x, y, w, h)]
        self._log(
            "camera/fovea", self._boxes(windows, ["fovea"] * len(windows), [(255, 160, 0)] * len(windows))
        )

    def _jpeg(self, image: np.ndarray) -> Any:
        """Return a (H, W, 3) uint8 BGR picture at a tenth of its size."""
        data = cv2.imencode(".jpg", image, JPEG)[1].tobytes()
        return self._rr.EncodedImage(contents=data, media_type="image/jpeg")

    def _boxes(self, boxes: Any, labels: list[str], colours: list[tuple[int, int, int]]) -> Any:
        """Return boxes to draw; none at all wipes out those of the frame before."""
        array = np.array([(b.x, b.y, b.w, b.h) for b in boxes], np.float32).reshape(-1, 4)
        return self._rr.Boxes2D(
            array=array,
            array_format=self._rr.Box2DFormat.XYWH,
            labels=labels,
            colors=np.array(colours, np.uint8).reshape(-1, 3),
        )

    def _show_network(self) -> None:
        rr, tracker = self._rr, self._tracker
        for target in tracker.targets:
            self._log(
                f"heat/{target}",
                rr.DepthImage(tracker.heatmap(target), colormap="turbo", depth_range=(0.0, 1.0)),
            )
        self._log("network/prediction", self._jpeg(tracker.prediction()))
        self._log(
            "network/surprise",
            rr.DepthImage(tracker.surprise(), colormap="inferno", depth_range=(0.0, TOP_SURPRISE)),
        )
        for name, codes in tracker.codes().items():
            self._log(f"codes/{name}", rr.Image(mosaic(codes), color_model="L"))

    def _show_curves(self, tracks: list[Track]) -> None:
        """Show the best score of each target, as seen in this frame and as a track says it."""
        tracker, settings = self._tracker, self._tracker.settings
        values = {"scores/birth_score": settings.birth_score, "scores/keep_score": settings.keep_score}
        for target in tracker.targets:
            for kind, found in (("seen", tracker.detections), ("track", tracks)):
                values[f"scores/{target}/{kind}"] = max(
                    (f.score for f in found if f.target == target), default=0.0
                )
        forecast, copying = tracker.prediction_error()
        values |= {"error/forecast": forecast, "error/copying": copying}
        for path, value in values.items():
            if np.isfinite(value):  # there is no error before the second frame
                self._log(path, self._rr.Scalars(float(value)))

    def close(self) -> None:
        """Write out what is left and end the servers."""
        self._recording.flush()
        self._recording.disconnect()
        if self._page is not None:
            self._page.kill()  # it holds nothing that is worth keeping
            self._page.wait()


def _colour(target: str) -> tuple[int, int, int]:
    """Return a target's colour, RGB."""
    return colour_of(target)[::-1]


def _check_writable(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("wb").close()
    except OSError as error:
        raise PvmError(f"{path} cannot be written: {error.strerror}") from error


def _listening_ip(address: str, port: int) -> str:
    """Return an address's IP; PvmError unless somebody can listen there: Rerun itself would only log it."""
    try:
        family, *_, (ip, *_) = socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as attempt:
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            attempt.bind((ip, port))
    except socket.gaierror as error:
        raise PvmError(f"--address {address} is no address of this host ({error.strerror})") from error
    except (OSError, OverflowError) as error:
        raise PvmError(
            f"port {port} cannot be used on {address} ({error}); give another with --port, or "
            "an address of this host with --address"
        ) from error
    return str(ip)


def _host_in_url(ip: str) -> str:
    """Return how a browser calls the host that listens on an IP address."""
    number = ipaddress.ip_address(ip)
    if number.is_loopback:
        return "localhost"
    if number.is_unspecified:
        return socket.gethostname()
    return f"[{ip}]" if number.version == 6 else ip


def _serve_page(ip: str, port: int, data: str) -> subprocess.Popen:
    """Start Rerun's own server of its page, which alone lets us choose the address; return its process."""
    program = str(files("rerun_cli") / "rerun")  # its Python wrapper would leave it behind
    try:
        page = subprocess.Popen(
            [program, "--serve-web", "--bind", ip, "--web-viewer-port", str(port), data],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError as error:
        raise PvmError(f"Rerun's page cannot be served: {program}: {error.strerror}") from error
    deadline = time.monotonic() + START
    reach = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(ip, ip)
    while time.monotonic() < deadline and page.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((reach, port), timeout=1):
            return page
        time.sleep(0.05)
    page.kill()
    raise PvmError(
        f"Rerun's page did not come up on {ip}, port {port}, within {START:g} s "
        f"(its exit code: {page.wait()})"
    )

"""A Rerun recording of camera, boxes and curves: shown in the browser, written to a file, or both."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import subprocess
import time
import webbrowser
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np

from pvm_perception.errors import PvmError
from pvm_perception.types import Box, Track
from pvm_perception.vision.draw import colour_of

NEEDS = "rerun-sdk~=0.41.0"  # as requirements/watch.txt pins and setup.py's extra asks
START = 20.0  # seconds that the page's server may take to listen
HISTORY = "1GiB"  # what the server keeps for a browser that comes late; the oldest goes first
JPEG = (cv2.IMWRITE_JPEG_QUALITY, 85)
WIDEST = 960  # px; a page's pictures are shrunk to this width, so that the browser keeps up
ABOVE = 0.05  # of the picture's height: how far over a true box its name begins, clear of the track's below


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


class Thinner:
    """Lets so many frames a second through, evenly.

    Parameters
    ----------
    rate
        Frames a second; 0 lets every frame through.
    """

    def __init__(self, rate: float) -> None:
        self._period, self._due = (1 / rate if rate else 0.0), -float("inf")

    def passes(self, now: float | None = None) -> bool:
        """Tell whether to show a frame that is there now (seconds, monotonic)."""
        now = time.monotonic() if now is None else now
        if now < self._due:
            return False
        late = now - self._due > self._period
        self._due = (now if late else self._due) + self._period
        return True


class LivePage:
    """A recording that grows frame by frame.

    Parameters
    ----------
    record
        File to write, .rrd, with every picture in its full size; None writes none.
    port
        Of the web page; the data come through the next one. None serves none.
    address
        On which both listen, a name or an IP address: by default this host can open them, no other.

    Attributes
    ----------
    url : of the page, to open in a browser; empty where none is served
    blueprint : Rerun's module of views, for `lay_out`

    Raises
    ------
    PvmError
        Rerun is not installed, the file cannot be written, the address is none of this host's, or a port is
        taken.
    """

    def __init__(
        self, record: Path | None = None, port: int | None = None, address: str = "127.0.0.1"
    ) -> None:
        self._rr = rr = load_rerun()
        self.blueprint = rr.blueprint
        self._live, self._shrinks = port is not None, record is None
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
        self.url, self._page = "", None
        if port is not None:
            data = f"rerun+http://{host}:{port + 1}/proxy"
            self.url = f"http://{host}:{port}/?url={quote(data, safe='')}"
            self._page = _serve_page(ip, port, data)
            if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
                webbrowser.open(self.url)

    def lay_out(self, maps: Sequence[Any], codes: Sequence[Any], curves: Sequence[tuple[str, str]]) -> None:
        """Say which panel lies where, until a person moves them; live, it follows the newest frame.

        Parameters
        ----------
        maps, codes
            Views of pictures, right of the camera, above and below.
        curves
            Origin and name of the plots below the camera.
        """
        b = self.blueprint
        plots = [b.TimeSeriesView(origin=origin, name=name) for origin, name in curves]
        right = [b.Grid(*maps, grid_columns=2), *([b.Grid(*codes, grid_columns=3)] if codes else [])]
        self._recording.send_blueprint(
            b.Blueprint(
                b.Horizontal(
                    b.Vertical(
                        b.Spatial2DView(origin="camera", name="camera"),
                        *plots,
                        row_shares=[5, *[2] * len(plots)],
                    ),
                    b.Vertical(*right),
                    column_shares=[3, 2],
                ),
                b.TimePanel(
                    timeline="frame",
                    state="collapsed",
                    play_state="following" if self._live else "paused",
                ),
                collapse_panels=True,
            )
        )

    def name_curve(self, path: str, name: str, colour: tuple[int, int, int] | None, width: float = 1) -> None:
        """Give a curve its name, its colour (RGB) and its width (px), once for all time.

        Parameters
        ----------
        path
            Of the curve in the page's tree.
        name
            What its legend says.
        colour
            R, G, B, 0 to 255; None takes one that the page chooses.
        width
            Of its line, px.
        """
        colours = {} if colour is None else {"colors": colour}
        self.log(path, self._rr.SeriesLines(names=name, widths=width, **colours), static=True)

    def log(self, path: str, thing: Any, static: bool = False) -> None:
        """Add a thing to the frame whose time was set last.

        Parameters
        ----------
        path
            In the page's tree.
        thing
            What the page's library takes.
        static
            Whether it holds for all time.
        """
        self._recording.log(path, thing, static=static)

    def set_time(self, index: int, stamp: float | None) -> None:
        """Say which frame comes now: its index in the stream, from 0, and its stamp in seconds.

        Parameters
        ----------
        index
            In the stream, from 0.
        stamp
            Seconds; None where the frame has none.
        """
        self._recording.set_time("frame", sequence=index)
        if stamp is not None:
            self._recording.set_time("stream_time", duration=float(stamp))

    def show_camera(
        self, image: np.ndarray, tracks: Iterable[Track], truth: Sequence[Box] | None = None
    ) -> float:
        """Show a frame, (H, W, 3) uint8 BGR, with boxes in its px; return how much it was shrunk.

        Parameters
        ----------
        image
            (H, W, 3) uint8, BGR.
        tracks
            Boxes in its px.
        truth
            True boxes in its px, or None.
        """
        scale = min(1.0, WIDEST / image.shape[1]) if self._live and self._shrinks else 1.0
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        self.log("camera/image", self.jpeg(image))
        tracks = list(tracks)
        labels = [f"{t.target} {t.id} {t.score:.2f}" for t in tracks]
        self.log("camera/tracks", self.boxes(tracks, scale, [colour(t.target) for t in tracks], labels))
        if truth is not None:
            white = [(255, 255, 255)] * len(truth)
            self.log("camera/truth", self.boxes(truth, scale, white))
            # a box's own label stands below it, where the track's is; so the truth's stands above
            places = [(scale * (b.x + b.w / 2), scale * b.y - ABOVE * image.shape[0]) for b in truth]
            words = [f"truth: {b.target}" for b in truth]
            self.log(
                "camera/truth_names",
                self._rr.Points2D(
                    np.array(places, np.float32).reshape(-1, 2), labels=words, colors=white, radii=0.0
                ),
            )
        return scale

    def jpeg(self, image: np.ndarray) -> Any:
        """Return a (H, W, 3) uint8 BGR picture at a tenth of its size."""
        data = cv2.imencode(".jpg", image, JPEG)[1].tobytes()
        return self._rr.EncodedImage(contents=data, media_type="image/jpeg")

    def boxes(
        self,
        boxes: Iterable[Any],
        scale: float,
        colours: Sequence[tuple[int, int, int]],
        labels: Sequence[str] | None = None,
    ) -> Any:
        """Return boxes to draw; none at all wipes out those of the frame before.

        Parameters
        ----------
        boxes
            x, y, w, h, px of the source.
        scale
            Shown px for each of the source.
        colours
            R, G, B, 0 to 255, for each box.
        labels
            Words for each box.
        """
        array = np.array([(b.x, b.y, b.w, b.h) for b in boxes], np.float32).reshape(-1, 4)
        return self._rr.Boxes2D(
            array=scale * array,
            array_format=self._rr.Box2DFormat.XYWH,
            labels=labels,
            colors=np.array(colours, np.uint8).reshape(-1, 3),
        )

    def show_curves(self, values: dict[str, float]) -> None:
        """Add one value to each curve; one that is not finite is left out."""
        for path, value in values.items():
            if np.isfinite(value):
                self.log(path, self._rr.Scalars(float(value)))

    def close(self) -> None:
        """Write out what is left and end the servers."""
        self._recording.flush()
        self._recording.disconnect()
        if self._page is not None:
            self._page.kill()  # it holds nothing that is worth keeping
            self._page.wait()


def colour(target: str) -> tuple[int, int, int]:
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

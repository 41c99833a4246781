"""Open a page in headless Chromium and write a picture of it: docs/demo.jpg, or a look at `watch`.

    python3 -m venv build/browser
    build/browser/bin/python -m pip install --require-hashes -r requirements/locked/browser.txt
    build/browser/bin/python scripts/page_picture.py build/demo/index.html docs/demo.jpg --play 26

Chromium is that of Qt WebEngine. Says what the page writes to its console; fails if a page or a video does
not load.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("QTWEBENGINE_DISABLE_SANDBOX", "1")  # it refuses to run as root with one
os.environ.setdefault(
    "QTWEBENGINE_CHROMIUM_FLAGS",
    "--use-gl=angle --use-angle=swiftshader --enable-unsafe-swiftshader --ignore-gpu-blocklist",
)

from PySide6.QtCore import QTimer, QUrl
from PySide6.QtWebEngineCore import QWebEnginePage, QWebEngineSettings
from PySide6.QtWebEngineWidgets import QWebEngineView
from PySide6.QtWidgets import QApplication

PATIENCE = 60.0  # s for a page to load
SEEK = "const v = document.querySelector('video'); if (v) { v.pause(); v.currentTime = %f }"
VIDEO = "(() => { const v = document.querySelector('video'); return v ? v.readyState : 4 })()"
READY = 2  # of a video: the frame at its time is there


class Page(QWebEnginePage):
    """A page whose console is this one's."""

    def javaScriptConsoleMessage(self, *said) -> None:  # noqa: N802, a name of Qt
        """Say what the page says."""
        _, message, line, source = said
        print(f"{source}:{line}: {message}", file=sys.stderr)


def main() -> int:
    """Open, wait, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", help="address, or file")
    parser.add_argument("picture", type=Path, help="file to write, .jpg or .png")
    parser.add_argument("--size", type=int, nargs=2, default=(1000, 1000), metavar=("W", "H"), help="px")
    parser.add_argument("--play", type=float, default=0.0, help="seconds into the page's video to show")
    parser.add_argument("--wait", type=float, default=4.0, help="seconds from loaded to the picture")
    args = parser.parse_args()
    address = QUrl.fromUserInput(args.page, str(Path.cwd()))
    application = QApplication(sys.argv[:1])
    view = QWebEngineView()
    view.setPage(Page(view))
    view.settings().setAttribute(QWebEngineSettings.WebAttribute.PlaybackRequiresUserGesture, False)
    view.resize(*args.size)
    view.show()

    def loaded(good: bool) -> None:
        if not good:
            print(f"{args.page} does not load", file=sys.stderr)
            application.exit(1)
        view.page().runJavaScript(SEEK % args.play)
        QTimer.singleShot(round(1000 * args.wait), lambda: view.page().runJavaScript(VIDEO, 0, picture))

    def picture(state: float) -> None:
        written = view.grab().save(str(args.picture), quality=88)
        for good, words in ((state >= READY, "its video does not play"), (written, "it cannot be written")):
            if not good:
                print(f"{args.page}: {words}", file=sys.stderr)
        application.exit(0 if written and state >= READY else 1)

    view.loadFinished.connect(loaded)
    QTimer.singleShot(round(1000 * PATIENCE), lambda: application.exit(1))
    view.load(address)
    return application.exec()


if __name__ == "__main__":
    sys.exit(main())

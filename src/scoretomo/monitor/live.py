"""The report of a run on loopback: a page that renews itself."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from ..rundir.directory import RunDirectory

_INTERVAL = 1.0  # seconds between two looks at the results
_REST, _REST_SHARE = (
    10.0,
    9.0,
)  # seconds without rendering after a page was rendered, and times the seconds that this took
_HERE = re.compile(
    r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?"
)  # a tunnel may have another port; another name is another site's

_NOTHING_YET = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="color-scheme" content="light dark"><title>scoretomo</title>
<link rel="icon" href="data:,"></head>
<body style="font: 1rem system-ui; margin: 15vh auto; max-width: 30rem">
<p>There is nothing to show yet. This page shows the report as soon as there is one, and renews itself.</p>
</body></html>
"""

# Loads the page again where it has changed, but not while someone turns a volume; the scroll position stays.
_RENEW = """<script>
(() => {
  const tag = '%s', place = "scoretomo-live", note = document.createElement("p");
  note.textContent = "scoretomo watch has ended, or the connection is lost: this page is not renewed any more.";
  note.style = "position: fixed; inset: auto 0 0 0; margin: 0; padding: .5rem 1rem;" +
    "background: #a64c0a; color: #fff; z-index: 9";
  const before = JSON.parse(sessionStorage.getItem(place) || "null");
  sessionStorage.removeItem(place);
  if (before) {
    history.scrollRestoration = "manual";
    const back = {left: before[0], top: before[1], behavior: "instant"};
    addEventListener("load", () => requestAnimationFrame(() => scrollTo(back)));
  }
  let touched = -1e9;
  for (const what of ["pointerdown", "pointermove", "wheel", "keydown"])
    addEventListener(what, () => { touched = performance.now(); }, {passive: true, capture: true});
  setInterval(async () => {
    if (performance.now() - touched < 3000) return;
    try {
      const answer = await fetch("/", {headers: {"If-None-Match": tag}, cache: "no-store"});
      answer.body?.cancel();
      note.remove();
      if (answer.status !== 200) return;
      sessionStorage.setItem(place, JSON.stringify([scrollX, scrollY]));
      location.reload();
    } catch { if (!note.isConnected) document.body.append(note); }
  }, 2000);
})();
</script>
"""


class Page(NamedTuple):
    """What is served."""

    tag: str  # another one for another content
    content: bytes


def begin_rendering(directory: Path) -> subprocess.Popen[bytes]:
    """Begin to print the report of a run, in a process of its own: it takes long, and can be ended at any time."""
    code = (
        "import pathlib, sys; from scoretomo.report import render_report; "
        "from scoretomo.rundir.directory import RunDirectory; "
        "sys.stdout.buffer.write(render_report(RunDirectory(pathlib.Path(sys.argv[1]))).encode())"
    )
    return subprocess.Popen(
        [sys.executable, "-P", "-c", code, str(directory)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,  # Ctrl-C is not for it
    )


Renderer = Callable[[Path], subprocess.Popen[bytes]]


class GrowingReport:
    """The report of a run, rendered again when results on disk have changed; nothing is written.

    Args:
        run: the run.
        render: begins a process that prints the report of a run directory.
        clock: seconds from any moment on.
    """

    def __init__(
        self, run: RunDirectory, *, render: Renderer = begin_rendering, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._run = run
        self._begin = render
        self._clock = clock
        self._seen = frozenset[tuple[str, int]]()
        self._rested = 0.0
        self._renderer: subprocess.Popen[bytes] | None = None
        self._over = threading.Event()
        self.page = _page(_NOTHING_YET)

    def grow(self) -> None:
        """Keep the page up to date until the end."""
        while not self._over.is_set():
            self.look()
            self._over.wait(_INTERVAL)

    def end(self) -> None:
        """Stop rendering, also where that is just about to begin."""
        self._over.set()
        if self._renderer:
            self._renderer.kill()

    def look(self) -> None:
        """Renew the page if results have changed, and unless this was done a short time ago."""
        with suppress(OSError):  # a file was removed meanwhile: the next look will do
            written = {
                entry.name: entry.stat().st_mtime_ns for entry in self._run.path.iterdir() if entry.name[0] != "."
            }
            written.pop(self._run.progress.name, None)
            now = frozenset(written.items())
            if now == self._seen:
                return
            if written.get(self._run.report.name) == max(written.values()):  # made after all else: nothing to render
                self.page = _page(self._run.report.read_text(encoding="utf-8"))
            elif self._run.images.exists() and self._clock() >= self._rested:
                begin = self._clock()
                text = self._render()
                end = self._clock()
                self._rested = end + max(_REST, _REST_SHARE * (end - begin))
                if text is None:
                    return
                self.page = _page(text)
            else:
                return
            self._seen = now

    def _render(self) -> str | None:
        """The report as it is now; None if that failed, as where a file was removed meanwhile."""
        self._renderer = renderer = self._begin(self._run.path)
        if self._over.is_set():
            renderer.kill()
        written = renderer.communicate()[0]
        return written.decode() if renderer.returncode == 0 else None


def _page(text: str) -> Page:
    """A page with the script that renews it, and the permission to connect here, which the report itself lacks."""
    text = text.replace("default-src 'none';", "default-src 'none'; connect-src 'self';", 1)
    tag = f'"{sha256(text.encode()).hexdigest()[:16]}"'
    before, end, after = text.rpartition("</body>")
    return Page(tag, f"{before}{_RENEW % tag}{end}{after}".encode())


class _Server(ThreadingHTTPServer):
    """Listens to this machine only, at a free port."""

    def __init__(self, report: GrowingReport) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.report = report

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that leaves before its answer came is no error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Serves the page, and nothing else."""

    server: _Server

    def do_GET(self) -> None:
        """The page, or that it has not changed."""
        page = self.server.report.page
        if not _HERE.fullmatch(self.headers.get("Host", "")):
            self.send_error(HTTPStatus.FORBIDDEN, "only for browsers on this machine")
        elif self.path != "/":
            self.send_error(HTTPStatus.NOT_FOUND)
        elif self.headers.get("If-None-Match") == page.tag:
            self._answer(HTTPStatus.NOT_MODIFIED, page.tag, b"")
        else:
            self._answer(HTTPStatus.OK, page.tag, page.content)

    def _answer(self, status: HTTPStatus, tag: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("ETag", tag)
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Frame-Options", "DENY")
        if content:
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the terminal shows the run."""


@contextmanager
def served(run: RunDirectory, *, render: Renderer = begin_rendering) -> Iterator[str]:
    """Serve the report of a run to browsers on this machine while it grows, at the address that this yields."""
    report = GrowingReport(run, render=render)
    growing = threading.Thread(target=report.grow, daemon=True)
    with _Server(report) as server:
        growing.start()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            report.end()
            growing.join()
            server.shutdown()

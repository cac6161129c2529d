"""The growing report of a run on loopback: a page that renews itself."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from ..rundir.directory import RunDirectory

# In a process of its own: it takes long, and can be ended at any time.
_RENDER = "import sys, pathlib, scoretomo.report as r; sys.stdout.buffer.write(r.render_report(pathlib.Path(sys.argv[1])).encode())"

_LOOK = 1.0  # seconds from look to look at the results
_REST, _REST_SHARE = 10.0, 9.0  # seconds after a page was rendered without rendering another, and times what that took
_HERE = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?")  # a tunnel may have another port; another name is another site's

_NOTHING_YET = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="color-scheme" content="light dark"><title>scoretomo</title>
<link rel="icon" href="data:,"></head>
<body style="font: 1rem system-ui; margin: 15vh auto; max-width: 30rem">
<p>There is nothing to show yet. This page shows the report as soon as there is one, and renews itself.</p></body></html>
"""

# Asks whether the page has changed and loads it again, but not under the hands of someone who turns a volume; what was in sight
# stays.
_RENEW = """<script>
(() => {
  const tag = '%s', place = "scoretomo-live", note = document.createElement("p");
  note.textContent = "Nobody watches this run any more, or the connection is lost: this page is as it was.";
  note.style = "position: fixed; inset: auto 0 0 0; margin: 0; padding: .5rem 1rem; background: #a64c0a; color: #fff; z-index: 9";
  const before = JSON.parse(sessionStorage.getItem(place) || "null");
  sessionStorage.removeItem(place);
  if (before) {
    history.scrollRestoration = "manual";
    addEventListener("load", () => requestAnimationFrame(() => scrollTo({left: before[0], top: before[1], behavior: "instant"})));
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


class GrowingReport:
    """The report of a run, rendered anew when results on disk have changed; nothing is written.

    Args:
        run: the run.
    """

    def __init__(self, run: RunDirectory) -> None:
        self._run, self._seen, self._rested = run, frozenset[tuple[str, int]](), 0.0
        self._renderer: subprocess.Popen[bytes] | None = None
        self._over = threading.Event()
        self.page = _page(_NOTHING_YET)

    def grow(self) -> None:
        """Keep the page up to date until the end."""
        while not self._over.is_set():
            self.look()
            self._over.wait(_LOOK)

    def end(self) -> None:
        """Render no more, also where that is just about to begin."""
        self._over.set()
        if self._renderer:
            self._renderer.kill()

    def look(self) -> None:
        """Renew the page if results have changed, and unless this was done a short time ago."""
        with suppress(OSError):  # something went while it was looked at: there is another look
            written = {entry.name: entry.stat().st_mtime_ns for entry in self._run.path.iterdir() if entry.name[0] != "."}
            written.pop(self._run.progress.name, None)
            now = frozenset(written.items())
            if now == self._seen:
                return
            if written.get(self._run.report.name) == max(written.values()):  # made after all else: nothing to render
                self.page = _page(self._run.report.read_text(encoding="utf-8"))
            elif self._run.images.exists() and time.monotonic() >= self._rested:
                begin = time.monotonic()
                text = self._render()
                end = time.monotonic()
                self._rested = end + max(_REST, _REST_SHARE * (end - begin))
                if text is None:
                    return
                self.page = _page(text)
            else:
                return
            self._seen = now

    def _render(self) -> str | None:
        """The report as it is now; None if that went wrong, as where a file went while it was read."""
        command = [sys.executable, "-P", "-c", _RENDER, str(self._run.path)]
        one_thread, nothing = {**os.environ, "OMP_NUM_THREADS": "1"}, subprocess.DEVNULL
        self._renderer = subprocess.Popen(
            command,
            stdin=nothing,
            stdout=subprocess.PIPE,
            stderr=nothing,
            env=one_thread,
            start_new_session=True,  # Ctrl-C is not for it
        )
        if self._over.is_set():
            self._renderer.kill()
        written = self._renderer.communicate()[0]
        return written.decode() if self._renderer.returncode == 0 else None


def _page(text: str) -> Page:
    """A page with the script that renews it, and leave to ask here, which the page itself gives to nobody."""
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
    """Answers who asks for the page, and nobody else."""

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
def served(run: RunDirectory) -> Iterator[str]:
    """Serve the growing report of a run to browsers on this machine, at the address that this gives."""
    report = GrowingReport(run)
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

"""The report in a browser: no error, no request; a reader points, clicks, slides, sorts, filters and copies."""

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from runs import blob, write_bodies, write_landscape, write_reliability, write_run, write_shared

from scoretomo.monitor import live
from scoretomo.report import render_report
from scoretomo.rundir.directory import RunDirectory

pytestmark = pytest.mark.slow

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ALONE = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--enable-unsafe-swiftshader",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
LABELS = {0: "reliable", 1: "reliable", 2: "caution", 3: "unreliable", 4: "caution", 5: "reliable"}

# A browser prints a page once it is loaded: a frame that is closed only after all is noted keeps it waiting.
NOTING = """
const wait = time => new Promise(done => setTimeout(done, time));
// Small, because no graphics card draws here.
document.head.insertAdjacentHTML("beforeend", "<style>.stage { width: 120px; }</style>");
const pending = document.createElement("iframe");
document.body.append(pending);
pending.contentDocument.open();
const noteDown = noted => {
  const note = document.createElement("pre");
  note.id = "noted";
  note.textContent = JSON.stringify(noted);
  document.body.append(note);
  pending.contentDocument.close();
};
"""
READER = """
const noted = {};
const until = async ready => { for (let k = 0; k < 1200 && !ready(); k++) await wait(25); };
const at = number => document.querySelector(`circle.volume[data-number="${number}"]`);
const place = number => {
  const box = at(number).getBoundingClientRect();
  return {clientX: box.left + box.width / 2, clientY: box.top + box.height / 2, bubbles: true, cancelable: true};
};
const q = selector => document.querySelector(selector);
const set = (node, value, kind) => { node.value = value; node.dispatchEvent(new Event(kind, {bubbles: true})); };
const pixels = canvas => canvas.toDataURL();
const rows = () => [...document.querySelectorAll("tbody tr[data-number]:not([hidden])")];
const shown = () => rows().map(row => Number(row.dataset.number));

async function read() {
  const svg = q("svg.scatter"), card = q(".card"), panel = q(".chosen-volume");
  panel.scrollIntoView({behavior: "instant"});
  await until(() => panel.querySelector("img.image").src);
  noted.first = panel.querySelector(".name").textContent;

  svg.dispatchEvent(new PointerEvent("pointermove", {...place(2), pointerType: "mouse"}));
  noted.card = [card.hidden, card.querySelector(".name").textContent, card.querySelector(".reliability").textContent];
  noted.cardImage = card.querySelector("img.image").src === q("#image-2 .row img").src;
  const [box, dot] = [card, at(2)].map(node => node.getBoundingClientRect());
  const apart = Math.min(Math.abs(box.left - dot.right), Math.abs(box.right - dot.left));
  noted.beside = [box.top < dot.bottom && box.bottom > dot.top, apart];
  svg.dispatchEvent(new PointerEvent("pointerleave"));
  noted.cardGone = card.hidden;

  at(3).dispatchEvent(new MouseEvent("click", {...place(3), detail: 1}));
  await until(() => panel.querySelector(".slot").classList.contains("live"));
  const texts = () => [".name", ".reliability", ".reason"].map(name => panel.querySelector(name).textContent);
  noted.panel = [...texts(), panel.querySelector("a").hash];
  noted.panelImages = ["image", "view"].map(name => panel.querySelector(`img.${name}`).src.slice(0, 16));
  noted.panelStage = panel.querySelector(".slot").className;
  noted.stayed = location.hash;

  at(3).parentNode.focus();
  const right = new KeyboardEvent("keydown", {key: "ArrowRight", bubbles: true, cancelable: true});
  svg.querySelector("a:focus").dispatchEvent(right);
  noted.walked = [document.activeElement.firstElementChild.dataset.number, texts()[0]];
  noted.stops = svg.querySelectorAll('a[tabindex="0"]').length;
  const enter = new MouseEvent("click", {detail: 0, bubbles: true, cancelable: true});
  at(1).parentNode.dispatchEvent(enter);
  noted.entered = texts()[0];

  const before = at(1).getAttribute("cx");
  set(q('select[name="x"]'), "3", "change");
  noted.axes = [before !== at(1).getAttribute("cx"), q(".axis.x").textContent];
  set(q('select[name="colour"]'), "label", "change");
  noted.colours = [0, 3].map(number => getComputedStyle(at(number)).fill);

  q(".trajectory-stage").scrollIntoView({behavior: "instant"});
  const mode = q(".trajectory"), slider = mode.querySelector("input"), canvas = q(".trajectory-stage canvas");
  await until(() => q(".trajectory-stage").classList.contains("live"));
  await wait(1000);
  const still = pixels(canvas);
  set(slider, 1000, "input");
  await until(() => still !== pixels(canvas));
  noted.slid = [q(".trajectory-stage").classList.contains("live"), still !== pixels(canvas)];
  const between = [...document.querySelectorAll(".trajectory")].at(-1);
  set(between.querySelector("input"), 500, "input");
  noted.between = between.querySelector("h3").textContent;
  await until(() => q(".trajectory-stage .label.left").textContent === noted.between);
  noted.staged = q(".trajectory-stage .label.left").textContent;
  set(slider, 0, "input");
  mode.querySelector("button").click();
  await until(() => Number(slider.value) > 100);
  noted.playing = [mode.querySelector("button").getAttribute("aria-pressed"), Number(slider.value)];
  mode.querySelector("button").click();
  noted.stopped = mode.querySelector("button").getAttribute("aria-pressed");

  const heads = [...document.querySelectorAll(".sortable th button")];
  const head = heads.find(button => button.textContent === "expected FSC");
  head.click();
  noted.up = [head.parentNode.getAttribute("aria-sort"), shown()];
  head.click();
  noted.down = [head.parentNode.getAttribute("aria-sort"), shown()];
  set(q('#filter [name="label"]'), "caution", "input");
  noted.filtered = [shown(), q("#filter output").textContent];
  set(q('#filter [name="label"]'), "", "input");
  set(q('#filter [name="text"]'), "volume 5", "input");
  noted.searched = shown();
  set(q('#filter [name="text"]'), "", "input");
  q('#filter [name="outlier"]').click();
  noted.outliers = shown();
  q('#filter [type="reset"]').click();
  await wait(50);
  noted.all = shown().length;
  noted.thumb = q("tbody tr img").src === q("#images img[data-image]").src;

  const clipboard = {writeText: async text => { noted.copied = text; }};
  Object.defineProperty(navigator, "clipboard", {configurable: true, value: clipboard});
  q("#copy").click();
  await wait(50);
  noted.button = q("#copy").textContent;
  Object.defineProperty(navigator, "clipboard", {value: undefined});  // as in browsers where a file may not use it
  q("#copy").click();
  await wait(50);
  noted.selected = getSelection().toString();

  q("#bodies").scrollIntoView({behavior: "instant"});
  await until(() => q(".bodies-stage").classList.contains("live"));
  const arrow = q(".bodies-stage .stage .axes line"), end = () => arrow.getAttribute("x1");
  await wait(500);
  const resting = end(), turn = new KeyboardEvent("keydown", {key: "ArrowLeft", bubbles: true, cancelable: true});
  q(".bodies-stage canvas").dispatchEvent(turn);
  await until(() => end() !== resting);
  noted.arrow = [resting, end()];

  q("#consensus").scrollIntoView({behavior: "instant"});
  await until(() => q(".consensus-stage").classList.contains("live"));
  noted.consensus = q(".consensus-stage").classList.contains("live");
  q(".chosen-volume a").click();
  noted.sheet = q(".sheet.chosen").id;
}
read().catch(error => { noted.error = String(error.stack || error); }).finally(() => noteDown(noted));
"""


class Visit:
    """What a browser printed and requested, and what a script noted in a page."""

    def __init__(self, html: str, script: str, folder: Path, *flags: str) -> None:
        page, log = folder / "page.html", folder / "network.json"
        page.write_text(html.replace("</body>", f"<script>{{{NOTING}{script}}}</script></body>"), encoding="utf-8")
        command = [
            browser(),
            *ALONE,
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={folder / 'profile'}",
            "--window-size=500,520",
            "--enable-logging=stderr",
            "--v=0",
            f"--log-net-log={log}",
            *flags,
            "--dump-dom",
            page.as_uri(),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        lines = re.findall(r"CONSOLE:\d+\] (.*)", done.stderr)
        self.console = [line for line in lines if "GL Driver Message" not in line]  # about the driver's own speed
        # Requests of the browser itself have no origin, and find no host.
        lines = [line for line in log.read_text(encoding="utf-8").splitlines() if "not an origin" not in line]
        urls = [url for line in lines for url in re.findall(r'"initiator":.*"url":"([^"]*)"', line)]
        self.requests = {url for url in urls if not url.startswith(("file:", "data:", "blob:"))}
        note = re.search(r'<pre id="noted">(.*?)</pre>', done.stdout, re.DOTALL)
        self.noted: dict[str, Any] = json.loads(unescape(note[1])) if note else {}


def browser() -> str:
    path = next(filter(None, map(shutil.which, NAMES)), None)
    return path or pytest.skip(f"no browser: none of {', '.join(NAMES)} is on the path")


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a flexible molecule, with an unreliable volume and an outlier."""
    run = write_run(tmp_path_factory.mktemp("run") / "run", {number: blob(16, number) for number in LABELS})
    write_shared(run, list(LABELS), outliers=[3])
    write_landscape(run, list(LABELS), motions=2)
    write_reliability(run, LABELS, motions=2)
    write_bodies(run, list(LABELS))
    return render_report(RunDirectory(run))


@pytest.fixture(scope="module")
def visit(html: str, tmp_path_factory: pytest.TempPathFactory) -> Visit:
    return Visit(html, READER, tmp_path_factory.mktemp("visit"))


def test_a_visit_makes_no_error_and_no_request(visit: Visit) -> None:
    assert "error" not in visit.noted, visit.noted["error"]
    assert visit.noted
    assert visit.console == []
    assert visit.requests == set()


def test_errors_and_requests_would_be_seen(html: str, tmp_path: Path) -> None:
    """The test above can fail: the page's own rule against requests is taken out here, and one is made."""
    open_page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html)
    visit = Visit(
        open_page, "fetch('http://scoretomo.invalid/seen').catch(() => noteDown({})); undefinedName();", tmp_path
    )
    assert any("undefinedName" in line for line in visit.console)
    assert "http://scoretomo.invalid/seen" in visit.requests


def test_the_page_itself_refuses_requests(html: str, tmp_path: Path) -> None:
    visit = Visit(html, "fetch('http://scoretomo.invalid/seen').catch(() => noteDown({}));", tmp_path)
    assert any("Content Security Policy" in line for line in visit.console)
    assert visit.requests == set()


def test_pointing_at_a_volume_shows_its_card(visit: Visit) -> None:
    hidden, name, label = visit.noted["card"]
    assert (hidden, name) == (False, "Volume 2")
    assert label.startswith("caution")
    assert visit.noted["cardImage"]
    level, apart = visit.noted["beside"]
    assert level
    assert apart < 20
    assert visit.noted["cardGone"]


def test_a_click_opens_the_volume_beside_the_scatter(visit: Visit) -> None:
    assert visit.noted["first"] == "Volume 0"  # in the middle of the first state
    name, label, reason, link = visit.noted["panel"]
    assert (name, link) == ("Volume 3", "#image-3")
    assert label.startswith("unreliable")
    assert reason == "what counts for volume 3 <b>most</b>"
    assert visit.noted["panelImages"] == ["data:image/webp;"] * 2
    assert visit.noted["panelStage"] == "slot live"
    assert visit.noted["stayed"] == ""  # and does not lead away


def test_arrow_keys_walk_and_enter_chooses(visit: Visit) -> None:
    assert visit.noted["walked"] == ["4", "Volume 4"]
    assert visit.noted["stops"] == 1  # of the tab key, among all points
    assert visit.noted["entered"] == "Volume 1"


def test_axes_and_colours_can_be_chosen(visit: Visit) -> None:
    assert visit.noted["axes"] == [True, "component 2"]
    reliable, unreliable = visit.noted["colours"]
    assert reliable != unreliable


def test_the_slider_moves_the_surface_and_play_moves_the_slider(visit: Visit) -> None:
    assert visit.noted["slid"] == [True, True]
    assert visit.noted["staged"] == visit.noted["between"]
    pressed, place = visit.noted["playing"]
    assert pressed == "true"
    assert 0 < place < 1000
    assert visit.noted["stopped"] == "false"


def test_less_motion_plays_in_whole_frames(html: str, tmp_path: Path) -> None:
    script = """
      (async () => {
        const mode = document.querySelector(".trajectory"), places = [];
        mode.querySelector("button").click();
        for (let k = 0; k < 12; k++) { await wait(250); places.push(Number(mode.querySelector("input").value)); }
        mode.querySelector("button").click();
        noteDown({places});
      })();
    """
    places = Visit(html, script, tmp_path, "--force-prefers-reduced-motion").noted["places"]
    assert {place % 100 for place in places} == {0}
    assert len(set(places)) > 1


def test_on_a_phone_nothing_is_wider_than_the_screen(html: str, tmp_path: Path) -> None:
    script = """
      const phone = document.createElement("iframe");  // no window is as narrow on a desktop
      phone.style.cssText = "width: 390px; height: 844px; border: 0";
      document.body.append(phone);
      phone.contentDocument.write(whole);
      phone.contentDocument.close();
      wait(1000).then(() => {
        const page = phone.contentDocument, width = phone.contentWindow.innerWidth;
        const scrolls = node => node.closest(".scroll, .tiles, pre, .sr, .skip, svg");
        const wide = [...page.body.querySelectorAll("*")].filter(
          node => node.getBoundingClientRect().right > width + 1 && node.offsetParent && !scrolls(node));
        const names = wide.map(node => `${node.tagName}.${node.className}`);
        noteDown({width, page: page.documentElement.scrollWidth, wide: names});
      });
    """
    whole = json.dumps(html).replace("</", "<\\/")
    noted = Visit(html, f"const whole = {whole};{script}", tmp_path).noted
    assert noted["width"] == 390
    assert noted["page"] <= 390
    assert noted["wide"] == []


@pytest.mark.parametrize(("scheme", "paper"), [(0, "dark"), (1, "light")])
def test_text_has_contrast_in_both_schemes(html: str, tmp_path: Path, scheme: int, paper: str) -> None:
    """Every text has 4.5 times as much light as its ground, or its ground as it (WCAG 2.2, level AA)."""
    script = """
      const linear = part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
      const light = colour => {
        const [r, g, b] = colour.map(part => linear(part / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
      };
      const parts = colour => colour.match(/[\\d.]+/g).map(Number);
      const ground = node => {
        for (; node; node = node.parentElement) {
          const colour = parts(getComputedStyle(node).backgroundColor);
          if (colour.length < 4 || colour[3] === 1) return colour;
        }
        return [255, 255, 255];
      };
      const faint = {};
      const texts = "p, h1, h2, h3, h4, li, td, th, dt, dd, a, button, .reliability, .badge, figcaption, label";
      for (const node of document.body.querySelectorAll(texts)) {
        if (!node.textContent.trim() || !node.offsetParent || node.closest(".viewer, .blank")) continue;
        const [one, other] = [light(parts(getComputedStyle(node).color)), light(ground(node))];
        const contrast = Math.max(one / other, other / one);
        if (contrast < 4.5) faint[`${node.tagName}.${node.className}`] = contrast.toFixed(2);
      }
      noteDown({faint, paper: light(parts(getComputedStyle(document.body).backgroundColor))});
    """
    noted = Visit(html, script, tmp_path, f"--blink-settings=preferredColorScheme={scheme}").noted
    assert (noted["paper"] > 0.5) == (paper == "light")
    assert noted["faint"] == {}


def test_arrows_along_axes_turn_with_the_surface(visit: Visit) -> None:
    before, after = visit.noted["arrow"]
    assert before.endswith("%")
    assert after.endswith("%")
    assert before != after


def test_the_table_sorts_both_ways(visit: Visit) -> None:
    assert visit.noted["up"] == ["ascending", [5, 4, 3, 2, 1, 0]]
    assert visit.noted["down"] == ["descending", [0, 1, 2, 3, 4, 5]]


def test_the_table_filters(visit: Visit) -> None:
    assert sorted(visit.noted["filtered"][0]) == [2, 4]
    assert visit.noted["filtered"][1] == "2 of 6 volumes"
    assert visit.noted["searched"] == [5]
    assert visit.noted["outliers"] == [3]
    assert visit.noted["all"] == 6
    assert visit.noted["thumb"]


def test_methods_are_copied_with_their_citations(visit: Visit) -> None:
    assert visit.noted["button"] == "Copied"
    assert "6 2D class averages of 16 × 16 pixels" in visit.noted["copied"]
    assert "[1] Score-based Random Tomography of Dynamic Structures" in visit.noted["copied"]
    assert (
        "[1] Score-based Random Tomography of Dynamic Structures" in visit.noted["selected"]
    )  # where there is no clipboard


def test_consensus_is_shown_and_the_panel_leads_to_the_sheet(visit: Visit) -> None:
    assert visit.noted["consensus"]
    assert visit.noted["sheet"] == "image-1"


class Relay(BaseHTTPRequestHandler):
    """Passes requests on to another server, and keeps a note of each: whether a script sent it, its status, its tag."""

    address = ""
    noted: ClassVar[list[tuple[bool, int, str]]] = []

    def do_GET(self) -> None:
        tag = self.headers.get("If-None-Match")
        request = Request(self.address, headers={"If-None-Match": tag} if tag else {})
        try:
            with urlopen(request) as answer:
                self.answer(answer.status, answer.headers["ETag"], answer.read())
        except HTTPError as error:
            self.answer(error.code, error.headers["ETag"], b"")

    def answer(self, status: int, tag: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("ETag", tag)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(content)
        self.noted.append(("If-None-Match" in self.headers, status, tag))

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def relay() -> type[Relay]:
    """A relay of this test alone."""

    class Own(Relay):
        noted: ClassVar[list[tuple[bool, int, str]]] = []

    return Own


def wait_for(relay: type[Relay], by_script: bool, status: int, *, other_than: str = "") -> str:
    """Wait for such an answer with another tag; returns its tag."""
    end = time.monotonic() + 600
    while True:
        for each in list(relay.noted):
            if each[:2] == (by_script, status) and each[2] != other_than:
                return each[2]
        assert time.monotonic() < end, f"answered only {relay.noted}"
        time.sleep(0.05)


def test_a_live_page_loads_itself_again_when_it_has_changed(html: str, tmp_path: Path, relay: type[Relay]) -> None:
    """A page is loaded without a tag and its script requests it with one: the rule against requests must allow that."""
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir()
    run.report.write_text(html, encoding="utf-8")
    with live.served(run) as relay.address, ThreadingHTTPServer(("127.0.0.1", 0), relay) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        command = [browser(), *ALONE, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=500,520", address]
        quiet = subprocess.DEVNULL
        with subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True) as visitor:
            try:
                first = wait_for(relay, True, 304)
                run.report.write_text(html.replace("</h1>", " again</h1>"), encoding="utf-8")
                second = wait_for(relay, False, 200, other_than=first)
                assert wait_for(relay, True, 304, other_than=first) == second
            finally:
                os.killpg(visitor.pid, signal.SIGKILL)
                server.shutdown()

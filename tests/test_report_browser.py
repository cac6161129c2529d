"""The report in a browser: no error, no request, and the path of a reader who points, clicks, slides, sorts, filters and copies."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from runs import blob, write_landscape, write_reliability, write_run, write_shared

from scoretomo.monitor import live
from scoretomo.report import render_report
from scoretomo.rundir.directory import RunDirectory

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
WORDS = {0: "trust", 1: "trust", 2: "with care", 3: "do not", 4: "with care", 5: "trust"}

# A browser that is to print a page does so once it is loaded: a frame that is not closed before all is said keeps it waiting.
SAYING = """
const wait = time => new Promise(done => setTimeout(done, time));
document.head.insertAdjacentHTML("beforeend", "<style>.stage { width: 120px; }</style>");  // no graphics card draws here
const pending = document.createElement("iframe");
document.body.append(pending);
pending.contentDocument.open();
const tell = found => {
  const note = document.createElement("pre");
  note.id = "found";
  note.textContent = JSON.stringify(found);
  document.body.append(note);
  pending.contentDocument.close();
};
"""
READER = """
const found = {};
const until = async ready => { for (let k = 0; k < 1200 && !ready(); k++) await wait(25); };
const at = number => document.querySelector(`circle.volume[data-number="${number}"]`);
const place = number => {
  const box = at(number).getBoundingClientRect();
  return {clientX: box.left + box.width / 2, clientY: box.top + box.height / 2, bubbles: true, cancelable: true};
};
const q = selector => document.querySelector(selector);
const say = (node, value, kind) => { node.value = value; node.dispatchEvent(new Event(kind, {bubbles: true})); };
const pixels = canvas => canvas.toDataURL();
const shown = () => [...document.querySelectorAll("tbody tr[data-number]:not([hidden])")].map(row => Number(row.dataset.number));

async function read() {
  const svg = q("svg.scatter"), card = q(".card"), panel = q(".chosen-volume");
  panel.scrollIntoView({behavior: "instant"});
  await until(() => panel.querySelector("img.image").src);
  found.first = panel.querySelector(".name").textContent;

  svg.dispatchEvent(new PointerEvent("pointermove", {...place(2), pointerType: "mouse"}));
  found.card = [card.hidden, card.querySelector(".name").textContent, card.querySelector(".word").textContent];
  found.cardImage = card.querySelector("img.image").src === q("#image-2 .row img").src;
  const [box, dot] = [card, at(2)].map(node => node.getBoundingClientRect());
  const apart = Math.min(Math.abs(box.left - dot.right), Math.abs(box.right - dot.left));
  found.beside = [box.top < dot.bottom && box.bottom > dot.top, apart];
  svg.dispatchEvent(new PointerEvent("pointerleave"));
  found.cardGone = card.hidden;

  at(3).dispatchEvent(new MouseEvent("click", {...place(3), detail: 1}));
  await until(() => panel.querySelector(".slot").classList.contains("live"));
  const words = () => [".name", ".word", ".reason"].map(name => panel.querySelector(name).textContent);
  found.panel = [...words(), panel.querySelector("a").hash];
  found.panelImages = ["image", "view"].map(name => panel.querySelector(`img.${name}`).src.slice(0, 16));
  found.panelStage = panel.querySelector(".slot").className;
  found.stayed = location.hash;

  at(3).parentNode.focus();
  svg.querySelector("a:focus").dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight", bubbles: true, cancelable: true}));
  found.walked = [document.activeElement.firstElementChild.dataset.number, words()[0]];
  found.stops = svg.querySelectorAll('a[tabindex="0"]').length;
  at(1).parentNode.dispatchEvent(new MouseEvent("click", {detail: 0, bubbles: true, cancelable: true}));  // as Enter does
  found.entered = words()[0];

  const before = at(1).getAttribute("cx");
  say(q('select[name="x"]'), "3", "change");
  found.axes = [before !== at(1).getAttribute("cx"), q(".axis.x").textContent];
  say(q('select[name="colour"]'), "word", "change");
  found.colours = [0, 3].map(number => getComputedStyle(at(number)).fill);

  q(".motion-stage").scrollIntoView({behavior: "instant"});
  const way = q(".way"), slider = way.querySelector("input"), canvas = q(".motion-stage canvas");
  await until(() => q(".motion-stage").classList.contains("live"));
  await wait(1000);
  const still = pixels(canvas);
  say(slider, 1000, "input");
  await until(() => still !== pixels(canvas));
  found.slid = [q(".motion-stage").classList.contains("live"), still !== pixels(canvas)];
  const tour = [...document.querySelectorAll(".way")].at(-1);
  say(tour.querySelector("input"), 500, "input");
  await until(() => q(".motion-stage .label.left").textContent === tour.querySelector("h3").textContent);
  found.toured = q(".motion-stage .label.left").textContent;
  say(slider, 0, "input");
  way.querySelector("button").click();
  await until(() => Number(slider.value) > 100);
  found.playing = [way.querySelector("button").getAttribute("aria-pressed"), Number(slider.value)];
  way.querySelector("button").click();
  found.stopped = way.querySelector("button").getAttribute("aria-pressed");

  const head = [...document.querySelectorAll(".sortable th button")].find(button => button.textContent === "expected FSC");
  head.click();
  found.up = [head.parentNode.getAttribute("aria-sort"), shown()];
  head.click();
  found.down = [head.parentNode.getAttribute("aria-sort"), shown()];
  say(q('#filter [name="word"]'), "with care", "input");
  found.filtered = [shown(), q("#filter output").textContent];
  say(q('#filter [name="word"]'), "", "input");
  say(q('#filter [name="text"]'), "volume 5", "input");
  found.searched = shown();
  say(q('#filter [name="text"]'), "", "input");
  q('#filter [name="outlier"]').click();
  found.strangers = shown();
  q('#filter [type="reset"]').click();
  await wait(50);
  found.all = shown().length;
  found.thumb = q("tbody tr img").src === q("#images img[data-image]").src;

  Object.defineProperty(navigator, "clipboard", {configurable: true, value: {writeText: async text => { found.copied = text; }}});
  q("#copy").click();
  await wait(50);
  found.button = q("#copy").textContent;
  Object.defineProperty(navigator, "clipboard", {value: undefined});  // as in browsers that trust no file
  q("#copy").click();
  await wait(50);
  found.selected = getSelection().toString();

  q("#consensus").scrollIntoView({behavior: "instant"});
  await until(() => q(".consensus-stage").classList.contains("live"));
  found.consensus = q(".consensus-stage").classList.contains("live");
  q(".chosen-volume a").click();
  found.sheet = q(".sheet.chosen").id;
}
read().catch(error => { found.error = String(error.stack || error); }).finally(() => tell(found));
"""


class Visit:
    """What a browser printed, asked for and found in a page."""

    def __init__(self, html: str, script: str, folder: Path, *flags: str) -> None:
        page, log = folder / "page.html", folder / "network.json"
        page.write_text(html.replace("</body>", f"<script>{{{SAYING}{script}}}</script></body>"), encoding="utf-8")
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
        asked = [url for line in lines for url in re.findall(r'"initiator":.*"url":"([^"]*)"', line)]
        self.requests = {url for url in asked if not url.startswith(("file:", "data:", "blob:"))}
        note = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
        self.found: dict[str, Any] = json.loads(unescape(note[1])) if note else {}


def browser() -> str:
    path = next(filter(None, map(shutil.which, NAMES)), None)
    return path or pytest.skip(f"no browser: none of {', '.join(NAMES)} is on the path")


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a run in which something moves, with a volume that nobody should believe and an image that does not belong."""
    run = write_run(tmp_path_factory.mktemp("run") / "run", {number: blob(16, number) for number in WORDS})
    write_shared(run, list(WORDS), outliers=[3])
    write_landscape(run, list(WORDS), motions=2)
    write_reliability(run, WORDS, motions=2)
    return render_report(run)


@pytest.fixture(scope="module")
def visit(html: str, tmp_path_factory: pytest.TempPathFactory) -> Visit:
    return Visit(html, READER, tmp_path_factory.mktemp("visit"))


def test_a_visit_makes_no_error_and_no_request(visit: Visit) -> None:
    assert "error" not in visit.found, visit.found["error"]
    assert visit.found
    assert visit.console == []
    assert visit.requests == set()


def test_errors_and_requests_would_be_seen(html: str, tmp_path: Path) -> None:
    """The test above can fail: the page's own rule against requests is taken out here, and one is made."""
    open_page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html)
    visit = Visit(open_page, "fetch('http://scoretomo.invalid/seen').catch(() => tell({})); undefinedName();", tmp_path)
    assert any("undefinedName" in line for line in visit.console)
    assert "http://scoretomo.invalid/seen" in visit.requests


def test_the_page_itself_refuses_requests(html: str, tmp_path: Path) -> None:
    visit = Visit(html, "fetch('http://scoretomo.invalid/seen').catch(() => tell({}));", tmp_path)
    assert any("Content Security Policy" in line for line in visit.console)
    assert visit.requests == set()


def test_pointing_at_a_volume_shows_its_card(visit: Visit) -> None:
    hidden, name, word = visit.found["card"]
    assert (hidden, name) == (False, "Volume 2")
    assert word.startswith("with care")
    assert visit.found["cardImage"]
    level, apart = visit.found["beside"]
    assert level
    assert apart < 20
    assert visit.found["cardGone"]


def test_a_click_opens_the_volume_beside_the_scatter(visit: Visit) -> None:
    assert visit.found["first"] == "Volume 0"  # in the middle of the first state
    name, word, reason, link = visit.found["panel"]
    assert (name, link) == ("Volume 3", "#image-3")
    assert word.startswith("do not")
    assert reason == "what counts for volume 3 <b>most</b>"
    assert visit.found["panelImages"] == ["data:image/webp;"] * 2
    assert visit.found["panelStage"] == "slot live"
    assert visit.found["stayed"] == ""  # and does not lead away


def test_arrow_keys_walk_and_enter_chooses(visit: Visit) -> None:
    assert visit.found["walked"] == ["4", "Volume 4"]
    assert visit.found["stops"] == 1  # of the tab key, among all points
    assert visit.found["entered"] == "Volume 1"


def test_axes_and_colours_can_be_chosen(visit: Visit) -> None:
    assert visit.found["axes"] == [True, "component 2"]
    trusted, not_believed = visit.found["colours"]
    assert trusted != not_believed


def test_the_slider_moves_the_surface_and_play_moves_the_slider(visit: Visit) -> None:
    assert visit.found["slid"] == [True, True]
    assert visit.found["toured"] == "From state to state"
    pressed, place = visit.found["playing"]
    assert pressed == "true"
    assert 0 < place < 1000
    assert visit.found["stopped"] == "false"


def test_less_motion_plays_in_whole_frames(html: str, tmp_path: Path) -> None:
    script = """
      (async () => {
        const way = document.querySelector(".way"), places = [];
        way.querySelector("button").click();
        for (let k = 0; k < 12; k++) { await wait(250); places.push(Number(way.querySelector("input").value)); }
        way.querySelector("button").click();
        tell({places});
      })();
    """
    places = Visit(html, script, tmp_path, "--force-prefers-reduced-motion").found["places"]
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
        tell({width, page: page.documentElement.scrollWidth, wide: wide.map(node => `${node.tagName}.${node.className}`)});
      });
    """
    whole = json.dumps(html).replace("</", "<\\/")
    found = Visit(html, f"const whole = {whole};{script}", tmp_path).found
    assert found["width"] == 390
    assert found["page"] <= 390
    assert found["wide"] == []


@pytest.mark.parametrize(("scheme", "paper"), [(0, "dark"), (1, "light")])
def test_words_can_be_read_in_both_schemes(html: str, tmp_path: Path, scheme: int, paper: str) -> None:
    """Every text has 4.5 times as much light as its ground, or its ground as it (WCAG 2.2, level AA)."""
    script = """
      const light = colour => {
        const [r, g, b] = colour.map(part => part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4);
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
      const texts = "p, h1, h2, h3, h4, li, td, th, dt, dd, a, button, span.word, .badge, figcaption, label";
      for (const node of document.body.querySelectorAll(texts)) {
        if (!node.textContent.trim() || !node.offsetParent || node.closest(".viewer, .blank")) continue;
        const [one, other] = [light(parts(getComputedStyle(node).color)), light(ground(node))];
        const contrast = Math.max(one / other, other / one);
        if (contrast < 4.5) faint[`${node.tagName}.${node.className}`] = contrast.toFixed(2);
      }
      tell({faint, paper: light(parts(getComputedStyle(document.body).backgroundColor))});
    """
    found = Visit(html, script, tmp_path, f"--blink-settings=preferredColorScheme={scheme}").found
    assert (found["paper"] > 0.5) == (paper == "light")
    assert found["faint"] == {}


def test_the_table_sorts_both_ways(visit: Visit) -> None:
    assert visit.found["up"] == ["ascending", [5, 4, 3, 2, 1, 0]]
    assert visit.found["down"] == ["descending", [0, 1, 2, 3, 4, 5]]


def test_the_table_filters(visit: Visit) -> None:
    assert sorted(visit.found["filtered"][0]) == [2, 4]
    assert visit.found["filtered"][1] == "2 of 6 volumes"
    assert visit.found["searched"] == [5]
    assert visit.found["strangers"] == [3]
    assert visit.found["all"] == 6
    assert visit.found["thumb"]


def test_methods_are_copied_with_their_citations(visit: Visit) -> None:
    assert visit.found["button"] == "Copied"
    assert "6 2D class averages of 16 × 16 pixels" in visit.found["copied"]
    assert "[1] Score-based Random Tomography of Dynamic Structures" in visit.found["copied"]
    assert "[1] Score-based Random Tomography of Dynamic Structures" in visit.found["selected"]  # where there is no clipboard


def test_consensus_is_shown_and_the_panel_leads_to_the_sheet(visit: Visit) -> None:
    assert visit.found["consensus"]
    assert visit.found["sheet"] == "image-1"


def test_a_live_page_loads_itself_again_when_it_has_changed(html: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that is loaded asks without a tag, its script with that of the page: the rule against requests must let it."""
    run, told = RunDirectory(tmp_path / "run"), list[tuple[bool, int, str]]()
    run.path.mkdir()
    run.report.write_text(html, encoding="utf-8")
    answer = live._Handler._answer

    def noted(handler: live._Handler, status: int, tag: str, content: bytes) -> None:
        told.append(("If-None-Match" in handler.headers, int(status), tag))
        answer(handler, status, tag, content)

    def wait_for(by_script: bool, status: int, tag: str) -> None:
        end = time.monotonic() + 600
        while (by_script, status, tag) not in told:
            assert time.monotonic() < end, f"answered only {told}"
            time.sleep(0.05)

    monkeypatch.setattr(live._Handler, "_answer", noted)
    with live.served(run) as address:
        command = [browser(), *ALONE, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=500,520", address]
        quiet = subprocess.DEVNULL
        with subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True) as visitor:
            try:
                first, second = (live._page(text).tag for text in (html, html.replace("</h1>", " again</h1>")))
                wait_for(True, 304, first)
                run.report.write_text(html.replace("</h1>", " again</h1>"), encoding="utf-8")
                wait_for(False, 200, second)
                wait_for(True, 304, second)
            finally:
                os.killpg(visitor.pid, signal.SIGKILL)

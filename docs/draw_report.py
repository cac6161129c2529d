"""The picture of the README: parts of a real report, with numbered call-outs and their explanation.

    python docs/draw_report.py demo/run/report.html docs/report.png

Needs Chromium, and the figures extra for its fonts. Parts are found by their selectors in the report's templates.
"""

import html
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

WIDTH, SCALE, GAP = 1180, 0.5, 24
TABLE = 760  # height of the table that is shown, in pixels of the page
ORANGE, INK, PAPER = (200, 84, 16), (30, 34, 40), (255, 255, 255)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
COLUMNS = (  # parts of the page, from the top of the first selector to the bottom of the second
    (("header.page", ".trajectories"),),
    ((".explorer", ".explorer"), ("#reliability", "#reliability")),
)
CALL_OUTS = (
    (".lead > div", "Verdict, size of the motion, agreement of the starts"),
    (".trajectory-stage", "Surface to turn; orange parts move"),
    (".trajectory", "One slider for each mode of motion"),
    (".explorer > div", "Every volume: each point is that of one image"),
    (".chosen-volume", "The selected volume, its image and its view"),
    ("#reliability .scroll", "Expected FSC, label and reason of each volume"),
)
MEASURING = """<script>addEventListener("load", () => setTimeout(() => {
  const note = document.createElement("pre");
  const box = node => {
    const r = node.getBoundingClientRect();
    return [r.left, r.top + scrollY, r.right, r.bottom + scrollY];
  };
  const found = SELECTORS.map(name => [name, document.querySelector(name)]).filter(pair => pair[1]);
  const boxes = Object.fromEntries(found.map(([name, node]) => [name, box(node)]));
  note.id = "boxes";
  note.textContent = JSON.stringify({height: document.documentElement.scrollHeight, boxes});
  document.body.append(note);
}, 5000));</script>"""

Box = tuple[float, float, float, float]


class Part(NamedTuple):
    """A strip of the page, and where it is in the picture."""

    top: float
    bottom: float
    x: int
    y: int


def browse(*arguments: str) -> bytes:
    """What a headless browser prints."""
    browser = next(filter(None, map(shutil.which, BROWSERS)))
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--hide-scrollbars")
    command = [browser, *options, "--virtual-time-budget=60000", *arguments]
    return subprocess.run(command, capture_output=True, check=True).stdout


def measured(report: Path, folder: Path, window: int) -> tuple[int, dict[str, Box]]:
    """Height of the page in a window of some height, and the box of each selector."""
    selectors = {name for column in COLUMNS for part in column for name in part} | {name for name, _ in CALL_OUTS}
    copy = folder / "measured.html"
    script = MEASURING.replace("SELECTORS", json.dumps(sorted(selectors)))
    copy.write_text(report.read_text(encoding="utf-8").replace("</body>", f"{script}</body>"), encoding="utf-8")
    page = browse(f"--window-size={WIDTH},{window}", "--dump-dom", copy.as_uri()).decode()
    match = re.search(r'<pre id="boxes">(.*?)</pre>', page)
    if match is None:
        raise SystemExit(f"{report} should be a report of scoretomo")
    content = json.loads(html.unescape(match[1]))
    missing = selectors - content["boxes"].keys()
    if missing:
        raise SystemExit(f"{report} lacks {', '.join(sorted(missing))}: correct the selectors of docs/draw_report.py")
    return content["height"], {name: tuple(box) for name, box in content["boxes"].items()}


def arranged(boxes: dict[str, Box]) -> list[Part]:
    """Where the strips go: two columns."""
    parts = []
    for number, column in enumerate(COLUMNS):
        y = GAP
        for first, last in column:
            top, bottom = max(boxes[first][1] - 8, 0), boxes[last][3] + 8
            if first == "#reliability":
                bottom = min(bottom, top + TABLE)
            parts.append(Part(top, bottom, GAP + number * (round(WIDTH * SCALE) + GAP), y))
            y += round((bottom - top) * SCALE) + GAP
    return parts


def font(size: int, weight: str = "normal") -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib."""
    path = font_manager.findfont(font_manager.FontProperties(family="DejaVu Sans", weight=weight))
    return ImageFont.truetype(path, size)


def badge(draw: ImageDraw.ImageDraw, x: float, y: float, number: int) -> None:
    """A number in an orange disc."""
    draw.ellipse((x - 13, y - 13, x + 13, y + 13), fill=ORANGE, outline=PAPER, width=2)
    draw.text((x, y), str(number), font=font(15, "bold"), fill=PAPER, anchor="mm")


def drawn(page: Image.Image, boxes: dict[str, Box]) -> Image.Image:
    """The picture: strips of the page, numbers on them, and what they are below."""
    parts = arranged(boxes)
    foot = max(part.y + (part.bottom - part.top) * SCALE for part in parts) + GAP
    rows = (len(CALL_OUTS) + 1) // 2
    picture = Image.new("RGB", (round(2 * WIDTH * SCALE) + 3 * GAP, round(foot) + 34 * rows + 12), PAPER)
    draw = ImageDraw.Draw(picture)
    for part in parts:
        strip = page.crop((0, round(part.top), WIDTH, round(part.bottom)))
        picture.paste(
            strip.resize((round(WIDTH * SCALE), round(strip.height * SCALE)), Image.Resampling.LANCZOS),
            (part.x, part.y),
        )
        draw.rectangle(
            (part.x - 1, part.y - 1, part.x + WIDTH * SCALE, part.y + strip.height * SCALE), outline=(205, 208, 212)
        )
    for number, (selector, text) in enumerate(CALL_OUTS, 1):
        left, top, *_ = boxes[selector]
        part = next(part for part in parts if part.top <= top <= part.bottom)
        badge(draw, part.x + max(left * SCALE - 14, 0), part.y + max((top - part.top) * SCALE, 15), number)
        column, row = divmod(number - 1, rows)
        x, y = GAP + 13 + column * (WIDTH * SCALE + GAP), foot + 16 + 34 * row
        badge(draw, x, y, number)
        draw.text((x + 24, y), text, font=font(17), fill=INK, anchor="lm")
    return picture


def main() -> None:
    report, output = Path(sys.argv[1]), Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        height, _ = measured(report, folder, 1200)
        _, boxes = measured(report, folder, height)  # images that load late have moved what is below
        shot = folder / "page.png"
        browse(f"--window-size={WIDTH},{height}", f"--screenshot={shot}", report.absolute().as_uri())
        picture = drawn(Image.open(shot).convert("RGB"), boxes)
    picture.save(output, optimize=True)


if __name__ == "__main__":
    main()

"""The report: one page that holds everything a run has on disk, and nothing from elsewhere."""

import base64
import os
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import (
    HOSTILE,
    blob,
    write_bodies,
    write_evaluation,
    write_landscape,
    write_reliability,
    write_run,
    write_score,
    write_shared,
)

from scoretomo import files, wording
from scoretomo.graphics import densities, surfaces
from scoretomo.images import otsu_level
from scoretomo.projection import project
from scoretomo.report import page_data, render_report
from scoretomo.report.embedded import Budget
from scoretomo.report.network import AtOne, NetworkSection, network_section
from scoretomo.report.summary import Reason, Summary, notes_of, summary_of
from scoretomo.rotations import rotation_about_z
from scoretomo.rundir.directory import RunDirectory
from scoretomo.rundir.results import Run, read_run
from scoretomo.rundir.rows import SupportTest, SymmetryRow

SNAPSHOT = Path(__file__).parent / "snapshots" / "report.txt"


class Page(HTMLParser):
    """Elements and attributes of a page; fails where a tag is closed that is not open."""

    VOID = frozenset({"area", "br", "hr", "img", "input", "link", "meta"})
    INLINE = frozenset({"b", "code", "em", "i"})
    SPACED = frozenset({"small", "span", "strong", "text"})  # on one line, with a space between them

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.INLINE:
            self.words.append(" " if tag in self.SPACED else "\0")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else in line {self.getpos()[0]}"

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.words.append(data)

    @property
    def lines(self) -> list[str]:
        """Visible text, one block element a line."""
        blocks = re.split("\0+", "".join(self.words))
        return [line for block in blocks for line in [" ".join(block.split())] if line]

    @property
    def text(self) -> str:
        return " ".join(self.lines)

    def all(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        return [
            attributes
            for name, attributes in self.elements
            if name == tag
            and all(value in (attributes.get(key.rstrip("_")) or "").split() for key, value in wanted.items())
        ]


def results(path: Path) -> Run:
    return read_run(RunDirectory(path))


def page_of(path: Path) -> Page:
    return Page(render_report(RunDirectory(path)))


@pytest.fixture(scope="module")
def judged_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with everything: an excluded image, a diverged volume, a truth."""
    volumes = {0: blob(16, 0), 1: blob(16, 1), 3: None, 4: blob(16, 4)}
    run = write_run(tmp_path_factory.mktemp("judged"), volumes, excluded={2: "constant (0 everywhere)"}, source=HOSTILE)
    write_evaluation(run, [0, 1, 4], gain=True)
    return run


@pytest.fixture(scope="module")
def judged(judged_run: Path) -> str:
    return render_report(RunDirectory(judged_run))


def test_the_text_of_the_page_is_that_of_the_snapshot(tmp_path: Path) -> None:
    """All wording of the page, for five runs; the other tests check data and structure."""
    pages = {
        "a flexible molecule with a truth": flexible_run(tmp_path / "flexible"),
        "rigid bodies": bodies_run(tmp_path / "bodies"),
        "a rigid molecule, unfinished": rigid_run(tmp_path / "rigid"),
        "too few images": small_run(tmp_path / "small"),
        "a network score without volumes": network_run(tmp_path / "network"),
    }
    parts = [f"=== {name} ===\n" + "\n".join(page_of(path).lines) for name, path in pages.items()]
    text = re.sub(re.escape(str(tmp_path)), "…", "\n\n".join(parts)) + "\n"
    if os.environ.get("SNAPSHOT") == "renew":
        SNAPSHOT.parent.mkdir(exist_ok=True)
        SNAPSHOT.write_text(text, encoding="utf-8")
    renew = (
        "the text of the page has changed; if it should, renew the snapshot: SNAPSHOT=renew pytest tests/test_report.py"
    )
    assert text == SNAPSHOT.read_text(encoding="utf-8"), renew


def flexible_run(path: Path) -> Path:
    """Two modes, a mixture, an outlier, an excluded image, reliability and a truth."""
    numbers = [0, 1, 2, 3, 4]
    run = write_run(path, {number: blob(16, number) for number in numbers}, excluded={5: "constant"}, start_weight=0.75)
    files.write_text(
        RunDirectory(run).config, '[run]\nmethod = "ensemble"\ndenoiser = "tangent"\nsymmetry = "C1"\nseed = 7\n'
    )
    support = SupportTest(True, False, 0.1, 0.11, 0.05, 0.06, True)
    write_shared(run, numbers, outliers=[3], class_2=[4], support=support)
    write_landscape(run, numbers[:4], motions=2)
    labels = {0: "reliable", 1: "reliable", 2: "caution", 3: "unreliable", 4: "caution"}
    write_reliability(run, labels, motions=2)
    write_evaluation(run, numbers[:3], gain=True)
    return run


def bodies_run(path: Path) -> Path:
    """One mode, and an image of class 2."""
    numbers = [0, 1, 2]
    run = write_run(path, {number: blob(16, number) for number in numbers}, replicate_fsc=0.99)
    files.write_text(
        RunDirectory(run).config, '[run]\nmethod = "ensemble"\ndenoiser = "tangent"\nsymmetry = "C1"\nseed = 7\n'
    )
    write_shared(run, numbers, class_2=[2], support=SupportTest(True, False, 0.1, 0.11, 0.05, 0.06, True))
    write_landscape(run, numbers[:2])
    write_bodies(run, numbers)
    return run


def rigid_run(path: Path) -> Path:
    """No motion, starts that disagree, a symmetry that was searched for, a diverged volume and a missing one."""
    volumes = {0: blob(16, 0), 1: blob(16, 1), 2: None}
    run = write_run(path, volumes, missing=[3], pixel_size=None, finished=False, start_weight=0.4)
    write_shared(run, [0, 1, 2, 3], agreeing=1, flexible=False, soft=True)
    write_landscape(run, [0, 1], motions=0, flexible=False)
    places = RunDirectory(run)
    places.symmetries.write([SymmetryRow("C1", 1.0, 0.95), SymmetryRow("C2", 0.6, 0.92)])
    files.write_map(places.mean, blob(16, 5), None)
    return run


def small_run(path: Path) -> Path:
    """One volume of images too few for the flexibility test, and an excluded image."""
    run = write_run(path, {0: blob(16, 0)}, excluded={1: "constant"}, replicate_fsc=0.9)
    write_shared(run, [0], flexible=None, held_out_resolution=2.03 * 3.54)
    return run


def network_run(path: Path) -> Path:
    """A run directory after scoretomo train and scoretomo sample: images and score, no volumes, no config.toml."""
    write_run(path, {number: blob(16, number) for number in range(4)})
    run = RunDirectory(path)
    for each in (run.config, run.log, run.volume_rows.path):
        each.unlink()
    write_score(path, held_out=[3])
    return path


def test_page_is_well_formed(judged: str) -> None:
    page = Page(judged)
    assert page.open == []
    names = [attributes["id"] for _, attributes in page.elements if attributes.get("id")]
    assert len(names) == len(set(names))


def test_page_refers_to_nothing_outside_itself(judged: str) -> None:
    without_data = re.sub(r"data:image/webp;base64,[A-Za-z0-9+/=]+", "data:", judged)
    assert not re.search(r"https?:|//cdn|@import|url\(", without_data)
    for _, attributes in Page(judged).elements:
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))


def test_links_inside_the_page_lead_somewhere(judged: str) -> None:
    page = Page(judged)
    names = {attributes.get("id") for _, attributes in page.elements}
    links = {(link["href"] or "")[1:] for link in page.all("a")}
    assert links
    assert links <= names


def test_every_picture_is_described(judged: str) -> None:
    page = Page(judged)
    assert page.all("img")
    assert all(picture.get("alt") for picture in page.all("img"))
    assert page.all("svg")
    assert all(chart.get("aria-label") for chart in page.all("svg"))


def test_every_volume_has_its_sheet(judged: str) -> None:
    page = Page(judged)
    assert [sheet["id"] for sheet in page.all("article")] == ["image-0", "image-1", "image-3", "image-4"]
    assert len(page.all("svg", class_="convergence")) == 4


def test_a_sheet_has_pictures_of_its_volume_or_its_image_alone(judged_run: Path) -> None:
    for sheet in page_data(results(judged_run))["sheets"]:
        failed = sheet.volume.status == "diverged"
        assert bool(sheet.image) == failed
        assert (sheet.fit is None) == failed
        assert [picture.axis for picture in sheet.projections + sheet.slices] == ([] if failed else list("zyxzyx"))
        assert sheet.convergence.steps[0] == ("2", 0.0)


def test_excluded_images_are_named_with_their_reasons(judged_run: Path, judged: str) -> None:
    assert notes_of(results(judged_run)).excluded == [Reason("constant (0 everywhere)", [2])]
    assert len(Page(judged).all("figure", class_="excluded")) == 1


def test_notes_and_warnings_of_the_import_are_shown(judged_run: Path, judged: str) -> None:
    notes = notes_of(results(judged_run))
    assert notes.others == [
        "Grey scales differ: made equal",
        "classes.mrcs does not say its pixel size",
    ]  # a file keeps its name
    assert notes.warned == [Reason("the particle reaches the mask", [1])]
    assert len(Page(judged).all("figure", class_="warned")) == 1


def test_notes_that_repeat_excluded_images_are_left_to_the_table(judged_run: Path) -> None:
    run = results(judged_run)
    assert run.imported
    repeated = ("image 2 excluded: constant", "3 more images excluded: junk", "kept")
    assert notes_of(run._replace(imported=run.imported._replace(notes=repeated))).others == ["Kept"]


def test_the_summary_counts_images_and_volumes(judged_run: Path) -> None:
    summary = summary_of(results(judged_run))
    assert summary == Summary(
        images=5,
        selected=5,
        included=[0, 1, 3, 4],
        excluded=[2],
        requested=[0, 1, 3, 4],
        done=[0, 1, 4],
        diverged=[3],
        missing=[],
        common_frame=False,
        seconds=10.0,
        seconds_per_volume=2.5,
        fsc=summary.fsc,
        resolution=12.3,
        anchor_correlation=0.9,
    )
    assert summary.fsc == pytest.approx((0.5 + 0.005 / 3, 0.5, 0.504))


def test_fsc_curves_and_conformation_gain_are_shown(judged_run: Path, judged: str) -> None:
    page = Page(judged)
    gain = page_data(results(judged_run))["evaluation"].gain
    assert (gain.value, gain.single.fsc, gain.volumes.fsc, gain.perfect.fsc) == (0.25, 0.4, 0.5, 0.8)
    assert gain.single.x < gain.volumes.x < gain.perfect.x
    assert len(page.all("table", class_="sortable")) == 1
    assert len(page.all("path", class_="each")) == 3


def test_truth_is_embedded_beside_the_volume_turned_onto_it(judged: str) -> None:
    page = Page(judged)
    slots = [slot["data-densities"] for slot in page.all("div", class_="surface")]
    assert slots == ["density-0 truth-0", "density-1 truth-1", "density-4 truth-2"]
    assert {script.get("id") for script in page.all("script")} >= set(" ".join(map(str, slots)).split())


def test_settings_and_versions_are_shown(judged_run: Path) -> None:
    data = page_data(results(judged_run))
    ((title, entries),) = data["settings"]
    assert title == "run"
    assert ("method", "paper") in entries
    assert ("torch", "2.9.9") in data["machine"]


def test_users_words_cannot_become_markup(judged: str) -> None:
    assert HOSTILE in Page(judged).text
    assert 'alert("x")</script>' not in judged


def test_embedded_density_unpacks_to_the_quantised_volume(judged: str) -> None:
    packed = re.search(r'id="density-0"[^>]*>([^<]+)</script>', judged)
    assert packed
    steps = np.frombuffer(zlib.decompress(base64.b64decode(packed[1]), -15), np.uint8).reshape(16, 16, 16)
    assert np.array_equal(np.cumsum(steps, axis=-1, dtype=np.uint8), densities.quantise(blob(16, 0), 64).values)


def test_without_a_truth_there_is_no_section_about_it(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path, {0: blob(16, 0), 1: blob(16, 1)}))
    assert not page.all("section", id="truth")


def test_missing_volumes_of_an_unfinished_run_have_their_places(tmp_path: Path) -> None:
    run = write_run(tmp_path, {0: blob(16, 0)}, missing=[1, 2], finished=False)
    summary = summary_of(results(run))
    assert (summary.done, summary.missing) == ([0], [1, 2])
    assert len(page_of(run).all("span", class_="missing")) == 2


def test_run_without_any_volume_yet_has_a_page(tmp_path: Path) -> None:
    path = write_run(tmp_path, {0: blob(16, 0)}, missing=[1])
    run = RunDirectory(path)
    for left in (run.volume_rows.path, run.log):
        left.unlink()
    assert summary_of(results(path)).missing == [0, 1]
    assert page_of(path).open == []


def test_an_event_that_is_not_in_the_log_yet_is_shown(tmp_path: Path) -> None:
    run = RunDirectory(write_run(tmp_path, {0: blob(16, 0)}))
    event = {"time": "2026-01-01T01:00:00+00:00", "event": "landscape", "modes": 3}
    assert page_data(read_run(run, event))["log"][-1] == (event["time"], "landscape", "modes 3")
    assert len(files.read_records(run.log)) == len(read_run(run).records)


def test_a_landscape_is_read_from_where_it_is(tmp_path: Path) -> None:
    """Before the results of a stage take their places, the page is made with them."""
    path = write_run(tmp_path / "run", {number: blob(16, number) for number in range(4)})
    new = write_run(tmp_path / "new", {number: blob(16, number) for number in range(4)})
    write_landscape(new, range(4), motions=2)
    assert results(path).landscape is None
    landscape = read_run(RunDirectory(path).with_landscape_in(new)).landscape
    assert landscape
    assert landscape.summary.modes == 2


def test_lengths_are_pixels_without_a_pixel_size(tmp_path: Path) -> None:
    assert "Å" not in page_of(write_run(tmp_path, {0: blob(16, 0)}, pixel_size=None)).text


def test_only_selected_images_are_shown(tmp_path: Path) -> None:
    run = write_run(tmp_path, {0: blob(16, 0), 2: blob(16, 2)}, excluded={1: "not selected"})
    summary = summary_of(results(run))
    assert (summary.images, summary.selected, summary.included, summary.excluded) == (3, 2, [0, 2], [])
    assert not page_of(run).all("figure", class_="excluded")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(files.InputError, match="not a run directory"):
        render_report(RunDirectory(tmp_path))


def test_densities_that_exceed_the_budget_belong_to_some_volumes_only(tmp_path: Path) -> None:
    run = write_run(tmp_path, {number: blob(16, number) for number in range(5)})
    page = Page(render_report(RunDirectory(run), budget=Budget(volumes=9000)))
    turning = page.all("div", class_="surface")
    assert 1 <= len([slot for slot in turning if "data-densities" in slot]) < 5
    assert len(page.all("div", class_="flat")) == 5 - len([slot for slot in turning if "data-densities" in slot])


def test_spread_order_visits_everything_once_and_both_ends_early() -> None:
    order = densities.spread_order(300, [17])
    assert order[:2] == [17, 0]
    assert sorted(order) == list(range(300))
    assert max(np.diff(sorted(order[:20]))) <= 32


def test_truth_of_another_sampling_lands_on_the_grid_of_the_volume() -> None:
    axis = torch.arange(32) - 16
    fine = torch.exp(-(axis[:, None, None] ** 2 + axis[:, None] ** 2 + (axis - 4) ** 2) / 32.0).numpy()
    coarse = densities.on_grid(fine, 2.0, 24, 4.0)
    assert coarse is not None
    assert np.unravel_index(coarse.argmax(), coarse.shape) == (12, 12, 14)
    assert coarse.max() == pytest.approx(1, abs=0.02)


def test_otsu_level_lies_between_background_and_object() -> None:
    values = np.full((16, 16, 16), 20, np.uint8)
    values[5:11, 5:11, 5:11] = 200
    assert 20 < otsu_level(values) < 200
    floats = 0.01 * values.astype(np.float32) - 0.15
    assert 0.05 < otsu_level(floats) < 1.85
    assert otsu_level(7 * floats) == pytest.approx(7 * otsu_level(floats))
    floats[8, 8, 8] = 1e3
    assert 0.05 < otsu_level(floats) < 1.85
    assert otsu_level(np.zeros((8, 8, 8))) >= 0


def test_thumbnail_shows_the_front_of_the_volume_where_the_projection_has_it() -> None:
    values = np.zeros((24, 24, 24), np.uint8)
    values[10:15, 10:15, 10:15] = 255
    picture = surfaces.surface(values, 128, 0.5, 48)
    ys, xs = np.nonzero(picture[..., 3] > 128)
    assert abs(ys.mean() - 24) < 2
    assert abs(xs.mean() - 24) < 2
    assert picture[0, 0, 3] == 0


def test_surface_is_orange_where_it_is_painted() -> None:
    values = np.zeros((24, 24, 24), np.uint8)
    values[8:16, 8:16, 4:20] = 255
    right = np.zeros((12, 12, 12), np.float32)
    right[:, :, 6:] = 1
    picture = surfaces.surface(values, 128, 0.5, 48, view=torch.eye(3), paint=right).astype(int)
    warmth = picture[..., 0] - picture[..., 2]
    assert warmth[24, 34] > 60
    assert abs(warmth[24, 14]) < 15


def test_surface_turns_with_its_view() -> None:
    values = np.zeros((24, 24, 24), np.uint8)
    values[11:14, 11:14, 14:20] = 255  # on the side of positive x
    quarter = rotation_about_z(torch.tensor(np.pi / 2)).float()  # x to y
    for view, place in ((torch.eye(3), (24, 33)), (quarter, (33, 24))):
        ys, xs = np.nonzero(surfaces.surface(values, 128, 0.5, 48, view=view)[..., 3] > 128)
        assert (ys.mean(), xs.mean()) == pytest.approx(place, abs=1)


def test_edges_of_a_surface_are_soft() -> None:
    values = np.zeros((24, 24, 24), np.uint8)
    values[8:16, 8:16, 8:16] = 255
    opacity = surfaces.surface(values, 128, 0.5, 96)[..., 3]
    assert 50 < np.count_nonzero((opacity > 0) & (opacity < 255)) < 0.1 * opacity.size


def test_difference_colours_are_symmetric_about_the_middle() -> None:
    colours = surfaces.diverging(np.array([[-1.0, 0.0, 1.0]]), 1.0)[0]
    assert colours[0][2] > colours[0][0]
    assert colours[2][0] > colours[2][2]
    assert colours[1].max() - colours[1].min() < 10


def test_fit_shown_is_the_projection_of_the_volume(tmp_path: Path) -> None:
    density = blob(16, 0)
    view = project(torch.from_numpy(density), torch.eye(3)[None])[0].numpy()
    html = render_report(RunDirectory(write_run(tmp_path, {0: density})))
    scale = surfaces.common_scale(density.sum(0), view)
    assert surfaces.data_uri(surfaces.grey(view, scale)) in html


def test_numbers_and_lengths_are_written_as_sentences_have_them() -> None:
    assert wording.listing([3]) == "3"
    assert wording.listing([3, 9, 11]) == "3, 9 and 11"
    assert wording.listing(range(10)).endswith("7 and 2 more")
    assert [wording.duration(s) for s in (2.53, 48.2, 320, 11100)] == ["2.5 s", "48 s", "5 min 20 s", "3 h 05 min"]
    assert [wording.in_letters(number) for number in (0, 12, 13)] == ["no", "twelve", "13"]
    assert [wording.resolution(value, 2.0) for value in (4.0, 4.01, 4.2, 7.123)] == ["≤ 4", "≤ 4.01", "4.2", "7.12"]


@pytest.fixture
def learned(tmp_path: Path) -> Path:
    return network_run(tmp_path / "run")


def network_of(path: Path) -> NetworkSection:
    section = network_section(results(path))
    assert section
    return section


def test_run_with_a_network_score_and_no_volumes_has_a_page(learned: Path) -> None:
    page = page_of(learned)
    assert page.open == []
    assert [section["id"] for section in page.all("section")] == ["network", "samples", "images", "settings"]
    names = {attributes.get("id") for _, attributes in page.elements}
    links = {(link["href"] or "")[1:] for link in page.all("a")}
    assert links
    assert links <= names
    assert page.all("img")
    assert all(picture.get("alt") for picture in page.all("img"))
    assert [title for title, _ in page_data(results(learned))["settings"]] == ["train"]


def test_every_denoiser_has_its_curve(learned: Path) -> None:
    page, network = page_of(learned), network_of(learned)
    assert len(page.all("svg", class_="loss")) == len(page.all("svg", class_="errors")) == 1
    for kind, curves in (("network", 2), ("exact", 2), ("held-out", 2), ("wiener", 1)):
        assert len(page.all("path", class_=kind)) == curves
        assert len(page.all("span", class_=kind)) == curves
    assert (network.name, network.examples, network.held_out) == ("fast", 6400, [3])
    assert network.generalisation
    assert (network.generalisation.percent, network.generalisation.few, network.generalisation.generalises) == (
        25,
        True,
        False,
    )
    assert network.at_one == AtOne(1.0, 0.5, 0.6, True)
    assert network.exact_floor == 0.3


def test_without_held_out_images_there_are_no_curves_of_them(learned: Path) -> None:
    write_score(learned)
    page, network = page_of(learned), network_of(learned)
    assert not page.all("path", class_="held-out")
    assert not page.all("span", class_="held-out")
    assert network.generalisation is None
    assert network.at_one == AtOne(1.0, 0.4, 0.3, False)


def test_samples_are_shown_beside_class_averages_and_above_the_nearest(learned: Path) -> None:
    panels = network_of(learned).panels
    assert panels
    assert (len(panels.samples), len(panels.averages)) == (5, 3)  # not the class average that was held out
    assert [pair.row.sample for pair in panels.pairs] == [4, 3, 2, 1, 0]  # highest correlation first
    similarity = panels.similarity
    assert (similarity.median, similarity.low, similarity.high) == pytest.approx((0.912, 0.91, 0.914))
    assert (similarity.samples, similarity.distinct, similarity.trained) == (5, 2, 3)
    page = page_of(learned)
    assert len(page.all("div", class_="panel")) == 2
    assert len(page.all("div", class_="pairs")) == 1


@pytest.mark.parametrize(("copies", "verdict", "count"), [(True, "copies", 5), (False, "similar", 0)])
def test_copies_of_class_averages_are_recognised(learned: Path, copies: bool, verdict: str, count: int) -> None:
    write_score(learned, copies=copies)
    panels = network_of(learned).panels
    assert panels
    assert (panels.similarity.verdict, panels.similarity.copies) == (verdict, count)


def test_network_in_training_has_a_page(learned: Path) -> None:
    run = RunDirectory(learned)
    for left in (run.weights, run.denoising.path, run.samples.rows.path):
        left.unlink()
    network = network_of(learned)
    assert (network.name, network.examples, network.errors, network.panels) == ("", 800, None, None)
    assert not page_of(learned).all("section", id="samples")


def test_volumes_are_shown_from_random_directions_beside_their_images(tmp_path: Path) -> None:
    run = RunDirectory(write_run(tmp_path, {number: blob(16, number) for number in range(10)}))
    first, again = render_report(run), render_report(run)
    page = Page(first)
    assert first == again
    rows = page.all("div", class_="views-row")
    assert len(rows) == 8
    assert len([alt for picture in page.all("img") if "from a random direction" in (alt := picture["alt"] or "")]) == 40
    assert len(page.all("a", href="#views")) == 1
    assert not page.all("section", id="network")


def test_lengths_of_a_run_without_a_pixel_size_are_in_pixels_whatever_its_truth_has(tmp_path: Path) -> None:
    path = write_run(tmp_path, {number: blob(16, number) for number in range(3)}, pixel_size=None)
    write_evaluation(path, [0, 1, 2], unit="Å", pixel_size=2.0)
    run = results(path)
    assert (run.unit, run.length_unit) == ("Å", "px")


def test_time_of_a_run_includes_its_training_but_no_analysis_made_again(tmp_path: Path) -> None:
    run = RunDirectory(write_run(tmp_path, {0: blob(16, 0)}))
    for stage, seconds in (("network", 100.0), ("landscape", 7.0)):
        run.record("stage", stage=stage, seconds=seconds)
    assert summary_of(results(run.path)).seconds == 102.5

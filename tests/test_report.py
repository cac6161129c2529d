"""The report: one page that holds everything a run has on disk, and nothing from elsewhere."""

import base64
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import HOSTILE, blob, write_evaluation, write_run, write_score

from scoretomo import files
from scoretomo.graphics import densities, surfaces
from scoretomo.images import otsu_level
from scoretomo.projection import project
from scoretomo.report import render_report
from scoretomo.rotations import rotation_about_z
from scoretomo.wording import duration, listing


class Page(HTMLParser):
    """Elements and attributes of a page; fails where a tag is closed that is not open."""

    VOID = frozenset({"area", "br", "hr", "img", "input", "link", "meta"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
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
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        return [
            attributes
            for name, attributes in self.elements
            if name == tag and all(value in (attributes.get(key.rstrip("_")) or "").split() for key, value in wanted.items())
        ]


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Page of a run with everything: images left out, a diverged volume, a truth that moves."""
    volumes = {0: blob(16, 0), 1: blob(16, 1), 3: None, 4: blob(16, 4)}
    run = write_run(tmp_path_factory.mktemp("judged"), volumes, left_out={2: "constant (0 everywhere)"}, source=HOSTILE)
    write_evaluation(run, [0, 1, 4], gain=True)
    return render_report(run)


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
    assert {(link["href"] or "")[1:] for link in page.all("a")} <= names


def test_every_picture_is_described(judged: str) -> None:
    page = Page(judged)
    assert page.all("img")
    assert all(picture.get("alt") for picture in page.all("img"))
    assert all(chart.get("aria-label") for chart in page.all("svg"))


def test_every_volume_has_its_sheet(judged: str) -> None:
    page = Page(judged)
    assert [sheet["id"] for sheet in page.all("article")] == ["image-0", "image-1", "image-3", "image-4"]
    assert len(page.all("svg", class_="convergence")) == 4
    for word in ("f(V, I)", "difference", "along z", "along y", "along x", "z = 0"):
        assert page.text.count(word) >= 3


def test_left_out_images_are_named_with_their_reasons(judged: str) -> None:
    page = Page(judged)
    assert "Image 2 was left out: constant (0 everywhere)" in page.text
    assert len(page.all("figure", class_="left-out")) == 1


def test_what_import_said_is_shown(judged: str) -> None:
    assert "Grey scales differ: made equal" in Page(judged).text
    assert "classes.mrcs does not say its pixel size" in Page(judged).text  # a file keeps its name
    assert "In a dashed frame, image 1: the particle reaches the mask" in Page(judged).text


def test_diverged_volume_is_shown_as_failed(judged: str) -> None:
    text = Page(judged).text
    assert "The reconstruction of image 3 diverged and left no volume." in text
    assert "This reconstruction diverged after 3 steps" in text


def test_scores_and_conformation_gain_are_shown(judged: str) -> None:
    page = Page(judged)
    assert "mean FSC over shells is 0.50" in page.text
    assert "Conformation gain 0.25" in page.text
    assert "at FSC 0.5, Å" in page.text
    assert len(page.all("table", class_="sortable")) == 1
    assert len(page.all("path", class_="each")) == 3


def test_truth_is_embedded_beside_the_volume_turned_onto_it(judged: str) -> None:
    page = Page(judged)
    slots = [slot["data-densities"] for slot in page.all("div", class_="surface")]
    assert slots == ["density-0 truth-0", "density-1 truth-1", "density-4 truth-2"]
    assert {script.get("id") for script in page.all("script")} >= set(" ".join(map(str, slots)).split())


def test_settings_and_versions_are_shown(judged: str) -> None:
    text = Page(judged).text
    assert "method paper" in text
    assert "torch 2.9.9" in text


def test_users_words_cannot_become_markup(judged: str) -> None:
    assert HOSTILE in Page(judged).text
    assert 'alert("x")</script>' not in judged


def test_embedded_density_unpacks_to_the_quantised_volume(judged: str) -> None:
    packed = re.search(r'id="density-0"[^>]*>([^<]+)</script>', judged)
    assert packed
    steps = np.frombuffer(zlib.decompress(base64.b64decode(packed[1]), -15), np.uint8).reshape(16, 16, 16)
    assert np.array_equal(np.cumsum(steps, axis=-1, dtype=np.uint8), densities.quantise(blob(16, 0), 64).values)


def test_without_truth_the_page_warns_that_nobody_can_tell(tmp_path: Path) -> None:
    page = Page(render_report(write_run(tmp_path, {0: blob(16, 0), 1: blob(16, 1)})))
    assert "Without a truth nobody can tell" in page.text
    assert not page.all("section", id="truth")


def test_unfinished_run_says_what_is_missing(tmp_path: Path) -> None:
    page = Page(render_report(write_run(tmp_path, {0: blob(16, 0)}, asked=[1, 2], finished=False)))
    assert "The run is not finished: 1 of 3 volumes is done, images 1 and 2 are still missing." in page.text
    assert len(page.all("span", class_="missing")) == 2


def test_run_without_any_volume_yet_has_a_page(tmp_path: Path) -> None:
    run = write_run(tmp_path, {0: blob(16, 0)}, asked=[1])
    for left in (run / "volumes.csv", run / "log.jsonl"):
        left.unlink()
    assert "0 of 2 volumes are done" in Page(render_report(run)).text


def test_lengths_are_pixels_without_a_pixel_size(tmp_path: Path) -> None:
    text = Page(render_report(write_run(tmp_path, {0: blob(16, 0)}, pixel_size=None))).text
    assert "pixel size unknown" in text
    assert "Å" not in text


def test_only_selected_images_are_shown(tmp_path: Path) -> None:
    page = Page(render_report(write_run(tmp_path, {0: blob(16, 0), 2: blob(16, 2)}, left_out={1: "not selected"})))
    assert "3 images came in, of which 2 were selected, and all of them could be used." in page.text
    assert not page.all("figure", class_="left-out")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(files.InputError, match="not a run directory"):
        render_report(tmp_path)


def test_densities_that_exceed_the_budget_are_left_to_some_volumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scoretomo.report.embedded.BUDGET", 9000)
    page = Page(render_report(write_run(tmp_path, {number: blob(16, number) for number in range(5)})))
    turning = page.all("div", class_="surface")
    assert 1 <= len([slot for slot in turning if "data-densities" in slot]) < 5
    assert "of 5 volumes can be turned in 3D here" in page.text


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
    html = render_report(write_run(tmp_path, {0: density}))
    scale = surfaces.common_scale(density.sum(0), view)
    assert surfaces.data_uri(surfaces.grey(view, scale)) in html


def test_words_count_and_measure() -> None:
    assert listing([3]) == "3"
    assert listing([3, 9, 11]) == "3, 9 and 11"
    assert listing(range(10)).endswith("7 and 2 more")
    assert [duration(s) for s in (2.53, 48.2, 320, 11100)] == ["2.5 s", "48 s", "5 min 20 s", "3 h 05 min"]


@pytest.fixture
def learned(tmp_path: Path) -> Path:
    """A run directory as scoretomo train and scoretomo sample leave it: images and score, no volumes, no config.toml."""
    run = write_run(tmp_path / "run", {number: blob(16, number) for number in range(4)})
    for name in ("config.toml", "log.jsonl", "volumes.csv"):
        (run / name).unlink()
    return run


def test_run_with_a_score_and_no_volumes_has_a_page(learned: Path) -> None:
    write_score(learned, held_out=[3])
    page = Page(render_report(learned))
    assert page.open == []
    assert [section["id"] for section in page.all("section")] == ["score", "samples", "images", "run"]
    names = {attributes.get("id") for _, attributes in page.elements}
    assert {(link["href"] or "")[1:] for link in page.all("a")} <= names
    assert "There are no volumes yet" in page.text
    assert "volumes are done" not in page.text
    assert "network fast" in page.text
    assert all(picture.get("alt") for picture in page.all("img"))


def test_errors_of_every_denoiser_have_their_curve(learned: Path) -> None:
    write_score(learned, held_out=[3])
    page = Page(render_report(learned))
    assert len(page.all("svg", class_="loss")) == len(page.all("svg", class_="errors")) == 1
    for kind, curves in (("network", 2), ("exact", 2), ("held-out", 2), ("wiener", 1)):
        assert len(page.all("path", class_=kind)) == curves
        assert len(page.all("span", class_=kind)) == curves
    assert "1 class average (3) was kept from it" in page.text
    assert "errs 25 % more on images it has never seen than on images that it was trained on" in page.text
    assert "its error does not fall below 0.30" in page.text
    assert (
        "At t = 1, about where volumes are made, the network leaves 0.50 on held-out images and the exact score 0.60." in page.text
    )


def test_curves_without_values_are_left_out(learned: Path) -> None:
    write_score(learned)
    page = Page(render_report(learned))
    assert not page.all("path", class_="held-out")
    assert not page.all("span", class_="held-out")
    assert "It was shown all class averages" in page.text


def test_samples_stand_beside_class_averages_and_above_the_nearest(learned: Path) -> None:
    write_score(learned, held_out=[3])
    page = Page(render_report(learned))
    assert len(page.all("div", class_="panel")) == 2
    alts = [picture["alt"] or "" for picture in page.all("img")]
    assert alts.count("A class average that the network was trained on") == 3  # not the one that was held out
    assert len([alt for alt in alts if re.fullmatch(r"Class average \d, turned onto sample \d", alt)]) == 5
    assert page.text.index("0.91 · 0") < page.text.index("0.91 · 1")  # sample 4, then sample 3
    assert "is 0.912, from 0.910 to 0.914" in page.text
    assert "The 5 samples have 2 different nearest class averages, of 3." in page.text


@pytest.mark.parametrize(
    ("copies", "says"), [(True, "The network reproduces its images."), (False, "about as far from class averages")]
)
def test_the_page_says_whether_samples_are_copies(learned: Path, copies: bool, says: str) -> None:
    write_score(learned, copies=copies)
    assert says in Page(render_report(learned)).text


def test_network_in_training_is_said_to_be_unfinished(learned: Path) -> None:
    write_score(learned, samples=0)
    for name in ("weights.safetensors", "denoising.csv"):
        (learned / "score" / name).unlink()
    page = Page(render_report(learned))
    assert "The network is not trained yet: it has seen 800 noisy images." in page.text
    assert not page.all("section", id="samples")


def test_volumes_are_shown_from_random_directions_beside_their_images(tmp_path: Path) -> None:
    run = write_run(tmp_path, {number: blob(16, number) for number in range(10)})
    first, again = render_report(run), render_report(run)
    page = Page(first)
    assert first == again
    rows = page.all("div", class_="views-row")
    assert len(rows) == 8
    assert len([alt for picture in page.all("img") if "from a random direction" in (alt := picture["alt"] or "")]) == 40
    assert len(page.all("a", href="#views")) == 1
    assert not page.all("section", id="score")

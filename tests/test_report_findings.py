"""What the page has of heterogeneity, reliability and methods: data and structure; its wording is in the snapshot."""

import json
import re
import shlex
from collections.abc import Callable
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import ball, blob, write_evaluation, write_landscape, write_reliability, write_run, write_shared
from test_report import Page, flexible_run, network_run, page_of, results, rigid_run, small_run

from scoretomo import files
from scoretomo.alignment import Alignment, place
from scoretomo.cli.app import app
from scoretomo.deformation.flexibility import FLEXIBILITY
from scoretomo.fourier import radius
from scoretomo.graphics import shading, surfaces
from scoretomo.report import page_data, render_report
from scoretomo.report.embedded import Budget, Embedded
from scoretomo.report.methods import Citations
from scoretomo.report.reliability import reliability_summary, volume_table
from scoretomo.rotations import rotations_from_euler
from scoretomo.rundir.directory import RunDirectory
from scoretomo.rundir.rows import FscRow, StateRow

NUMBERS = [0, 1, 2, 3]
LABELS = {0: "reliable", 1: "reliable", 2: "caution", 3: "unreliable"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", {number: blob(16, number) for number in NUMBERS})


def test_a_trajectory_has_its_title_displacement_and_pictures(run: Path) -> None:
    write_shared(run, NUMBERS)
    write_landscape(run, NUMBERS)
    section = page_data(results(run))["heterogeneity"]
    trajectory, between = section.trajectories
    assert (trajectory.title, trajectory.row.displacement, trajectory.row.moved_fraction) == ("Mode 1", 4.0, 0.3)
    assert len(trajectory.pictures) == 6
    assert (between.title, between.row, between.visited) == ("", None, [2, 1])
    assert [(state.volumes, state.representative) for state in section.states] == [(2, 0), (2, 1)]
    assert section.ratio == pytest.approx(100)
    assert section.every_component_significant


@pytest.mark.parametrize(("moves", "verdict"), [(False, "rigid"), (None, "undetermined")])
def test_a_molecule_without_motion_has_no_trajectories(run: Path, moves: bool | None, verdict: str) -> None:
    write_shared(run, NUMBERS, flexible=moves)
    write_landscape(run, NUMBERS, motions=0, flexible=moves, counted=moves is not None)
    page, data = page_of(run), page_data(results(run))
    assert data["run"].consensus.verdict == data["run"].landscape.summary.verdict == verdict
    assert not page.all("div", class_="trajectory")
    assert data["consensus"].variability is None


def test_components_of_few_volumes_are_not_called_modes(run: Path) -> None:
    write_shared(run, NUMBERS)
    write_landscape(run, NUMBERS, motions=2, counted=False)
    section = page_data(results(run))["heterogeneity"]
    assert [each.title for each in section.trajectories[:2]] == ["Component 1", "Component 2"]
    assert [axis.name for axis in section.scatter.axes] == ["component 1", "component 2"]
    assert "Mode 1" not in page_of(run).text


def test_outliers_class_2_and_agreeing_starts_are_read(run: Path) -> None:
    write_shared(run, NUMBERS, outliers=[2], class_2=[3], agreeing=1)
    consensus = results(run).consensus
    assert consensus
    assert (consensus.outliers, consensus.class_2) == ([2], [3])
    assert [start.agrees for start in consensus.starts] == [True, False, False, True]
    table = volume_table(results(run))
    assert table
    assert [row.outlier for row in table.rows] == [False, False, True, True]


def test_a_consensus_is_shown_while_the_run_goes_on(run: Path) -> None:
    """Before there are final poses."""
    write_shared(run, NUMBERS)
    places = RunDirectory(run)
    poses = places.poses.read()
    places.poses.path.unlink()
    assert results(run).consensus is None
    places.assigned.poses.write(poses)
    consensus = results(run).consensus
    assert consensus
    assert len(consensus.poses) == 4
    assert all(volume.pose is None for volume in results(run).volumes)


def test_reliability_is_in_the_summary_the_table_and_every_sheet(run: Path) -> None:
    write_shared(run, NUMBERS)
    write_reliability(run, LABELS)
    summary = reliability_summary(results(run))
    assert summary
    assert (summary.volumes, summary.counts) == (4, {"reliable": 2, "caution": 1, "unreliable": 1})
    assert (summary.median, summary.resolution, summary.common) == (pytest.approx(0.875), 16, False)
    page = page_of(run)
    assert [row["data-label"] for row in page.all("tr") if row.get("data-label")] == list(LABELS.values())
    assert len(page.all("i", class_="interval")) == 4
    assert len(page.all("p", class_="reason")) == 4


def test_expected_fsc_is_compared_with_the_truth(run: Path) -> None:
    write_shared(run, NUMBERS)
    write_reliability(run, LABELS)
    write_evaluation(run, [0, 2, 3])
    summary = reliability_summary(results(run))
    assert summary
    assert summary.measured  # two shells of four reach 16 Å: 0.9 and 0.7
    assert summary.measured == (3, 2, pytest.approx((0.95 + 0.85 + 0.8) / 3), pytest.approx(0.8))


def test_a_truth_that_is_too_coarse_is_not_compared_with_expected_fsc(run: Path) -> None:
    write_shared(run, NUMBERS)
    write_reliability(run, LABELS)
    write_evaluation(run, [0, 2, 3], pixel_size=10.0)
    summary = reliability_summary(results(run))
    assert summary
    assert summary.measured is None


def test_without_a_calibration_there_is_no_expected_fsc(run: Path) -> None:
    write_shared(run, NUMBERS)
    write_reliability(run, LABELS, calibrated=False, motions=0)
    summary, page = reliability_summary(results(run)), page_of(run)
    assert summary
    assert (summary.calibrated, summary.median, summary.resolution) == (False, None, None)
    assert "xpected FSC" not in page.text
    assert not page.all("i", class_="interval")


def test_a_reason_that_holds_for_all_volumes_is_in_no_row(run: Path) -> None:
    write_shared(run, NUMBERS, flexible=False)
    write_reliability(run, dict.fromkeys(NUMBERS, "caution"), calibrated=False, motions=0, reason="too few images")
    table, page = volume_table(results(run)), page_of(run)
    assert table
    assert table.common
    assert table.common.reason == "too few images"
    assert not page.all("td", class_="reason")


def test_an_expected_fsc_that_holds_for_all_volumes_is_in_no_row(run: Path) -> None:
    write_shared(run, NUMBERS, flexible=False)
    common = {"expected_fsc": 0.9, "low": 0.8, "high": 0.95, "reason": "images and consensus agree in detail"}
    write_reliability(run, dict.fromkeys(NUMBERS, "reliable"), motions=0, **common)
    summary, table, page = reliability_summary(results(run)), volume_table(results(run)), page_of(run)
    assert summary
    assert table
    assert (summary.common, summary.median) == (True, 0.9)
    assert table.common
    assert (table.common.expected_fsc, table.common.low, table.common.high) == (0.9, 0.8, 0.95)
    assert not page.all("i", class_="interval")


def test_without_reliability_the_table_has_the_other_columns(run: Path) -> None:
    write_evaluation(run, [0, 1, 3])
    table, page = volume_table(results(run)), page_of(run)
    assert table
    assert (table.labels, table.truth, table.replicates) == ([], True, False)
    assert len([row for row in page.all("tr") if row.get("data-number")]) == 4
    assert not page.all("span", class_="reliability")


def ensemble(run: Path) -> None:
    """A run by the ensemble method, with modes of motion."""
    settings = '[run]\nmethod = "ensemble"\ndenoiser = "tangent"\nsymmetry = "C1"\nseed = 7\n'
    files.write_text(RunDirectory(run).config, settings)
    write_shared(run, NUMBERS)


def test_methods_have_the_settings_of_this_run_and_cite_the_works_it_used(run: Path) -> None:
    ensemble(run)
    write_landscape(run, NUMBERS)
    data = page_data(results(run))
    methods = data["methods"]
    assert (methods.method, methods.denoiser, methods.seed, methods.steps) == ("ensemble", "tangent", 7, [3])
    assert (methods.version, methods.libraries, methods.umap) == ("0.1.0", ["PyTorch 2.9.9"], False)
    html = render_report(RunDirectory(run))
    works = re.findall(r"<li>\[(\d+)\] ([\w-]+)", html)
    assert [number for number, _ in works] == [str(number + 1) for number in range(10)]
    used = {"Levina", "Tenenbaum", "Tipping", "Sigworth", "Chen", "Schwab", "Scheres"}  # the molecule is flexible
    names = {name for _, name in works}
    assert used <= names
    assert not {"Karras", "Harauz", "Hyvärinen", "McInnes"} & names  # no network, no truth, one mode, no UMAP


def test_citations_are_numbered_in_the_order_of_the_text() -> None:
    cite = Citations()
    assert [cite("Tipping"), cite("Chen", "Schwab"), cite("Tipping")] == ["[1]", "[2][3]", "[1]"]
    assert [number for number, _ in cite.works] == [1, 2, 3]


def test_umap_is_cited_where_it_placed_the_volumes(run: Path) -> None:
    ensemble(run)
    write_landscape(run, NUMBERS, umap=True)
    assert "McInnes" in render_report(RunDirectory(run))
    assert page_data(results(run))["methods"].umap


def test_the_frame_of_an_aligned_map_leads_back_to_the_volume(run: Path) -> None:
    write_evaluation(run, NUMBERS)
    rows = RunDirectory(run).evaluation.rows
    angles = {"rot": 40.0, "tilt": 70.0, "psi": -20.0, "shift_x": 1.0, "shift_y": -0.5, "shift_z": 0.7}
    rows.write([FscRow(**{**row._asdict(), **angles, "hand": "mirrored"}) for row in rows.read()])
    result = results(run).volumes[0].fsc
    assert result
    assert result.frame
    turn = rotations_from_euler(torch.tensor([40.0, 70.0, -20.0]))
    volume = torch.from_numpy(ball(24, (3, -2, 4), 3))
    aligned = place(volume, Alignment(turn, torch.tensor([1.0, -0.5, 0.7]), True, 0.0))
    matrix, shift = np.array(result.frame[:9]).reshape(3, 3), np.array(result.frame[9:])
    highest = np.array(np.unravel_index(int(aligned.argmax()), aligned.shape))[::-1] - 12
    assert np.allclose(highest, matrix.T @ (3, -2, 4) + shift, atol=1.0)


def test_surfaces_have_one_light_and_one_scale_of_colours_everywhere(run: Path) -> None:
    write_shared(run, NUMBERS)
    write_landscape(run, NUMBERS)
    facts = re.search(r'id="facts">(.*?)</script>', render_report(RunDirectory(run)))
    assert facts
    light = json.loads(facts[1])["shading"]
    assert (tuple(light["tinted"]), tuple(light["orange"]), tuple(light["light"])) == (
        shading.TINTED,
        shading.ORANGE,
        shading.LIGHT,
    )
    variability = np.array([[0.0, 1.0, 3.5, 6.0, 10.0]])
    assert np.allclose(surfaces.tint(variability).clip(0, 1), [[0, 0, 0.5, 1, 1]])
    white = surfaces.warmed(np.full(variability.shape, 255, np.uint8), surfaces.tint(variability))
    assert white[0, 0].tolist() == [255, 255, 255]
    assert np.allclose(white[0, -1], 255 * np.array(surfaces.in_light(shading.ORANGE)), atol=1)


def test_the_viewer_uses_every_number_of_the_light(run: Path) -> None:
    html = render_report(RunDirectory(run))
    used = set(re.findall(r"(?:light|shading)\.([a-z_]+)", html))
    assert {name for name in shading.constants() if name != "pale"} <= used


def test_trajectories_beyond_the_budget_are_shown_as_pictures(run: Path) -> None:
    write_shared(run, NUMBERS)
    write_landscape(run, NUMBERS, motions=2)
    page = Page(render_report(RunDirectory(run), budget=Budget(trajectories=0)))
    assert [each.get("data-frames") for each in page.all("div", class_="trajectory")] == [None, None, None]
    assert len(page.all("div", class_="slide")) == 0


def test_after_the_modes_a_slider_goes_from_state_to_state(run: Path) -> None:
    write_shared(run, NUMBERS)
    write_landscape(run, NUMBERS, motions=2)
    trajectories = page_of(run).all("div", class_="trajectory")
    assert [len((each["data-frames"] or "").split()) for each in trajectories] == [11, 11, 7]


@pytest.mark.parametrize("states", [2, 3, 4, 5, 6])
def test_the_slider_from_state_to_state_shows_every_state(
    run: Path, states: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shared(run, NUMBERS)
    write_landscape(run, NUMBERS)
    folder, legs = RunDirectory(run).landscape, 6
    frames = [files.read_map(path).density for path in folder.frames("mode-1")]
    for number in range(legs * (states - 1) + 1):
        files.write_map(folder.frame("states", number), (1 + number) * frames[number % 11], 3.54)
    folder.states.write([StateRow(k + 1, 3, NUMBERS[0], legs * k) for k in range(states)])
    embedded: list[list[Path]] = []

    def caught(trajectories: list[list[Path]], *_: object) -> list[list[Embedded]]:
        embedded.extend(trajectories)
        return [[] for _ in trajectories]

    monkeypatch.setattr("scoretomo.report.heterogeneity.of_trajectories", caught)
    between = page_data(results(run))["heterogeneity"].trajectories[-1]
    shown = [path.name for path in embedded[-1]]
    assert set(shown) >= {f"{legs * k:02d}.mrc" for k in range(states)}
    assert len(shown) <= 13
    assert len(between.pictures) == states


def test_the_axes_of_the_scatter_are_those_of_the_landscape(run: Path) -> None:
    write_shared(run, NUMBERS)
    write_landscape(run, NUMBERS)
    places = re.search(r'id="places">(.*?)</script>', render_report(RunDirectory(run)))
    assert places
    axes = json.loads(places[1])["axes"]
    assert [axis["name"] for axis in axes] == ["mode 1", "component 2", "component 1"]
    assert axes[0]["places"] == sorted(axes[0]["places"])
    assert all(0 <= place <= 1 for axis in axes for place in axis["places"])


@pytest.mark.slow
def test_three_hundred_noisy_volumes_that_move_stay_under_thirty_megabytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three volumes, a hundred times each; every picture is in the page, but a surface is drawn only once."""
    draw, drawn = surfaces.surface, dict[tuple[object, ...], np.ndarray]()

    def drawn_once(values: np.ndarray, level: float, reach: float, side: int) -> np.ndarray:
        key = (values.tobytes(), level, reach, side)
        if key not in drawn:
            drawn[key] = draw(values, level, reach, side)
        return drawn[key]

    monkeypatch.setattr(surfaces, "surface", drawn_once)
    rng = np.random.default_rng(0)
    inside = (radius(48, 3) < 22).numpy()
    noise = [(rng.standard_normal((48, 48, 48)) * inside).astype(np.float32) for _ in range(3)]
    run = write_run(tmp_path / "run", {number: noise[number % 3] for number in range(300)})
    numbers = list(range(300))
    write_shared(run, numbers)
    write_landscape(run, numbers, motions=3)
    landscape = RunDirectory(run).landscape
    for path in [path for mode in (1, 2, 3) for path in landscape.frames(f"mode-{mode}")]:
        files.write_map(path, noise[0], 3.54)
    write_reliability(run, dict.fromkeys(numbers, "caution"), motions=3)
    html = render_report(RunDirectory(run))
    assert len(html.encode()) < 30e6
    assert len(Page(html).all("article")) == 300


def test_the_start_weight_is_the_largest_of_all_volumes(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {number: blob(16, number) for number in NUMBERS}, start_weight=0.75)
    write_shared(run, NUMBERS)
    rows = RunDirectory(run).volume_rows
    first, *others = rows.read()
    rows.write([first._replace(start_weight=0.5), *others])
    consensus = results(run).consensus
    assert consensus
    assert consensus.start_weight == 0.75


def boxes(path: Path) -> list[str]:
    """HTML of the boxes beside the findings, one from each heading on: what to do next, and how to read the volumes."""
    beside = re.search(r'<div class="advice">(.*?)</div>', render_report(RunDirectory(path)), re.DOTALL)
    assert beside
    return beside[1].split("<h2>")[1:]


def commands(box: str) -> list[str]:
    """The commands that a box of the page names, as one types them."""
    named = re.findall(r'<code class="command">scoretomo (.*?)</code>', box)
    return [unescape(re.sub("</?span>", "", text)) for text in named]


def without_motion(path: Path) -> Path:
    write_run(path, {number: blob(16, number) for number in NUMBERS})
    write_shared(path, NUMBERS, flexible=False)
    return path


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (flexible_run, ["export run/ --to chimerax", "export run/ --to relion"]),
        (without_motion, ["export run/ --to relion"]),
        (rigid_run, ["watch run/"]),  # it is not finished
        (small_run, []),
        (network_run, ["reconstruct run/ --method paper --denoiser network"]),
    ],
)
def test_what_to_do_next_is_a_command_that_fits_the_run(
    tmp_path: Path, make: Callable[[Path], Path], expected: list[str]
) -> None:
    named = commands(boxes(make(tmp_path / "run"))[0])
    assert named == expected
    for text in named:
        app.parse_args(text, exit_on_error=False, print_error=False)


def test_a_command_has_the_folder_as_a_shell_takes_it(tmp_path: Path) -> None:
    named = commands(boxes(rigid_run(tmp_path / "it's a run"))[0])
    assert [shlex.split(text) for text in named] == [["watch", "it's a run/"]]


def test_a_run_of_few_images_names_how_many_the_flexibility_test_needs(tmp_path: Path) -> None:
    assert f"{FLEXIBILITY.fewest} images" in boxes(small_run(tmp_path / "run"))[0]


def test_starts_that_disagree_come_before_the_motion(run: Path) -> None:
    write_shared(run, NUMBERS, agreeing=1)
    write_landscape(run, NUMBERS)
    assert not commands(boxes(run)[0])


def test_excluded_images_and_outliers_are_to_be_checked(run: Path) -> None:
    write_shared(run, NUMBERS)
    assert 'href="#images"' not in boxes(run)[0]
    write_shared(run, NUMBERS, outliers=[2])
    assert 'image 2 under <a href="#images">' in boxes(run)[0]


def test_how_to_read_volumes_depends_on_what_there_is(tmp_path: Path) -> None:
    assert len(boxes(network_run(tmp_path / "network"))) == 1  # there are no volumes to read
    explained = set()
    for flexible in (True, False, None):
        for replicate_fsc in (0.9, None):
            path = tmp_path / f"{flexible}-{replicate_fsc}"
            write_run(path, {number: blob(16, number) for number in NUMBERS}, replicate_fsc=replicate_fsc)
            write_shared(path, NUMBERS, flexible=flexible)
            explained.add(boxes(path)[1])
            assert ("replicate" in boxes(path)[1]) == (replicate_fsc is not None)
    assert len(explained) == 6


def test_the_head_has_the_resolution_of_a_consensus_and_else_a_correlation(run: Path) -> None:
    def figures() -> list[str]:
        return re.findall(r"<li><strong>([^<]*)", render_report(RunDirectory(run)))

    assert "0.900" in figures()
    write_shared(run, NUMBERS, held_out_resolution=12.0)
    assert "12" in figures()
    assert "0.900" not in figures()

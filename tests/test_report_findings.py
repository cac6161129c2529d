"""What the page says of motion, of trust and of methods."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import ball, blob, write_evaluation, write_landscape, write_reliability, write_run, write_shared
from test_report import Page

from scoretomo import files
from scoretomo.alignment import Alignment, place
from scoretomo.fourier import radius
from scoretomo.graphics import surfaces
from scoretomo.report import moving, render_report
from scoretomo.report.embedded import Embedded
from scoretomo.rotations import rotations_from_euler
from scoretomo.rundir.results import read_run

NUMBERS = [0, 1, 2, 3]
WORDS = {0: "trust", 1: "trust", 2: "with care", 3: "do not"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", {number: blob(16, number) for number in NUMBERS})


def test_what_moves_and_how_much_is_said_in_plain_words(run: Path) -> None:
    write_shared(run, NUMBERS)
    write_landscape(run, NUMBERS)
    text = Page(render_report(run)).text
    assert "What moves The molecule moves in one way." in text
    said = re.search(r"How much From end to end (\d+) % of the molecule changes place, by ([\d.]+) Å or more", text)
    assert said
    assert (said[1], said[2]) == ("30", "14.2")  # 4 pixels of 3.54 Å
    assert "Two groups of 2 volumes that are alike" in text


def test_a_rigid_molecule_is_called_rigid(run: Path) -> None:
    write_shared(run, NUMBERS, moves=False)
    write_landscape(run, NUMBERS, motions=0, moves=False)
    page = Page(render_report(run))
    assert "What moves No motion could be shown, so the molecule is taken as rigid" in page.text
    assert "How much" not in page.text
    assert not page.all("div", class_="way")


def test_too_few_images_are_said_to_be_too_few(run: Path) -> None:
    write_shared(run, NUMBERS, moves=None)
    write_landscape(run, NUMBERS, motions=0, moves=None, counted=False)
    assert "Not known: there are too few images to ask" in Page(render_report(run)).text


def test_what_a_few_volumes_of_a_moving_molecule_differ_in_is_not_called_motions(run: Path) -> None:
    write_shared(run, NUMBERS)
    write_landscape(run, NUMBERS, motions=2, counted=False)
    page = Page(render_report(run))
    assert "The molecule moves, but 4 volumes do not tell in how many ways." in page.text
    assert "Component 1: from end to end" in page.text
    assert "Component 2" in page.text
    for claim in ("Motion 1", "2 motions", "number of independent motions"):
        assert claim not in page.text


@pytest.mark.parametrize(
    ("found", "said"), [(20.33, "down to 20.3 Å."), (7.08, "down to 7.08 Å, the finest that such pixels can show.")]
)
def test_how_fine_the_consensus_is_left_out_images_say(run: Path, found: float, said: str) -> None:
    write_shared(run, NUMBERS, moves=False)
    (summary,) = files.read_table(run / "consensus" / "summary.csv")
    files.write_table(run / "consensus" / "summary.csv", [summary | {"left_out_resolution": found}])
    text = Page(render_report(run)).text
    assert f"The consensus agrees with images that were left out of it {said}" in text


def test_doubt_about_the_shape_and_images_that_do_not_belong_are_named(run: Path) -> None:
    write_shared(run, NUMBERS, outliers=[2], agreeing=1)
    text = Page(render_report(run)).text
    assert "Only two of four random starts came to this consensus: the shape itself is not certain." in text
    assert "What does not belong No view explains image 2." in text


def test_reliability_is_told_in_the_summary_the_table_and_every_sheet(run: Path) -> None:
    write_shared(run, NUMBERS)
    write_reliability(run, WORDS)
    page = Page(render_report(run))
    assert "Of 4 volumes, trust 2, take 1 with care and do not believe 1." in page.text
    assert "Half of the volumes should have an FSC with the truth of 0.88 or more, down to 16 Å." in page.text
    rows = [row["data-word"] for row in page.all("tr") if row.get("data-word")]
    assert rows == list(WORDS.values())
    assert len(page.all("i", class_="interval")) == 4
    assert "expected FSC (80 % of volumes like it) 0.95 (0.85 – 0.99)" in page.text
    assert "sees motion 1" in page.text
    assert len(page.all("p", class_="reason")) == 4


def test_what_was_expected_is_compared_with_the_truth(run: Path) -> None:
    write_shared(run, NUMBERS)
    write_reliability(run, WORDS)
    write_evaluation(run, [0, 2, 3])
    text = Page(render_report(run)).text  # two shells of four reach 16 Å: 0.9 and 0.7
    said = "known of 3 volumes: 0.80 on average, where 0.87 was expected, down to 16 Å; 2 in the interval"
    assert f"{said} that should hold four of five." in text


def test_a_truth_that_is_too_coarse_is_not_compared_with_what_was_expected(run: Path) -> None:
    write_shared(run, NUMBERS)
    write_reliability(run, WORDS)
    write_evaluation(run, [0, 2, 3])
    summary = files.read_json(run / "evaluation" / "summary.json")
    files.write_json(run / "evaluation" / "summary.json", summary | {"pixel_size": 10.0})
    assert "on average, where" not in Page(render_report(run)).text


def test_without_a_calibration_there_is_no_expected_fsc(run: Path) -> None:
    write_shared(run, NUMBERS)
    write_reliability(run, WORDS, calibrated=False, motions=0)
    page = Page(render_report(run))
    assert "with care" in page.text
    assert "xpected FSC" not in page.text
    assert not page.all("i", class_="interval")


def test_what_holds_for_all_volumes_is_said_once(run: Path) -> None:
    write_shared(run, NUMBERS, moves=False)
    write_reliability(run, dict.fromkeys(NUMBERS, "with care"), calibrated=False, motions=0)
    rows = files.read_table(run / "reliability.csv")
    files.write_table(run / "reliability.csv", [row | {"reason": "it does not seem to move"} for row in rows])
    page = Page(render_report(run))
    assert "Take all 4 volumes with care." in page.text
    assert "which is the same for all: it does not seem to move." in page.text
    assert not page.all("td", class_="why")


def test_one_expected_fsc_for_all_volumes_is_said_once(run: Path) -> None:
    write_shared(run, NUMBERS, moves=False)
    write_reliability(run, dict.fromkeys(NUMBERS, "trust"), motions=0)
    alike = {"expected_fsc": 0.9, "low": 0.8, "high": 0.95, "reason": "images and consensus agree in detail"}
    files.write_table(run / "reliability.csv", [row | alike for row in files.read_table(run / "reliability.csv")])
    page = Page(render_report(run))
    assert "Trust all 4 volumes. Each should have an FSC with the truth of about 0.90, down to 16 Å." in page.text
    said = "images and consensus agree in detail; their mean FSC with the truth, down to 16 Å, should be 0.90 (0.80 – 0.95)"
    assert f"which is the same for all: {said}" in page.text
    assert not page.all("i", class_="interval")
    assert "from how far images and consensus agree" in page.text


def test_without_reliability_the_table_shows_what_there_is(run: Path) -> None:
    write_evaluation(run, [0, 1, 3])
    page = Page(render_report(run))
    assert "All volumes" in page.text
    assert "reliability" not in page.text
    assert len([row for row in page.all("tr") if row.get("data-number")]) == 4
    assert "FSC to the truth" in page.text


def test_methods_state_the_settings_of_this_run_and_cite_what_it_used(run: Path) -> None:
    settings = '[run]\nmethod = "ensemble"\ndenoiser = "tangent"\nsymmetry = "C1"\nseed = 7\n'
    files.write_text(run / "config.toml", settings)
    write_shared(run, NUMBERS)
    write_landscape(run, NUMBERS)
    text = Page(render_report(run)).text
    methods = text[text.index("What this run did") : text.index("How it was made", text.index("What this run did"))]
    for said in (
        "4 2D class averages of 16 × 16 pixels (3.54 Å/pixel)",
        "scoretomo 0.1.0",
        "The random seed was 7.",
        "PyTorch 2.9.9",
    ):
        assert said in methods
    assert "No symmetry was imposed." in methods
    used = ("Levina", "Tenenbaum", "Tipping", "Sigworth", "Chen M", "Schwab", "Scheres")  # the molecule moves
    assert [name for name in used if name not in methods] == []
    assert [name for name in ("Karras", "Harauz", "Hyvärinen") if name in methods] == []  # no network, truth, or second motion
    assert re.findall(r"\[(\d+)\] [A-Z]", methods) == [str(k + 1) for k in range(10)]


def test_umap_is_cited_where_it_placed_the_volumes(run: Path) -> None:
    files.write_text(run / "config.toml", '[run]\nmethod = "ensemble"\ndenoiser = "tangent"\nsymmetry = "C1"\nseed = 7\n')
    write_shared(run, NUMBERS)
    write_landscape(run, NUMBERS)
    assert "McInnes" not in Page(render_report(run)).text
    rows = files.read_table(run / "landscape.csv")
    files.write_table(run / "landscape.csv", [{**row, "umap_1": k, "umap_2": 0.0} for k, row in enumerate(rows)])
    text = Page(render_report(run)).text
    number = re.findall(r"\[(\d)\] McInnes L, Healy J, Melville J \(2018\)", text)[0]
    assert f"by UMAP [{number}]" in text


def test_volumes_to_trust_are_counted_where_it_is_known_what_to_expect(run: Path) -> None:
    write_shared(run, NUMBERS)
    write_reliability(run, WORDS)
    assert re.search(r"2 of 4\s*volumes to trust", Page(render_report(run)).text)
    write_reliability(run, dict.fromkeys(NUMBERS, "with care"), calibrated=False)
    text = Page(render_report(run)).text
    assert "volumes to trust" not in text
    assert "median anchor correlation" in text


def test_the_frame_of_an_aligned_map_leads_back_to_the_volume(run: Path) -> None:
    write_evaluation(run, NUMBERS)
    rows = files.read_table(run / "evaluation" / "scores.csv")
    angles = {"rot": 40.0, "tilt": 70.0, "psi": -20.0, "shift_x": 1.0, "shift_y": -0.5, "shift_z": 0.7}
    files.write_table(run / "evaluation" / "scores.csv", [{**row, **angles, "hand": "mirrored"} for row in rows])
    score = read_run(run).volumes[0].score
    assert score
    assert score.frame
    turn = rotations_from_euler(torch.tensor([40.0, 70.0, -20.0]))
    volume = torch.from_numpy(ball(24, (3, -2, 4), 3))
    aligned = place(volume, Alignment(turn, torch.tensor([1.0, -0.5, 0.7]), True, 0.0))
    matrix, shift = np.array(score.frame[:9]).reshape(3, 3), np.array(score.frame[9:])
    found = np.array(np.unravel_index(int(aligned.argmax()), aligned.shape))[::-1] - 12
    assert np.allclose(found, matrix.T @ (3, -2, 4) + shift, atol=1.0)


def test_what_moves_has_one_scale_of_colours_everywhere(run: Path) -> None:
    write_shared(run, NUMBERS)
    write_landscape(run, NUMBERS)
    facts = re.search(r'id="facts">(.*?)</script>', render_report(run))
    assert facts
    told = json.loads(facts[1])["moves"]
    assert (told["from"], told["to"], tuple(told["colour"])) == (surfaces.STILL, surfaces.MOST, surfaces.ORANGE)
    spread = np.array([[0.0, 1.0, 3.5, 6.0, 10.0]])
    assert np.allclose(surfaces.moves(spread).clip(0, 1), [[0, 0, 0.5, 1, 1]])
    white = surfaces.warmed(np.full(spread.shape, 255, np.uint8), surfaces.moves(spread))
    assert white[0, 0].tolist() == [255, 255, 255]
    assert np.allclose(white[0, -1], 255 * np.array(surfaces.in_light(surfaces.ORANGE)), atol=1)


def test_motions_beyond_the_budget_are_shown_as_pictures(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_shared(run, NUMBERS)
    write_landscape(run, NUMBERS, motions=2)
    monkeypatch.setattr("scoretomo.report.embedded.WAY_BUDGET", 0)
    page = Page(render_report(run))
    assert [way.get("data-frames") for way in page.all("div", class_="way")] == [None, None, None]
    assert len(page.all("div", class_="slide")) == 0


def test_after_the_motions_a_slider_goes_from_state_to_state_as_they_were_visited(run: Path) -> None:
    write_shared(run, NUMBERS)
    write_landscape(run, NUMBERS, motions=2)
    page = Page(render_report(run))
    assert [len(way["data-frames"].split()) for way in page.all("div", class_="way")] == [11, 11, 7]
    assert "From state to state" in page.text
    assert "States 2, 1 in this order" in page.text


@pytest.mark.parametrize("states", [2, 3, 4, 5, 6])
def test_the_slider_from_state_to_state_shows_every_state(run: Path, states: int, monkeypatch: pytest.MonkeyPatch) -> None:
    write_shared(run, NUMBERS)
    write_landscape(run, NUMBERS)
    folder, legs = run / "landscape", 6
    frames = [files.read_map(path).density for path in sorted((folder / "motion-1").glob("*.mrc"))]
    for number in range(legs * (states - 1) + 1):
        files.write_map(folder / "states" / f"{number:02d}.mrc", (1 + number) * frames[number % 11], 3.54)
    rows = [{"state": k + 1, "volumes": 3, "representative": NUMBERS[0], "frame": legs * k} for k in range(states)]
    files.write_table(folder / "states.csv", rows)
    embedded: list[list[Path]] = []

    def caught(ways: list[list[Path]], _: float | None) -> list[list[Embedded]]:
        embedded.extend(ways)
        return [[] for _ in ways]

    monkeypatch.setattr(moving, "of_ways", caught)
    pictured = [image["alt"] for image in Page(render_report(run)).all("img") if "From state to state" in image.get("alt", "")]
    shown = [path.name for path in embedded[-1]]
    assert set(shown) >= {f"{legs * k:02d}.mrc" for k in range(states)}
    assert len(shown) <= 13
    assert pictured == [f"From state to state, {k + 1} of {states}" for k in range(states)]


def test_the_axes_of_the_scatter_are_those_of_the_landscape(run: Path) -> None:
    write_shared(run, NUMBERS)
    write_landscape(run, NUMBERS)
    html = render_report(run)
    places = re.search(r'id="places">(.*?)</script>', html)
    assert places
    axes = json.loads(places[1])["axes"]
    assert [axis["name"] for axis in axes] == ["motion 1", "component 2", "component 1"]
    assert axes[0]["places"] == sorted(axes[0]["places"])
    assert all(0 <= place <= 1 for axis in axes for place in axis["places"])


def test_three_hundred_noisy_volumes_that_move_stay_under_thirty_megabytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    inside = (radius(48, 3) < 22).numpy()
    noise = [(rng.standard_normal((48, 48, 48)) * inside).astype(np.float32) for _ in range(3)]
    run = write_run(tmp_path / "run", {number: noise[number % 3] for number in range(300)})
    numbers = list(range(300))
    write_shared(run, numbers)
    write_landscape(run, numbers, motions=3)
    for path in (run / "landscape").glob("motion-?/*.mrc"):
        files.write_map(path, noise[0], 3.54)
    write_reliability(run, dict.fromkeys(numbers, "with care"), motions=3)
    html = render_report(run)
    assert len(html.encode()) < 30e6
    assert len(Page(html).all("article")) == 300


@pytest.mark.parametrize(
    ("asked", "kept", "sentence", "in_methods"),
    [
        (
            {"look_alike": 1},
            0.75,
            "like images already: 75 % of each volume is its conformation there",
            "75 % of which it keeps",
        ),
        ({"look_alike": 1}, 0.0, "look like images already. ", "from the conformation of its image."),  # no volume yet
        ({"look_alike": 0}, 0.0, "do not look like images yet", "from the conformation of its image."),
    ],
)
def test_what_is_kept_of_the_model_is_said(
    run: Path, asked: dict[str, object], kept: float, sentence: str, in_methods: str
) -> None:
    write_shared(run, NUMBERS)
    files.write_table(run / "volumes.csv", [{**row, "kept": kept} for row in files.read_table(run / "volumes.csv")])
    files.write_table(run / "consensus" / "left_out.csv", [{"asked": 1, "takes_views": 0, **asked}])
    text = Page(render_report(run)).text
    assert sentence in text
    assert in_methods in text

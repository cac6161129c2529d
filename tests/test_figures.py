"""Movies and figures of a run: they loop, moving parts are orange, and their text is text."""

import re
import sys
import zlib
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import PIL.Image
import pytest
import torch
from runs import blob, write_evaluation, write_landscape, write_run, write_shared

from scoretomo import files, report
from scoretomo.commands import figures as command_figures
from scoretomo.fourier import coordinates
from scoretomo.graphics import charts, colours, figures, movies, surfaces, svg
from scoretomo.rundir.directory import RunDirectory
from scoretomo.rundir.results import Run, read_run

pytestmark = pytest.mark.slow

av = pytest.importorskip("av")
pytest.importorskip("matplotlib")

SHOWN = Fraction(2, 25)
SMALL = 48  # pixels
CHARTS = {f"{name}.{kind}" for name in ("scree", "landscape", "replicates") for kind in ("pdf", "svg")}
CONSENSUS = {f"consensus.{kind}" for kind in ("mp4", "gif", "pdf", "svg")}


def ball(*centre: float, size: int = 24) -> torch.Tensor:
    """A ball with its centre at (x, y, z) voxels from the middle."""
    place = torch.tensor(centre).reshape(3, 1, 1, 1)
    return torch.exp(-(coordinates(size, 3) - place).square().sum(0) / 8)


def lifted() -> torch.Tensor:
    """A body at rest beside which a ball goes from −y to y, five volumes."""
    body = ball(0, 0, 0) + ball(-5, 0, 0)
    return torch.stack([body + ball(6, y, 0) for y in (-6.0, -3.0, 0.0, 3.0, 6.0)])


def fine(trajectory: torch.Tensor) -> torch.Tensor:
    return torch.stack([movies.fine(volume.numpy()) for volume in trajectory])


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few and small frames."""
    monkeypatch.setattr(movies, "FRAMES", 8)
    monkeypatch.setattr(figures, "SURFACE_SIDE", SMALL)
    monkeypatch.setattr(command_figures, "SIDE", SMALL)


def write(path: Path, *, modes: int) -> Path:
    """A finished run of the ensemble method: six volumes, with modes of motion or without."""
    numbers = range(6)
    write_run(path, {number: blob(16, number) for number in numbers}, replicate_fsc=0.99)
    write_shared(path, numbers, flexible=modes > 0)
    write_landscape(path, numbers, motions=modes, flexible=modes > 0)
    files.write_text(RunDirectory(path).volumes_star, "")
    return path


@pytest.fixture
def moving(tmp_path: Path) -> Path:
    """A run with a mode of motion and a truth."""
    run = write(tmp_path / "moving", modes=1)
    write_evaluation(run, [0, 2])
    return run


@pytest.fixture
def still(tmp_path: Path) -> Path:
    return write(tmp_path / "still", modes=0)


def results(path: Path) -> Run:
    return read_run(RunDirectory(path))


def test_a_morph_goes_to_the_other_end_and_back_and_then_begins_again(small):
    trajectory = fine(lifted())
    scene = movies.scene_of(trajectory, movies.best_view(trajectory), None)
    half = list(movies.morph(scene, trajectory, SMALL))
    loop = movies.there_and_back(half)
    assert len(loop) == movies.FRAMES
    for end, place in ((0, 0), (-1, movies.FRAMES // 2)):
        expected = movies.picture(scene, trajectory[end], movies.turned(scene.view, 0), SMALL)
        np.testing.assert_array_equal(loop[place][:, :SMALL], expected)
    for k in range(1, len(loop)):
        np.testing.assert_array_equal(loop[k], loop[-k])
    steps = [
        np.abs(first.astype(int) - second).mean() for first, second in zip(loop, [*loop[1:], loop[0]], strict=True)
    ]
    assert max(steps) < np.abs(loop[0].astype(int) - loop[movies.FRAMES // 2]).mean()
    assert min(steps) > 0


def test_a_full_turn_ends_where_it_began():
    view = surfaces.oblique_view()
    torch.testing.assert_close(movies.turned(view, 360), movies.turned(view, 0), atol=1e-5, rtol=0)


def test_the_best_view_is_across_the_motion_with_moving_parts_in_front_or_above():
    trajectory = lifted()
    view = movies.best_view(trajectory)
    torch.testing.assert_close(view @ view.T, torch.eye(3), atol=1e-5, rtol=0)
    assert torch.det(view) == pytest.approx(1, abs=1e-5)
    assert abs(float(view[2, 1])) < 0.3  # the motion is along y, and not along the line of sight
    _, down, away = (view @ torch.tensor([1.0, 0.0, 0.0])).tolist()  # where the ball is, seen from the body
    assert down <= 1e-3
    assert away <= 1e-3


def test_a_single_volume_is_shown_upright_from_its_broad_side():
    plate = sum(ball(x, y, 0) for x in (-6, -3, 0, 3, 6) for y in (-3, 0, 3))
    view = movies.best_view(torch.as_tensor(plate)[None])
    assert abs(float(view[2, 2])) > 0.9  # flat in z
    assert abs(float(view[1, 0])) > 0.9  # long in x


def test_moving_parts_are_orange_and_the_rest_is_grey():
    trajectory = lifted()
    scene = movies.scene_of(fine(trajectory), movies.best_view(trajectory), trajectory.std(0).numpy())
    shown = movies.picture(scene, fine(trajectory)[2], torch.eye(3), 96).astype(int)
    warmth = shown[..., 0] - shown[..., 2]
    pixel = 2 * 24 * scene.reach / 96  # voxels
    assert warmth[48, 48 + round(6 / pixel)] > 30
    assert abs(warmth[48, 48 - round(5 / pixel)]) < 15
    assert shown[0, 0].tolist() == [255, 255, 255]


def test_movies_have_their_frames_and_are_the_same_each_time(tmp_path):
    frames = [np.full((32, 48, 3), 255, np.uint8) for _ in range(6)]
    for number, frame in enumerate(frames):
        frame[8:24, 4 + 5 * number : 12 + 5 * number] = (240, 140, 40)
    for name in ("a", "b"):
        files.write_mp4(tmp_path / f"{name}.mp4", frames, SHOWN)
        files.write_gif(tmp_path / f"{name}.gif", frames, SHOWN)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()
    with av.open(str(tmp_path / "a.mp4")) as movie:
        assert movie.streams.video[0].average_rate == 1 / SHOWN
        shown = [frame.to_ndarray(format="rgb24").astype(int) for frame in movie.decode(video=0)]
    assert len(shown) == 6
    assert np.mean([np.abs(decoded - frame).mean() for decoded, frame in zip(shown, frames, strict=True)]) < 4
    with PIL.Image.open(tmp_path / "a.gif") as movie:
        assert (movie.n_frames, movie.info["duration"], movie.info["loop"]) == (6, 80, 0)
        assert movie.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_a_flexible_molecule_gets_a_movie_and_a_row_of_surfaces_for_each_mode(moving, small, command):
    code, printed = command("figures", moving)
    assert code == 0, printed
    folder = moving / "figures"
    along = {f"mode-1.{kind}" for kind in ("mp4", "gif", "pdf", "svg")}
    assert {path.name for path in folder.iterdir()} == CHARTS | CONSENSUS | along | {"fsc.pdf", "fsc.svg", "mode-1"}
    frames = sorted((folder / "mode-1").iterdir())
    assert [path.name for path in frames] == [f"{number:03d}.png" for number in range(movies.FRAMES)]
    with av.open(str(folder / "mode-1.mp4")) as movie:
        assert sum(1 for _ in movie.decode(video=0)) == movies.FRAMES
    with PIL.Image.open(frames[0]) as shown:
        assert shown.size == (2 * SMALL, SMALL)


def test_a_rigid_molecule_gets_the_consensus_alone(still, small, tmp_path, command):
    before = {path for path in still.rglob("*") if path.name != "log.jsonl"}
    assert command("figures", still, "--output", tmp_path / "talk")[0] == 0
    assert {path.name for path in (tmp_path / "talk").iterdir()} == CHARTS | CONSENSUS
    assert {path for path in still.rglob("*") if path.name != "log.jsonl"} == before


def test_drawing_again_removes_movies_of_modes_that_are_no_more(still, small, command):
    stale = still / "figures" / "mode-7"
    stale.mkdir(parents=True)
    assert command("figures", still)[0] == 0
    assert not stale.exists()


def test_figures_have_the_width_of_a_column_and_text_that_can_be_edited(moving, tmp_path):
    texts = {"scree": {"variance", "noise floor (replicates)"}, "fsc": {"0.143"}, "landscape": {"mode 1"}}
    for name, figure in figures.draw_charts(results(moving)).items():
        figures.save(figure, tmp_path / name)
        page = (tmp_path / f"{name}.pdf").read_bytes()
        assert page.startswith(b"%PDF")
        width = float(re.findall(rb"/MediaBox \[ 0 0 (\S+)", page)[0])
        assert width / 72 * 25.4 == pytest.approx(figures.SINGLE, abs=0.1)
        assert b"/FontFile2" in page
        streams = [
            zlib.decompress(stream)
            for stream in re.findall(rb"/FlateDecode.*?stream\r?\n(x.*?)endstream", page, re.DOTALL)
        ]
        assert any(b" Tj" in stream or b" TJ" in stream for stream in streams)
        assert written(tmp_path / f"{name}.svg") >= texts.get(name, set())


def test_page_and_figures_draw_the_same_charts(moving):
    """Lines, ticks and thresholds of the SVG of the page and of matplotlib are those of one chart."""
    run = results(moving)
    drawn = figures.draw_charts(run)
    for name, chart in (("scree", charts.scree(run.landscape.scree)), ("fsc", charts.fsc_overview(run))):
        (axes,) = drawn[name].axes
        page = svg.draw(chart, "a chart")
        lines = [line for line in axes.lines if len(line.get_xdata()) == len(chart.lines[0].x)]
        assert page.count('class="curve') == len(chart.lines) == len(lines)
        for line, plotted in zip(chart.lines, lines, strict=True):
            np.testing.assert_array_equal(plotted.get_ydata(), line.y)
        assert list(axes.get_yticks()) == [place for _, place in chart.y.ticks]
        assert page.count('class="grid"') == len(chart.y.ticks)
        assert page.count('class="threshold" d=') == len(chart.thresholds)


def written(path: Path) -> set[str]:
    """The texts of an SVG."""
    return {
        "".join(node.itertext()).strip() for node in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")
    }


def test_the_same_figure_gives_the_same_files(still, tmp_path):
    for name in ("a", "b"):
        figures.save(figures.draw_charts(results(still))["scree"], tmp_path / name)
    for kind in ("pdf", "svg"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


def test_a_row_of_surfaces_has_a_bar_of_a_round_length(tmp_path):
    trajectory = lifted()
    scene = movies.scene_of(fine(trajectory), movies.best_view(trajectory), trajectory.std(0).numpy())
    drawn = [movies.picture(scene, volume, movies.turned(scene.view, 0), SMALL) for volume in fine(trajectory)]
    figures.save(figures.row(drawn, [""] * 5, scene, 120.0), tmp_path / "row")
    assert written(tmp_path / "row.svg") == {"20 Å", "rigid", "moving"}


def test_without_the_extra_the_command_explains_how_to_install_it(still, command, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    code, printed = command("figures", still)
    assert code == 2
    assert "scoretomo[figures]" in printed
    assert not (still / "figures").exists()


def test_states_have_the_colours_of_the_page():
    page = (Path(report.__file__).parent / "assets" / "page.css").read_text(encoding="utf-8")
    drawn = re.findall(r"\.by-state \.state-\d \{ --tone: (#\w+);", page)
    assert drawn == list(colours.STATES)

"""Movies and figures of a run: they loop, they show what moves, and their text is text."""

import re
import shutil
import sys
import zlib
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import PIL.Image
import pytest
import torch

from scoretomo import files
from scoretomo.commands import figures as stage
from scoretomo.fourier import coordinates
from scoretomo.graphics import figures, movies, surfaces
from scoretomo.rundir.results import read_run

av = pytest.importorskip("av")
pytest.importorskip("matplotlib")

SHOWN = Fraction(2, 25)
SMALL = 48  # pixels
CHARTS = {f"{name}.{kind}" for name in ("scree", "landscape", "replicas") for kind in ("pdf", "svg")}
CONSENSUS = {f"consensus.{kind}" for kind in ("mp4", "gif", "pdf", "svg")}


def ball(*centre: float, size: int = 24) -> torch.Tensor:
    """A ball with its centre at (x, y, z) voxels from the middle."""
    place = torch.tensor(centre).reshape(3, 1, 1, 1)
    return torch.exp(-(coordinates(size, 3) - place).square().sum(0) / 8)


def lifted() -> torch.Tensor:
    """A body at rest beside which a ball goes from −y to y, five volumes."""
    body = ball(0, 0, 0) + ball(-5, 0, 0)
    return torch.stack([body + ball(6, y, 0) for y in (-6.0, -3.0, 0.0, 3.0, 6.0)])


def fine(way: torch.Tensor) -> torch.Tensor:
    return torch.stack([movies.fine(volume.numpy()) for volume in way])


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few and small frames."""
    monkeypatch.setattr(movies, "FRAMES", 8)
    monkeypatch.setattr(figures, "SURFACE_SIDE", SMALL)
    monkeypatch.setattr(stage, "_SIDE", SMALL)


@pytest.fixture
def moving(six_volumes: Path, tmp_path: Path) -> Path:
    """A run of which it is known that something goes up and down in it, and how near to the truth it is."""
    run = tmp_path / "moving"
    shutil.copytree(six_volumes, run)
    way = lifted()
    (run / "landscape" / "motion-1").mkdir()
    for number, volume in enumerate(way):
        files.write_map(run / "landscape" / "motion-1" / f"{number:02d}.mrc", volume.numpy(), None)
    files.write_map(run / "landscape" / "motion-map.mrc", way.std(0).numpy(), None)
    files.write_json(
        run / "landscape" / "summary.json",
        files.read_json(run / "landscape" / "summary.json")
        | {"motions": 1, "ways": [{"name": "motion-1", "distance": 2.0, "replaced": 0.1}]},
    )
    rows = files.read_table(run / "landscape.csv")
    files.write_table(run / "landscape.csv", [{"motion_1": number, **row} for number, row in enumerate(rows)])
    (run / "evaluation").mkdir()
    score = {"truth": "t.mrc", "hand": "same", "mean_fsc": 1, "auc": 0.5, "resolution_0.5": 2, "resolution_0.143": 2}
    files.write_table(run / "evaluation" / "scores.csv", [{"image": number, **score} for number in (0, 2)])
    curve = {f"shell_{shell}": 1 - shell / 9 for shell in range(9)}
    files.write_table(run / "evaluation" / "fsc.csv", [{"image": number, **curve} for number in (0, 2)])
    return run


def test_a_morph_goes_to_the_other_end_and_back_and_then_begins_again(small):
    way = fine(lifted())
    scene = movies.scene_of(way, movies.best_view(way), None)
    half = list(movies.morph(scene, way, SMALL))
    loop = movies.there_and_back(half)
    assert len(loop) == movies.FRAMES
    for end, place in ((0, 0), (-1, movies.FRAMES // 2)):
        expected = movies.picture(scene, way[end], movies.turned(scene.view, 0), SMALL)
        np.testing.assert_array_equal(loop[place][:, :SMALL], expected)
    for k in range(1, len(loop)):
        np.testing.assert_array_equal(loop[k], loop[-k])
    steps = [np.abs(first.astype(int) - second).mean() for first, second in zip(loop, [*loop[1:], loop[0]], strict=True)]
    assert max(steps) < np.abs(loop[0].astype(int) - loop[movies.FRAMES // 2]).mean()
    assert min(steps) > 0


def test_a_full_turn_ends_where_it_began():
    view = surfaces.oblique_view()
    torch.testing.assert_close(movies.turned(view, 360), movies.turned(view, 0), atol=1e-5, rtol=0)


def test_the_best_view_is_across_the_motion_with_what_moves_in_front_or_above():
    way = lifted()
    view = movies.best_view(way)
    torch.testing.assert_close(view @ view.T, torch.eye(3), atol=1e-5, rtol=0)
    assert torch.det(view) == pytest.approx(1, abs=1e-5)
    assert abs(float(view[2, 1])) < 0.3  # the motion is along y, and not along the line of sight
    _, down, away = (view @ torch.tensor([1.0, 0.0, 0.0])).tolist()  # where the ball is, seen from the body
    assert down <= 1e-3
    assert away <= 1e-3


def test_a_single_volume_is_seen_from_its_broad_side_standing():
    plate = sum(ball(x, y, 0) for x in (-6, -3, 0, 3, 6) for y in (-3, 0, 3))
    view = movies.best_view(torch.as_tensor(plate)[None])
    assert abs(float(view[2, 2])) > 0.9  # flat in z
    assert abs(float(view[1, 0])) > 0.9  # long in x


def test_what_moves_is_orange_and_the_rest_is_grey():
    way = lifted()
    scene = movies.scene_of(fine(way), movies.best_view(way), way.std(0).numpy())
    shown = movies.picture(scene, fine(way)[2], torch.eye(3), 96).astype(int)
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
    assert np.mean([np.abs(found - frame).mean() for found, frame in zip(shown, frames, strict=True)]) < 4
    with PIL.Image.open(tmp_path / "a.gif") as movie:
        assert (movie.n_frames, movie.info["duration"], movie.info["loop"]) == (6, 80, 0)
        assert movie.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_a_moving_run_gets_a_movie_and_a_row_of_surfaces_for_each_motion(moving, small, command):
    code, said = command("figures", moving)
    assert code == 0, said
    folder = moving / "figures"
    along = {f"motion-1.{kind}" for kind in ("mp4", "gif", "pdf", "svg")}
    assert {path.name for path in folder.iterdir()} == CHARTS | CONSENSUS | along | {"fsc.pdf", "fsc.svg", "motion-1"}
    frames = sorted((folder / "motion-1").iterdir())
    assert [path.name for path in frames] == [f"{number:03d}.png" for number in range(movies.FRAMES)]
    with av.open(str(folder / "motion-1.mp4")) as movie:
        assert sum(1 for _ in movie.decode(video=0)) == movies.FRAMES
    with PIL.Image.open(frames[0]) as shown:
        assert shown.size == (2 * SMALL, SMALL)


def test_a_run_without_motion_gets_the_consensus_alone(six_volumes, small, tmp_path, command):
    before = {path for path in six_volumes.rglob("*") if path.name != "log.jsonl"}
    assert command("figures", six_volumes, "--output", tmp_path / "talk")[0] == 0
    assert {path.name for path in (tmp_path / "talk").iterdir()} == CHARTS | CONSENSUS
    assert {path for path in six_volumes.rglob("*") if path.name != "log.jsonl"} == before


def test_drawing_again_leaves_nothing_of_motions_that_are_no_more(six_volumes, small, tmp_path, command):
    shutil.copytree(six_volumes, tmp_path / "run")
    stale = tmp_path / "run" / "figures" / "motion-7"
    stale.mkdir(parents=True)
    assert command("figures", tmp_path / "run")[0] == 0
    assert not stale.exists()


def test_figures_have_the_width_of_a_column_and_text_that_can_be_edited(moving, tmp_path):
    for name, figure in figures.charts(read_run(moving)).items():
        figures.save(figure, tmp_path / name)
        page = (tmp_path / f"{name}.pdf").read_bytes()
        assert page.startswith(b"%PDF")
        width = float(re.findall(rb"/MediaBox \[ 0 0 (\S+)", page)[0])
        assert width / 72 * 25.4 == pytest.approx(figures.SINGLE, abs=0.1)
        assert b"/FontFile2" in page
        streams = [zlib.decompress(stream) for stream in re.findall(rb"/FlateDecode.*?stream\r?\n(x.*?)endstream", page, re.DOTALL)]
        assert any(b" Tj" in stream or b" TJ" in stream for stream in streams)
        assert written(tmp_path / f"{name}.svg") >= {"scree": {"variance", "chance (replicas)"}, "fsc": {"0.143"}}.get(name, set())
    assert "motion 1" in written(tmp_path / "landscape.svg")


def written(path: Path) -> set[str]:
    """The texts of an SVG."""
    return {"".join(node.itertext()).strip() for node in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")}


def test_the_same_figure_gives_the_same_files(six_volumes, tmp_path):
    for name in ("a", "b"):
        figures.save(figures.charts(read_run(six_volumes))["scree"], tmp_path / name)
    for kind in ("pdf", "svg"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


def test_a_row_of_surfaces_has_a_bar_of_a_round_length(tmp_path):
    way = lifted()
    scene = movies.scene_of(fine(way), movies.best_view(way), way.std(0).numpy())
    drawn = [movies.picture(scene, volume, movies.turned(scene.view, 0), SMALL) for volume in fine(way)]
    figures.save(figures.row(drawn, [""] * 5, scene, 120.0), tmp_path / "row")
    assert written(tmp_path / "row.svg") == {"20 Å", "still", "moves"}


def test_without_the_extra_it_is_said_how_to_get_it(six_volumes, command, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    code, said = command("figures", six_volumes)
    assert code == 2
    assert "figures need av: pip install 'scoretomo[figures]'" in said
    assert not (six_volumes / "figures").exists()


def test_a_run_that_is_not_finished_is_refused(tmp_path, command):
    code, said = command("figures", tmp_path)
    assert code == 2
    assert "finished run of the ensemble method" in said

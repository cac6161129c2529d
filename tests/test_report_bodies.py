"""Rigid bodies in the report: their colours, arrows along their axes, and how far each has turned in an image."""

from pathlib import Path

import numpy as np
import pytest
import torch
from runs import ball, blob, write_bodies, write_run, write_shared

from scoretomo import wording
from scoretomo.deformation.bodies.model import copies_of_group
from scoretomo.graphics import colours, surfaces
from scoretomo.graphics.bodies import arrow_of, whole_of
from scoretomo.report import page_data, render_report
from scoretomo.report.bodies import BodiesSection, bodies_section, surface_colours
from scoretomo.rotations import rotation_about_z
from scoretomo.rundir.bodies import BodyDensities, read_body_densities
from scoretomo.rundir.directory import RunDirectory
from scoretomo.rundir.results import read_run
from scoretomo.rundir.rows import BodyRow

AT = torch.tensor([[8, 5, 8], [11, 11, 8], [5, 11, 11]])  # centres of the bodies of `write_bodies`, indices z, y, x


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    path = write_run(tmp_path / "run", {number: blob(16, number) for number in range(3)})
    write_shared(path, [0, 1, 2], class_2=[2])
    write_bodies(path, [0, 1, 2])
    return RunDirectory(path)


def section_of(run: RunDirectory) -> BodiesSection:
    section = bodies_section(read_run(run), 0.5)
    assert section is not None
    return section


def test_each_place_has_the_body_with_most_density_there(run: RunDirectory) -> None:
    whole = whole_of(read_body_densities(run.model, 2.0), 64)
    assert whole.bodies[tuple(AT.T)].tolist() == [0, 1, 2]
    assert torch.allclose(whole.density[tuple(AT.T)], torch.tensor(2.0), atol=0.1)  # in the units of the data


def test_copies_of_a_body_have_its_colour() -> None:
    group = torch.stack([torch.eye(3), rotation_about_z(torch.tensor(torch.pi))])
    densities = torch.from_numpy(np.stack([ball(17, (0, 0, 0), 2), ball(17, (5, 0, 0), 2)]))
    whole = whole_of(BodyDensities(densities, 0.0, copies_of_group(group, 2)), 17)
    assert [int(whole.bodies[8, 8, x]) for x in (3, 8, 13)] == [1, 0, 1]
    assert torch.allclose(whole.density[8, 8, [3, 13]], torch.tensor(1.0), atol=0.1)


def test_an_arrow_lies_on_the_axis_beside_its_body() -> None:
    axis = torch.tensor([0.6, 0.0, 0.8])
    row = BodyRow(2, 0.2, 1, 30.0, 0.0, 0.6, 0.0, 0.8, 4.0, -8.0, 12.0, 1.0)
    density = torch.from_numpy(ball(24, (6, 0, 6), 3))
    arrow = arrow_of(row, density, 48.0)
    assert arrow is not None
    along = arrow.tip - arrow.tail
    assert torch.allclose(along / along.norm(), axis, atol=1e-5)
    off = torch.linalg.cross((arrow.tail + arrow.tip) / 2 - torch.tensor([4.0, -8.0, 12.0]) / 48, axis)
    assert off.norm() < 1e-5
    ends = torch.stack(arrow) @ axis * 24
    centre = float(torch.tensor([6.0, 0.0, 6.0]) @ axis)
    assert ends[0] < centre - 3 < centre + 3 < ends[1]
    assert arrow_of(BodyRow(1, 0.8, *(None,) * 10), density, 48.0) is None


def test_an_arrow_is_where_the_picture_has_it(run: RunDirectory) -> None:
    first, turning, _ = section_of(run).bodies
    assert first.ends == first.places == []
    points = torch.tensor(turning.ends).reshape(3, 3) @ surfaces.oblique_view().T
    assert torch.allclose(torch.tensor(turning.places).reshape(3, 2), 50 + 50 * points[:, :2] / 0.5, atol=1e-3)


def test_bodies_of_an_image_have_turned_with_an_error(run: RunDirectory) -> None:
    section = section_of(run)
    assert section.together == [[2, 3]]
    assert set(section.turned) == {0, 1}  # image 2 shows another molecule
    assert section.turned[1] == [(2, -5.714, 0.16, False), (3, 1.5, 0.041, True)]


def test_the_page_carries_the_body_of_each_place_and_no_descent(run: RunDirectory) -> None:
    data = page_data(read_run(run))
    assert [each.name for each in data["embedded"]][-2:] == ["map-bodies", "map-colours"]
    assert [sheet.convergence for sheet in data["sheets"]] == [None] * 3
    assert data["methods"] is None or data["methods"].steps == []
    html = render_report(run)
    assert html.count("data-ends=") == 2 * 2  # of two bodies, over the picture and over the viewer
    assert "Convergence" not in html


def test_a_run_that_does_not_move_by_bodies_has_no_section_about_them(run: RunDirectory) -> None:
    run.bodies_test.write(run.bodies_test.read()._replace(motion="smooth"))
    assert page_data(read_run(run))["bodies"] is None


def test_a_surface_looks_as_its_body_is_named() -> None:
    for number, colour in enumerate(surface_colours(8), start=1):
        shown = [round(255 * part) for part in surfaces.in_light(tuple(colour))]
        assert "#" + "".join(f"{part:02x}" for part in shown) == colours.of_body(number)
    assert len({colours.of_body(number) for number in range(1, 8)}) == 7


def test_an_error_has_one_digit() -> None:
    pairs = [(-39.298, 0.059), (14.286, 0.16), (84.6, 2.7), (3.0, 12.0), (1.0, 0.0)]
    assert [wording.with_error(*pair) for pair in pairs] == [
        "−39.30 ± 0.06",
        "14.3 ± 0.2",
        "85 ± 3",
        "3 ± 12",
        "1.000 ± 0.000",
    ]
    assert wording.vector((0.998, -0.0595), 2) == "(1.00, −0.06)"

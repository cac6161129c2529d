"""Atoms and maps as objects: their densities, how their parts move, and how they are read from files."""

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import gemmi
import numpy as np
import pytest
import torch
from torch import Tensor

from scoretomo import files
from scoretomo.commands.objects import open_object
from scoretomo.config import ObjectSettings
from scoretomo.errors import InputError
from scoretomo.fourier import coordinates
from scoretomo.phantoms import Atoms, FormFactors, Motion, MovingAtoms, large_subunit, motion_of, ribosome
from scoretomo.projection import project
from scoretomo.rotations import point_group, random_rotations, rotation_from_vector
from scoretomo.simulation import MovingMap

NOTHING = torch.zeros(0, dtype=torch.float64)


def random_positions(count: int, spread: float, seed: int = 0) -> Tensor:
    return spread * torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gaussians(
    positions: Tensor, width: float, motions: tuple[Motion, ...] = (), copies: Tensor | None = None
) -> MovingAtoms:
    """Points that scatter like a Gaussian of this standard deviation in Å, pixels of 2 Å."""
    b = torch.full((1, 1), 8 * math.pi**2 * width**2, dtype=torch.float64)
    forms = FormFactors(torch.ones_like(b), b)
    atoms = Atoms(
        positions[None], torch.zeros(len(positions), dtype=torch.int64), torch.ones(len(positions)).double(), forms
    )
    return MovingAtoms(atoms, 2.0, 1e-6, motions, copies)


def two_chains() -> gemmi.Structure:
    """Chain A of 30 residues and chain B of 20, one atom each, and a water."""
    generator = np.random.default_rng(1)
    structure = gemmi.Structure()
    structure.name = "made"
    model = gemmi.Model(1)
    for name, count, offset in (("A", 30, -12.0), ("B", 20, 12.0), ("W", 1, 0.0)):
        chain = gemmi.Chain(name)
        for number in range(1, count + 1):
            residue = gemmi.Residue()
            residue.name, residue.seqid = ("HOH" if name == "W" else "ALA"), gemmi.SeqId(str(number))
            atom = gemmi.Atom()
            atom.name, atom.element = ("O", gemmi.Element("O")) if name == "W" else ("CA", gemmi.Element("C"))
            atom.pos = gemmi.Position(*(generator.normal(size=3) * 5 + (offset, 3.0, -2.0)))
            residue.add_atom(atom)
            chain.add_residue(residue)
        model.add_chain(chain)
    structure.add_model(model)
    return structure


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    path = tmp_path / "model.pdb"
    two_chains().write_pdb(str(path))
    return path


@pytest.mark.parametrize("size", [32, 33])
def test_atoms_are_gaussians_wherever_the_object_is_turned(size: int) -> None:
    positions, rotation = (
        random_positions(5, 6.0),
        random_rotations(1, torch.Generator().manual_seed(2), dtype=torch.float64)[0],
    )
    made = gaussians(positions, 4.0)
    volume = made.volume(size, NOTHING, rotation)
    voxels = coordinates(size, 3).double().movedim(0, -1) * 2
    offsets = voxels[..., None, :] - made.positions(NOTHING) @ rotation.T
    expected = torch.exp(-offsets.square().sum(-1) / 32).sum(-1) * 2**3 / (2 * math.pi * 16) ** 1.5
    torch.testing.assert_close(volume.double(), expected, rtol=0, atol=1e-5 * float(expected.max()))


def test_density_of_a_model_is_that_of_another_program(model_file: Path) -> None:
    """gemmi's own electron density, blurred by the temperature factor of the same resolution, B = 4 d²."""
    made = open_object(str(model_file), 32, 3.0, ObjectSettings(resolution=15.0)).movable
    assert isinstance(made, MovingAtoms)
    volume = made.volume(32, NOTHING, torch.eye(3))
    calculator = gemmi.DensityCalculatorE()
    calculator.d_min, calculator.rate, calculator.cutoff = 3.0, 1.0, 1e-7
    calculator.grid.set_unit_cell(gemmi.UnitCell(96, 96, 96, 90, 90, 90))
    calculator.grid.set_size(32, 32, 32)
    model = gemmi.Model(1)
    chain = model.add_chain(gemmi.Chain("A"))
    for place in made.positions(NOTHING).tolist():
        residue, atom = gemmi.Residue(), gemmi.Atom()
        atom.element, atom.pos, atom.b_iso = (
            gemmi.Element("C"),
            gemmi.Position(*(48 + number for number in place)),
            4 * 225,
        )
        residue.add_atom(atom)
        chain.add_residue(residue)
    calculator.add_model_density_to_grid(model)
    expected = torch.from_numpy(np.array(calculator.grid, copy=True)).permute(2, 1, 0) * 3.0**3
    assert (volume - expected).norm() < 2e-3 * expected.norm()


def test_all_scattering_is_in_the_volume() -> None:
    volume = gaussians(random_positions(40, 5.0), 3.0).volume(32, NOTHING, torch.eye(3))
    assert float(volume.sum()) == pytest.approx(40, rel=1e-5)


def test_a_hinge_turns_its_part_about_the_axis_and_leaves_the_rest() -> None:
    positions = random_positions(30, 5.0)
    part = torch.arange(30) < 12
    axis, point = torch.tensor([0.0, 0, 1]).double(), torch.tensor([1.0, 2, 3]).double()
    hinge = motion_of("hinge", "hinge", part, positions, -30, 30, direction=3 * axis, point=point)
    moved = hinge.move(positions, 25.0)
    turn = rotation_from_vector(axis * math.radians(25))
    torch.testing.assert_close(moved[part], (positions[part] - point) @ turn.T + point)
    assert torch.equal(moved[~part], positions[~part])


def test_a_guessed_hinge_opens_the_gap_between_two_parts() -> None:
    positions = torch.cat(
        [
            random_positions(60, 2.0) + torch.tensor([9.0, 3, 0]),
            random_positions(60, 2.0, 1) - torch.tensor([9.0, -3, 0]),
        ]
    )
    positions = torch.cat([positions, random_positions(20, 1.0, 2)])
    part = torch.arange(140) < 60
    hinge = motion_of("hinge", "hinge", part, positions, -30, 30)
    middles = [hinge.move(positions, angle)[part].mean(0) for angle in (-20.0, 0.0, 20.0)]
    away = [float((middle - positions[60:120].mean(0)).norm()) for middle in middles]
    assert away[0] < away[1] < away[2] or away[0] > away[1] > away[2]


def test_a_guessed_shift_leads_away_from_the_rest() -> None:
    positions = torch.cat([random_positions(30, 2.0) + 10, random_positions(30, 2.0, 1)])
    part = torch.arange(60) < 30
    shift = motion_of("shift", "shift", part, positions, 0, 8)
    moved = shift.move(positions, 5.0)
    torch.testing.assert_close((moved - positions)[part].norm(dim=1), torch.full((30,), 5.0).double())
    assert (moved[part].mean(0) - positions[~part].mean(0)).norm() > (
        positions[part].mean(0) - positions[~part].mean(0)
    ).norm() + 4.9


@pytest.mark.parametrize(("group", "order"), [("C7", 7), ("D2", 4), ("T", 12), ("O", 24), ("I", 60)])
def test_copies_make_the_object_symmetric(group: str, order: int) -> None:
    turns = point_group(group)
    assert turns.shape == (order, 3, 3)
    torch.testing.assert_close(turns[0], torch.eye(3).double())
    copies = torch.cat([turns, torch.zeros(order, 3, 1, dtype=turns.dtype)], 2)
    made = gaussians(random_positions(6, 5.0) + 4, 4.0, copies=copies)
    upright = made.volume(32, NOTHING, torch.eye(3))
    for turn in turns[1:4]:
        torch.testing.assert_close(made.volume(32, NOTHING, turn), upright, rtol=0, atol=2e-4 * float(upright.max()))


@pytest.mark.slow
@pytest.mark.parametrize("make", [large_subunit, ribosome])
def test_made_up_particles_are_the_same_every_time_and_keep_their_bulk_when_they_move(make) -> None:
    made = make(6.0, 12.0)
    program = f"import sys; from scoretomo.phantoms import {make.__name__} as make; " + (
        "sys.stdout.buffer.write(make(6.0, 12.0).atoms.frames.numpy().tobytes())"
    )
    again = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout
    assert again == made.atoms.frames.numpy().tobytes()
    low, middle = (
        torch.tensor([share(motion) for motion in made.motions])
        for share in (lambda m: m.low, lambda m: (m.low + m.high) / 2)
    )
    moved = (made.positions(low) - made.positions(middle)).norm(dim=1)
    assert 0.01 < float((moved > 5).double().mean()) < 0.5
    assert made.reach() < 150


def blob(size: int, place: Tensor, width: float = 2.0) -> Tensor:
    offset = coordinates(size, 3).movedim(0, -1).to(place) - place
    return torch.exp(-offset.square().sum(-1) / (2 * width**2))


def test_a_map_is_turned_about_its_middle_and_keeps_its_size_on_another_grid() -> None:
    place, rotation = torch.tensor([7.0, -4.0, 3.0]), random_rotations(1, torch.Generator().manual_seed(4))[0]
    still = MovingMap(blob(48, place)[None], 2.0)
    expected = blob(48, rotation @ place)
    assert (still.volume(48, NOTHING, rotation) - expected).norm() < 2e-3 * expected.norm()
    coarse = blob(24, rotation @ place / 2, 1.0)
    assert (still.volume(24, NOTHING, rotation) - coarse).norm() < 0.02 * coarse.norm()


def test_a_part_of_a_map_is_moved_before_the_map_is_turned() -> None:
    rest, part = torch.tensor([-6.0, 0.0, 0.0]), torch.tensor([6.0, 2.0, 0.0])
    rotation = random_rotations(1, torch.Generator().manual_seed(5))[0]
    axis, through = torch.tensor([0.0, 0.0, 1.0]), torch.tensor([6.0, 0.0, 0.0])  # Å
    hinge = Motion("hinge_1", "hinge", torch.zeros(0), axis, through, -90.0, 90.0)
    moving = MovingMap(torch.stack([blob(48, rest), blob(48, part)]), 2.0, (hinge,))
    turn = rotation_from_vector(axis * math.radians(40))
    moved = turn @ (part - through / 2) + through / 2
    expected = blob(48, rotation @ rest) + blob(48, rotation @ moved)
    assert (moving.volume(48, torch.tensor([40.0]), rotation) - expected).norm() < 3e-3 * expected.norm()


def test_a_mask_file_selects_the_part_of_a_map_that_moves(tmp_path: Path) -> None:
    voxels = coordinates(32, 3).movedim(0, -1)

    def pair(z: float) -> Tensor:
        return blob(32, torch.tensor([-6.0, 0, 0])) + blob(32, torch.tensor([6.0, 0, z]))

    mask = (voxels[..., 0] > 0).float()
    files.write_map(tmp_path / "map.mrc", pair(0).numpy(), 2.0)
    files.write_map(tmp_path / "mask.mrc", mask.numpy(), 2.0)
    settings = ObjectSettings(move=(f"{tmp_path / 'mask.mrc'} shift 0 10 axis 0,0,1",))
    movable, pixel_size, _ = open_object(str(tmp_path / "map.mrc"), 32, None, settings)
    assert isinstance(movable, MovingMap)
    assert pixel_size == pytest.approx(2.0)
    moved = movable.volume(32, torch.tensor([8.0]), torch.eye(3))
    expected = pair(4)
    assert (moved - expected).norm() < 0.03 * expected.norm()
    for size, pixel, says in ((16, 1.0, "is smaller"), (8, 2.0, "Å across")):
        with pytest.raises(InputError, match=says):
            open_object(str(tmp_path / "map.mrc"), size, pixel, ObjectSettings())
    coarse = open_object(str(tmp_path / "map.mrc"), 16, None, ObjectSettings())
    assert coarse.pixel_size == pytest.approx(4.0)
    cropped = open_object(str(tmp_path / "map.mrc"), 24, 2.0, ObjectSettings()).movable.volume(
        24, NOTHING, torch.eye(3)
    )
    assert (cropped - pair(0)[4:28, 4:28, 4:28]).norm() < 0.03 * expected.norm()


def test_waters_are_excluded_and_selections_name_chains_and_residues(model_file: Path) -> None:
    model = files.read_model(model_file)
    assert model.frames.shape == (1, 50, 3)
    assert np.flatnonzero(files.select_atoms(model, "B")).tolist() == list(range(30, 50))
    assert np.flatnonzero(files.select_atoms(model, "A/3-5")).tolist() == [2, 3, 4]
    assert files.select_atoms(model, "A,B").all()
    assert files.select_atoms(model, "/1/A").sum() == 30


def test_every_model_of_a_file_is_a_frame(tmp_path: Path) -> None:
    structure = two_chains()
    second = structure[0].clone()
    second.num = 2
    for chain in second:
        for residue in chain:
            for atom in residue:
                atom.pos += gemmi.Position(0, 0, 7)
    structure.add_model(second)
    structure.make_mmcif_document().write_file(str(tmp_path / "two.cif"))
    model = files.read_model(tmp_path / "two.cif")
    np.testing.assert_allclose(model.frames[1] - model.frames[0], np.tile([0, 0, 7.0], (50, 1)), atol=2e-3)
    movable = open_object(str(tmp_path / "two.cif"), 32, None, ObjectSettings()).movable
    assert movable.parameters == ("frame",)
    assert set(movable.draw(50, torch.Generator().manual_seed(0)).flatten().tolist()) == {0.0, 1.0}


def test_a_biological_assembly_is_made_of_its_copies(tmp_path: Path) -> None:
    structure = two_chains()
    assembly = gemmi.Assembly("1")
    generator = gemmi.Assembly.Gen()
    generator.chains = ["A"]
    for sign in (1, -1):
        operator = gemmi.Assembly.Operator()
        operator.transform = gemmi.Transform(
            gemmi.Mat33([[sign, 0, 0], [0, sign, 0], [0, 0, 1]]), gemmi.Vec3(0, 0, 5.0 * (1 - sign))
        )
        generator.operators.append(operator)
    assembly.generators.append(generator)
    structure.assemblies.append(assembly)
    path = tmp_path / "assembly.pdb"
    structure.write_pdb(str(path))
    model = files.read_model(path)
    made = open_object(str(path), 32, None, ObjectSettings(symmetry="assembly")).movable
    assert isinstance(made, MovingAtoms)
    chain_a = model.frames[0, :30]
    expected = np.concatenate([chain_a, chain_a * (-1, -1, 1) + (0, 0, 10)])
    found = made.positions(NOTHING).numpy()
    np.testing.assert_allclose(found - found.mean(0), expected - expected.mean(0), atol=1e-3)


@pytest.mark.parametrize("suffix", [".xtc", ".dcd", ".trr"])
def test_frames_come_from_a_trajectory_without_its_tumbling(suffix: str, model_file: Path, tmp_path: Path) -> None:
    formats = pytest.importorskip("mdtraj.formats")
    model = files.read_model(model_file)
    everything = np.concatenate([model.frames[0], [[0, 0, 0]]])  # the water comes last
    turn = rotation_from_vector(torch.tensor([0.3, -0.2, 0.5]).double()).numpy()
    bent = everything.copy()
    bent[30:50] += (4, 0, 0)  # along the line between the parts: no rotation can undo it
    frames = np.stack([everything, everything @ turn.T + (5, 6, 7), bent @ turn.T]).astype(np.float32)
    path = tmp_path / f"run{suffix}"
    writer = {".xtc": "XTCTrajectoryFile", ".dcd": "DCDTrajectoryFile", ".trr": "TRRTrajectoryFile"}[suffix]
    with getattr(formats, writer)(str(path), "w") as opened:
        opened.write(frames if suffix == ".dcd" else frames / 10)
    movable = open_object(str(model_file), 32, None, ObjectSettings(trajectory=path)).movable
    assert isinstance(movable, MovingAtoms)
    first, turned, moved = movable.atoms.frames
    torch.testing.assert_close(turned, first, rtol=0, atol=0.05)
    distances = (moved[30:].mean(0) - moved[:30].mean(0)) - (first[30:].mean(0) - first[:30].mean(0))
    assert float(distances.norm()) == pytest.approx(4, abs=0.3)


MISTAKES = {
    "no such chain": ObjectSettings(move=("Q hinge -10 10",)),
    "all of it": ObjectSettings(move=("A,B hinge -10 10",)),
    "no range": ObjectSettings(move=("B hinge 10",)),
    "no kind": ObjectSettings(move=("B swing -10 10",)),
    "no axis": ObjectSettings(move=("B hinge -10 10 axis 0,0,0",)),
    "no group": ObjectSettings(symmetry="C0"),
    "no assembly": ObjectSettings(symmetry="assembly"),
    "no trajectory": ObjectSettings(trajectory=Path("run.xyz")),
}


@pytest.mark.parametrize("settings", MISTAKES.values(), ids=MISTAKES)
def test_settings_that_do_not_fit_a_model_give_a_sentence(
    settings: ObjectSettings, model_file: Path, wording: Callable[[object], None]
) -> None:
    with pytest.raises(InputError) as raised:
        open_object(str(model_file), 32, None, settings)
    wording(raised.value)


def test_a_model_too_large_for_its_images_gives_a_sentence(model_file: Path) -> None:
    with pytest.raises(InputError, match="--size"):
        open_object(str(model_file), 16, 1.0, ObjectSettings())


def test_simulate_takes_each_image_of_a_moving_model_in_its_own_conformation(
    command, model_file: Path, tmp_path: Path
) -> None:
    options = ("--images", 3, "--size", 24, "--move", "B hinge -30 30", "--output", tmp_path / "sim", "--workers", 1)
    code, said = command("simulate", model_file, *options)
    assert code == 0, said
    rows = files.read_table(tmp_path / "sim" / "truth" / "truth.csv")
    stack = files.read_images(tmp_path / "sim" / "images.mrcs")
    assert len({row["hinge_1"] for row in rows}) == 3
    assert stack.pixel_size is not None
    for number, image in enumerate(torch.from_numpy(stack.images)):
        truth = torch.from_numpy(files.read_map(tmp_path / "sim" / "truth" / f"{number:03d}.mrc").density)
        view = project(truth, torch.eye(3)[None])[0]
        assert (view - image).norm() < 1e-3 * image.norm()

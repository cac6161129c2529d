"""Stage bodies: whether a flexible molecule moves by rigid bodies, and which these are."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from .. import files
from ..compute import processes_for, random_stream, run_tasks, shared_by
from ..deformation.bodies.fit import (
    BodySettings,
    Shares,
    extended,
    fit_bodies,
    fit_coarse_bodies,
    simplify_bodies,
)
from ..deformation.bodies.model import Copies, RigidBodies
from ..deformation.bodies.motions import rigid
from ..deformation.bodies.overlap import bodies_views
from ..deformation.bodies.pose_search import search_poses
from ..deformation.bodies.proposals import Points, propose_bodies
from ..deformation.bodies.views import band_of
from ..deformation.bodies.weights import view_residual_fractions
from ..deformation.flexibility import FLEXIBILITY
from ..deformation.model import TILE, DeformationModel, model_views
from ..monitor.progress import print_line
from ..rundir.directory import RunDirectory
from ..rundir.rows import BodiesTest, MotionKind, ProposalRow
from .deformation import read_model
from .flexibility import ModelData, read_model_data
from .job import Job

BODY_FIT = BodySettings()
_TENSORS = ("poses", "latent", "twists", "densities", "masks")


@dataclass(frozen=True)
class BodiesCriteria:
    """When a molecule is taken to move by rigid bodies.

    Attributes:
        threshold: median residual fraction of held-out images by rigid bodies, over that by the deformation model, up
            to which it is.
        some: images by which a tolerance is chosen; a third of them is held out.
        nearly: times the least residual fraction of all tolerances, up to which fewer modes and bodies are better.
    """

    threshold: float = 1.0
    some: int = 120
    nearly: float = 1.2


BODIES = BodiesCriteria()


class _Proposed(NamedTuple):
    """Rigid bodies to be fitted."""

    directory: Path
    number: int
    seed: int
    fitting: BodySettings


def find_bodies(run: RunDirectory, job: Job) -> None:
    """Find rigid bodies, and compare them with the deformation model on held-out images; writes bodies/."""
    if run.verdict != "flexible":
        run.bodies_test.write(BodiesTest(None, None, BODIES.threshold, "none"))
        return
    seed = job.settings.seed
    data = read_model_data(run, run.assigned)
    learned = read_model(run.coarse_model, data.images.device)
    with job.estimate.bar("bodies") as bar:
        count = _propose(run, data, learned, seed)
        tasks = [_Proposed(run.path, number, seed, BODY_FIT) for number in range(count)]
        shown = bar.add_task("rigid bodies", total=len(tasks) + 1)
        rows = {}
        for number, row in run_tasks(try_proposal, tasks, processes_for(job.workers)):
            rows[number] = row
            bar.advance(shown)
        run.proposals.write([rows[number] for number in sorted(rows)])
        with shared_by(processes_for(job.workers)):
            _fit_best(run, data, seed)
    _decide(run, data, learned, seed)


def _propose(run: RunDirectory, data: ModelData, learned: DeformationModel, seed: int) -> int:
    """Write bodies of several tolerances, without densities; returns how many there are."""
    side = min(BODY_FIT.coarse[0].side, data.images.shape[-1])
    proposals = propose_bodies(learned_points(learned), side, random_stream(seed, "motion", "bodies"))
    for number, proposal in enumerate(proposals):
        write_bodies(run.proposal(number), proposal.model, {"tolerance": proposal.tolerance})
    return len(proposals)


def try_proposal(proposed: _Proposed) -> Iterator[ProposalRow]:
    """Fit proposed bodies to some images, with as few modes as explain them, and write them; yields how well they
    explain other images.
    """
    run = RunDirectory(proposed.directory)
    data = read_model_data(run, run.assigned)
    initial, record = _read(run.proposal(proposed.number), data.images.device)
    shares = held_out_shares(data, proposed.seed)
    judged, fitted = (share.nonzero()[:, 0] for share in (shares.judged, shares.fitted))
    some = torch.cat([judged[: BODIES.some // 3], fitted[: BODIES.some - BODIES.some // 3]]).sort().values
    mine = Shares(shares.fitted[some], shares.judged[some])
    model = initial.of_images(some)
    for fit in (fit_coarse_bodies, simplify_bodies):
        for step in fit(model, data.images[some], proposed.fitting, shares=mine):
            last = step
        model = last.model
    write_bodies(run.tried_proposal(proposed.number), extended(model, some, initial), record)
    bodies, modes = model.twists.shape[:2]
    yield ProposalRow(record["tolerance"], bodies, modes, model.saturation, last.residual)


def best_proposal(rows: Sequence[ProposalRow], criteria: BodiesCriteria = BODIES) -> int:
    """The proposal with the fewest modes and bodies of those that explain held-out images nearly as well as any."""
    least = min(row.residual_fraction for row in rows)
    good = [number for number, row in enumerate(rows) if row.residual_fraction <= criteria.nearly * least]
    return min(good, key=lambda number: (rows[number].modes, rows[number].bodies, rows[number].residual_fraction))


def _fit_best(run: RunDirectory, data: ModelData, seed: int) -> None:
    """Fit the best proposal, if there is one, to all images that are not held out: bodies/model.safetensors."""
    rows = run.proposals.read()
    if not rows:
        return
    model, record = _read(run.tried_proposal(best_proposal(rows)), data.images.device)
    first, *finer = BODY_FIT.coarse_levels(data.images.shape[-1])
    shares = held_out_shares(data, seed)
    for step in fit_bodies(model, data.images, [first], BODY_FIT, shares=shares):
        model = step.model
    searched = search_poses(model, data.images, first.shells, data.consensus.explained)
    run.record("pose search", images=int(searched.moved.sum()))
    model = searched.model
    for step in fit_bodies(model, data.images, finer, BODY_FIT, shares=shares):
        model = step.model
    write_bodies(run.coarse_bodies, model, record)


@torch.no_grad()
def _decide(run: RunDirectory, data: ModelData, learned: DeformationModel, seed: int) -> None:
    """Compare bodies with the deformation model on held-out images; writes bodies/test.json."""
    first = BODY_FIT.coarse_levels(data.images.shape[-1])[0]
    band = band_of(data.images, first.side, first.shells)
    held_out = held_out_shares(data, seed).judged

    def left(views: Tensor) -> float:
        seen = band_of(views, first.side, first.shells).data
        return float(view_residual_fractions(seen, band)[held_out].median())

    smooth_residual = left(model_views(learned, first.side))
    found = run.coarse_bodies.exists()
    residual = left(bodies_views(read_bodies(run.coarse_bodies, data.images.device))) if found else None
    better = residual is not None and residual <= BODIES.threshold * smooth_residual
    motion: MotionKind = "bodies" if better else "smooth"
    run.bodies_test.write(BodiesTest(smooth_residual, residual, BODIES.threshold, motion))
    if residual is None:
        print_line("motion: a smooth deformation, as no part moves as a rigid body")
        return
    kind = "rigid bodies" if better else "a smooth deformation"
    bodies = len(read_bodies(run.coarse_bodies, data.images.device).twists)
    print_line(
        f"motion: {kind}; residual fraction of held-out images {100 * residual:.2f} % by {bodies} rigid bodies, "
        f"{100 * smooth_residual:.2f} % by the deformation model"
    )


def held_out_shares(data: ModelData, seed: int) -> Shares:
    """The images that bodies are fitted to before it is decided, and the held-out ones by which it is."""
    explained = data.consensus.explained
    places = explained.nonzero()[:, 0]
    order = torch.randperm(len(places), generator=random_stream(seed, "motion", "left out")).to(places.device)
    held_out = torch.zeros_like(explained)
    held_out[places[order[: round(FLEXIBILITY.held_out * len(places))]]] = True
    return Shares(explained & ~held_out, held_out)


@torch.no_grad()
def learned_points(model: DeformationModel) -> Points:
    """The points of a deformation model as they move in all images."""
    paths = torch.cat([model.places(some) for some in torch.arange(len(model.rotations)).split(TILE)])
    poses = rigid(model.poses().double(), pad(model.shifts.double(), (0, 1)))
    group = model.group.double() if len(model.group) > 1 else None
    return Points(paths.double(), model.masses.clamp_min(0).double(), poses, group)


def write_bodies(path: Path, model: RigidBodies, record: Mapping[str, Any]) -> None:
    """Write rigid bodies, and what is to be known of them."""
    arrays = {name: getattr(model, name).cpu().numpy() for name in _TENSORS}
    if model.copies is not None:
        arrays |= {name: tensor.cpu().numpy() for name, tensor in model.copies._asdict().items()}
    files.make_folder(path.parent)
    files.write_weights(path, arrays, {**record, "saturation": model.saturation})


def read_bodies(path: Path, device: torch.device) -> RigidBodies:
    """Rigid bodies, read once by each process for a file as it was written."""
    return _read_once(path, path.stat().st_mtime_ns, device)


@lru_cache(maxsize=1)
def _read_once(path: Path, written: int, device: torch.device) -> RigidBodies:
    return _read(path, device)[0]


def _read(path: Path, device: torch.device) -> tuple[RigidBodies, Mapping[str, Any]]:
    arrays, record = files.read_weights(path)
    tensors = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
    copies = Copies(tensors["of"], tensors["places"]) if "of" in tensors else None
    model = RigidBodies(**{name: tensors[name] for name in _TENSORS}, saturation=record["saturation"], copies=copies)
    return model, record


def write_halves(path: Path, densities: Tensor) -> None:
    """Write the densities of bodies by half of the images each, shape (2, k, d, d, d)."""
    files.write_weights(path, {"densities": densities.cpu().numpy()}, {})


@lru_cache(maxsize=1)
def read_halves(path: Path, device: torch.device) -> Tensor:
    """The same, read once by each process."""
    return torch.from_numpy(files.read_weights(path)[0]["densities"]).to(device)

"""The trained network of a run, as stages write and read it: score/weights.safetensors."""

from dataclasses import asdict

import numpy as np
import torch

from .. import __version__, files
from ..denoisers.network import Architecture, NetworkScore, PreconditionedUNet, architecture_for
from ..denoisers.training import Training, TrainingState
from ..images import disc
from ..rundir.directory import RunDirectory, require_network
from ..rundir.rows import NetworkRecord
from ..rundir.tables import record_in, to_json
from .images import PreparedStack, read_prepared


def open_network(run: RunDirectory, device: torch.device) -> NetworkScore:
    """The trained network of a run as a denoiser.

    Raises:
        InputError: there is none, or it was trained on other images.
    """
    weights, record = _read_network(run)
    prepared = read_prepared(run.images)
    if (record.size, record.mu, record.s) != (prepared.images.shape[-1], prepared.mu, prepared.s):
        raise files.InputError(
            f"the network in {run.score} was trained on other images than {run.images}: train it again, with --force"
        )
    architecture = Architecture(**{**record.architecture, "channels": tuple(record.architecture["channels"])})
    network = PreconditionedUNet(architecture, record.sigma_data)
    network.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    return NetworkScore(network.to(device), record.background, disc(record.size).to(device))


def held_out_numbers(run: RunDirectory) -> list[int]:
    """Numbers of the images that the network of a run was not trained on.

    Raises:
        InputError: there is no network.
    """
    return list(_read_network(run)[1].held_out)


def _read_network(run: RunDirectory) -> tuple[dict[str, np.ndarray], NetworkRecord]:
    require_network(run)
    weights, record = files.read_weights(run.weights)
    return weights, record_in(run.weights, NetworkRecord, record)


def write_network(
    run: RunDirectory,
    state: TrainingState,
    prepared: PreparedStack,
    network: str,
    training: Training,
    held_out: list[int],
) -> None:
    """Write the network at the end of its training.

    Args:
        run: the run.
        state: of the training.
        prepared: the images.
        network: name of the network.
        training: how it was trained.
        held_out: numbers of the images that it was not trained on.
    """
    record = NetworkRecord(
        scoretomo=__version__,
        network=network,
        architecture=asdict(architecture_for(network, prepared.images.shape[-1])),
        examples=training.examples,
        seed=training.seed,
        size=prepared.images.shape[-1],
        sigma_data=state.network.preconditioning.sigma_data,
        background=prepared.background,
        mu=prepared.mu,
        s=prepared.s,
        held_out=tuple(held_out),
    )
    weights = {name: tensor.cpu().numpy() for name, tensor in state.average.state_dict().items()}
    files.write_weights(run.weights, weights, to_json(record))

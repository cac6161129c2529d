"""Training of the network score: what it minimises, that it repeats itself, and the command."""

import math
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from scoretomo import files, presets
from scoretomo.compute import Group, joined_group, one_thread
from scoretomo.config import ImportRequest, TrainSettings
from scoretomo.denoisers.exact import ExactScore
from scoretomo.denoisers.network import Architecture, PreconditionedUNet
from scoretomo.denoisers.training import (
    Examples,
    Training,
    TrainingState,
    begin_training,
    draw_examples,
    loss_of,
    pack,
    train,
    unpack,
)
from scoretomo.errors import InputError
from scoretomo.images import augment, disc, place_images
from scoretomo.pipeline.images import import_stack
from scoretomo.pipeline.network import held_out_numbers
from scoretomo.pipeline.train import train_network
from scoretomo.rundir.directory import RunDirectory

pytestmark = pytest.mark.slow

SIZE = 12
TINY = Architecture((32, 32), blocks=1, unshuffle=1, groups=8)
SHORT = Training(96, batch=16, shards=4, rate=2e-3)
BACKGROUND = -0.5
Command = Callable[..., tuple[int, str]]


def shapes(count: int = 5, size: int = SIZE) -> Tensor:
    """Images of two blobs, each elsewhere, inside the disc."""
    stream = torch.Generator().manual_seed(3)
    y, x = torch.meshgrid(*[torch.arange(size) - size // 2.0] * 2, indexing="ij")
    places = (torch.rand(count, 2, 2, generator=stream) - 0.5) * size * 0.6
    blobs = torch.exp(
        -((x - places[..., 0, None, None]) ** 2 + (y - places[..., 1, None, None]) ** 2) / (size / 6) ** 2
    ).sum(1)
    return (3 * blobs * disc(size)) + BACKGROUND


def begin(seed: int = 0) -> TrainingState:
    torch.manual_seed(seed)
    return begin_training(PreconditionedUNet(TINY, 1.0))


def weights_after(
    training: Training, state: TrainingState | None = None, steps: int | None = None, **how: Any
) -> dict[str, Tensor]:
    with one_thread():  # as in a run; more threads add up in another order
        taken = list(islice(train(shapes(), BACKGROUND, disc(SIZE), state or begin(), training, **how), steps))
    return pack(taken[-1].state)


def assert_identical(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_loss_of_the_best_denoiser_of_white_images_is_one_at_every_noise_level() -> None:
    """Gaussian data of standard deviation σ_d: posterior mean c_skip x has error 1 / λ(t) = σ_d² t² / (t² + σ_d²)."""
    sigma = 0.7
    network = PreconditionedUNet(TINY, sigma)
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    clean = sigma * torch.randn(400, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(400, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    for level in (0.05, 0.7, 10.0):
        t = torch.full((400,), level)
        loss = loss_of(network, Examples(clean, clean + level * noise, t))
        assert float(loss.detach().mean()) == pytest.approx(1, abs=0.02)


def test_examples_are_images_with_noise_of_the_stated_level() -> None:
    drawn = draw_examples(shapes(), BACKGROUND, disc(SIZE), 1.0, 3000, torch.Generator().manual_seed(0))
    measured = (drawn.noisy - drawn.clean).flatten(1).std(1)
    assert torch.allclose(measured, drawn.t, rtol=0.35)
    assert float(drawn.t.log().mean()) == pytest.approx(-1.2 + np.log(2), abs=0.08)
    assert float(drawn.t.log().std()) == pytest.approx(1.2, abs=0.08)
    assert (drawn.clean[:, disc(SIZE) == 0] == BACKGROUND).all()


def test_a_share_of_the_noise_levels_lies_where_volumes_are_made() -> None:
    drawn = draw_examples(shapes(), BACKGROUND, disc(SIZE), 2.0, 4000, torch.Generator().manual_seed(0), focus=0.75)
    share = float(((drawn.t > 2 * 0.2) & (drawn.t < 2 * 2.0)).double().mean())
    few = draw_examples(shapes(), BACKGROUND, disc(SIZE), 2.0, 4000, torch.Generator().manual_seed(0))
    assert share == pytest.approx(0.75 * 0.9 + 0.25 * 0.66, abs=0.04)
    assert float(drawn.t.max()) > 2 * 6  # what samples begin with is seen, too
    assert float(((few.t > 2 * 0.2) & (few.t < 2 * 2.0)).double().mean()) == pytest.approx(0.66, abs=0.04)


def test_training_brings_the_network_towards_the_exact_score() -> None:
    images, mask, stream = shapes(2), disc(SIZE), torch.Generator().manual_seed(5)
    views = images + 0.5 * torch.randn(images.shape, generator=stream)
    expected = ExactScore(images, BACKGROUND, mask)(views, 0.5)
    state = begin()

    def distance(network: PreconditionedUNet) -> float:
        with torch.no_grad():
            return float(((network(views, torch.full((2,), 0.5)) - expected) * mask).square().mean())

    before = distance(state.average)
    for last in train(images, BACKGROUND, mask, state, Training(16 * 100, batch=16, shards=1, rate=5e-3)):
        state = last.state
    assert distance(state.average) < 0.5 * before


def test_training_that_is_stopped_goes_on_to_the_bit() -> None:
    whole = weights_after(SHORT)
    half = weights_after(SHORT, steps=3)
    kept = {name: tensor.clone() for name, tensor in half.items()}
    assert_identical(weights_after(SHORT, unpack(kept, 3, begin(seed=9))), whole)


def test_threads_do_not_change_the_result() -> None:
    assert_identical(weights_after(SHORT, threads=1), weights_after(SHORT, threads=2))


def test_another_seed_gives_another_network() -> None:
    first, second = weights_after(SHORT), weights_after(replace(SHORT, seed=1))
    assert not torch.equal(first["network.unet.lift.weight"], second["network.unet.lift.weight"])


def losses(queue: Any, port: int, rank: int, processes: int) -> None:
    """Train as one of several processes; the first tells its losses."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(processes), "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with joined_group() as group:
        steps = train(
            shapes(),
            BACKGROUND,
            disc(SIZE),
            begin(),
            SHORT,
            rank=group.rank,
            processes=group.processes,
            add_up=group.add_up,
        )
        found = [step.loss for step in steps]
    if rank == 0:
        queue.put(found)


def test_two_processes_have_the_loss_curve_of_one() -> None:
    with one_thread():
        alone = [step.loss for step in train(shapes(), BACKGROUND, disc(SIZE), begin(), SHORT)]
    context = multiprocessing.get_context("spawn")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    queue = context.Queue()
    workers = [context.Process(target=losses, args=(queue, port, rank, 2)) for rank in range(2)]
    for worker in workers:
        worker.start()
    together = queue.get(timeout=600)
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert together == pytest.approx(alone, rel=1e-5)


def test_torchrun_shares_the_command_among_processes(stack: Path, tmp_path: Path, command: Command) -> None:
    settings = ("--examples", "128", "--workers", "1")
    assert command("train", stack, "--output", tmp_path / "alone", *settings)[0] == 0
    shared = tmp_path / "shared"
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "scoretomo.cli")
    arguments = [sys.executable, *torchrun, "train", str(stack), "--output", str(shared), *settings]
    done = subprocess.run(
        arguments, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=600
    )
    assert done.returncode == 0, done.stderr
    curves = [files.read_table(run / "score" / "loss.csv") for run in (tmp_path / "alone", shared)]
    alone, together = ([float(row["loss"]) for row in curve] for curve in curves)
    assert len(alone) == 4
    assert together == pytest.approx(alone, rel=1e-4)
    assert (shared / "report.html").exists()


def test_processes_that_cannot_share_a_batch_evenly_are_refused(stack: Path, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    import_stack(ImportRequest(stack), run.images, force=False)
    with pytest.raises(InputError, match=r"3 processes .* 1 or 2"):
        train_network(run, TrainSettings(), Group(0, 3, torch.device("cpu")), seed=0, workers=1)


def test_other_commands_refuse_torchrun(
    stack: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, said = command("run", stack, "--output", tmp_path / "run")
    assert code == 2
    assert "torchrun" in said


def test_training_afresh_removes_what_came_of_the_old_network(stack: Path, tmp_path: Path, command: Command) -> None:
    run, settings = tmp_path / "run", ("--denoiser", "network", "--images", "0", "--method", "annealed", "--steps", "5")
    assert command("train", stack, "--output", run, "--examples", 32)[0] == 0
    assert command("reconstruct", run, *settings)[0] == 0
    np.save(stack, shapes(7, 16).numpy())
    assert command("train", stack, "--output", run, "--examples", 32, "--force")[0] == 0
    assert not (run / "volumes").exists()
    assert len(files.read_table(run / "images.csv")) == 7
    code, said = command("reconstruct", run, *settings)
    assert code == 0, said
    assert (run / "volumes" / "000.mrc").exists()


def test_a_network_does_not_go_on_with_other_images(stack: Path, tmp_path: Path, command: Command) -> None:
    run = tmp_path / "run"
    assert command("train", stack, "--output", run, "--examples", 32)[0] == 0
    np.save(stack, shapes(7, 16).numpy())
    assert command("import", stack, "--output", run / "images.mrcs", "--force")[0] == 0
    code, said = command("train", stack, "--output", run, "--examples", 32)
    assert code == 2
    assert "images" in said
    assert "--force" in said


def test_training_that_fails_says_so(
    stack: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(presets.TRAININGS, "fast", replace(presets.TRAININGS["fast"], rate=math.inf, warm_up=1e-9))
    code, said = command("train", stack, "--output", tmp_path / "run", "--examples", 96)
    assert code == 2
    assert "training" in said
    assert not (tmp_path / "run" / "score" / "weights.safetensors").exists()


def test_the_rate_rises_stays_and_falls_to_nothing() -> None:
    training = Training(6400, batch=64, shards=4, rate=1.0, warm_up=0.1, decay=0.4)
    rates = [training.rate_at(step) for step in range(training.steps)]
    assert rates[0] == pytest.approx(0.05)
    assert rates[30] == 1.0
    assert rates[-1] == pytest.approx(0.0125)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_the_average_of_weights_that_do_not_change_is_these_weights() -> None:
    found = weights_after(replace(SHORT, rate=0.0))
    for name, tensor in found.items():
        if name.startswith("average."):
            torch.testing.assert_close(tensor, found[name.replace("average", "network")])


def test_images_are_turned_about_the_centre_of_the_projector() -> None:
    image = torch.zeros(1, 9, 9)
    image[0, 4, 6] = 1  # x = 2, y = 0
    quarter = torch.tensor([[[0.0, -1.0], [1.0, 0.0]]])  # out(p) = image(Tp): (0, −2) is taken from (2, 0)
    turned = place_images(image, quarter, torch.zeros(1, 2), 0.0)
    assert float(turned[0, 2, 4]) == pytest.approx(1, abs=1e-5)
    assert float(turned.sum()) == pytest.approx(1, abs=1e-4)


def test_augmentation_turns_flips_and_hardly_shifts() -> None:
    """Among all turns and flips of an image, augmented ones are found again by the exact score, nearly unchanged."""
    size = 24
    images, mask = shapes(1, size), disc(size)
    many = augment(images.expand(60, -1, -1), BACKGROUND, mask, torch.Generator().manual_seed(0))
    nearest = ExactScore(images, BACKGROUND, mask)(many, 0.05)
    error = (many - nearest).flatten(1).norm(dim=1) / (images - BACKGROUND).norm()
    assert float(error.max()) < 0.15
    assert float((many - images).flatten(1).norm(dim=1).median() / (images - BACKGROUND).norm()) > 0.5
    assert (many[:, mask == 0] == BACKGROUND).all()


def test_weights_come_back_with_their_record(tmp_path: Path) -> None:
    arrays = {"a.b": np.arange(6, dtype=np.float32).reshape(2, 3), "c": np.float32(2).reshape(())}
    files.write_weights(tmp_path / "w.safetensors", arrays, {"held_out": [1, 2], "network": "fast"})
    found, record = files.read_weights(tmp_path / "w.safetensors")
    assert record == {"held_out": [1, 2], "network": "fast"}
    assert all(np.array_equal(found[name], arrays[name]) and found[name].shape == arrays[name].shape for name in arrays)


def test_weights_may_be_read_by_those_who_may_read_other_files(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        files.write_weights(tmp_path / "w.safetensors", {"a": np.zeros(3, np.float32)}, {})
    finally:
        os.umask(before)
    assert (tmp_path / "w.safetensors").stat().st_mode & 0o777 == 0o640


def test_network_of_another_version_is_refused_by_that_version(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    files.make_folder(run.score)
    files.write_weights(run.weights, {"w": np.zeros(1, np.float32)}, {"scoretomo": "0.0.9"})
    with pytest.raises(InputError, match=r"0\.0\.9"):
        held_out_numbers(run)


def test_damaged_or_foreign_weights_give_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"not weights at all")
    with pytest.raises(InputError, match="damaged"):
        files.read_weights(path)
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(3, np.float32)}, path)
    with pytest.raises(InputError, match="record"):
        files.read_weights(path)


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    np.save(tmp_path / "classes.npy", shapes(6, 16).numpy())
    return tmp_path / "classes.npy"


def test_a_network_is_trained_used_and_not_trained_twice(
    stack: Path, tmp_path: Path, command: Command, wording: Callable[[object], None]
) -> None:
    run = tmp_path / "run"
    code, said = command("train", stack, "--output", run, "--examples", 64, "--held-out", 1)
    assert code == 0, said
    weights = (run / "score" / "weights.safetensors").read_bytes()
    assert files.read_weights(run / "score" / "weights.safetensors")[1]["held_out"] == [3]
    assert [row["images_seen"] for row in files.read_table(run / "score" / "loss.csv")] == ["32", "64"]
    assert command("train", stack, "--output", run, "--examples", 64, "--held-out", 1)[0] == 0
    code, said = command("train", stack, "--output", run, "--examples", 96, "--held-out", 1)
    assert code == 2
    wording(said)
    assert (run / "score" / "weights.safetensors").read_bytes() == weights
    code, said = command(
        "reconstruct", run, "--denoiser", "network", "--images", "0", "--method", "annealed", "--steps", "5"
    )
    assert code == 0, said
    assert (run / "volumes" / "000.mrc").exists()


def test_run_trains_a_network_for_the_network_denoiser(
    stack: Path, tmp_path: Path, command: Command, wording: Callable[[object], None]
) -> None:
    settings = (
        "--denoiser",
        "network",
        "--examples",
        "64",
        "--images",
        "0",
        "--method",
        "annealed",
        "--steps",
        "5",
        "--seed",
        "4",
    )
    code, said = command("run", stack, "--output", tmp_path / "run", *settings)
    assert code == 0, said
    assert files.read_weights(tmp_path / "run" / "score" / "weights.safetensors")[1]["seed"] == 4
    assert (tmp_path / "run" / "report.html").exists()
    code, said = command("run", stack, "--output", tmp_path / "run", *settings)
    assert code == 0
    wording(said)


@pytest.mark.parametrize("words", ["run --examples 64", "train --held-out 4", "train --examples 0"])
def test_training_refuses_what_cannot_be(
    words: str, stack: Path, tmp_path: Path, command: Command, wording: Callable[[object], None]
) -> None:
    name, *options = words.split()
    code, said = command(name, stack, "--output", tmp_path / "run", *options)
    assert code == 2
    wording(said)


def test_volumes_by_a_network_need_one(
    stack: Path, tmp_path: Path, command: Command, wording: Callable[[object], None]
) -> None:
    assert command("import", stack, "--output", tmp_path / "run" / "images.mrcs")[0] == 0
    code, said = command("reconstruct", tmp_path / "run", "--denoiser", "network")
    assert code == 2
    wording(said)


def test_training_that_is_killed_goes_on_to_the_same_network(
    stack: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between two saves: what was lost is made again, to the bit."""
    settings = ("--examples", "192", "--workers", "1")
    assert command("train", stack, "--output", tmp_path / "whole", *settings)[0] == 0
    program = """
import os, signal, sys
from scoretomo import files
from scoretomo.cli import main
from scoretomo.pipeline import train

write, train.SAVE_EVERY = files.write_weights, 0.0

def killed_at_the_second(path, *content):
    if path.exists():
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, *content)

files.write_weights = killed_at_the_second
sys.exit(main())
"""
    run = tmp_path / "killed"
    killed = subprocess.run([sys.executable, "-c", program, "train", str(stack), "--output", str(run), *settings])
    assert killed.returncode == -signal.SIGKILL
    state = run / "score" / "state.safetensors"
    assert state.exists()
    assert not (run / "score" / "weights.safetensors").exists()
    code, said = command("train", stack, "--output", run, *settings)
    assert code == 0, said
    names = [Path("score", name) for name in ("weights.safetensors", "loss.csv")]
    assert (run / names[0]).read_bytes() == (tmp_path / "whole" / names[0]).read_bytes()
    columns = [
        [(row["images_seen"], row["loss"]) for row in files.read_table(folder / names[1])]
        for folder in (run, tmp_path / "whole")
    ]
    assert columns[0] == columns[1]
    assert not state.exists()

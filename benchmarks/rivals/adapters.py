"""One function for each program: a prepared stack of class averages in, a folder of maps out.

Every adapter takes a `Task` and returns what it did as plain values (version, settings, whether it has one map for all
images, perhaps a note), or raises `NotHere` if the program is not installed. Maps are written to task.output as
NNN.mrc: one for all images (000.mrc), or one for each.
"""

import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import scoretomo
from scoretomo import files
from scoretomo.rundir.directory import RunDirectory

HERE = Path(__file__).resolve().parent
ENVIRONMENTS = HERE / "environments"
MOST_IMAGES = {"sync3n": 100, "lud": 300}  # the time of 3N synchronisation grows with the cube: hours at 300
NOISE = 0.2  # of the image's standard deviation, for what estimates noise where images have none


class NotHere(Exception):
    """The program is not on this machine."""


@dataclass(frozen=True)
class Task:
    """What a program is given.

    Attributes:
        stack: prepared images (.mrcs): background 0, bright on dark, masked.
        pixel_size: Å; a made-up one where nobody knows it, since most programs want one.
        numbers: images that are judged; a program with a volume for each makes these.
        noise_free: the images are simulated without noise.
        seed: of all random numbers.
        work: folder to work in.
        output: folder for the maps.
    """

    stack: Path
    pixel_size: float
    numbers: tuple[int, ...]
    noise_free: bool
    seed: int
    work: Path
    output: Path


def relion(task: Task) -> dict[str, Any]:
    """RELION's stochastic gradient descent from nothing, then its default pose search: relion_refine --sgd
    --denovo_3dref.
    """
    program = _find("relion_refine")
    images, noise = _normalised(task)
    size = images.shape[-1]
    files.write_images(task.work / ("images.mrcs" if noise else "norm.mrcs"), images, task.pixel_size)
    if noise:  # else the background is 0: it is masked
        radius = size // 2 - 2
        _run(
            [
                "relion_preprocess",
                "--operate_on",
                "images.mrcs",
                "--operate_out",
                "norm.mrcs",
                "--norm",
                "--bg_radius",
                radius,
            ],
            task,
        )
    (task.work / "norm.star").write_text(_star("norm.mrcs", len(images), size, task.pixel_size))
    subset = min(len(images), 100)
    settings = {
        "K": 1,
        "sym": "C1",
        "particle_diameter": round((size - 2) * task.pixel_size),
        "pad": 2,
        "oversampling": 1,
        "healpix_order": 1,
        "offset_range": 2,
        "offset_step": 1,
        "sgd_ini_iter": 50,
        "sgd_inbetween_iter": 100 if len(images) >= 100 else 150,
        "sgd_fin_iter": 50,
        "sgd_write_iter": 50,
        "sgd_ini_resol": round(size * task.pixel_size / 4),
        "sgd_fin_resol": round(2.2 * task.pixel_size, 1),
        "sgd_ini_subset": subset,
        "sgd_fin_subset": subset,
        "random_seed": task.seed + 1,
        "pool": 3,
        "j": 1,
    }
    (task.work / "refine").mkdir(exist_ok=True)
    flags = [part for name, value in settings.items() for part in (f"--{name}", value)]
    fixed = [
        "--sgd",
        "--denovo_3dref",
        "--flatten_solvent",
        "--zero_mask",
        "--dont_combine_weights_via_disc",
        "--dont_check_norm",
    ]
    _run([program, "--i", "norm.star", "--o", "./refine/run", *fixed, *flags], task)
    last = max((task.work / "refine").glob("run_it*_class001.mrc"))
    _keep(files.read_map(last).density, task)
    version = subprocess.run([program, "--version"], capture_output=True, text=True).stdout.split("\n")[0].split()[-1]
    return {"version": version, "settings": settings | {"noise": noise}, "one_map": True}


def aspire_sync3n(task: Task) -> dict[str, Any]:
    """ASPIRE's common lines with 3N synchronisation."""
    return _aspire("sync3n", task)


def aspire_lud(task: Task) -> dict[str, Any]:
    """ASPIRE's common lines by least unsquared deviations."""
    return _aspire("lud", task)


def _aspire(method: str, task: Task) -> dict[str, Any]:
    python = _environment("aspire")
    images = files.read_images(task.stack).images[: MOST_IMAGES[method]]
    np.save(task.work / "images.npy", images / images.std())
    _run([python, HERE / "with_aspire.py", method, "images.npy", "volume.npy", task.seed], task)
    _keep(np.load(task.work / "volume.npy"), task)
    return {
        "version": _version(python, "aspire"),
        "settings": {"method": method, "images": len(images), "n_theta": 360, "max_shift": 0},
        "one_map": True,
    }


def cryodrgn2(task: Task) -> dict[str, Any]:
    """CryoDRGN2's ab-initio mode with a latent conformation: one map for each judged image, from its latent value."""
    python = _environment("cryodrgn")
    program = python.parent / "cryodrgn"
    images = files.read_images(task.stack).images
    size, count = images.shape[-1], len(images)
    files.write_images(task.work / "images.mrcs", images, task.pixel_size)
    epochs = 60 if count >= 100 else 400
    settings = {
        "zdim": 1 if count < 100 else 2,
        "t-extent": 0,
        "t-ngrid": 1,
        "base-healpy": 1,
        "nkeptposes": 4,
        "enc-dim": 128,
        "dec-dim": 128,
        "enc-layers": 2,
        "dec-layers": 3,
        "num-epochs": epochs,
        "ps-freq": 5 if count >= 100 else 3,
        "l-start": max(4, size // 6),
        "l-end": size // 2 - 1,
        "l-ramp-epochs": epochs // 2,
        "pretrain": 10 * count,
        "lr": 1e-3,
        "checkpoint": epochs,
        "seed": task.seed,
        "max-threads": 1,
    }
    flags = [part for name, value in settings.items() for part in (f"--{name}", value)]
    fixed = ["--uninvert-data", "--no-amp", "--no-analysis"]
    _run([program, "abinit_het_old", "images.mrcs", "-o", "run", *fixed, *flags], task)
    with open(task.work / "run" / "z.pkl", "rb") as file:
        latent = np.atleast_2d(pickle.load(file)).reshape(count, -1)
    np.savetxt(task.work / "z.txt", latent[list(task.numbers)])
    flags = ["--config", "run/config.yaml", "--zfile", "z.txt", "-o", "volumes", "--Apix", task.pixel_size]
    _run([program, "eval_vol", "run/weights.pkl", *flags], task)
    for number, path in zip(task.numbers, sorted((task.work / "volumes").glob("vol_*.mrc")), strict=True):
        _keep(files.read_map(path).density, task, number)
    return {"version": _version(python, "cryodrgn"), "settings": settings, "one_map": False}


def simple(task: Task) -> dict[str, Any]:
    """SIMPLE's initial model from class averages. Written from its manual; never run here."""
    program = _find("simple_exec")
    shutil.copy(task.stack, task.work / "classes.mrcs")
    diameter = round((files.read_images(task.stack).images.shape[-1] - 2) * task.pixel_size)
    _run([program, "prg=new_project", "projname=rival"], task)
    common = [f"smpd={task.pixel_size}", "projfile=rival.simple"]
    _run([program, "prg=import_cavgs", "stk=../classes.mrcs", *common], task, "rival")
    settings = {"pgrp": "c1", "mskdiam": diameter, "nthr": 1}
    flags = [f"{name}={value}" for name, value in settings.items()]
    _run([program, "prg=initial_3Dmodel", *common, *flags], task, "rival")
    _keep(files.read_map(max((task.work / "rival").rglob("rec_final*.mrc"))).density, task)
    return {"version": "", "settings": settings, "one_map": True}


def eman2(task: Task) -> dict[str, Any]:
    """EMAN2's e2initialmodel from class averages. Written from its manual; never run here."""
    program = _find("e2initialmodel.py")
    _run(["e2proc2d.py", task.stack, "classes.hdf", f"--apix={task.pixel_size}"], task)
    settings = {"iter": 8, "tries": 10, "sym": "c1"}
    _run([program, "--input=classes.hdf", *(f"--{name}={value}" for name, value in settings.items())], task)
    _keep(files.read_map(min(task.work.rglob("model_*_01.hdf"))).density, task)
    return {"version": "", "settings": settings, "one_map": True}


def ours(task: Task, method: str, denoiser: str) -> dict[str, Any]:
    """Algorithm 1 of the paper, as this package has it."""
    settings = {"method": method, "denoiser": denoiser, "seed": task.seed, "images": ",".join(map(str, task.numbers))}
    flags = [part for name, value in settings.items() for part in (f"--{name}", value)]
    _run([sys.executable, "-m", "scoretomo.cli", "run", task.stack, "--output", "run", *flags, "--workers", 1], task)
    for number in task.numbers:
        path = RunDirectory(task.work / "run").volume(number)
        if path.exists():
            _keep(files.read_map(path).density, task, number)
    return {"version": scoretomo.__version__, "settings": settings, "one_map": False}


def consensus(task: Task) -> dict[str, Any]:
    """The one map in which this package finds the poses of all images."""
    done, run = ours(task, "ensemble", "tangent"), RunDirectory(task.work / "run")
    _keep(files.read_map(run.assigned.volume).density, task, 0)
    return {**done, "one_map": True, "note": f"verdict {run.flexibility.read().verdict}"}


def _find(program: str) -> str:
    path = shutil.which(program)
    if not path:
        raise NotHere(f"{program} is not installed")
    return path


def _environment(name: str) -> Path:
    if not (ENVIRONMENTS / name / "installed").exists():
        raise NotHere(f"{name}: make its environment with benchmarks/rivals/install.sh")
    return ENVIRONMENTS / name / "bin" / "python"


def _version(python: Path, package: str) -> str:
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def _run(command: list[Any], task: Task, folder: str = ".") -> None:
    """Run with one thread in the task's folder; what it prints goes to log.txt there."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with open(task.work / "log.txt", "a") as log:
        subprocess.run(
            list(map(str, command)), cwd=task.work / folder, env=environment, stdout=log, stderr=log, check=True
        )


def _normalised(task: Task) -> tuple[np.ndarray, float]:
    """Images of standard deviation 1, and how much white noise they were given: a little where they have none of their
    own.
    """
    images, given = files.read_images(task.stack).images, NOISE if task.noise_free else 0.0
    noise = np.random.default_rng(task.seed).normal(size=images.shape)
    return np.asarray(images / images.std() + given * noise, np.float32), given


def _keep(density: np.ndarray, task: Task, number: int = 0) -> None:
    """Write a map; its pixel size is the stack's own, not the made-up one."""
    files.make_folder(task.output)
    pixel_size = files.read_images(task.stack).pixel_size
    files.write_map(task.output / f"{number:03d}.mrc", np.asarray(density, np.float32), pixel_size)


def _star(stack: str, count: int, size: int, pixel_size: float) -> str:
    optics = ["OpticsGroup", "OpticsGroupName", "Voltage", "SphericalAberration", "AmplitudeContrast"]
    optics += ["ImagePixelSize", "ImageSize", "ImageDimensionality"]
    head = "# version 30001\n\ndata_optics\n\nloop_\n" + "".join(
        f"_rln{name} #{k}\n" for k, name in enumerate(optics, 1)
    )
    head += f"1 classes 300 2.7 0.1 {pixel_size} {size} 2\n\n"
    head += "data_particles\n\nloop_\n_rlnImageName #1\n_rlnOpticsGroup #2\n"
    return head + "".join(f"{k:06d}@{stack} 1\n" for k in range(1, count + 1))

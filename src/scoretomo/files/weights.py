"""Weights of a network, as safetensors: arrays by name, with a record of what they are."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..errors import InputError
from .reading import file_size
from .writing import atomic

_KEY = "scoretomo"


def write_weights(path: Path, weights: Mapping[str, np.ndarray], record: Mapping[str, Any]) -> None:
    """Write arrays by name and a record (anything JSON can hold) that goes into the header."""
    plain = {name: np.asarray(array, order="C") for name, array in weights.items()}
    with atomic(path) as temporary:
        temporary.write_bytes(save(plain, {_KEY: json.dumps(record)}))  # save_file would not heed the umask


def read_weights(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `write_weights` wrote.

    Raises:
        InputError: there is no such file, it is damaged, or another program's.
    """
    file_size(path)
    try:
        with safe_open(path, framework="numpy") as file:
            record = (file.metadata() or {}).get(_KEY)
            weights = {name: file.get_tensor(name) for name in file.keys()} if record else {}  # noqa: SIM118 - no mapping
    except SafetensorError:
        raise InputError(
            f"{path} should hold weights (.safetensors) but is damaged or something else: train again"
        ) from None
    if record is None:
        raise InputError(
            f"{path} should be weights written by scoretomo train, but their record is missing: train again"
        )
    return weights, json.loads(record)

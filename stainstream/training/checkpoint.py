"""Checkpoints: files of tensors, written whole or not at all, read without running anything that they hold."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stainstream import wholefile
from stainstream.errors import ModelError

from .networks import Weights

__all__ = ["read_state", "read_tensors", "save", "write_whole"]


def read_tensors(path: Path) -> Weights:
    """Read a file that ``torch.save`` wrote of a dictionary of tensors, onto the CPU; nothing in it is executed.

    Raises
    ------
    ModelError
        If the file is missing or holds anything but tensors.
    """
    weights = _loaded(path)
    if not isinstance(weights, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in weights.items()
    ):
        raise ModelError(f"refusing {path}", "it does not hold a dictionary of tensors")
    return weights


def read_state(path: Path) -> dict[str, Any]:
    """Read what `save` wrote of a training: tensors, numbers and text, in dictionaries and lists."""
    state = _loaded(path)
    if not isinstance(state, dict):
        raise ModelError(f"refusing {path}", "it does not hold the state of a training")
    return state


def _loaded(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"cannot read {path}", error.strerror or str(error)) from error
    except Exception as error:  # torch promises no type: damaged files end in a dozen of them
        raise ModelError(f"refusing {path}", "it is not a file of tensors") from error


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors, numbers and text in dictionaries and lists as a file that `read_state` reads."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    write_whole(path, buffer.getbuffer())


def write_whole(path: Path, data: bytes | memoryview) -> None:
    """Replace a file at once: a kill or a full disk leaves the one that was there.

    Raises
    ------
    ModelError
        If it cannot be written.
    """
    try:
        wholefile.write_whole(path, data)
    except OSError as error:
        kept = f"; the last good {path.name} is kept" if path.exists() else ""
        raise ModelError(
            f"cannot write {path}", f"{error.strerror or error}{kept}", "make room, then go on with --resume"
        ) from error

"""What can be exported: checkpoints, models, and methods in files, each as far as it goes."""

from __future__ import annotations

import importlib
import os
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from .api import method
from .color.lut import Rounding
from .errors import MissingExtra, UsageError
from .exchange import Pixelwise
from .model import Card, Model, find, write
from .normalizers.base import Normalizer

if TYPE_CHECKING:
    from .training.graph import Net, Tensors

__all__ = ["NOT_STATED", "Origin", "origin"]

NOT_STATED = "not stated"
"""What the card of a checkpoint says wherever nothing is known."""

_CHECKPOINTS = (".bin", ".ckpt", ".pt", ".pth")
_METHODS = (".cube", ".toml")


class Origin(ABC):
    """Something to export.

    Parameters
    ----------
    name
        Its own.
    file
        The name of its file or folder, without those above it.
    """

    def __init__(self, name: str, file: str) -> None:
        self.name, self.file = name, file

    @abstractmethod
    def pixelwise(self) -> Pixelwise:
        """It as a table.

        Raises
        ------
        NotPixelwise
            If none can stand for it.
        """

    @abstractmethod
    def network(self) -> Net:
        """It in torch."""

    @abstractmethod
    def onnx(self, tensors: Tensors = "uint8") -> bytes:
        """An ONNX file of it, checked."""

    @abstractmethod
    def card(self) -> Card:
        """What is known of it."""


def origin(model: str, rounding: Rounding | None = None) -> Origin:
    """Find what `model` names: a model, a method's file, or else a checkpoint.

    Parameters
    ----------
    rounding
        How a checkpoint's levels become integers; ``"truncate"`` by default.

    Raises
    ------
    UsageError, ModelError
        If there is no such thing, or it is damaged.
    """
    suffix = Path(model).suffix.lower()
    if suffix in _CHECKPOINTS or (os.path.isfile(model) and suffix not in (".onnx", *_METHODS)):
        return _Checkpoint(Path(model), rounding or "truncate")
    if rounding is not None:
        raise UsageError(f"cannot round {model} otherwise", "a model rounds as it was made to", "leave --rounding out")
    fitted = method(model)
    return _Ready(find(model)) if fitted is None else _Method(model, fitted)


class _Checkpoint(Origin):
    """Weights, which say nothing of where they come from."""

    def __init__(self, path: Path, rounding: Rounding) -> None:
        super().__init__(path.stem, path.name)
        self.path, self.rounding = path, rounding

    def pixelwise(self) -> Pixelwise:
        with TemporaryDirectory() as place:
            return Pixelwise.of(write(Path(place), self.onnx(), self.card()))

    def network(self) -> Net:
        network: Net = _training("export", self.path).read_weights(self.path)
        return network

    def onnx(self, tensors: Tensors = "uint8") -> bytes:
        data: bytes = _training("export", self.path).checked(self.network(), self.rounding, tensors)
        return data

    def card(self) -> Card:
        return Card(
            name=self.name,
            method=_training("export", self.path).described(self.network()),
            stain=NOT_STATED,
            source=NOT_STATED,
            target=NOT_STATED,
            training_data=NOT_STATED,
            license=NOT_STATED,
            digest="",
            authors=[],
            rounding=self.rounding,
            created=datetime.now(UTC).date().isoformat(),
        )


class _Ready(Origin):
    """A model."""

    def __init__(self, model: Model) -> None:
        super().__init__(model.name, model.path.name)
        self.model = model

    def pixelwise(self) -> Pixelwise:
        return Pixelwise.of(self.model)

    def network(self) -> Net:
        network: Net = _training("recover", self.model.path).recover(self.model.network)
        return network

    def onnx(self, tensors: Tensors = "uint8") -> bytes:
        if tensors == "uint8":
            return self.model.network.read_bytes()
        data: bytes = _training("export", self.model.path).checked(self.network(), "nearest", tensors)
        return data

    def card(self) -> Card:
        if self.model.card is None:
            asked = f"cannot make a model folder of {self.model.path}"
            raise UsageError(asked, "a bare .onnx file has no card", "run it as it is: --model FILE.onnx")
        return self.model.card


class _Method(Origin):
    """A fitted method or a ``.cube``: a function of colors, and no network."""

    def __init__(self, path: str, function: Normalizer) -> None:
        super().__init__(Path(path).stem, Path(path).name)
        self.path, self.function = path, function

    def pixelwise(self) -> Pixelwise:
        return Pixelwise.fitted(self.function)

    def network(self) -> Net:
        raise self._no_network()

    def onnx(self, tensors: Tensors = "uint8") -> bytes:  # noqa: ARG002 (there is none, whatever its tensors)
        raise self._no_network()

    def card(self) -> Card:
        raise self._no_network()

    def _no_network(self) -> UsageError:
        return UsageError(f"cannot export {self.path} so", "it is no network", "use --to lut or --to cube")


def _training(module: str, asked: Path) -> Any:
    try:
        return importlib.import_module(f".training.{module}", __package__)
    except ModuleNotFoundError as error:
        raise MissingExtra(f"cannot export {asked}", error.name or "torch", "train") from error

"""A model: a folder with a network, a card that says what it is, and a preview."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from . import config
from .color.lut import Rounding
from .color.survey import Survey
from .errors import ModelError, UsageError
from .wholefile import write_whole

__all__ = ["Card", "Model", "Network", "find", "names", "shelf", "write"]

_NETWORK, _CARD = "model.onnx", "card.toml"


class Card(config.Settings, frozen=True):
    """What a model is: ``card.toml``."""

    name: str
    method: str
    """The method, for example ``"StainNet"``."""
    stain: str
    """``"H&E"``, ``"Pap"`` ..."""
    source: str
    """What the model was trained to normalize."""
    target: str
    """What its output looks like."""
    training_data: str
    license: str
    """Licence of the weights, with the reason if they may not be redistributed."""
    digest: str
    """SHA-256 of ``model.onnx``, in hex."""
    authors: list[str]
    rounding: Rounding = "nearest"
    default: bool = False
    """Whether ``load("default")`` means this one."""
    created: str = ""
    command: str = ""
    """The exact command that made it."""
    notes: str = ""
    metrics: dict[str, float] = msgspec.field(default_factory=dict)
    survey: Survey | None = None
    """What it was trained on looks like; frames that look otherwise raise a warning."""


@dataclass(frozen=True)
class Model:
    """A model on disk."""

    path: Path
    """Its folder; for a bare ONNX file, the file."""
    card: Card | None
    """None for a bare ONNX file."""

    @property
    def network(self) -> Path:
        """The ONNX file."""
        return self.path / _NETWORK if self.card else self.path

    @property
    def name(self) -> str:
        """The card's name, or the file's."""
        return self.card.name if self.card else self.path.stem

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the ONNX file, in hex.

        Raises
        ------
        ModelError
            If the file cannot be read or is not the one that the card describes.
        """
        try:
            digest = hashlib.sha256(self.network.read_bytes()).hexdigest()
        except OSError as error:
            raise ModelError(f"cannot read {self.network}", error.strerror or str(error)) from error
        if self.card and self.card.digest != digest:
            raise ModelError(
                f"refusing model {self.name!r}",
                f"the digest of {self.network} is {digest[:12]}..., its card says {self.card.digest[:12]}...",
                "fetch the model again, or export it anew with: stainstream export",
            )
        return digest


@dataclass(frozen=True)
class Network:
    """A network that is not pixelwise and so runs as it is, on a network engine."""

    path: Path
    """An ONNX file, uint8 (N, H, W, 3) in and out."""
    name: str
    digest: str
    """SHA-256 of the file, in hex."""
    trust_plan: bool = False
    """Whether TensorRT plans that lie beside the file may be run."""


def shelf() -> Path:
    """The folder of the models that ship with stainstream."""
    installed = Path(__file__).parent / "shelf" / "engines"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "engines"


def names() -> list[str]:
    """Names of the models that ship with stainstream."""
    return sorted(path.parent.name for path in shelf().glob(f"*/{_CARD}"))


def find(name: str | Path) -> Model:
    """Find a model by its name, its folder or its ONNX file, and check its digest.

    Raises
    ------
    ModelError
        If there is none, its card cannot be read, or its digest is wrong.
    """
    path = Path(name)
    if path.suffix.lower() == ".onnx":
        model = Model(path, None)
    elif os.path.isfile(path / _CARD):  # Path.is_file raises where a folder may not be entered or a name is too long
        model = Model(path, _read_card(path))
    else:
        model = _on_shelf(str(name))
    _ = model.digest
    return model


def _on_shelf(name: str) -> Model:
    for known in names():
        card = _read_card(shelf() / known) if name in (known, config.DEFAULT) else None
        if card and (name == known or card.default):
            return Model(shelf() / known, card)
    raise ModelError(
        f"no model {name!r}",
        f"it is not a folder with a {_CARD}, an .onnx file, nor one of {', '.join([config.DEFAULT, *names()])}",
        "run: stainstream models",
    )


def _read_card(folder: Path) -> Card:
    try:
        return config.read(folder / _CARD, Card)
    except UsageError as error:
        raise ModelError(f"cannot use the model in {folder}", str(error)) from error


def write(folder: Path, network: bytes, card: Card) -> Model:
    """Write a model folder; the card's digest is set to the network's.

    Raises
    ------
    ModelError
        If the folder cannot be written.
    """
    card = msgspec.structs.replace(card, digest=hashlib.sha256(network).hexdigest())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / _NETWORK, network)
        write_whole(folder / _CARD, msgspec.toml.encode(_without_none(card)))
    except OSError as error:
        raise ModelError(f"cannot write the model folder {folder}", error.strerror or str(error)) from error
    return Model(folder, card)


def _without_none(card: Card) -> dict[str, Any]:
    return {key: value for key, value in msgspec.to_builtins(card).items() if value is not None}

"""For every one of the 16,777,216 colors: table engine = float64 evaluation of the network, rounded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from threadpoolctl import threadpool_limits

from stainstream.api import artifact
from stainstream.color.lut import COLORS, Lut
from stainstream.frame import RGB8
from stainstream.model import find
from tests.engines.tables import KINDS, all_colors
from tests.graphs import card

CHUNK = 1 << 11  # what stays in a core's cache

Layers = list[tuple[NDArray[np.float64], NDArray[np.float64]]]


def _levels(layers: Layers, rgb: RGB8) -> NDArray[np.float64]:
    """The paper's network in float64: (n, 3) bytes to levels from 0 to 255, not yet rounded."""
    values = ((rgb / 255.0 - 0.5) / 0.5).T
    for k, (weight, bias) in enumerate(layers):
        values = weight @ values + bias[:, None]
        if k < len(layers) - 1:
            values = np.maximum(values, 0.0)
    return np.asarray(np.clip(values * 0.5 + 0.5, 0.0, 1.0).T * 255.0)


def _from_onnx(path: Path) -> Layers:
    arrays = [numpy_helper.to_array(each).astype(np.float64) for each in onnx.load(path).graph.initializer]
    kernels, biases = ([each for each in arrays if each.ndim == axes] for axes in (4, 1))
    return [(kernel[:, :, 0, 0], bias) for kernel, bias in zip(kernels, biases, strict=True)]


def _from_checkpoint(path: Path) -> Layers:
    torch = pytest.importorskip("torch")
    weights: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    names = ("rgb_trans.0", "rgb_trans.2", "rgb_trans.4")
    kernels, biases = ([weights[f"{name}.{kind}"].double().numpy() for name in names] for kind in ("weight", "bias"))
    return [(kernel[:, :, 0, 0], bias) for kernel, bias in zip(kernels, biases, strict=True)]


def _official(shared: Path, name: str, folder: Path) -> tuple[Lut, Layers]:
    """An official checkpoint's table, by way of `export`, and its layers, not by way of anything of ours."""
    pytest.importorskip("torch")
    from stainstream.training.export import export, read_weights

    path = shared / "data" / "official_stainnet" / f"{name}.pth"
    model = export(read_weights(path), folder, card(name, "truncate"))
    table = artifact(model)
    assert isinstance(table, Lut)
    return table, _from_checkpoint(path)


@pytest.fixture(scope="module", params=["default", "cytopathology", "histopathology", "camelyon16"])
def truth(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lut, RGB8]:
    """A model's table, and what float64 makes of every color."""
    if request.param == "default":
        model = find("default")
        table, layers = artifact(model), _from_onnx(model.network)
    else:
        folder = tmp_path_factory.mktemp("official")
        table, layers = _official(request.getfixturevalue("shared"), request.param, folder)
    assert isinstance(table, Lut)
    colors = all_colors().reshape(-1, 3)
    expected = np.empty_like(colors)
    with threadpool_limits(1, "blas"):  # threads cost more than they bring on products this thin
        for start in range(0, COLORS, CHUNK):
            levels = _levels(layers, colors[start : start + CHUNK])
            expected[start : start + CHUNK] = np.rint(levels) if request.param == "default" else np.floor(levels)
    return table, expected.reshape(4096, 4096, 3)


def test_every_color_of_every_engine(truth: tuple[Lut, RGB8]) -> None:
    table, expected = truth
    colors = all_colors()
    for name, kind in KINDS.items():
        with kind(table) as engine:
            result = engine(colors)
        assert np.count_nonzero(result != expected) == 0, name


def test_the_colors_are_all_there_and_what_becomes_of_them_is_not_trivial(truth: tuple[Lut, RGB8]) -> None:
    _, expected = truth
    seen = np.zeros(COLORS, bool)
    seen[all_colors().reshape(-1, 3) @ np.array([1, 256, 65536])] = True
    assert seen.all()
    assert expected.min() < 30
    assert expected.max() > 240
    assert len(np.unique(expected.reshape(-1, 3)[::997], axis=0)) > 5_000

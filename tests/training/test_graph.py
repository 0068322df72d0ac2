"""Networks as ONNX graphs, against torch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

torch = pytest.importorskip("torch")

import stainstream as ss  # noqa: E402 (torch is optional)
from stainstream.color.lut import Rounding  # noqa: E402
from stainstream.errors import EngineError, NotPixelwise  # noqa: E402
from stainstream.frame import RGB8  # noqa: E402
from stainstream.normalizers.network import PixelwiseNetwork  # noqa: E402
from stainstream.training.export import checked, described, export  # noqa: E402
from stainstream.training.graph import Net, Tensors, graph_of  # noqa: E402
from stainstream.training.networks import ResnetGenerator, StainNet  # noqa: E402
from stainstream.training.runner import run  # noqa: E402
from tests.graphs import card  # noqa: E402

KINDS: dict[str, Callable[[], Net]] = {
    "StainNet": StainNet,
    "one 3x3": lambda: StainNet(8, 3, 1),
    "all 3x3": lambda: StainNet(6, 3, 3),
    "generator": lambda: ResnetGenerator(4, 2),
    "generator with dropout": lambda: ResnetGenerator(3, 1, dropout=True),
}


def _network(kind: str, seed: int = 0) -> Net:
    torch.manual_seed(seed)
    network = KINDS[kind]()
    network.eval().requires_grad_(requires_grad=False)
    return network


def _noise(*shape: int) -> RGB8:
    return np.random.default_rng(1).integers(0, 256, shape, np.uint8)


def _torch(network: Net, rgb: RGB8) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """(n, height, width, 3) bytes to (n, 3, height, width) in [0, 1]; a generator's images are padded by reflection."""
    height, width = rgb.shape[1:3]
    if isinstance(network, ResnetGenerator):
        rgb = np.pad(rgb, ((0, 0), (0, -height % 4), (0, -width % 4), (0, 0)), "reflect")
    image = torch.from_numpy(rgb.copy()).permute(0, 3, 1, 2).float() / 127.5 - 1
    return np.asarray((network(image) / 2 + 0.5).clamp(0, 1)[..., :height, :width].numpy())


@pytest.mark.parametrize("rounding", ["nearest", "truncate"])
@pytest.mark.parametrize("kind", KINDS)
def test_bytes_are_torchs_within_a_level_at_any_size(kind: str, rounding: Rounding) -> None:
    pytest.importorskip("onnxruntime")
    network = _network(kind)
    data = checked(network, rounding)
    differences = []
    for shape in ((1, 8, 12, 3), (2, 5, 7, 3), (1, 30, 17, 3), (1, 43, 18, 3)):
        rgb = _noise(*shape)
        levels = _torch(network, rgb).transpose(0, 2, 3, 1) * 255
        expected = np.rint(levels) if rounding == "nearest" else np.floor(levels)
        differences.append(np.abs(run(data, rgb) - expected).ravel())
    every = np.concatenate(differences)
    assert every.max() <= 1
    assert (every > 0).mean() < 2e-3


@pytest.mark.parametrize("kind", KINDS)
def test_floats_are_torchs_at_any_size(kind: str) -> None:
    pytest.importorskip("onnxruntime")
    network = _network(kind)
    data = checked(network, "nearest", "float")
    for shape in ((1, 8, 12, 3), (2, 5, 7, 3), (1, 30, 17, 3)):
        rgb = _noise(*shape)
        result = run(data, rgb)
        assert result.shape == (shape[0], 3, *shape[1:3])
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, _torch(network, rgb), atol=1e-5)


@pytest.mark.parametrize(
    ("tensors", "kind", "shape"),
    [("uint8", TensorProto.UINT8, ["N", "H", "W", 3]), ("float", TensorProto.FLOAT, ["N", 3, "H", "W"])],
)
def test_every_size_but_the_channels_is_free(tensors: Tensors, kind: int, shape: list[str | int]) -> None:
    graph = graph_of(_network("generator"), "nearest", tensors).graph
    for end, name in ((graph.input[0], "rgb"), (graph.output[0], "normalized")):
        dims = end.type.tensor_type.shape.dim
        assert (end.name, end.type.tensor_type.elem_type) == (name, kind)
        assert [dim.dim_param or dim.dim_value for dim in dims] == shape


@pytest.mark.parametrize("kind", KINDS)
def test_onnxs_own_reference_checks_where_onnx_runtime_is_not_installed(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, rgb = checked(_network(kind), "nearest"), _noise(1, 13, 10, 3)
    fast = run(data, rgb)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert np.abs(run(data, rgb).astype(int) - fast).max() <= 1
    assert checked(_network(kind), "nearest") == data


@pytest.mark.parametrize("kind", ["one 3x3", "generator"])
def test_a_folder_of_it_runs_on_the_network_engine(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("onnxruntime")
    network = _network(kind)
    export(network, tmp_path, card("neighbors"))
    with ss.load(tmp_path) as normalize:
        assert type(normalize.engine).__name__ == "NetOnnx"
        for shape in ((40, 32, 3), (37, 21, 3), (2, 9, 6, 3)):
            rgb = _noise(*shape)
            levels = _torch(network, rgb.reshape(-1, *shape[-3:])).transpose(0, 2, 3, 1).reshape(shape) * 255
            assert np.abs(normalize(rgb) - np.rint(levels)).max() <= 1


def test_a_generator_refuses_what_is_too_small_and_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    export(_network("generator"), tmp_path, card("generator"))
    with ss.load(tmp_path) as normalize:
        for shape in ((1, 1, 3), (4, 20, 3), (20, 3, 3)):
            with pytest.raises(EngineError, match="'generator' failed on shape"):
                normalize(_noise(*shape))
        assert normalize(_noise(5, 5, 3)).shape == (5, 5, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_only_1x1_convolutions_are_a_table(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(checked(_network(kind), "nearest"))
    if kind == "StainNet":
        assert PixelwiseNetwork.read(path).rounding == "nearest"
    else:
        with pytest.raises(NotPixelwise):
            PixelwiseNetwork.read(path)


def _seen(network: Net, size: int = 41) -> tuple[int, int]:
    """Height and width of what changes when the middle pixel does: the receptive field."""
    grey = np.full((1, size, size, 3), 128, np.uint8)
    dot = grey.copy()
    dot[0, size // 2, size // 2] = (255, 0, 255)
    rows, columns = np.nonzero((_torch(network, grey) != _torch(network, dot)).any(axis=(0, 1)))
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def test_a_stainnet_sees_one_pixel_and_each_3x3_two_more() -> None:
    for conv3x3 in range(4):
        torch.manual_seed(0)
        network = StainNet(conv3x3=conv3x3).eval().requires_grad_(requires_grad=False)
        assert _seen(network) == (1 + 2 * conv3x3, 1 + 2 * conv3x3)


def test_a_card_says_which_network_it_is() -> None:
    assert described(_network("StainNet")) == "StainNet"
    assert described(_network("one 3x3")) == "StainNet with 1 of 3 convolutions 3x3"
    assert described(_network("generator")) == "StainGAN generator (ResNet, 2 blocks)"


def test_the_graph_is_valid() -> None:
    for kind in KINDS:
        for tensors in ("uint8", "float"):
            model = graph_of(_network(kind), "nearest", tensors)
            onnx.checker.check_model(model, full_check=True)
            assert model.graph.name in ("StainNet", "ResnetGenerator")

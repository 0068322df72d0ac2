"""Back from ONNX to torch."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from stainstream.color.lut import Rounding  # noqa: E402 (torch is optional)
from stainstream.errors import ModelError  # noqa: E402
from stainstream.model import find  # noqa: E402
from stainstream.training.export import checked, read_weights  # noqa: E402
from stainstream.training.graph import Net, Tensors, graph_of  # noqa: E402
from stainstream.training.networks import ResnetGenerator, StainNet  # noqa: E402
from stainstream.training.recover import recover  # noqa: E402
from tests.graphs import Graph, blur, negative  # noqa: E402

NETWORKS = [StainNet(), StainNet(5, 2, 1), ResnetGenerator(4, 3)]


@pytest.mark.parametrize(("tensors", "rounding"), [("uint8", "nearest"), ("uint8", "truncate"), ("float", "nearest")])
@pytest.mark.parametrize("network", NETWORKS, ids=["StainNet", "3x3", "generator"])
def test_weights_come_back_to_the_bit(tmp_path: Path, network: Net, tensors: Tensors, rounding: Rounding) -> None:
    network = network.eval().requires_grad_(requires_grad=False)
    path = tmp_path / "model.onnx"
    path.write_bytes(checked(network, rounding, tensors))
    again = recover(path)
    assert list(again.state_dict()) == list(network.state_dict())
    for key, value in network.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key


def test_the_default_model_is_written_again_to_the_byte() -> None:
    path = find("default").network
    assert graph_of(recover(path), "nearest").SerializeToString() == path.read_bytes()


def test_an_official_checkpoint_survives_the_round_trip(shared: Path, tmp_path: Path) -> None:
    network = read_weights(shared / "data" / "official_stainnet" / "cytopathology.pth")
    (tmp_path / "model.onnx").write_bytes(checked(network, "truncate"))
    again = recover(tmp_path / "model.onnx").state_dict()
    assert all(torch.equal(again[key], value) for key, value in network.state_dict().items())


def _scaled() -> Graph:
    """A StainNet's convolutions, but scaled otherwise."""
    graph = Graph()
    graph.add("Transpose", perm=[0, 3, 1, 2])
    graph.add("Conv", [[[[1.0]]] * 3] * 3, [0.0] * 3, kernel_shape=[1, 1])
    graph.add("Transpose", perm=[0, 2, 3, 1])
    return graph.end()


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (negative(), "neither a StainNet nor a StainGAN's generator"),
        (blur(), "neither a StainNet nor a StainGAN's generator"),
        (_scaled(), "more to it than the weights"),
    ],
    ids=["no convolution", "no bias", "other scaling"],
)
def test_other_networks_are_refused(tmp_path: Path, graph: Graph, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        recover(graph.save(tmp_path / "other.onnx"))


def test_what_is_no_onnx_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"no network")
    for name in ("a.onnx", "none.onnx"):
        with pytest.raises(ModelError, match=rf"cannot read .*{name}"):
            recover(tmp_path / name)

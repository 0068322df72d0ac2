"""The paper's networks."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from stainstream.training.networks import StainNet  # noqa: E402 (torch is optional)


def test_parameters_have_the_names_and_shapes_of_the_authors_code() -> None:
    shapes = {name: tuple(value.shape) for name, value in StainNet().state_dict().items()}
    assert shapes == {
        "rgb_trans.0.weight": (32, 3, 1, 1),
        "rgb_trans.0.bias": (32,),
        "rgb_trans.2.weight": (32, 32, 1, 1),
        "rgb_trans.2.bias": (32,),
        "rgb_trans.4.weight": (3, 32, 1, 1),
        "rgb_trans.4.bias": (3,),
    }


def test_a_pixel_becomes_what_its_color_becomes() -> None:
    torch.manual_seed(0)
    network = StainNet()
    image = torch.rand(2, 3, 5, 7) * 2 - 1
    result = network(image)
    assert result.shape == image.shape
    weight = {name: value.squeeze() for name, value in network.state_dict().items()}
    color = image[1, :, 3, 4]
    for k in (0, 2, 4):
        color = weight[f"rgb_trans.{k}.weight"] @ color + weight[f"rgb_trans.{k}.bias"]
        color = color.relu() if k < 4 else color
    torch.testing.assert_close(result[1, :, 3, 4], color)


@pytest.mark.parametrize(("channels", "layers"), [(32, 3), (8, 2), (64, 4), (5, 1)])
def test_a_network_is_rebuilt_from_its_weights(channels: int, layers: int) -> None:
    torch.manual_seed(0)
    network = StainNet(channels, layers)
    again = StainNet.of(network.state_dict())
    image = torch.rand(1, 3, 4, 4)
    torch.testing.assert_close(again(image), network(image), rtol=0, atol=0)
    assert not again.training
    assert not any(parameter.requires_grad for parameter in again.parameters())


def test_a_rebuilt_network_shares_no_memory_with_its_weights() -> None:
    weights = StainNet().state_dict()
    again = StainNet.of(weights)
    before = again.get_parameter("rgb_trans.0.weight").clone()
    weights["rgb_trans.0.weight"].zero_()
    torch.testing.assert_close(again.get_parameter("rgb_trans.0.weight"), before)


def test_other_weights_are_refused_with_the_names_that_differ() -> None:
    weights = StainNet().state_dict()
    weights["rgb_trans.1.weight"] = weights.pop("rgb_trans.2.weight")
    with pytest.raises(RuntimeError, match=r"rgb_trans\.2\.weight"):
        StainNet.of(weights)

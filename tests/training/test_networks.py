"""The paper's networks."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from stainstream.training.networks import (  # noqa: E402 (torch is optional)
    NLayerDiscriminator,
    ResnetGenerator,
    StainNet,
)


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


@pytest.mark.parametrize(
    ("conv3x3", "parameters", "reach"), [(0, 1_283, 1), (1, 2_051, 3), (2, 10_243, 5), (3, 11_011, 7)]
)
def test_each_3x3_layer_asks_one_more_ring_of_neighbors(conv3x3: int, parameters: int, reach: int) -> None:
    torch.manual_seed(0)
    network = StainNet(conv3x3=conv3x3)
    assert sum(each.numel() for each in network.parameters()) == parameters
    image = torch.rand(1, 3, 15, 15, requires_grad=True)
    network(image)[0, :, 7, 7].sum().backward()
    assert image.grad is not None
    asked = image.grad.abs().sum(1)[0].nonzero()
    low, high = asked.min().item(), asked.max().item()
    assert (low, high) == (7 - reach // 2, 7 + reach // 2)
    again = StainNet.of(network.state_dict())
    torch.testing.assert_close(again(image), network(image), rtol=0, atol=0)


# Keys and shapes of a latest_net_G_A.pth that the public code wrote (ngf 64, instance norm, no dropout).
GENERATOR = {
    "model.1.weight": (64, 3, 7, 7),
    "model.4.weight": (128, 64, 3, 3),
    "model.7.weight": (256, 128, 3, 3),
    **{f"model.{k}.conv_block.{n}.weight": (256, 256, 3, 3) for k in range(10, 19) for n in (1, 5)},
    "model.19.weight": (256, 128, 3, 3),
    "model.22.weight": (128, 64, 3, 3),
    "model.26.weight": (3, 64, 7, 7),
}
GENERATOR_BIASES = {
    **{f"model.{k}.bias": (n,) for k, n in ((1, 64), (4, 128), (7, 256), (19, 128), (22, 64), (26, 3))},
    **{f"model.{k}.conv_block.{n}.bias": (256,) for k in range(10, 19) for n in (1, 5)},
}


def test_the_generator_has_the_keys_of_the_public_code() -> None:
    shapes = {key: tuple(value.shape) for key, value in ResnetGenerator().state_dict().items()}
    assert shapes == GENERATOR | GENERATOR_BIASES


def test_the_discriminator_has_the_keys_of_the_public_code_and_sees_70_pixels() -> None:
    shapes = {key: tuple(value.shape) for key, value in NLayerDiscriminator().state_dict().items()}
    assert shapes == {
        "model.0.weight": (64, 3, 4, 4),
        "model.0.bias": (64,),
        "model.2.weight": (128, 64, 4, 4),
        "model.2.bias": (128,),
        "model.5.weight": (256, 128, 4, 4),
        "model.5.bias": (256,),
        "model.8.weight": (512, 256, 4, 4),
        "model.8.bias": (512,),
        "model.11.weight": (1, 512, 4, 4),
        "model.11.bias": (1,),
    }


@pytest.mark.parametrize(("layers", "reach"), [(1, 16), (2, 34), (3, 70)])
def test_a_verdict_is_on_one_patch(layers: int, reach: int) -> None:
    torch.manual_seed(0)
    network = NLayerDiscriminator(4, layers)
    for each in network.modules():
        if isinstance(each, torch.nn.InstanceNorm2d):
            each.eval().track_running_stats = True  # a fixed scale: statistics of the image would reach everywhere
            each.running_mean, each.running_var = torch.zeros(each.num_features), torch.ones(each.num_features)
    image = torch.rand(1, 3, 192, 192, requires_grad=True)
    verdicts = network(image)
    verdicts[0, 0, verdicts.shape[2] // 2, verdicts.shape[3] // 2].backward()
    assert image.grad is not None
    rows = image.grad.abs().sum((0, 1, 3)).nonzero()
    assert int(rows.max() - rows.min()) + 1 == reach


def test_a_translation_has_the_size_of_the_image_and_the_range_of_tanh() -> None:
    torch.manual_seed(0)
    image = torch.rand(2, 3, 32, 48) * 2 - 1
    result = ResnetGenerator(4, 2)(image)
    assert result.shape == image.shape
    assert result.abs().max() <= 1


@pytest.mark.parametrize(("filters", "blocks", "dropout"), [(4, 1, False), (8, 3, False), (4, 2, True)])
def test_a_generator_is_rebuilt_from_its_weights(filters: int, blocks: int, dropout: bool) -> None:
    torch.manual_seed(0)
    network = ResnetGenerator(filters, blocks, dropout=dropout).eval()
    image = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(ResnetGenerator.of(network.state_dict())(image), network(image), rtol=0, atol=0)


def test_weights_of_parallel_training_and_of_old_torch_are_taken() -> None:
    torch.manual_seed(0)
    network = ResnetGenerator(4, 1)
    weights = {f"module.{key}": value for key, value in network.state_dict().items()}
    weights |= {"module.model.2.running_mean": torch.zeros(4), "module.model.2.running_var": torch.ones(4)}
    image = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(ResnetGenerator.of(weights)(image), network(image), rtol=0, atol=0)


def test_another_networks_weights_are_refused_with_the_first_keys_that_differ() -> None:
    with pytest.raises(RuntimeError, match=r"missing model\.1\.bias, .* and \d+ more; unexpected rgb_trans\.0\.bias"):
        ResnetGenerator.of(StainNet().state_dict())
    with pytest.raises(RuntimeError, match=r"unexpected model\.1\.bias, .* and \d+ more"):
        StainNet.of(ResnetGenerator(4, 1).state_dict())

"""The networks of the paper and of its teacher, with the parameter names of their authors' code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias, TypeVar

from torch import Tensor, nn

__all__ = ["NLayerDiscriminator", "ResnetGenerator", "StainNet", "Weights"]

Weights: TypeAlias = Mapping[str, Tensor]

N = TypeVar("N", bound=nn.Module)

_NAMED = 4  # keys that an error names before it only counts them


class StainNet(nn.Module):
    """Three convolutions of 1x1 with ReLU between them: 1,283 parameters.

    Takes and gives float images of shape (n, 3, height, width) in [-1, 1]; the output may leave that range.

    Source: the paper, section 2.2, figure 1 and, for `conv3x3`, table 2; parameter names as in
    github.com/khtao/StainNet.

    Parameters
    ----------
    channels
        Width of the hidden layers.
    layers
        Number of convolutions.
    conv3x3
        How many of them, from the first on, are 3x3 (padded with zeros) instead of 1x1: with any, a pixel's
        neighbors are asked and the network is no longer a table of colors.

    Examples
    --------
    >>> sum(parameter.numel() for parameter in StainNet().parameters())
    1283
    """

    def __init__(self, channels: int = 32, layers: int = 3, conv3x3: int = 0) -> None:
        super().__init__()
        widths = [3, *[channels] * (layers - 1), 3]
        steps: list[nn.Module] = []
        for k in range(layers):
            size = 3 if k < conv3x3 else 1
            steps += [nn.Conv2d(widths[k], widths[k + 1], size, padding=size // 2), nn.ReLU(inplace=True)]
        self.rgb_trans = nn.Sequential(*steps[:-1])

    def forward(self, image: Tensor) -> Tensor:
        """Normalize (n, 3, height, width) in [-1, 1]."""
        result: Tensor = self.rgb_trans(image)
        return result

    @classmethod
    def of(cls, weights: Weights) -> StainNet:
        """A network of the size that `weights` has, with these weights.

        Raises
        ------
        RuntimeError
            If they are not a StainNet's; the message names the keys that differ.
        """
        kernels = [value for key, value in weights.items() if key.endswith(".weight")]
        channels = len(kernels[0]) if kernels else 32
        network = cls(channels, len(kernels) or 3, sum(kernel.shape[2:] == (3, 3) for kernel in kernels))
        return _ready(network, weights)


class ResnetGenerator(nn.Module):
    """The generator of CycleGAN and StainGAN: down twice, residual blocks, up twice.

    Takes and gives float images of shape (n, 3, height, width) in [-1, 1], height and width multiples of 4.

    Source: J.-Y. Zhu et al., Unpaired image-to-image translation using cycle-consistent adversarial networks, 2017;
    parameter names as in github.com/junyanz/pytorch-CycleGAN-and-pix2pix and github.com/xtarx/StainGAN.

    Parameters
    ----------
    filters
        Width of the first and last layers (``ngf``).
    blocks
        Number of residual blocks.
    dropout
        Whether the blocks drop out half of their values in training.

    Examples
    --------
    >>> sum(parameter.numel() for parameter in ResnetGenerator().parameters())
    11378179
    """

    def __init__(self, filters: int = 64, blocks: int = 9, *, dropout: bool = False) -> None:
        super().__init__()
        steps: list[nn.Module] = [nn.ReflectionPad2d(3), *_normed(nn.Conv2d(3, filters, 7), nn.ReLU(inplace=True))]
        for width in (filters, 2 * filters):
            steps += _normed(nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.ReLU(inplace=True))
        steps += [_Block(4 * filters, dropout=dropout) for _ in range(blocks)]
        for width in (4 * filters, 2 * filters):
            grow = nn.ConvTranspose2d(width, width // 2, 3, stride=2, padding=1, output_padding=1)
            steps += _normed(grow, nn.ReLU(inplace=True))
        self.model = nn.Sequential(*steps, nn.ReflectionPad2d(3), nn.Conv2d(filters, 3, 7), nn.Tanh())

    def forward(self, image: Tensor) -> Tensor:
        """Translate (n, 3, height, width) in [-1, 1]."""
        result: Tensor = self.model(image)
        return result

    @classmethod
    def of(cls, weights: Weights) -> ResnetGenerator:
        """A generator of the size that `weights` has, with these weights.

        Weights of parallel training (``module.``) and of torch before 0.4, which kept statistics of the instance
        norms that nothing reads, are taken as well.

        Raises
        ------
        RuntimeError
            If they are not such a generator's; the message names the keys that differ.
        """
        weights = {key.removeprefix("module."): value for key, value in weights.items()}
        weights = {key: value for key, value in weights.items() if not re.search(r"\.(running_|num_batches_)", key)}
        blocks = {match[1] for key in weights if (match := re.fullmatch(r"model\.(\d+)\.conv_block\.1\.weight", key))}
        first = weights.get("model.1.weight")
        filters = len(first) if first is not None and first.ndim else 64
        dropout = any(key.endswith(".conv_block.6.weight") for key in weights)
        return _ready(cls(filters, len(blocks) or 9, dropout=dropout), weights)


class _Block(nn.Module):
    """x + f(x)."""

    def __init__(self, width: int, *, dropout: bool) -> None:
        super().__init__()
        first = [nn.ReflectionPad2d(1), *_normed(nn.Conv2d(width, width, 3), nn.ReLU(inplace=True))]
        second = [nn.ReflectionPad2d(1), *_normed(nn.Conv2d(width, width, 3))]
        self.conv_block = nn.Sequential(*first, *([nn.Dropout(0.5)] if dropout else []), *second)

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = image + self.conv_block(image)
        return result


class NLayerDiscriminator(nn.Module):
    """The PatchGAN discriminator: one verdict for each overlapping patch, of 70x70 pixels with three layers.

    Takes float images of shape (n, 3, height, width) in [-1, 1]; gives (n, 1, h, w), about an eighth as high and wide.

    Source: P. Isola et al., Image-to-image translation with conditional adversarial networks, CVPR 2017; parameter
    names as in github.com/junyanz/pytorch-CycleGAN-and-pix2pix.

    Parameters
    ----------
    filters
        Width of the first layer (``ndf``).
    layers
        Number of layers that halve the size; patches are 16, 34, 70 pixels wide with 1, 2, 3.

    Examples
    --------
    >>> sum(parameter.numel() for parameter in NLayerDiscriminator().parameters())
    2764737
    """

    def __init__(self, filters: int = 64, layers: int = 3) -> None:
        super().__init__()
        leak = 0.2
        steps: list[nn.Module] = [nn.Conv2d(3, filters, 4, stride=2, padding=1), nn.LeakyReLU(leak, inplace=True)]
        width = filters
        for k in range(1, layers + 1):
            wider = filters * min(2**k, 8)
            layer = nn.Conv2d(width, wider, 4, stride=2 if k < layers else 1, padding=1)
            steps += _normed(layer, nn.LeakyReLU(leak, inplace=True))
            width = wider
        self.model = nn.Sequential(*steps, nn.Conv2d(width, 1, 4, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        """Judge (n, 3, height, width) in [-1, 1], patch by patch."""
        result: Tensor = self.model(image)
        return result


def _normed(layer: nn.Conv2d | nn.ConvTranspose2d, *after: nn.Module) -> list[nn.Module]:
    return [layer, nn.InstanceNorm2d(layer.out_channels), *after]


def _ready(network: N, weights: Weights) -> N:
    """`network` with these weights, for use."""
    own = network.state_dict()
    differences = [
        _named("missing", sorted(own.keys() - weights.keys())),
        _named("unexpected", sorted(weights.keys() - own.keys())),
        *(
            f"size mismatch for {key}: {list(weights[key].shape)} instead of {list(own[key].shape)}"
            for key in sorted(own.keys() & weights.keys())
            if weights[key].shape != own[key].shape
        ),
    ]
    if any(differences):
        raise RuntimeError("; ".join([each for each in differences if each][:_NAMED]))
    network.load_state_dict(dict(weights))
    return network.eval().requires_grad_(requires_grad=False)


def _named(what: str, keys: list[str]) -> str:
    more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
    return f"{what} {', '.join(keys[:_NAMED])}{more}" if keys else ""

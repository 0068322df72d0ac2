"""White stays white: one hidden unit of a StainNet that sees nothing else."""

from __future__ import annotations

import torch
from torch import nn

from .networks import StainNet

__all__ = ["with_white"]

_FROM = 252 / 127.5 - 1.0  # of the mean of a color's channels, in [-1, 1]; at level 255 the unit is 1


def with_white(network: StainNet) -> StainNet:
    """A network of one channel more, which gives what `network` gives, and white for white.

    The unit that is added to each hidden layer is 0 for all colors whose channels are at level 252 or below in the mean
    and rises to 1 at white; what `network` lacks there is added to the output in this measure.

    Parameters
    ----------
    network
        Of at least two layers.
    """
    old = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    wider = StainNet(old[0].out_channels + 1, len(old), sum(layer.kernel_size == (3, 3) for layer in old))
    new = [layer for layer in wider.modules() if isinstance(layer, nn.Conv2d)]
    with torch.no_grad():
        size = 2 * len(old) + 1  # pixels a side, so that 3x3 layers see white alone in the middle
        lacking = (1.0 - network(torch.ones(1, 3, size, size)))[0, :, size // 2, size // 2].clamp(min=0.0)
        for before, after in zip(old, new, strict=True):
            center = before.kernel_size[0] // 2
            bias = after.bias
            assert bias is not None
            assert before.bias is not None
            for values in (after.weight, bias):
                values.zero_()
            after.weight[: before.out_channels, : before.in_channels] = before.weight
            bias[: before.out_channels] = before.bias
            if after is new[0]:
                after.weight[-1, :, center, center] = 1.0 / (3.0 * (1.0 - _FROM))
                bias[-1] = -_FROM / (1.0 - _FROM)
            elif after is new[-1]:
                after.weight[:, -1, center, center] = lacking
            else:
                after.weight[-1, -1, center, center] = 1.0
    return wider.eval().requires_grad_(requires_grad=False)

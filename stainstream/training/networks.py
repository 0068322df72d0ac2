"""The networks of the paper, with the parameter names of the authors' code."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["StainNet"]


class StainNet(nn.Module):
    """Three convolutions of 1x1 with ReLU between them: 1,283 parameters.

    Takes and gives float images of shape (n, 3, height, width) in [-1, 1]; the output may leave that range.

    Source: the paper, section 2.2 and figure 1; parameter names as in github.com/khtao/StainNet.

    Parameters
    ----------
    channels
        Width of the hidden layers.
    layers
        Number of convolutions.

    Examples
    --------
    >>> sum(parameter.numel() for parameter in StainNet().parameters())
    1283
    """

    def __init__(self, channels: int = 32, layers: int = 3) -> None:
        super().__init__()
        widths = [3, *[channels] * (layers - 1), 3]
        steps: list[nn.Module] = []
        for k in range(layers):
            steps += [nn.Conv2d(widths[k], widths[k + 1], 1), nn.ReLU(inplace=True)]
        self.rgb_trans = nn.Sequential(*steps[:-1])

    def forward(self, image: Tensor) -> Tensor:
        """Normalize (n, 3, height, width) in [-1, 1]."""
        result: Tensor = self.rgb_trans(image)
        return result

    @classmethod
    def of(cls, weights: dict[str, Tensor]) -> StainNet:
        """A network of the size that `weights` has, with these weights.

        Raises
        ------
        RuntimeError
            If they are not a StainNet's.
        """
        kernels = [value for key, value in weights.items() if key.endswith(".weight")]
        network = cls(channels=len(kernels[0]) if kernels else 32, layers=len(kernels) or 3)
        network.load_state_dict(weights)
        return network.eval().requires_grad_(requires_grad=False)

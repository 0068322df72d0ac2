"""Networks that classify cells: a small one, and residual networks with torchvision's parameter names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from torch import Tensor, nn

from stainstream.errors import ModelError

from .checkpoint import read_tensors

__all__ = ["NETWORKS", "ResNet", "SmallNet", "built"]

Norm: TypeAlias = nn.BatchNorm2d


class SmallNet(nn.Module):
    """Five convolutions of 3x3, each with batch norm and ReLU, of which four halve the size; mean; two classes."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        steps: list[nn.Module] = []
        for given, made, stride in (
            (3, width, 2),
            (width, 2 * width, 2),
            (2 * width, 4 * width, 2),
            (4 * width, 4 * width, 1),
            (4 * width, 8 * width, 2),
        ):
            steps += [nn.Conv2d(given, made, 3, stride, 1, bias=False), Norm(made), nn.ReLU(inplace=True)]
        self.features = nn.Sequential(*steps)
        self.fc = nn.Linear(8 * width, 2)

    def forward(self, image: Tensor) -> Tensor:
        """Two scores of each of (n, 3, height, width)."""
        result: Tensor = self.fc(self.features(image).mean((2, 3)))
        return result


class _Basic(nn.Module):
    """Two convolutions of 3x3 beside a shortcut."""

    grows = 1

    def __init__(self, given: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(given, width, 3, stride, 1, bias=False)
        self.bn1 = Norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = Norm(width)
        self.downsample = _shortcut(given, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.relu(self.bn1(self.conv1(x)))
        result: Tensor = nn.functional.relu(self.bn2(self.conv2(y)) + _around(self.downsample, x))
        return result


class _Bottleneck(nn.Module):
    """Convolutions of 1x1, 3x3 and 1x1 beside a shortcut; the stride is the middle one's, as in torchvision."""

    grows = 4

    def __init__(self, given: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(given, width, 1, bias=False)
        self.bn1 = Norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = Norm(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = Norm(4 * width)
        self.downsample = _shortcut(given, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.relu(self.bn1(self.conv1(x)))
        y = nn.functional.relu(self.bn2(self.conv2(y)))
        result: Tensor = nn.functional.relu(self.bn3(self.conv3(y)) + _around(self.downsample, x))
        return result


def _shortcut(given: int, made: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and given == made:
        return None
    return nn.Sequential(nn.Conv2d(given, made, 1, stride, bias=False), Norm(made))


def _around(shortcut: nn.Sequential | None, x: Tensor) -> Tensor:
    result: Tensor = x if shortcut is None else shortcut(x)
    return result


class ResNet(nn.Module):
    """A residual network of two classes.

    Source: K. He et al., Deep residual learning for image recognition, CVPR 2016; parameter names as in torchvision.

    Parameters
    ----------
    block
        What its layers are built of.
    depths
        Blocks of each of the four layers.

    Examples
    --------
    >>> sum(parameter.numel() for parameter in NETWORKS["resnet18"]().parameters()) - 2 * 513
    11176512
    """

    def __init__(self, block: type[_Basic] | type[_Bottleneck], depths: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = Norm(64)
        given = 64
        for number, depth in enumerate(depths):
            width, steps = 64 << number, []
            for k in range(depth):
                steps.append(block(given, width, 2 if number and not k else 1))
                given = width * block.grows
            setattr(self, f"layer{number + 1}", nn.Sequential(*steps))
        self.fc = nn.Linear(given, 2)

    def forward(self, image: Tensor) -> Tensor:
        """Two scores of each of (n, 3, height, width)."""
        x = nn.functional.relu(self.bn1(self.conv1(image)))
        x = nn.functional.max_pool2d(x, 3, 2, 1)
        for number in range(1, 5):
            x = self.get_submodule(f"layer{number}")(x)
        result: Tensor = self.fc(x.mean((2, 3)))
        return result


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "small": SmallNet,
    "resnet18": lambda: ResNet(_Basic, (2, 2, 2, 2)),
    "resnet50": lambda: ResNet(_Bottleneck, (3, 4, 6, 3)),
}
"""By their names; ``resnet50`` is the paper's."""


def built(network: str, weights: Path | None = None) -> nn.Module:
    """A classifier with random weights, or with those of a file but for its last layer.

    Parameters
    ----------
    weights
        A state dictionary, as torchvision's ``resnet50-*.pth`` of ImageNet.

    Raises
    ------
    ModelError
        If the file is missing, or another network's.
    """
    made = NETWORKS[network]()
    if weights is None:
        return made
    given: dict[str, Any] = {key: value for key, value in read_tensors(weights).items() if not key.startswith("fc.")}
    own = {key: value.shape for key, value in made.state_dict().items() if not key.startswith("fc.")}
    wrong = sorted(own.keys() ^ given.keys()) or [key for key in own if own[key] != given[key].shape]
    if wrong:
        raise ModelError(
            f"cannot use {weights}", f"it is not of {network}: {', '.join(wrong[:3])} and perhaps more differ"
        )
    made.load_state_dict(given, strict=False)
    return made

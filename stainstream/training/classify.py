"""Training a classifier of cells, as the paper's section 4.2 does."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from stainstream.config import Settings

from .augment import Experiment, augmented
from .classifiers import built

__all__ = ["PAPER", "REDUCED", "ClassifierSettings", "Labelled", "f1_of", "positives", "train"]

Images: TypeAlias = NDArray[np.uint8]
"""(n, height, width, 3)."""
Labelled: TypeAlias = tuple[Images, NDArray[np.bool_]]
"""Images, and which of them are positive."""

Positive = Annotated[int, msgspec.Meta(ge=1)]

_STEPS = 8  # an epoch at least: of few images, batches are smaller

# Of ImageNet, as torchvision's weights expect.
_MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
_SPREAD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]

_log = logging.getLogger(__name__)


class ClassifierSettings(Settings, frozen=True, kw_only=True):
    """A classifier and how it learns; as it stands, the paper's."""

    network: Literal["small", "resnet18", "resnet50"] = "resnet50"
    size: Positive = 256
    """Height and width of images, in pixels."""
    epochs: Positive = 60
    drops: tuple[Positive, ...] = (40, 50)
    """Epochs at which the rate falls to a tenth."""
    batch: Positive = 64
    """Images a step; at most an eighth of all."""
    rate: float = 2e-4
    """Adam's."""


PAPER = ClassifierSettings()
"""Section 4.2."""

REDUCED = ClassifierSettings(network="small", size=64, epochs=10, drops=(6, 8), rate=1e-3)
"""For two cores."""


def train(
    given: Labelled,
    held: Labelled,
    experiment: Experiment,
    settings: ClassifierSettings,
    seed: int,
    weights: Path | None = None,
) -> nn.Module:
    """Train a classifier; kept is the epoch with the highest F1 on `held`.

    Parameters
    ----------
    given
        What it learns from, uint8 (n, size, size, 3).
    held
        What its epochs are compared on: of the training centre. (The paper compared them on its test set.)
    weights
        A file to begin with; see `built`.
    """
    torch.manual_seed(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = built(settings.network, weights).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.rate)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, list(settings.drops), 0.1)
    images, labels = given
    batch = max(2, min(settings.batch, len(images) // _STEPS))
    highest, best = -1.0, network.state_dict()
    for epoch in range(settings.epochs):
        rng = np.random.default_rng([seed, epoch])
        order = rng.permutation(len(images))
        network.train()
        for first in range(0, len(order) - 1, batch):
            chosen = order[first : first + batch]
            if len(chosen) < 2:
                continue  # batch norm has no spread to divide by
            stack = np.stack([augmented(images[k], experiment, rng) for k in chosen])
            wanted = torch.from_numpy(labels[chosen].astype(np.int64)).to(device)
            loss = cross_entropy(network(_tensor(stack, device)), wanted)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        schedule.step()
        reached = f1_of(positives(network, held[0]), held[1])
        if reached > highest:
            highest = reached
            best = {key: value.clone() for key, value in network.state_dict().items()}
        _log.debug("%s, seed %d, epoch %d: F1 %.3f of those held out", experiment, seed, epoch + 1, reached)
    network.load_state_dict(best)
    return network.eval()


def positives(network: nn.Module, images: Images, batch: int = 256) -> NDArray[np.bool_]:
    """Which images a classifier calls positive."""
    device = next(network.parameters()).device
    network.eval()
    found: list[NDArray[Any]] = []
    with torch.inference_mode():
        for first in range(0, len(images), batch):
            scores = network(_tensor(images[first : first + batch], device))
            found.append((scores[:, 1] > scores[:, 0]).cpu().numpy())
    return np.concatenate(found)


def f1_of(called: NDArray[np.bool_], labels: NDArray[np.bool_]) -> float:
    """The harmonic mean of recall and precision; 0 where nothing was found."""
    right = int((called & labels).sum())
    return 2 * right / max(1, int(called.sum()) + int(labels.sum()))


def _tensor(images: Images, device: torch.device) -> Tensor:
    values = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255.0
    return ((values - _MEAN) / _SPREAD).to(device)

"""Distillation of a pixelwise teacher into a StainNet."""

from __future__ import annotations

import numpy as np
import torch

from stainstream.frame import RGB8

from .networks import StainNet

__all__ = ["fit"]


def fit(source: RGB8, target: RGB8, steps: int = 1500, batch: int = 1 << 16, seed: int = 0) -> StainNet:
    """Fit a StainNet to pairs of colors: each step takes `batch` random pairs of all, with the L1 loss.

    A pixelwise student can learn no texture, so it is given colors rather than tiles.

    Parameters
    ----------
    source, target
        uint8, shape (n, 3): what the teacher was given and what it made of it.
    steps, batch, seed
        Adam, 1e-2 with cosine decay to 0.
    """
    torch.manual_seed(seed)
    network = StainNet()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    given, wanted = (torch.from_numpy(np.ascontiguousarray(side)) for side in (source, target))
    for _ in range(steps):
        chosen = torch.randint(len(given), (batch,))
        image, goal = (side[chosen].T[None, :, :, None].float() / 127.5 - 1 for side in (given, wanted))
        loss = torch.nn.functional.l1_loss(network(image), goal)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return network.eval().requires_grad_(requires_grad=False)

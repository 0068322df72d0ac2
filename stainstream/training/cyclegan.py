"""One step of a CycleGAN: what the generators learn, then what the discriminators learn.

Source: J.-Y. Zhu et al., Unpaired image-to-image translation using cycle-consistent adversarial networks, ICCV 2017.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from .networks import NLayerDiscriminator, ResnetGenerator
from .ranks import Ranks

__all__ = ["TERMS", "CycleGAN", "Pool", "judge", "learn_identity", "paint"]

TERMS = ("adversarial_A", "adversarial_B", "cycle_A", "cycle_B", "identity", "critic_A", "critic_B")
"""The losses of a step, unweighted: A is source to target, B the way back, cycles begin at their side."""

_BETAS = (0.5, 0.999)


class Pool:
    """Translated tiles of earlier steps: half of what a discriminator is shown comes from there.

    Source: A. Shrivastava et al., Learning from simulated and unsupervised images through adversarial training, 2017.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self.tiles: list[Tensor] = []

    def exchange(self, fresh: Tensor, rng: np.random.Generator) -> Tensor:
        """Put `fresh` in, take as many out: each tile itself or, half of the times, an earlier one for it."""
        shown = []
        for tile in fresh.detach():
            if len(self.tiles) < self._size:
                self.tiles.append(tile)
                shown.append(tile)
            elif self._size and rng.random() < 0.5:
                at = int(rng.integers(self._size))
                shown.append(self.tiles[at])
                self.tiles[at] = tile
            else:
                shown.append(tile)
        return torch.stack(shown)


@dataclass
class CycleGAN:
    """Two generators, two discriminators and what trains them."""

    forward: ResnetGenerator
    """Source to target: ``G_A``."""
    back: ResnetGenerator
    """Target to source: ``G_B``."""
    critic_target: NLayerDiscriminator
    """Tells target tiles from translated ones: ``D_A``."""
    critic_source: NLayerDiscriminator
    """Tells source tiles from those translated back: ``D_B``."""
    pools: tuple[Pool, Pool]
    ranks: Ranks = field(default_factory=Ranks)
    autocast: bool = False
    """Whether to compute in bfloat16 where that is safe."""

    def __post_init__(self) -> None:
        for network in self.networks():
            network.apply(_initialize).to(self.ranks.device)
            nn.utils.convert_conv2d_weight_memory_format(network, torch.channels_last)
        self.painters = torch.optim.Adam(list(self.parameters("G_A", "G_B")), betas=_BETAS)
        self.judges = torch.optim.Adam(list(self.parameters("D_A", "D_B")), betas=_BETAS)

    def named(self) -> dict[str, nn.Module]:
        """The networks by the names that the public code gives their files."""
        return {"G_A": self.forward, "G_B": self.back, "D_A": self.critic_target, "D_B": self.critic_source}

    def networks(self) -> list[nn.Module]:
        """The four networks."""
        return list(self.named().values())

    def parameters(self, *names: str) -> Iterator[nn.Parameter]:
        """All weights of these networks."""
        return itertools.chain.from_iterable(self.named()[name].parameters() for name in names)

    def parts(self) -> dict[str, Any]:
        """Everything that has a ``state_dict``."""
        return {**self.named(), "painters": self.painters, "judges": self.judges}

    def set_rate(self, rate: float) -> None:
        """Set the learning rate."""
        for group in (*self.painters.param_groups, *self.judges.param_groups):
            group["lr"] = rate


def learn_identity(gan: CycleGAN, a: Tensor, b: Tensor) -> Tensor:
    """Teach the generators to change nothing, the start from which colors are learned fastest; gives `TERMS`."""
    with _precision(gan):
        loss = l1_loss(gan.forward(a), a) + l1_loss(gan.back(b), b)
    _descend(gan, gan.painters, loss, "G_A", "G_B")
    nothing = torch.zeros_like(loss)
    return torch.stack([loss if term == "identity" else nothing for term in TERMS]).detach()


def paint(gan: CycleGAN, a: Tensor, b: Tensor, cycle: float, identity: float) -> tuple[Tensor, Tensor, Tensor]:
    """Teach the generators: translations shall pass for real, and the way back shall end where it began.

    Parameters
    ----------
    a, b
        Source and target tiles, (n, 3, height, width) in [-1, 1].
    cycle, identity
        Weights of the cycle loss, and of the identity loss relative to it.

    Returns
    -------
    The first five of `TERMS`; the tiles translated to the target; those translated to the source.
    """
    for critic in (gan.critic_target, gan.critic_source):
        critic.requires_grad_(requires_grad=False)  # a gradient for them would be thrown away
    with _precision(gan):
        fake_b, fake_a = gan.forward(a), gan.back(b)
        adversarial = [_verdict(gan.critic_target, fake_b, 1.0), _verdict(gan.critic_source, fake_a, 1.0)]
        cycles = [l1_loss(gan.back(fake_b), a), l1_loss(gan.forward(fake_a), b)]
        same = l1_loss(gan.forward(b), b) + l1_loss(gan.back(a), a) if identity else torch.zeros_like(cycles[0])
        loss = sum(adversarial) + cycle * (cycles[0] + cycles[1]) + cycle * identity * same
    assert isinstance(loss, Tensor)
    _descend(gan, gan.painters, loss, "G_A", "G_B")
    for critic in (gan.critic_target, gan.critic_source):
        critic.requires_grad_(requires_grad=True)
    return torch.stack([*adversarial, *cycles, same]).detach(), fake_b, fake_a


def judge(gan: CycleGAN, a: Tensor, b: Tensor, fake_b: Tensor, fake_a: Tensor, rng: np.random.Generator) -> Tensor:
    """Teach the discriminators to tell translated tiles from real ones; gives the last two of `TERMS`."""
    shown_b, shown_a = (pool.exchange(fake, rng) for pool, fake in zip(gan.pools, (fake_b, fake_a), strict=True))
    with _precision(gan):
        losses = [
            (_verdict(critic, real, 1.0) + _verdict(critic, shown, 0.0)) / 2
            for critic, real, shown in ((gan.critic_target, b, shown_b), (gan.critic_source, a, shown_a))
        ]
        loss = losses[0] + losses[1]
    _descend(gan, gan.judges, loss, "D_A", "D_B")
    return torch.stack(losses).detach()


def _verdict(critic: nn.Module, tiles: Tensor, wanted: float) -> Tensor:
    """Least squares (X. Mao et al., Least squares generative adversarial networks, ICCV 2017)."""
    verdict: Tensor = critic(tiles)
    return (verdict.float() - wanted).square().mean()


def _descend(gan: CycleGAN, optimizer: torch.optim.Optimizer, loss: Tensor, *names: str) -> None:
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    gan.ranks.average(gan.parameters(*names))
    optimizer.step()


def _precision(gan: CycleGAN) -> torch.autocast:
    return torch.autocast(gan.ranks.device.type, torch.bfloat16, enabled=gan.autocast)


def _initialize(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(layer.weight, 0.0, 0.02)
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)

"""Several processes that train one network: what ``torchrun`` starts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor, nn

from stainstream.errors import UsageError

__all__ = ["Ranks", "joined"]

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """One process among those that train together: the one that asks."""

    rank: int = 0
    count: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def first(self) -> bool:
        """Whether this one writes the files."""
        return self.rank == 0

    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace gradients by their mean over all processes."""
        if self.count == 1:
            return
        gradients = [each.grad for each in parameters if each.grad is not None]
        flat = torch.cat([each.reshape(-1) for each in gradients])
        torch.distributed.all_reduce(flat)
        flat /= self.count
        means = torch.split(flat, [each.numel() for each in gradients])
        for gradient, mean in zip(gradients, means, strict=True):
            gradient.copy_(mean.view_as(gradient))

    def mean(self, values: Tensor) -> Tensor:
        """The mean of `values` over all processes."""
        if self.count > 1:
            torch.distributed.all_reduce(values)
        return values / self.count

    def gather(self, value: T) -> list[T]:
        """What each process has; empty in all but the first."""
        if self.count == 1:
            return [value]
        everything: list[T] | None = [value] * self.count if self.first else None
        torch.distributed.gather_object(value, everything)
        return everything or []


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """Join the processes that ``torchrun`` started; without it, this one is alone.

    Parameters
    ----------
    device
        ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Raises
    ------
    UsageError
        If there is no such device.
    """
    kind = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if kind == "cuda" and not torch.cuda.is_available():
        raise UsageError("cannot train on cuda", "torch finds no CUDA device", "run: stainstream doctor")
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Ranks(device=torch.device(kind))
        return
    rank, place = int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", "0"))
    if kind == "cuda":
        torch.cuda.set_device(place)
    torch.distributed.init_process_group("nccl" if kind == "cuda" else "gloo")
    try:
        yield Ranks(rank, count, torch.device(kind, place) if kind == "cuda" else torch.device(kind))
    finally:
        torch.distributed.destroy_process_group()

"""The classic methods in public packages: how each is fitted to a target and normalizes a frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np

from stainstream.frame import RGB8

__all__ = ["PEERS", "Peer", "Step"]

Step: TypeAlias = Callable[[RGB8], Any]

Peer: TypeAlias = tuple[str, str, Step, Step]
"""Its name, the method, how it is fitted to a target, and how it normalizes a frame: it fits the frame's own statistics
again each time, for its interface offers nothing else."""


def torchstain_peers(target: RGB8) -> Iterator[Peer]:
    """Peer, method, and how it fits and normalizes a frame."""
    import torch
    from torchstain import normalizers

    def tensor(image: RGB8) -> Any:
        return torch.from_numpy(image).permute(2, 0, 1).contiguous()

    for backend, given in (("numpy", np.asarray), ("torch", tensor)):
        macenko, reinhard = (
            make(backend=backend) for make in (normalizers.MacenkoNormalizer, normalizers.ReinhardNormalizer)
        )
        for each in (macenko, reinhard):
            each.fit(given(target))
        name = f"torchstain {backend}"
        yield (
            name,
            "macenko",
            _step(lambda own, x: own[0].fit(own[1](x)), (macenko, given)),
            _step(lambda own, x: own[0].normalize(own[1](x), stains=False), (macenko, given)),
        )
        yield (
            name,
            "reinhard",
            _step(lambda own, x: own[0].fit(own[1](x)), (reinhard, given)),
            _step(lambda own, x: own[0].normalize(own[1](x)), (reinhard, given)),
        )


def staintools_peers(target: RGB8) -> Iterator[Peer]:
    """As above."""
    import staintools

    made = {name: staintools.StainNormalizer(name) for name in ("macenko", "vahadane")}
    for name, each in ({"reinhard": staintools.ReinhardColorNormalizer()} | made).items():
        each.fit(target.copy())
        yield (
            "staintools",
            name,
            _step(lambda e, x: e.fit(x.copy()), each),
            _step(lambda e, x: e.transform(x.copy()), each),
        )


def tiatoolbox_peers(target: RGB8) -> Iterator[Peer]:
    """As above."""
    from tiatoolbox.tools import stainnorm

    for name in ("reinhard", "macenko", "vahadane"):
        each = stainnorm.get_normalizer(name)
        each.fit(target.copy())
        yield (
            "tiatoolbox",
            name,
            _step(lambda e, x: e.fit(x.copy()), each),
            _step(lambda e, x: e.transform(x.copy()), each),
        )


def stainx_peers(target: RGB8) -> Iterator[Peer]:
    """As above; uint8 tensors (1, 3, height, width)."""
    import stainx
    import torch

    def tensor(image: RGB8) -> Any:
        return torch.from_numpy(image).permute(2, 0, 1).contiguous()[None]

    for name, kind in (("reinhard", stainx.Reinhard), ("macenko", stainx.Macenko)):
        each = kind(device="cpu")
        each.fit(tensor(target))
        yield (
            "stainx",
            name,
            _step(lambda e, x: e.fit(tensor(x)), each),
            _step(lambda e, x: e.transform(tensor(x))[0].permute(1, 2, 0).contiguous().numpy(), each),
        )


def torch_staintools_peers(target: RGB8) -> Iterator[Peer]:
    """As above; float tensors in [0, 1]. With a cache, the matrix of the source is not estimated again."""
    import torch
    from torch_staintools.normalizer import NormalizerBuilder

    def tensor(image: RGB8) -> Any:
        return torch.from_numpy(image).permute(2, 0, 1).contiguous()[None].float() / 255

    def normalize(each: Any, x: RGB8, **options: Any) -> Any:
        with torch.inference_mode():
            made = each(tensor(x), **options)
            return (made[0].permute(1, 2, 0) * 255).to(torch.uint8).contiguous().numpy()

    for name in ("reinhard", "macenko", "vahadane"):
        each = NormalizerBuilder.build(name)
        each.fit(tensor(target))
        yield (
            "torch-staintools",
            name,
            _step(lambda e, x: e.fit(tensor(x)), each),
            _step(normalize, each),
        )
    cached = NormalizerBuilder.build("macenko", use_cache=True)
    cached.fit(tensor(target))
    yield (
        "torch-staintools, cached",
        "macenko",
        lambda x: cached.fit(tensor(x)),
        lambda x: normalize(cached, x, cache_keys=["one"]),
    )


def _step(run: Callable[[Any, RGB8], Any], own: Any) -> Step:
    """A step that keeps what it runs on."""
    return lambda image: run(own, image)


PEERS: dict[str, tuple[str, Callable[[RGB8], Iterator[Peer]]]] = {
    "torchstain": ("torchstain", torchstain_peers),
    "staintools": ("staintools", staintools_peers),
    "tiatoolbox": ("staintools", tiatoolbox_peers),
    "stainx": ("torchstain", stainx_peers),
    "torch_staintools": ("its own", torch_staintools_peers),
}
"""Package: whose conventions it follows, and its candidates."""

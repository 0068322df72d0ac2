"""Distillation into a StainNet."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from stainstream.frame import RGB8  # noqa: E402 (torch is optional)
from stainstream.training.distil import fit  # noqa: E402
from stainstream.training.networks import StainNet  # noqa: E402

MATRIX = np.array([[0.8, 0.1, 0.0], [0.05, 0.7, 0.1], [0.0, 0.1, 0.85]])


def _pairs(count: int, seed: int) -> tuple[RGB8, RGB8]:
    source = np.random.default_rng(seed).integers(0, 256, (count, 3), np.uint8)
    return source, np.rint(source @ MATRIX.T + 5).astype(np.uint8)


def _psnr(network: StainNet) -> float:
    """On colors that it was not fitted to, in dB."""
    source, target = _pairs(20_000, 1)
    image = torch.from_numpy(source.T[None, :, :, None].astype(np.float32)) / 127.5 - 1
    result = (network(image).numpy()[0, :, :, 0].T + 1) * 127.5
    return float(10 * np.log10(255**2 / np.mean((result - target) ** 2)))


def test_a_linear_map_is_learned() -> None:
    source, target = _pairs(20_000, 0)
    short = _psnr(fit(source, target, steps=10, batch=1 << 11))
    long = _psnr(fit(source, target, steps=200, batch=1 << 11))
    assert long > 35
    assert long > short + 10


def test_the_same_seed_gives_the_same_network() -> None:
    source, target = _pairs(500, 0)
    first, second, other = (fit(source, target, steps=3, batch=64, seed=seed) for seed in (3, 3, 4))
    image = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(first(image), second(image), rtol=0, atol=0)
    assert not torch.equal(first(image), other(image))
    assert not first.training


def test_views_can_be_fitted_to() -> None:
    source, target = _pairs(500, 0)
    reversed_twice = fit(source[::-1][::-1], np.asfortranarray(target), steps=3, batch=64)
    image = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(reversed_twice(image), fit(source, target, steps=3, batch=64)(image), rtol=0, atol=0)

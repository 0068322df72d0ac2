"""Macenko's method, against the packages it is meant to agree with."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

import stainstream as ss
from stainstream.normalizers.conventions import PROFILES
from stainstream.normalizers.macenko import Macenko
from stainstream.normalizers.stains import codes

from .conftest import Pair
from .tiles import demo, mapped, restained

PLAIN = msgspec.structs.replace(PROFILES["torchstain"], keep_glass=False)


def _torchstain(backend: str, pair: Pair) -> Any:
    """What torchstain makes of a source, uint8 or int32."""
    normalizers = pytest.importorskip("torchstain").normalizers
    source, target = pair
    theirs = normalizers.MacenkoNormalizer(backend=backend)
    if backend == "numpy":
        theirs.fit(target)
        return theirs.normalize(source, stains=False)[0]
    torch = pytest.importorskip("torch")
    theirs.fit(torch.from_numpy(target.transpose(2, 0, 1).copy()))
    return theirs.normalize(torch.from_numpy(source.transpose(2, 0, 1).copy()), stains=False)[0].numpy()


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_it_is_torchstain_within_a_level(pair: Pair, backend: str) -> None:
    source, target = pair
    difference = np.abs(mapped(Macenko.fit(source, target, PLAIN), source).astype(int) - _torchstain(backend, pair))
    assert difference.mean() < 0.1
    # torch works in float32, which turns the plane of dark tissue by a hundredth of a degree or more: a few dark pixels
    # are up to six levels off there, and only there.
    assert (difference > 1).mean() <= (0.0 if backend == "numpy" else 1e-4)


def test_keeping_glass_changes_nothing_in_tissue(pair: Pair) -> None:
    source, target = pair
    kept, plain = (mapped(Macenko.fit(source, target, each), source) for each in ("torchstain", PLAIN))
    tissue = (source.min(axis=-1) <= 205) & (source.max(axis=-1) >= 40)
    np.testing.assert_array_equal(kept[tissue], plain[tissue])


def test_it_is_staintools_to_the_bit(pair: Pair) -> None:
    pytest.importorskip("spams", reason="SPAMS is not installed: pip install --no-deps staintools spams-bin")
    staintools = pytest.importorskip("staintools")
    source, target = pair
    theirs = staintools.StainNormalizer("macenko")
    theirs.fit(target.copy())
    ours = mapped(Macenko.fit(source, target, "staintools"), source)
    np.testing.assert_array_equal(ours, theirs.transform(source.copy()))


def test_the_table_is_the_map() -> None:
    source, target = demo(), restained(demo(2, 1))
    fitted = Macenko.fit(source, target=target, profile="torchstain")
    with ss.load(fitted) as normalize:
        np.testing.assert_array_equal(normalize(source), mapped(fitted, source))


def test_codes_minimize_what_they_should() -> None:
    encode = pytest.importorskip("sklearn.decomposition").sparse_encode
    stains = np.array([[0.6, 0.7, 0.3], [0.2, 0.9, 0.3]])
    stains /= np.linalg.norm(stains, axis=1, keepdims=True)
    density = np.random.default_rng(0).uniform(-0.1, 2.0, (400, 3))
    theirs = encode(density, stains, algorithm="lasso_cd", alpha=0.1, positive=True, max_iter=10_000)
    np.testing.assert_allclose(codes(density, stains, 0.1), theirs, atol=1e-3)


def test_normalizing_to_itself_changes_little() -> None:
    image = demo(1, 1)
    settings = msgspec.structs.replace(PROFILES["stream"], offset=0, white=255.0)
    before, after = image.astype(int), mapped(Macenko.fit(image, image, settings), image).astype(int)
    assert np.abs(before - after).mean() < 3  # what is neither stain is lost, as in every peer

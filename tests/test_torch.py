"""Normalizing in a DataLoader."""

from __future__ import annotations

import os
import pickle
import re
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import stainstream as ss
from stainstream.errors import FrameError, ModelError
from tests.normalizers.tiles import demo

torch = pytest.importorskip("torch", reason="torch is not installed")

from stainstream.torch import Normalize, Normalized  # noqa: E402 - needs torch

Pair = namedtuple("Pair", "image label")


@pytest.fixture(scope="module")
def normalize() -> Normalize:
    return Normalize()


def tiles() -> list[ss.RGB8]:
    image = demo(size=256)
    return [np.ascontiguousarray(image[y : y + 64, x : x + 96]) for y in (0, 64, 128) for x in (0, 96)]


def expected() -> list[ss.RGB8]:
    with ss.load("default", "lut_numpy") as reference:
        return [reference(tile) for tile in tiles()]


def test_every_kind_of_image_is_normalized_to_the_bit(normalize: Normalize) -> None:
    tile, wanted = tiles()[0], expected()[0]
    before = tile.copy()
    chw = torch.from_numpy(tile).permute(2, 0, 1)
    assert np.array_equal(normalize(tile), wanted)
    assert np.array_equal(normalize(chw).permute(1, 2, 0).numpy(), wanted)
    assert np.array_equal(normalize(torch.stack([chw, chw]))[1].permute(1, 2, 0).numpy(), wanted)
    assert np.array_equal(np.asarray(normalize(Image.fromarray(tile))), wanted)
    assert np.array_equal(tile, before)
    assert normalize(chw).is_contiguous()


def test_what_is_no_8_bit_image_is_refused(normalize: Normalize) -> None:
    for image in (torch.zeros(3, 4, 4), torch.zeros(4, 4, 3, dtype=torch.uint8), torch.zeros(3, 4, dtype=torch.uint8)):
        with pytest.raises(FrameError, match="before the image becomes floating-point"):
            normalize(image)
    with pytest.raises(FrameError, match="cannot normalize a str"):
        normalize("image.png")
    with pytest.raises(ModelError, match="no model 'nothing'"):
        Normalize("nothing")


def test_datasets_keep_what_is_not_the_image(normalize: Normalize) -> None:
    tile, wanted = tiles()[0], expected()[0]
    cases: list[tuple[Any, Any]] = [
        ((tile, 3), 0),
        ([tile, 3], 0),
        (Pair(tile, 3), 0),
        ({"image": tile, "label": 3}, "image"),
    ]
    for item, image in cases:
        found = Normalized([item], normalize)[0]
        assert type(found) is type(item)
        assert np.array_equal(found[image], wanted)
        assert found["label" if image == "image" else 1] == 3
    assert np.array_equal(Normalized([tile], normalize)[0], wanted)
    assert len(Normalized(tiles(), normalize)) == 6


class _Mapped:
    """Tiles, with what the worker that gives them holds of the table: kB that are copies of its own."""

    def __init__(self, normalize: Normalize) -> None:
        self._tiles, self._normalize = tiles(), normalize

    def __len__(self) -> int:
        return len(self._tiles)

    def __getitem__(self, index: int) -> tuple[Any, int, int]:
        self._normalize(self._tiles[index])
        maps = Path("/proc/self/smaps").read_text().split("VmFlags")
        mine = [block for block in maps if re.search(r"tables/\w+\.lut", block)]
        copied = sum(int(re.findall(r"Anonymous: +(\d+) kB", block)[0]) for block in mine)
        return torch.from_numpy(self._tiles[index]).permute(2, 0, 1), os.getpid(), copied if mine else -1


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and forks")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_workers_of_a_loader_share_one_table(normalize: Normalize) -> None:
    apart = pickle.loads(pickle.dumps(normalize))  # not loaded: each worker opens it itself
    data = Normalized(_Mapped(apart), apart)
    loader = torch.utils.data.DataLoader(data, batch_size=2, num_workers=2, multiprocessing_context="fork")
    found, processes, copied = zip(*loader, strict=True)
    images = torch.cat(found).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(images, np.stack(expected()))
    assert len(set(torch.cat(processes).tolist())) == 2
    assert set(torch.cat(copied).tolist()) == {0}

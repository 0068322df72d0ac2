"""Distillation: a StainNet learns what a teacher made of tiles, by the paper's recipe or by a fast one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import l1_loss, smooth_l1_loss

from stainstream.color.lut import colors_of, quantize
from stainstream.color.tissue import keep_glass
from stainstream.config import Settings
from stainstream.errors import ModelError
from stainstream.frame import RGB8
from stainstream.metrics import psnr

from .checkpoint import read_state, save
from .networks import StainNet
from .progress import steps as progress
from .progress import stopping
from .report import Losses
from .translate import levels, tensor
from .white import with_white

__all__ = ["Fast", "Paper", "Recipe", "Shape", "Tiles", "apply", "fit", "fit_fast", "fit_paper", "likeness"]

Tiles: TypeAlias = Sequence[tuple[RGB8, RGB8]]
"""Tiles before and after the teacher."""

STATE = "state.pt"

_LOG_EVERY = 50
_PATCH = 32  # pixels a side of what a network with 3x3 layers is given
_ROWS = 64  # colors are given as an image of so many rows: convolutions of 1x1 are slow on one column
_PIXELS = 1 << 24  # at most, of all tiles
_LIGHT_FROM, _LIGHT = 225, 0.02  # the level from which on gray is light, and the share of pixels that are added of it

Positive = Annotated[int, msgspec.Meta(ge=1)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Rate = Annotated[float, msgspec.Meta(gt=0)]
Glass: TypeAlias = Literal["white", "light", "none"]


class Shape(Settings, frozen=True, kw_only=True):
    """The student's size; as it stands, the paper's."""

    channels: Positive = 32
    """Width of the hidden layers."""
    layers: Annotated[int, msgspec.Meta(ge=1, le=16)] = 3
    """Number of convolutions."""
    conv3x3: Annotated[int, msgspec.Meta(ge=0)] = 0
    """How many of them are 3x3: the paper's table 2."""


class Paper(Settings, frozen=True, kw_only=True, tag_field="recipe", tag="paper"):
    """The paper's recipe, section 3.3: L1, SGD, cosine to 0, the best PSNR on the test tiles is kept."""

    epochs: Positive = 300
    batch: Positive = 10
    """Tiles a step."""
    rate: Rate = 0.01


class Fast(Settings, frozen=True, kw_only=True, tag_field="recipe", tag="fast"):
    """Joint statistics of colors: each step takes random pixels of all tiles, and Adam."""

    steps: Positive = 1500
    pixels: Annotated[int, msgspec.Meta(ge=1024, multiple_of=1024)] = 1 << 14
    """Pixels a step; patches of 32x32 where the network asks neighbors."""
    rate: Rate = 1e-2
    """Falls to 0 along a cosine."""
    bend: Annotated[float, msgspec.Meta(ge=0)] = 0.05
    """Below this difference, of colors in [-1, 1], the loss is square, above it absolute; 0 for L1."""
    affine: Share = 0.2
    """How far the teacher's colors are drawn to the affine map that is next to it: a teacher's finer bends are those of
    the tiles it saw."""
    glass: Glass = "white"
    """What becomes of glass: ``"white"`` keeps white as it is, and leaves the scanner's own glass, which is darker, to
    the teacher, for what one scanner shows as light gray may be pink in another; ``"light"`` keeps light gray as well;
    ``"none"`` does what the teacher did."""
    rare: Share = 0.02
    """Share of pixels that are of any color, mapped by the affine map next to the teacher: what no tile holds does not
    go astray."""


Recipe: TypeAlias = Paper | Fast


def fit(
    source: RGB8,
    target: RGB8,
    steps: int = 1500,
    batch: int = 1 << 14,
    seed: int = 0,
    shape: Shape | None = None,
    rate: float = 1e-2,
    losses: Losses | None = None,
    bend: float = 0.0,
) -> StainNet:
    """Fit a pixelwise StainNet to pairs of colors with the L1 loss.

    Parameters
    ----------
    source, target
        uint8, shape (n, 3): what the teacher was given and what it made of it.
    steps, batch, seed, rate
        Adam, with cosine decay to 0; `batch` random pairs a step, a multiple of 64.
    losses
        Where to note them.
    bend
        Below which difference, of colors in [-1, 1], the loss is square instead.
    """
    given, wanted = (torch.from_numpy(np.ascontiguousarray(side)) for side in (source, target))

    def draw(rng: torch.Generator) -> tuple[Tensor, Tensor]:
        chosen = torch.randint(len(given), (batch,), generator=rng)
        one, other = (side[chosen].T.reshape(1, 3, _ROWS, -1).float() / 127.5 - 1 for side in (given, wanted))
        return one, other

    torch.manual_seed(seed)
    shape = shape or Shape()
    network = StainNet(shape.channels, shape.layers)
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    return _descend(network, optimizer, draw, steps, seed, losses, bend)


def fit_fast(tiles: Tiles, shape: Shape, recipe: Fast, seed: int, losses: Losses | None = None) -> StainNet:
    """Learn from the colors of `tiles`, of any sizes; a network with 3x3 layers, from patches of them."""
    pinned = recipe.glass != "none" and shape.layers > 1 and shape.channels > 1
    learned = msgspec.structs.replace(shape, channels=shape.channels - 1) if pinned else shape
    if shape.conv3x3:
        network = _fit_patches(tiles, learned, recipe, seed, losses)
    else:
        given, wanted = _with_anchors(*_colors(tiles, seed), recipe, seed)
        network = fit(given, wanted, recipe.steps, recipe.pixels, seed, learned, recipe.rate, losses, recipe.bend)
    return with_white(network) if pinned else network


def _fit_patches(tiles: Tiles, shape: Shape, recipe: Fast, seed: int, losses: Losses | None) -> StainNet:
    rng = np.random.default_rng(seed)
    tiles = [each for each in tiles if min(each[0].shape[:2]) >= _PATCH]

    def draw(_: torch.Generator) -> tuple[Tensor, Tensor]:
        one, other = [], []
        for _patch in range(recipe.pixels // _PATCH**2):
            before, after = tiles[int(rng.integers(len(tiles)))]
            top, left = (int(rng.integers(side - _PATCH + 1)) for side in before.shape[:2])
            place = np.s_[top : top + _PATCH, left : left + _PATCH]
            one.append(before[place])
            other.append(after[place])
        return tensor(np.stack(one)), tensor(np.stack(other))

    torch.manual_seed(seed)
    network = StainNet(shape.channels, shape.layers, shape.conv3x3)
    optimizer = torch.optim.Adam(network.parameters(), lr=recipe.rate)
    return _descend(network, optimizer, draw, recipe.steps, seed, losses, recipe.bend)


def fit_paper(
    tiles: Tiles, tests: Tiles, shape: Shape, recipe: Paper, seed: int, out: Path, *, resume: bool = False
) -> StainNet:
    """Learn from whole, equally large tiles, and keep what was best on `tests`; a state is written after each epoch.

    Raises
    ------
    ModelError
        If `out` cannot be written, or holds another training's state.
    """
    torch.manual_seed(seed)
    network, best = (StainNet(shape.channels, shape.layers, shape.conv3x3) for _ in range(2))
    optimizer = torch.optim.SGD(network.parameters(), lr=recipe.rate)
    start, highest = 0, -math.inf
    if resume:
        state = read_state(out / STATE)
        try:
            start, highest = int(state["epoch"]), float(state["psnr"])
            network.load_state_dict(state["network"])
            best.load_state_dict(state["best"])
        except (KeyError, RuntimeError) as error:
            raise ModelError(f"cannot go on from {out / STATE}", f"it is not this training's: {error}") from error
    losses = Losses(out, start)
    with stopping() as stop:
        for epoch in progress(start, recipe.epochs, "student"):
            for group in optimizer.param_groups:
                group["lr"] = recipe.rate / 2 * (1 + math.cos(math.pi * epoch / recipe.epochs))
            order, total = np.random.default_rng([seed, epoch]).permutation(len(tiles)), 0.0
            for first in range(0, len(order), recipe.batch):
                chosen = [tiles[k] for k in order[first : first + recipe.batch]]
                given, wanted = (tensor(np.stack([pair[side] for pair in chosen])) for side in (0, 1))
                loss = l1_loss(network(given), wanted)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                total += loss.item() * len(chosen)
            reached = likeness(network, tests)
            if reached > highest:
                highest = reached
                best.load_state_dict(network.state_dict())
            losses.add(epoch + 1, {"loss": total / len(tiles), "psnr": reached})
            losses.write()
            states = {"network": network.state_dict(), "best": best.state_dict()}
            save(out / STATE, {"epoch": epoch + 1, "psnr": highest, **states})
            if stop.asked:
                break
    losses.draw()
    return best.eval().requires_grad_(requires_grad=False)


def apply(network: StainNet, image: RGB8) -> RGB8:
    """What a student makes of an image."""
    with torch.inference_mode():
        return np.asarray(levels(network(tensor(image[None])))[0], np.uint8)


def likeness(network: StainNet, tiles: Tiles) -> float:
    """Mean PSNR of a student against its teacher, in dB."""
    return float(np.mean([psnr(apply(network, given), wanted) for given, wanted in tiles]))


def _descend(
    network: StainNet,
    optimizer: torch.optim.Optimizer,
    draw: Callable[[torch.Generator], tuple[Tensor, Tensor]],
    steps: int,
    seed: int,
    losses: Losses | None,
    bend: float,
) -> StainNet:
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    rng, total = torch.Generator().manual_seed(seed), 0.0
    for step in progress(0, steps, "student", shown=losses is not None):
        given, wanted = draw(rng)
        loss = smooth_l1_loss(network(given), wanted, beta=bend)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        total += loss.item()
        if losses is not None and (step + 1) % _LOG_EVERY == 0:
            losses.add(step + 1, {"loss": total / _LOG_EVERY})
            total = 0.0
    return network.eval().requires_grad_(requires_grad=False)


def _colors(tiles: Tiles, seed: int) -> tuple[RGB8, RGB8]:
    """Colors before and after, (n, 3): those of all pixels, or a random part of each tile's."""
    share, rng = _PIXELS / sum(before.size // 3 for before, _ in tiles), np.random.default_rng(seed)
    given, wanted = [], []
    for before, after in tiles:
        pixels = before.size // 3
        chosen = slice(None) if share >= 1 else rng.choice(pixels, int(share * pixels), replace=False)
        given.append(before.reshape(-1, 3)[chosen])
        wanted.append(after.reshape(-1, 3)[chosen])
    return np.concatenate(given), np.concatenate(wanted)


def _with_anchors(given: RGB8, wanted: RGB8, recipe: Fast, seed: int) -> tuple[RGB8, RGB8]:
    """Draw colors to the teacher's next affine map; add any colors, which go where it takes them, and light gray."""
    rng, count = np.random.default_rng(seed), len(given)
    some = rng.integers(0, count, min(count, 1 << 18))
    affine, *_ = np.linalg.lstsq(_with_one(given[some]), wanted[some] / 255.0, rcond=None)
    anything = colors_of(rng.integers(0, 1 << 24, int(recipe.rare * count), dtype=np.uint32))
    mapped = quantize(_with_one(anything) @ affine)
    if recipe.affine:
        drawn = _with_one(given) @ (recipe.affine * affine).astype(np.float32)
        wanted = quantize(drawn + wanted * np.float32((1.0 - recipe.affine) / 255.0))
    given, wanted = np.concatenate([given, anything]), np.concatenate([wanted, mapped])
    if recipe.glass != "light":
        return given, wanted
    level = rng.integers(_LIGHT_FROM, 256, (int(_LIGHT * count), 1))
    glass = np.clip(level + rng.integers(-2, 3, (len(level), 3)), 0, 255).astype(np.uint8)
    kept = quantize(keep_glass(given / 255.0, wanted / 255.0))
    return np.concatenate([given, glass]), np.concatenate([kept, glass])


def _with_one(colors: RGB8) -> NDArray[np.float32]:
    return np.column_stack([colors.astype(np.float32) / 255.0, np.ones(len(colors), np.float32)])

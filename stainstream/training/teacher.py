"""The teacher: StainGAN, a CycleGAN between two sets of tiles that need not be pairs.

Source: M. T. Shaban et al., StainGAN: stain style transfer for digital histological images, ISBI 2019.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from stainstream.errors import ModelError
from stainstream.frame import RGB8

from .checkpoint import read_state, save, write_whole
from .cyclegan import TERMS, CycleGAN, Pool, judge, learn_identity, paint
from .networks import NLayerDiscriminator, ResnetGenerator
from .progress import steps, stopping
from .ranks import Ranks
from .report import Losses, color_distance, sheet
from .run import RUN, Run, TeacherSettings
from .tiles import Side
from .translate import levels, tensor

__all__ = ["train"]

_STATE = "state.pt"
_LOG_EVERY = 20  # steps of which a row of losses is the mean
_SAVE_EVERY_S = 600.0
_SHOWN, _COMPARED = 4, 48  # tiles on a sheet; tiles whose colors are compared

_log = logging.getLogger(__name__)


def train(run: Run, source: Side, target: Side, out: Path, ranks: Ranks, *, resume: bool = False) -> Run:
    """Train, or go on with a training; after each epoch `out` holds what came of it so far.

    ``latest_net_G_A.pth`` translates source to target, ``latest_net_G_B.pth`` back; with `average`,
    ``average_net_G_A.pth`` is the running mean of the first. ``state.pt`` is what a training goes on from, to the same
    losses as if it had not ended: tiles and pool draw their chance from the number of the step.

    Parameters
    ----------
    run
        The settings; for a training that goes on, as `read_run` gives them.
    source, target
        Images of at least `tile` pixels.
    out
        A folder, made if need be.

    Raises
    ------
    ModelError
        If the losses are no numbers any more, or `out` cannot be written; the last good checkpoint stays.
    """
    chosen, began = run.settings, time.monotonic()
    torch.manual_seed(chosen.seed)
    gan = CycleGAN(
        ResnetGenerator(chosen.filters, chosen.blocks),
        ResnetGenerator(chosen.filters, chosen.blocks),
        NLayerDiscriminator(chosen.critic_filters, chosen.critic_layers),
        NLayerDiscriminator(chosen.critic_filters, chosen.critic_layers),
        (Pool(chosen.pool), Pool(chosen.pool)),
        ranks,
        autocast=chosen.precision == "bf16",
    )
    mean = ResnetGenerator(chosen.filters, chosen.blocks).to(ranks.device) if chosen.average else gan.forward
    parts = gan.parts() | ({"average": mean} if chosen.average else {})
    sums, start = torch.zeros(len(TERMS), device=ranks.device), 0
    if resume:
        start, sums = _restore(out / _STATE, parts, gan.pools, ranks)
    losses = Losses(out, start)

    epoch = chosen.epoch_steps or max(
        1, max(side.count(chosen.tile) for side in (source, target)) // (chosen.batch * ranks.count)
    )
    total = chosen.warmup + epoch * (chosen.epochs + chosen.decay_epochs)
    looks = _looks(source, target, chosen)
    run = msgspec.structs.replace(run, total=total, processes=ranks.count)
    if chosen.average:
        run = msgspec.structs.replace(run, generator="average_net_G_A.pth")
    earlier, saved = run.seconds, began

    with stopping() as stop:
        for step in steps(start, total, "teacher", shown=ranks.first):
            warming, done = step < chosen.warmup, step + 1
            gan.set_rate(_rate(step, epoch, chosen))
            rng = np.random.default_rng([chosen.seed, ranks.rank, step])
            a, b = (_batch(side, rng, chosen, ranks) for side in (source, target))
            if warming:
                terms = learn_identity(gan, a, b)
            else:
                painted, fake_b, fake_a = paint(gan, a, b, chosen.cycle, chosen.identity)
                terms = torch.cat([painted, judge(gan, a, b, fake_b, fake_a, rng)])
            if chosen.average:
                _average(mean, gan.forward, 0.0 if warming else chosen.average)
            sums += terms

            epoch_ends = done >= chosen.warmup and (done - chosen.warmup) % epoch == 0
            if done % _LOG_EVERY == 0:
                _log_row(losses, done, ranks.mean(sums.clone()) / _LOG_EVERY, gan)
                sums.zero_()
            if epoch_ends and ranks.first:
                run = _look(run, out, (done - chosen.warmup) // epoch, gan, mean, looks)
            # A stop, or a checkpoint between epochs, is each process's own wish: with several, they wait for the epoch.
            alone = ranks.count == 1 and (stop.asked or time.monotonic() - saved > _SAVE_EVERY_S)
            if epoch_ends or alone:
                run = msgspec.structs.replace(run, steps=done, seconds=earlier + time.monotonic() - began)
                _save(out, run, parts, gan.pools, sums, ranks, losses)
                saved = time.monotonic()
            if stop.asked and (epoch_ends or ranks.count == 1):
                _log.info("stopped after step %d of %d; go on with --resume", done, total)
                break
    return run


def _rate(step: int, epoch: int, chosen: TeacherSettings) -> float:
    """Constant, then falling epoch by epoch as in the public code."""
    if step < chosen.warmup:
        return chosen.warmup_rate
    late = max(0, (step - chosen.warmup) // epoch + 1 - chosen.epochs)
    return chosen.rate * (1.0 - late / (chosen.decay_epochs + 1))


def _batch(side: Side, rng: np.random.Generator, chosen: TeacherSettings, ranks: Ranks) -> Tensor:
    tiles = [
        side.tile(rng, chosen.tile, pieces=chosen.collage, symmetries=chosen.symmetries) for _ in range(chosen.batch)
    ]
    return tensor(np.stack(tiles), ranks.device).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def _average(mean: nn.Module, network: nn.Module, kept: float) -> None:
    for old, new in zip(mean.parameters(), network.parameters(), strict=True):
        old.lerp_(new, 1.0 - kept)


def _log_row(losses: Losses, step: int, means: Tensor, gan: CycleGAN) -> None:
    values = dict(zip(TERMS, means.tolist(), strict=True))
    if not np.isfinite(list(values.values())).all():
        raise ModelError(
            f"the training failed at step {step}",
            "the losses are no numbers any more",
            "go on from the last checkpoint with --resume, or begin anew with a smaller --rate or --precision fp32",
        )
    losses.add(step, {"rate": gan.painters.param_groups[0]["lr"], **values})


Looks: TypeAlias = tuple[list[RGB8], list[RGB8]]


def _looks(source: Side, target: Side, chosen: TeacherSettings) -> Looks:
    """The tiles that are looked at after each epoch: always the same."""
    rng = np.random.default_rng([chosen.seed, 1, 2, 3])
    one, other = (
        [side.tile(rng, chosen.tile, pieces=chosen.collage, symmetries=False) for _ in range(_COMPARED)]
        for side in (source, target)
    )
    return one, other


@torch.no_grad()
def _look(run: Run, out: Path, epoch: int, gan: CycleGAN, mean: nn.Module, looks: Looks) -> Run:
    """Write a sheet of samples; measure how far the colors are from the target's."""
    device = gan.ranks.device
    source, target = looks
    translated: list[RGB8] = []
    cycled: list[RGB8] = []
    for tile in source:
        there = mean(tensor(tile[None], device))
        translated.append(levels(there)[0])
        if len(cycled) < _SHOWN:
            cycled.append(levels(gan.back(there))[0])
    folder = out / "samples"
    folder.mkdir(exist_ok=True, parents=True)
    sheet(folder / f"epoch_{epoch:03d}.png", [source[:_SHOWN], translated[:_SHOWN], cycled, target[:_SHOWN]])
    distance = round(color_distance(translated, target), 4)
    _log.info("epoch %d: colors are %.2f levels from the target's", epoch, distance)
    return msgspec.structs.replace(run, distances=[*run.distances[:epoch], distance])


def _save(
    out: Path, run: Run, parts: dict[str, Any], pools: tuple[Pool, Pool], sums: Tensor, ranks: Ranks, losses: Losses
) -> None:
    """Write the state first: it is what a training goes on from."""
    everything = ranks.gather([torch.stack(pool.tiles).cpu() if pool.tiles else torch.empty(0) for pool in pools])
    if not ranks.first:
        return
    states = {name: part.state_dict() for name, part in parts.items()}
    save(out / _STATE, {"step": run.steps, "sums": sums.cpu(), "pools": everything, "parts": states})
    for name in ("G_A", "G_B", "D_A", "D_B"):
        save(out / f"latest_net_{name}.pth", _on_cpu(parts[name]))
    if "average" in parts:
        save(out / "average_net_G_A.pth", _on_cpu(parts["average"]))
    write_whole(out / RUN, msgspec.json.format(msgspec.json.encode(run)) + b"\n")
    if losses.rows:
        losses.write()
        losses.draw()


def _on_cpu(network: nn.Module) -> dict[str, Tensor]:
    return {key: value.cpu().contiguous() for key, value in network.state_dict().items()}


def _restore(path: Path, parts: dict[str, Any], pools: tuple[Pool, Pool], ranks: Ranks) -> tuple[int, Tensor]:
    """Put back what `_save` wrote; gives the step and the sums of losses since the last row."""
    state = read_state(path)
    try:
        for name, part in parts.items():
            part.load_state_dict(state["parts"][name])
        for pool, tiles in zip(pools, state["pools"][ranks.rank], strict=True):
            pool.tiles = list(tiles.to(ranks.device))
        return int(state["step"]), state["sums"].to(ranks.device)
    except (KeyError, IndexError, RuntimeError, ValueError) as error:
        raise ModelError(f"cannot go on from {path}", f"it is not this training's: {error}") from error

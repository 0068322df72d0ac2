"""TensorRT plans made ahead of time."""

from __future__ import annotations

import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from .api import open_source
from .color.convert import to_rgb8
from .engines.gpu import Gpu, absent
from .engines.net_tensorrt import make_plan
from .engines.plan import Precision, Profile, TensorRT, plan_name, save
from .errors import EngineError, ModelError, UsageError
from .frame import RGB8
from .model import Network
from .normalizers.network import PixelwiseNetwork
from .sources.size import Size
from .wholefile import write_whole

__all__ = ["export_plan"]

_TILES, _SIDE = 16, 256


def export_plan(
    network: bytes, name: str, precision: Precision, out: Path | None, tiles: Path | None, largest: str, batch: int
) -> tuple[Path, str]:
    """Build a plan for the GPU at hand; with TensorRT-RTX, which needs none, for any from compute capability 8.0 on.

    Parameters
    ----------
    network
        An ONNX file, uint8 (N, H, W, 3) in and out.
    out
        A folder, for a plan to be given away; by default it is kept in this user's cache. The plan's own name says what
        it is for, and is looked for beside the model.
    tiles
        A folder of images to calibrate int8 with; by default the bundled tissue.
    largest
        Size of the largest image, as in ``"1920x1080"``.

    Returns
    -------
    Where it was written, and the engine that runs it.

    Raises
    ------
    EngineError, MissingExtra, UsageError
        If it cannot be built or written.
    """
    size = Size.parse(largest)
    profile = Profile(batch, size.height, size.width)
    tensorrt = TensorRT()
    gpu = _gpu(tensorrt)
    with TemporaryDirectory() as place:
        path = Path(place) / "model.onnx"
        path.write_bytes(network)
        if precision == "int8":
            _refuse_table(path, name)
        asked = Network(path, name, hashlib.sha256(network).hexdigest())
        plan = make_plan(asked, profile, precision, tensorrt, lambda: _tiles(tiles))
    file = plan_name(name, asked.digest, profile, precision, tensorrt, gpu)
    engine = f"net_tensorrt?precision={precision}&batch={batch}&width={size.width}&height={size.height}"
    try:
        if out is None:
            return save(file, plan), engine
        out.mkdir(parents=True, exist_ok=True)
        write_whole(out / file, plan)
    except OSError as error:
        raise UsageError(f"cannot write the plan to {out or file}", error.strerror or str(error)) from error
    return out / file, engine


def _gpu(tensorrt: TensorRT) -> tuple[int, int, str] | None:
    if (reason := absent()) is None:
        gpu = Gpu()
        return (*gpu.capability, gpu.name)
    if tensorrt.flavor == "rtx":
        return None
    raise EngineError(
        "cannot build a plan", f"{reason}, and TensorRT needs one", "run: pip install 'stainstream[tensorrt-rtx]'"
    )


def _refuse_table(path: Path, name: str) -> None:
    try:
        PixelwiseNetwork.read(path, name)
    except ModelError:
        return
    raise UsageError(
        f"not making an int8 plan of {name!r}",
        "it is exactly a table, which is faster and loses nothing",
        "use lut_cuda",
    )


def _tiles(folder: Path | None) -> list[RGB8]:
    """Up to 16 tiles of 256x256, as different as they come."""
    found: list[RGB8] = []
    address = f"demo?size={_SIDE}x{_SIDE}&rate=0&frames={37 * _TILES}" if folder is None else str(folder)
    with open_source(address) as source:
        for frame in source:
            if folder is not None or frame.seq % 37 == 0:
                tile = to_rgb8(frame.image, frame.format)[:_SIDE, :_SIDE]
                found.append(np.array(tile[: len(tile) // 4 * 4, : tile.shape[1] // 4 * 4]))
            if len(found) == _TILES:
                break
    return found

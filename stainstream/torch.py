"""Normalizing on the fly, for those who train with PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from .api import Normalizer, load
from .errors import FrameError
from .normalizers.base import Normalizer as Method

__all__ = ["Normalize", "Normalized"]

_MAPPED = "lut_numba?mapped=1"


class Normalize:
    """A transform: images in, normalized images of the same kind out. Put it before images become floating-point.

    It can be pickled, and given to the workers of a DataLoader: they map one table, which is in memory once.

    Parameters
    ----------
    model
        See `stainstream.load`.
    engine
        Likewise; by default the processor's, with its table mapped from the cache.

    Raises
    ------
    ModelError, UsageError, EngineError
        If the model cannot be loaded.

    Examples
    --------
    >>> normalize = Normalize()
    >>> normalize(torch.zeros(3, 4, 5, dtype=torch.uint8)).shape
    torch.Size([3, 4, 5])
    """

    def __init__(self, model: str | Path | Method = "default", engine: str = _MAPPED) -> None:
        self._model, self._engine = model, engine
        self._loaded: Normalizer | None = None
        self._loaded = self._open()  # bakes the table, and finds out here and not in a worker what is wrong

    def __call__(self, image: Any) -> Any:
        """Normalize an image or a batch.

        Parameters
        ----------
        image
            A tensor, uint8, shape (3, height, width) or (n, 3, height, width), on the processor; an array, uint8,
            (height, width, 3) or (n, height, width, 3); or a PIL image.

        Returns
        -------
        A new one of the same kind; a PIL image is RGB.

        Raises
        ------
        FrameError
            If it is none of them.
        """
        if isinstance(image, torch.Tensor):
            return self._tensor(image)
        if isinstance(image, np.ndarray):
            return self._open()(image)
        if hasattr(image, "convert") and hasattr(image, "getbands"):
            from PIL import Image

            return Image.fromarray(self._open()(np.asarray(image.convert("RGB"))))
        raise FrameError(f"cannot normalize a {type(image).__name__}", "it is no tensor, no array and no PIL image")

    def _tensor(self, image: torch.Tensor) -> torch.Tensor:
        if image.dtype != torch.uint8 or image.ndim not in (3, 4) or image.shape[-3] != 3 or image.is_cuda:
            what = f"{image.dtype} {tuple(image.shape)} on {image.device}"
            raise FrameError(
                f"cannot normalize a tensor of {what}",
                "uint8 of shape (3, height, width) or (n, 3, height, width) on the processor is needed",
                "normalize before the image becomes floating-point or goes to the GPU",
            )
        pixels = np.ascontiguousarray(image.movedim(-3, -1).numpy())
        return torch.from_numpy(self._open()(pixels)).movedim(-1, -3).contiguous()

    def _open(self) -> Normalizer:
        if self._loaded is None:
            self._loaded = load(self._model, self._engine, 1)  # a DataLoader's workers are the threads
        return self._loaded

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_loaded": None}


class Normalized(Dataset[Any]):
    """A dataset whose images are normalized as they are taken.

    Parameters
    ----------
    dataset
        With a length and items: an image, a tuple or list that begins with one, or a mapping that has one at `key`.
    normalize
        A `Normalize`, or what it shall be made of: a model's name, a folder, a file.
    key
        Where mappings hold their image.

    Examples
    --------
    >>> pairs = Normalized([(torch.zeros(3, 4, 5, dtype=torch.uint8), "tumor")])
    >>> pairs[0][0].shape, pairs[0][1], len(pairs)
    (torch.Size([3, 4, 5]), 'tumor', 1)
    """

    def __init__(self, dataset: Any, normalize: Normalize | str | Path = "default", key: str = "image") -> None:
        self._dataset, self._key = dataset, key
        self._normalize = normalize if isinstance(normalize, Normalize) else Normalize(normalize)

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Any:
        item = self._dataset[index]
        if isinstance(item, Mapping):
            return {**item, self._key: self._normalize(item[self._key])}
        if isinstance(item, Sequence):
            first, *rest = item
            parts = (self._normalize(first), *rest)
            return type(item)(*parts) if hasattr(item, "_fields") else type(item)(parts)  # type: ignore[call-arg]
        return self._normalize(item)

"""Reinhard's color transfer, with fixed statistics."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from stainstream.color.lut import Colors
from stainstream.color.spaces import lab_to_rgb, rgb_to_lab
from stainstream.errors import FrameError
from stainstream.frame import RGB8

__all__ = ["Reinhard"]

Triple = tuple[float, float, float]

_TISSUE_BELOW_L = 80.0  # lighter pixels are glass; the luminosity threshold of StainTools and tiatoolbox


@dataclass(frozen=True)
class Reinhard:
    """Moves mean and spread of L*a*b* from the source's to the target's.

    Source: E. Reinhard et al., Color transfer between images, IEEE Computer Graphics and Applications 21(5), 2001; in
    CIE L*a*b* as the paper's comparison (StainNet, section 3) and StainTools have it.
    """

    source_mean: Triple
    source_std: Triple
    target_mean: Triple
    target_std: Triple
    name: str = "reinhard"

    def __call__(self, rgb: Colors) -> Colors:
        scale = np.array(self.target_std) / np.array(self.source_std)
        return lab_to_rgb((rgb_to_lab(rgb) - np.array(self.source_mean)) * scale + np.array(self.target_mean))

    @classmethod
    def fit(cls, frames: Iterable[RGB8], target: Iterable[RGB8]) -> Reinhard:
        """Take the statistics of the tissue in some frames of each side.

        Parameters
        ----------
        frames, target
            uint8 images of shape (height, width, 3); pixels lighter than L* 80 are taken for glass and left out.

        Raises
        ------
        FrameError
            If one side holds no tissue, or tissue of one color only.
        """
        (source_mean, source_std), (target_mean, target_std) = (
            _statistics(side, images) for side, images in (("source", frames), ("target", target))
        )
        return cls(source_mean, source_std, target_mean, target_std)


def _statistics(side: str, images: Iterable[RGB8]) -> tuple[Triple, Triple]:
    parts = [lab[lab[:, 0] < _TISSUE_BELOW_L] for lab in (rgb_to_lab(image.reshape(-1, 3) / 255.0) for image in images)]
    lab = np.concatenate(parts) if parts else np.empty((0, 3))
    if len(lab) < 2 or not lab.std(axis=0).all():
        raise FrameError(f"cannot take statistics of the {side}", "its images hold no tissue, or one color only")
    mean, std = lab.mean(axis=0), lab.std(axis=0)
    return (float(mean[0]), float(mean[1]), float(mean[2])), (float(std[0]), float(std[1]), float(std[2]))

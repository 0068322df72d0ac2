"""Make engines/he-reinhard: a StainNet fitted to a Reinhard map between two folders of tiles.

    python engines/make_he_reinhard.py SOURCE_DIR TARGET_DIR

The shipped one was made from CAMELYON17's centres 2 and 4.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import cv2
import msgspec
import numpy as np

from stainstream.color.convert import to_rgb8
from stainstream.color.lut import colors_of, quantize
from stainstream.color.surveyor import of
from stainstream.frame import RGB8
from stainstream.model import Card
from stainstream.normalizers.network import PixelwiseNetwork
from stainstream.normalizers.reinhard import Reinhard
from stainstream.sources.image import read_image
from stainstream.training.distil import fit
from stainstream.training.export import export

FOLDER = Path(__file__).parent / "he-reinhard"
GLASS_SHARE = 0.1  # of the pairs tie light gray glass to itself
ANY_SHARE = 0.02  # of the pairs are any color at all, so that no color outside the tiles goes astray


def read(path: Path) -> RGB8:
    """An image file, RGB."""
    frame = read_image(path)
    return to_rgb8(frame.image, frame.format)


def images(folder: str) -> list[RGB8]:
    """All images of a folder, RGB."""
    paths = sorted(path for path in Path(folder).iterdir() if path.suffix in {".png", ".jpeg", ".jpg"})
    return [read(path) for path in paths]


def pairs(reinhard: Reinhard, tiles: list[RGB8]) -> tuple[RGB8, RGB8]:
    """Colors of the tiles and what the map makes of them, with glass kept and rare colors covered."""
    rng = np.random.default_rng(0)
    tissue = np.concatenate([tile.reshape(-1, 3) for tile in tiles])
    count = len(tissue)
    level = rng.integers(225, 256, (int(GLASS_SHARE * count), 1))
    glass = np.clip(level + rng.integers(-2, 3, (len(level), 3)), 0, 255).astype(np.uint8)
    anything = colors_of(rng.integers(0, 1 << 24, int(ANY_SHARE * count), dtype=np.uint32))
    mapped = quantize(reinhard(np.concatenate([tissue, anything]) / 255.0))
    return np.concatenate([tissue, anything, glass]), np.concatenate([mapped, glass])


def main() -> None:
    """Fit, check and write the model."""
    source, target = (images(folder) for folder in sys.argv[1:3])
    reinhard = Reinhard.fit(source, target, profile="stream")
    given, wanted = pairs(reinhard, source)
    network = fit(given, wanted)
    card = Card(
        name="he-reinhard",
        method="StainNet, fitted to a Reinhard map",
        stain="H&E",
        source="CAMELYON17 centre 2 (NanoZoomer XR)",
        target="CAMELYON17 centre 4 (Philips UFS)",
        training_data="CAMELYON17 tiles of centres 2 and 4, CC0 1.0",
        license="Apache-2.0",
        digest="",
        authors=["stainstream developers"],
        created=datetime.now(UTC).date().isoformat(),
        command="python engines/make_he_reinhard.py camelyon17/centre_2 camelyon17/centre_4",
        notes="It knows one scanner only. Its target is the Reinhard map (mean and "
        "spread in L*a*b* of the tissue), with light gray glass kept.",
    )
    card = msgspec.structs.replace(card, survey=of(source, card.source, "CC0-1.0"))
    model = export(network, FOLDER, card)
    normalize = PixelwiseNetwork.read(model.network)
    card = msgspec.structs.replace(card, metrics=metrics(normalize, reinhard, source))
    export(network, FOLDER, card)
    preview(normalize, [tile for tile in source if tile.shape[0] == 512])


def metrics(normalize: PixelwiseNetwork, reinhard: Reinhard, tiles: list[RGB8]) -> dict[str, float]:
    """How close the written model comes to the map, on the tissue it was fitted to; what becomes of glass."""
    tissue = np.concatenate([tile.reshape(-1, 3) for tile in tiles])
    some = np.random.default_rng(1).choice(tissue, 1 << 20) / 255.0
    error = quantize(normalize(some)).astype(float) - quantize(reinhard(some))
    glass = np.arange(235, 256)[:, None].repeat(3, axis=1)
    shift = np.abs(quantize(normalize(glass / 255.0)) - glass).max()
    return {
        "psnr_to_map_db": round(float(10 * np.log10(255**2 / np.mean(error**2))), 2),
        "glass_shift_levels": float(shift),
    }


def preview(normalize: PixelwiseNetwork, tiles: list[RGB8]) -> None:
    """Tiles above, what the model makes of them below."""
    before = np.hstack([tile[:256, :256] for tile in tiles])
    after = quantize(normalize(before / 255.0))
    cv2.imwrite(str(FOLDER / "preview.jpg"), np.vstack([before, after])[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])


if __name__ == "__main__":
    main()

"""Quality of the classic methods: ``python benchmarks/classic_quality.py MITOS RESULT.json``.

MITOS holds aperio/ and hamamatsu/, registered fields of MITOS-ATYPIA-14 of the same name. As in the paper (StainNet,
section 3.3), each source is normalized with the image of its own field as the reference, and with that of another case.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from stainstream.benchmark.rows import machine
from stainstream.color.histogram import ColorCounts
from stainstream.color.lut import quantize
from stainstream.frame import RGB8
from stainstream.metrics import delta_e, psnr, ssim, ssim_source
from stainstream.normalizers import TABLE
from stainstream.normalizers.conventions import PROFILES

MARGIN = slice(16, -32)  # what lies outside of the registered field is magenta
MEASURES = ("ssim_gt", "psnr_gt_db", "ssim_source", "delta_e_2000")

Row = dict[str, Any]


def read(path: Path) -> RGB8:
    """The registered part of a field."""
    return np.ascontiguousarray(cv2.imread(str(path))[MARGIN, MARGIN, ::-1])


def measured(image: RGB8, source: RGB8, truth: RGB8) -> dict[str, float]:
    """The paper's three measures and the color difference."""
    values = (ssim(image, truth), psnr(image, truth), ssim_source(image, source), delta_e(image, truth))
    return {name: round(value, 4) for name, value in zip(MEASURES, values, strict=True)}


def rows(folder: Path) -> Iterator[Row]:
    """One row a case, method, profile and reference."""
    cases = sorted(path.name for path in (folder / "aperio").iterdir())
    rng = np.random.default_rng(0)
    for case in cases:
        other = str(rng.choice([each for each in cases if each != case]))
        source, truth = (read(folder / side / case) for side in ("aperio", "hamamatsu"))
        about = {"case": Path(case).stem, "profile": "", "reference": ""}
        yield about | {"method": "none"} | measured(source, source, truth)
        counts = ColorCounts.of(source)
        references = {"matching": truth, "random case": read(folder / "hamamatsu" / other)}
        for reference, image in references.items():
            for profile in PROFILES:
                for plugin in TABLE:
                    fitted = plugin.load().fit(counts, target=image, profile=profile)
                    normalized = quantize(fitted(source / 255.0), fitted.rounding)
                    about |= {"profile": profile, "reference": reference, "method": plugin.name}
                    yield about | measured(normalized, source, truth)


def means(results: list[Row]) -> list[Row]:
    """The mean over cases of each method, profile and reference."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in results:
        groups.setdefault(tuple(row[key] for key in ("method", "profile", "reference")), []).append(row)
    return [
        dict(zip(("method", "profile", "reference"), key, strict=True))
        | {name: round(float(np.mean([row[name] for row in group])), 3) for name in MEASURES}
        for key, group in groups.items()
    ]


def main() -> None:
    """Measure, print the means and write all."""
    results = list(rows(Path(sys.argv[1])))
    for row in means(results):
        print(*row.values(), sep="\t")
    content = {"machine": machine(), "data": "MITOS-ATYPIA-14, registered", "means": means(results), "rows": results}
    Path(sys.argv[2]).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

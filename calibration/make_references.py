"""Make the references and the calibration of this folder.

    python calibration/make_references.py CAMELYON17

CAMELYON17 holds folders centre_0 to centre_4 of tiles (CC0 1.0).
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import msgspec
import numpy as np

from stainstream.color.survey import Survey
from stainstream.color.surveyor import gather
from stainstream.normalizers import TABLE
from stainstream.normalizers.conventions import PROFILES
from stainstream.normalizers.fitted import Reference
from stainstream.normalizers.store import read_reference, save

HERE = Path(__file__).parent
CONVENTIONS = PROFILES["stream"]
SCANNERS = {0: "3DHISTECH Pannoramic Flash II", 2: "Hamamatsu NanoZoomer XR", 4: "Philips UFS"}


def reference(folder: Path, centre: int) -> Reference:
    """What every method knows of the tiles of one center."""
    paths = sorted(path for path in (folder / f"centre_{centre}").iterdir() if path.suffix in {".png", ".jpeg", ".jpg"})
    counts, survey = gather(np.ascontiguousarray(cv2.imread(str(path))[..., ::-1]) for path in paths)
    assert survey is not None
    statistics = {row.name: row.load().study(counts, CONVENTIONS) for row in TABLE}
    survey = described(survey, f"H&E, breast cancer metastases in lymph nodes, {SCANNERS[centre]}")
    return Reference(statistics, CONVENTIONS, f"he-camelyon17-centre{centre}", survey)


def described(survey: Survey, note: str) -> Survey:
    """The survey, with where the frames come from."""
    return msgspec.structs.replace(survey, note=f"CAMELYON17 tiles: {note}", license="CC0-1.0")


def main() -> None:
    """Write them."""
    made = {centre: reference(Path(sys.argv[1]), centre) for centre in SCANNERS}
    for each in made.values():
        save(HERE / f"{each.name}.toml", each)
    source, target = made[2], read_reference(HERE / f"{made[4].name}.toml")
    macenko = TABLE["macenko"].load()
    fitted = macenko(
        source=source.statistics["macenko"],
        target=target.statistics["macenko"],
        conventions=CONVENTIONS,
        name="he-macenko-centre2-to-centre4",
    )
    surveys = {side: each.survey for side, each in (("source", source), ("target", target)) if each.survey}
    save(HERE / f"{fitted.name}.toml", fitted, surveys)


if __name__ == "__main__":
    main()

"""Methods on pairs of images; and the numbers that are known of real ones."""

from __future__ import annotations

import csv
import logging
import math
from pathlib import Path

import cv2
import numpy as np
import pytest

import stainstream as ss
from stainstream.errors import UsageError
from stainstream.evaluation.evaluate import IDENTITY, Evaluation, evaluate, fit
from stainstream.evaluation.pairs import Crop, match
from stainstream.evaluation.scores import MEASURES, Score, summaries, write_scores, write_summaries
from stainstream.evaluation.sheet import Sheet
from stainstream.metrics import delta_e, psnr, ssim, ssim_source

TISSUE = Path(ss.__file__).parent / "sources" / "tissue.jpg"


def _read(path: Path) -> ss.RGB8:
    image = cv2.imread(str(path))
    assert image is not None
    return np.ascontiguousarray(image[..., ::-1], np.uint8)


def _darker(rgb: ss.RGB8) -> ss.RGB8:
    return (rgb * 0.8).astype(np.uint8)


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Path, Path]:
    """Three tiles of tissue, and the same darker."""
    tissue = _read(TISSUE)
    for k in range(3):
        tile = tissue[64 * k : 64 * k + 64, :80]
        for side, image in (("source", tile), ("target", _darker(tile))):
            (tmp_path / side).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / side / f"tile{k}.png"), image[..., ::-1])
    return tmp_path / "source", tmp_path / "target"


def _evaluated(sides: tuple[Path, Path], **options: str) -> Evaluation:
    pairs = match(str(sides[0]), str(sides[1]), options).pairs
    return evaluate(pairs, {"darker": _darker}, Sheet())


def test_each_method_is_measured_on_each_image(sides: tuple[Path, Path]) -> None:
    done = _evaluated(sides, theirs=str(sides[1]))
    assert [(each.image, each.method) for each in done.scores[:4]] == [
        ("tile0", IDENTITY),
        ("tile0", "darker"),
        ("tile0", "theirs"),
        ("tile1", IDENTITY),
    ]
    source, target = (_read(side / "tile0.png") for side in sides)
    expected = (ssim(source, target), psnr(source, target), 1.0, delta_e(source, target))
    assert done.scores[0].values == pytest.approx(expected)
    for perfect in done.scores[1:3]:
        assert perfect.values == pytest.approx((1.0, math.inf, ssim_source(target, source), 0.0))
    assert not done.skipped


def test_means_and_deviations_are_numpys(sides: tuple[Path, Path]) -> None:
    done = _evaluated(sides)
    first, second = summaries(done.scores)
    values = np.array([each.values for each in done.scores if each.method == IDENTITY])
    assert (first.method, first.images) == (IDENTITY, 3)
    assert first.means == pytest.approx(values.mean(axis=0))
    assert first.deviations == pytest.approx(values.std(axis=0, ddof=1))
    assert second.means[1] == math.inf
    assert math.isnan(second.deviations[1])
    (alone,) = summaries(done.scores[:1])
    assert all(map(math.isnan, alone.deviations))


def test_a_pair_that_cannot_be_used_is_named_and_left_out_for_all(
    sides: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    (sides[0] / "tile0.png").write_bytes(b"no image")
    cv2.imwrite(str(sides[1] / "tile2.png"), np.zeros((64, 79, 3), np.uint8))
    with caplog.at_level(logging.WARNING):
        done = _evaluated(sides)
    assert done.skipped == ["tile0", "tile2"]
    assert {each.image for each in done.scores} == {"tile1"}
    assert any("skipping tile0" in text and "tile0.png" in text for text in caplog.messages)
    assert any("skipping tile2" in text and "[64, 79, 3]" in text for text in caplog.messages)


def test_where_none_can_be_used_it_is_an_error(sides: tuple[Path, Path]) -> None:
    for path in sides[0].iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(UsageError, match="none of 3 pairs"):
        _evaluated(sides)


def test_a_classic_method_is_fitted_to_all_that_can_be_read(sides: tuple[Path, Path]) -> None:
    pairs = match(str(sides[0]), str(sides[1]), {}).pairs
    (sides[0] / "tile0.png").write_bytes(b"no image")
    with ss.load(fit("reinhard", "stream", pairs)) as normalize:
        done = evaluate(pairs, {"reinhard": normalize})
    before, after = summaries(done.scores)
    assert after.means[1] > before.means[1] + 5


def test_files_hold_every_number(sides: tuple[Path, Path], tmp_path: Path) -> None:
    done = _evaluated(sides)
    write_scores(tmp_path / "scores.csv", done.scores)
    with (tmp_path / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert [float(rows[0][each.key]) for each in MEASURES] == list(done.scores[0].values)
    write_summaries(tmp_path / "summary.csv", summaries(done.scores))
    with (tmp_path / "summary.csv").open(newline="") as file:
        first = next(csv.DictReader(file))
    assert float(first["psnr_gt_mean"]) == pytest.approx(summaries(done.scores)[0].means[1])
    with pytest.raises(UsageError, match=r"cannot write .*none"):
        write_scores(tmp_path / "none" / "a.csv", done.scores)


def test_a_sheet_shows_source_result_target_and_difference() -> None:
    sheet = Sheet(rows=2)
    red, green = np.zeros((300, 256, 3), np.uint8), np.zeros((300, 256, 3), np.uint8)
    red[..., 0], green[..., 1] = 255, 255
    sheet.add("equal", red, green, green)
    height = len(sheet.image)
    sheet.add("different \u00e9", red, green, red)
    image = sheet.image
    columns = [image.shape[1] * (2 * k + 1) // 8 for k in range(4)]
    first, second = ([image[row, column].tolist() for column in columns] for row in (height // 2, height * 3 // 2))
    assert first == [[255, 0, 0], [0, 255, 0], [0, 255, 0], [0, 0, 0]]
    assert second == [[255, 0, 0], [0, 255, 0], [255, 0, 0], [255, 255, 255]]
    sheet.add("no room", red, red, red)
    assert sheet.image.shape == image.shape


REFERENCE: dict[str, tuple[str, str, tuple[float, ...]]] = {
    "Pap, as it is": ("pap", IDENTITY, (0.789, 19.20, 1.0)),
    "Pap, official StainNet": ("pap", "StainNet", (0.822, 31.59, 0.985)),
    "MITOS 10, as it is": ("mitos", IDENTITY, (0.757, 22.84, 1.0)),
    "MITOS 10, official StainNet": ("mitos", "StainNet", (0.816, 24.60, 0.963)),
    "MITOS 10, public CycleGAN": ("mitos", "CycleGAN", (0.851, 26.76, 0.928)),
}


@pytest.fixture(scope="module")
def reference(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Score]]:
    """The reference pairs through the authors' checkpoints, our network, its table, and our measures."""
    pytest.importorskip("torch")
    from stainstream.training.export import export, read_weights
    from tests.graphs import card

    official, mitos = shared / "data" / "official_stainnet", shared / "data" / "mitos_aperio_hamamatsu"
    theirs = {"CycleGAN": str(mitos / "cyclegan_output" / "10.png")}
    pap = match(str(official / "cytology_source.png"), str(official / "cytology_target.png"), {})
    scanners = [str(mitos / side / "10.png") for side in ("aperio", "hamamatsu")]
    case = match(scanners[0], scanners[1], theirs, Crop(16, 16, 32, 32))
    scores = {}
    for name, checkpoint, pairs in (("pap", "cytopathology", pap.pairs), ("mitos", "histopathology", case.pairs)):
        folder = tmp_path_factory.mktemp(name)
        export(read_weights(official / f"{checkpoint}.pth"), folder, card("StainNet", "truncate"))
        with ss.load(folder) as normalize:
            scores[name] = evaluate(pairs, {"StainNet": normalize}).scores
    return scores


@pytest.mark.parametrize(("pair", "method", "expected"), REFERENCE.values(), ids=REFERENCE)
def test_the_reference_results_to_the_printed_digits(
    reference: dict[str, list[Score]], pair: str, method: str, expected: tuple[float, ...]
) -> None:
    (score,) = [each for each in reference[pair] if each.method == method]
    printed = [round(value, measure.digits) for value, measure in zip(score.values, MEASURES, strict=True)]
    assert tuple(printed[:3]) == expected

"""Each table on a miniature set."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from stainstream.tables.figure5 import figure5
from stainstream.tables.figures import Table, TableRow, read, write
from stainstream.tables.rates import frames, rates
from stainstream.tables.sets import CellSet, Field, ImageSet, fields, folds
from stainstream.tables.stainnets import Schedule
from stainstream.tables.table1 import Options, table1
from stainstream.tables.table2 import table2
from stainstream.tables.table3 import CellOptions, table3

from .conftest import save

_QUICK = Options(schedule=Schedule(steps=80, patch_steps=5), seconds=0.0, threads=1)
_ABSENT = ImageSet(name="absent", source="nowhere", target="target")


def _row(table: Table, **labels: str) -> TableRow:
    found = [row for row in table.rows if labels.items() <= row.labels.items()]
    assert len(found) == 1, [row.labels for row in found]
    return found[0]


def _two(images: ImageSet) -> ImageSet:
    """Two of the three cases."""
    return msgspec.structs.replace(images, source="two/source", target="two/target", translated="two/target")


def test_table_1_measures_what_is_there_and_says_what_is_not(tissue: Path, images: ImageSet, tmp_path: Path) -> None:
    single = msgspec.structs.replace(
        images, name="single", source="source/a/tile.png", target="target/a/tile.png", translated="", model=""
    )
    table = table1([_two(images), single, _ABSENT], tissue, _QUICK)
    of = {"set": "mini", "unit": "tiles", "case": "all"}
    identity, best = _row(table, method="identity", **of), _row(table, method="best pixelwise map", **of)
    student = _row(table, method="StainNet", how="student of the fold, table", **of)
    teacher = _row(table, method="StainGAN", **of)
    assert identity.figures["ssim_source"].value == pytest.approx(1)
    assert identity.figures["psnr_gt"].n == 2
    for row in (student, best):
        assert row.figures["psnr_gt"].value > identity.figures["psnr_gt"].value + 5
    assert teacher.figures["ssim_gt"].value == pytest.approx(1)  # its images are the targets
    for method in ("Reinhard", "Macenko", "Vahadane", "Ruifrok"):
        for how in ("each frame, ours (staintools)", "fixed statistics, table"):
            assert _row(table, method=method, how=how, **of).figures["psnr_gt"].value > 0
        peer = _row(table, method=method, how="each frame, public package", **of)
        assert peer.figures if peer.note else "no public package" in peer.missing
    assert {row.labels["case"] for row in table.rows if row.labels["set"] == "mini"} == {"all", "a", "b"}
    assert "one case only" in _row(table, set="single", how="student of the fold, table").missing
    assert "no translated images and no generator" in _row(table, set="single", method="StainGAN").missing
    assert "nowhere" in _row(table, set="absent").missing
    write(table, tmp_path / "deep" / "table1.json")
    assert read(tmp_path / "deep" / "table1.json").rows[0].labels == table.rows[0].labels


def test_a_fold_never_learns_from_its_own_case(tissue: Path, images: ImageSet) -> None:
    everything = list(folds(fields(images, tissue)))
    assert [fold.case for fold in everything] == ["a", "b", "c"]
    for fold in everything:
        assert not fold.alone
        assert {each.case for each in fold.tests} == {fold.case}
        assert fold.case not in {each.case for each in fold.trains}


def test_frames_a_second_with_and_without_files(tissue: Path, images: ImageSet) -> None:
    given = frames(fields(images, tissue))
    assert all(frame.shape == target.shape == (512, 512, 3) for frame, target in given)
    done = rates(
        {"copy": np.copy, "twice": lambda image: image[::-1][::-1].copy()}, [frame for frame, _ in given], 0.02
    )
    for name in ("copy", "twice"):
        fps, with_io = done[name]["fps"], done[name]["fps_io"]
        assert fps.value > with_io.value > 0
        assert fps.low is not None
        assert fps.high is not None
        assert fps.low <= fps.value <= fps.high


def test_table_2_has_four_variants(tissue: Path, images: ImageSet) -> None:
    table = table2([_two(images), _ABSENT], tissue, _QUICK)
    rows = [_row(table, set="mini", unit="tiles", case="all", conv3x3=str(variant)) for variant in range(4)]
    assert [row.figures["lost"].value == 0 for row in rows] == [True, False, False, False]
    assert rows[0].figures["psnr_gt"].value > 20
    assert _row(table, set="absent").missing


def test_figure_5_the_classic_methods_spread_and_stainnet_does_not(tissue: Path, images: ImageSet) -> None:
    table = figure5([images, _ABSENT], tissue, _QUICK)
    assert _row(table, method="StainNet, as given").figures["psnr_gt_spread"].value == 0
    for method in ("Reinhard", "Macenko", "Vahadane", "Ruifrok"):
        row = _row(table, method=method)
        assert row.note == "3 references"
        assert row.figures["psnr_gt_spread"].value > 0
        assert row.figures["psnr_gt_worst"].value < row.figures["psnr_gt"].value
    students = _row(table, method="StainNet, students of single other cases")
    assert students.note == "2 references"
    assert students.figures["psnr_gt"].value > 0
    assert _row(table, set="absent").missing


def test_figure_5_a_method_that_fits_nothing_is_a_row_that_says_so(tmp_path: Path) -> None:
    for side in ("source", "target"):
        save(tmp_path / side / "glass.png", np.full((256, 256, 3), 250, np.uint8))
    glass = ImageSet(name="glass", source="source", target="target", model="default")
    table = figure5([glass], tmp_path, _QUICK)
    for method in ("Macenko", "Vahadane", "Ruifrok"):
        assert "fits none of the source tiles" in _row(table, method=method).missing
    assert _row(table, method="StainNet, as given").figures["ssim_gt"].value > 0.9
    assert "1 of the 3 cases" in _row(table, method="StainNet, students of single other cases").missing


def test_table_3_learns_and_names_what_is_missing(cells: Path, centres: CellSet) -> None:
    absent = msgspec.structs.replace(centres, name="absent", train="nowhere")
    options = CellOptions(seeds=2, classifier={"size": 32, "epochs": 10, "drops": (8,), "batch": 8})
    table = table3([centres, absent], cells, options)
    for experiment in ("E1", "E2", "E3"):
        own = _row(table, experiment=experiment, images="held out, own centre")
        assert own.figures["f1"].n == 2
        assert "none is trained" in _row(table, experiment=experiment, images="StainGAN").missing
        for images in ("original", "StainNet"):
            figure = _row(table, set="discs", experiment=experiment, images=images).figures["accuracy"]
            assert figure.low is not None
            assert figure.high is not None
            assert 0 <= figure.low <= figure.value <= figure.high <= 1
    assert _row(table, experiment="E1", images="held out, own centre").figures["accuracy"].value > 0.8
    assert "random weights" in table.settings["begins with"]
    assert "nowhere" in _row(table, set="absent").missing


def test_a_small_teacher_is_trained_where_none_is_given(cells: Path, centres: CellSet) -> None:
    from stainstream.tables.cells import Cells, read_centre
    from stainstream.tables.cellstains import stains

    def doubled(each: Cells) -> Cells:
        return Cells(*(np.concatenate([part, part]) for part in (each.images, each.labels, each.clusters)))

    source, target = (doubled(read_centre(cells / side, centres, 48)) for side in ("theirs", "ours"))
    settings = {"filters": 4, "blocks": 1, "critic_filters": 4, "critic_layers": 1, "tile": 32, "epochs": 1}
    settings |= {"decay_epochs": 0, "epoch_steps": 3}
    chosen = msgspec.structs.replace(centres, model="")
    made = stains(chosen, cells, source, target, Schedule(steps=20), settings)
    assert not made.missing
    for method in made.methods.values():
        assert method(source.images[0]).shape == source.images[0].shape
    assert any("3 steps, trained here" in note for note in made.notes)


def test_images_of_other_sizes_are_refused(tissue: Path, images: ImageSet) -> None:
    from stainstream.errors import UsageError

    with pytest.raises(UsageError, match="smaller than a tile"):
        fields(msgspec.structs.replace(images, crop="1,0,0,0"), tissue)
    given: list[Field] = fields(msgspec.structs.replace(images, translated="missing"), tissue)
    assert all(each.translated is None for each in given)

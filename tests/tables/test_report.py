"""Comparisons with committed results, and the page."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from stainstream.errors import UsageError
from stainstream.tables import paper
from stainstream.tables.compare import compare
from stainstream.tables.figures import Figure, Table, TableRow, figure, read
from stainstream.tables.html import page
from stainstream.tables.pictures import strips
from stainstream.tables.sets import ImageSet
from stainstream.tables.svg import Dot, dots


def _table(**changed: object) -> Table:
    rows = [
        TableRow(
            labels={"set": "one", "method": "StainNet", "unit": "tiles", "case": "all"},
            figures={"psnr_gt": figure([20.0, 22.0, 24.0]), "ssim_gt": Figure(value=0.8), "fps": _fps(100)},
        ),
        TableRow(labels={"set": "one", "method": "Macenko"}, missing="no public package <here>"),
        TableRow(labels={"set": "two", "method": "StainNet"}, figures={"psnr_gt": Figure(value=30.0)}),
    ]
    columns = paper.columns("ssim_gt", "psnr_gt", "fps")
    table = Table(
        name="table1", title="Table 1", columns=columns, rows=rows, paper=paper.TABLE1, machine={"processor": "x"}
    )
    return msgspec.structs.replace(table, **changed)


def _fps(value: float) -> Figure:
    return Figure(value=value, low=value * 0.9, high=value * 1.1)


def _with(**figures: Figure) -> Table:
    table = _table()
    first = msgspec.structs.replace(table.rows[0], figures={**table.rows[0].figures, **figures})
    return msgspec.structs.replace(table, rows=[first, *table.rows[1:]])


def test_equal_results_do_not_differ() -> None:
    done = compare(_table(), _table())
    assert (done.compared, done.changes, done.skipped) == (4, [], [])


def test_a_figure_outside_its_interval_is_flagged() -> None:
    low, high = (_table().rows[0].figures["psnr_gt"].low, _table().rows[0].figures["psnr_gt"].high)
    assert low is not None
    assert high is not None
    assert not compare(_with(psnr_gt=Figure(value=high - 0.01)), _table()).changes
    (change,) = compare(_with(psnr_gt=Figure(value=low - 0.01)), _table()).changes
    assert "StainNet" in str(change)
    assert "PSNR GT was 22.000" in str(change)
    assert compare(_with(ssim_gt=Figure(value=0.802)), _table()).changes  # one digit is allowed, 0.001
    assert compare(_with(fps=_fps(50)), _table()).changes


def test_frames_a_second_are_compared_on_one_machine_only() -> None:
    done = compare(msgspec.structs.replace(_with(fps=_fps(50)), machine={"processor": "y"}), _table())
    assert not done.changes
    assert "another processor" in done.skipped[0]


def test_a_row_that_is_gone_is_flagged_and_a_set_that_was_not_measured_is_named() -> None:
    now = msgspec.structs.replace(_table(), rows=_table().rows[1:2])
    done = compare(now, _table())
    assert [change.now for change in done.changes] == ["not there"] * 3
    assert done.skipped == ["two: not measured now"]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"name": 3}', b"\xff"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(UsageError, match="no table of stainstream bench"):
        read(tmp_path / "x.json")


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img", "line", "circle", "path", "br"):
            self.open.append(tag)
        self.links += [value or "" for key, value in attrs if key in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("line", "circle", "path"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_holds_everything_and_fetches_nothing(tissue: Path, images: ImageSet) -> None:
    pictures = list(strips([images, ImageSet(name="absent", source="no", target="no")], tissue))
    assert [strip.title for strip in pictures] == [f"mini, case {case}" for case in "abc"]
    parsed = _Page()
    parsed.feed(page([_table()], pictures, {"table1": compare(_with(fps=_fps(50)), _table())}))
    assert not parsed.open
    assert all(link.startswith(("#", "data:image/jpeg;base64,")) for link in parsed.links)
    for part in ("no public package <here>", "881.8", "1 outside their interval", "best pixelwise map", "processor"):
        assert part in parsed.text


def test_a_chart_keeps_its_dots_inside() -> None:
    drawn = dots(
        "FPS", [Dot("a", 0.5, "0.50", 0.4, 0.6, paper=19.6), Dot("b", 9000.0, "9,000.0", strong=True)], logarithmic=True
    )
    xs = [float(part.split('"')[1]) for part in drawn.split("cx=")[1:]]
    assert len(xs) == 2
    assert 330 <= xs[0] < xs[1] <= 690
    assert dots("none", []) == ""

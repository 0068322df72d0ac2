"""``stainstream bench --table`` as users run it."""

from __future__ import annotations

from pathlib import Path

from stainstream.tables import paper
from stainstream.tables.figures import Figure, Table, TableRow, read, write

from .conftest import Command


def _table(value: float) -> Table:
    row = TableRow(labels={"set": "one", "experiment": "E1", "images": "original"}, figures={"f1": Figure(value=value)})
    return Table(name="table3", title="Table 3", columns=paper.columns("f1"), rows=[row], paper=paper.TABLE3)


def test_a_table_of_images_that_are_not_there_is_a_row_that_says_so(command: Command, tmp_path: Path) -> None:
    arguments = ("--source", "here", "--target", "there", "--out", "out", "--report", "page.html")
    done = command("bench", "--table", "1", *arguments)
    assert done.returncode == 0, done.stderr
    assert "not measured: no images of here to there: here is not in" in done.stdout
    assert "the paper, StainNet" in done.stdout
    assert read(tmp_path / "out" / "table1.json").rows[0].missing
    assert "here is not in" in (tmp_path / "page.html").read_text()


def test_a_figure_that_changed_is_flagged(command: Command, tmp_path: Path) -> None:
    write(_table(0.8), tmp_path / "committed.json")
    write(_table(0.7), tmp_path / "now.json")
    done = command("bench", "--given", "now.json", "--compare", "committed.json", "--report", "page.html")
    assert done.returncode == 1
    assert "CHANGED one, E1, original: F1 score was 0.8000, is 0.7000" in done.stdout
    assert "1 outside their interval" in (tmp_path / "page.html").read_text()
    assert command("bench", "--given", "committed.json", "--compare", "committed.json").returncode == 0


def test_what_cannot_be_asked_is_said(command: Command) -> None:
    for arguments, said in (
        (("--table", "1"), "add --source DIR and --target DIR, or --sets FILE.toml"),
        (("--report", "page.html"), "no table to report"),
        (("--table", "1", "--sets", "none.toml"), "cannot read none.toml"),
        (("--given", "none.json"), "cannot read none.json"),
    ):
        done = command("bench", *arguments)
        assert done.returncode == 2, done.stderr
        assert said in done.stderr

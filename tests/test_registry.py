"""Named plug-ins."""

from __future__ import annotations

from collections import Counter, OrderedDict

import pytest

from stainstream.engines import TABLE as ENGINES
from stainstream.engines import Engine
from stainstream.errors import MissingExtra, UsageError
from stainstream.registry import Plugin, Table

TABLE: Table[object] = Table(
    "toy",
    (
        Plugin("ordered", "collections:OrderedDict", "one", pattern=r"ordered(:.+)?|twice", example="ordered:x"),
        Plugin(
            "far",
            "no_such_module.here:Thing",
            "two",
            pattern=r"far\d*",
            example="far0",
            needs=("json", "no_such_module", "nor_this"),
            extra="far",
        ),
        Plugin("unlisted", "collections:deque", "three"),
        Plugin("rest", "collections:Counter", "four", pattern=r".+\.txt|twice"),
    ),
)


def test_rows_keep_their_order() -> None:
    assert [row.name for row in TABLE] == ["ordered", "far", "unlisted", "rest"]


def test_a_row_is_found_by_name_and_loads_its_class() -> None:
    assert TABLE["ordered"].load() is OrderedDict
    assert TABLE["ordered"].missing is None


def test_a_row_that_cannot_be_loaded_can_be_named() -> None:
    assert TABLE["far"].missing == "no_such_module"
    assert TABLE.serving("far7") is TABLE["far"]


def test_a_missing_module_is_named_with_the_command_that_brings_it() -> None:
    with pytest.raises(
        MissingExtra, match=r"cannot use 'far': .*'no_such_module' is missing; run: pip install 'stainstream\[far\]'"
    ):
        TABLE["far"].load()


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(UsageError, match="unknown toy 'nothing': known are ordered, far, unlisted, rest"):
        TABLE["nothing"]


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("ordered", "ordered"),
        ("ORDERED:Thing", "ordered"),
        ("ordered:two\nlines", "ordered"),
        ("twice", "ordered"),
        ("notes.txt", "rest"),
        ("far/ordered.txt", "rest"),
    ],
)
def test_the_first_pattern_that_fits_the_whole_address_serves_it(address: str, name: str) -> None:
    assert TABLE.serving(address).name == name


@pytest.mark.parametrize("address", ["", "disordered", "ordered:", "unlisted", "far0x"])
def test_an_address_of_no_known_form_is_shown_examples(address: str) -> None:
    with pytest.raises(UsageError, match=r"unknown toy .*\(ordered:x, far0\)"):
        TABLE.serving(address)


@pytest.mark.parametrize("row", ENGINES.rows, ids=lambda row: str(row.name))
def test_every_engine_of_the_table_is_one(row: Plugin[Engine]) -> None:
    if row.missing:
        pytest.skip(f"{row.missing} is not installed")
    assert issubclass(row.load(), Engine)
    assert row.summary
    assert bool(row.needs) == bool(row.extra)


def test_names_are_unique() -> None:
    assert max(Counter(row.name for row in ENGINES).values()) == 1

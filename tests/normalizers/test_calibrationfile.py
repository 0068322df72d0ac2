"""Calibrations and references as files."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import stainstream as ss
from stainstream.color.surveyor import gather
from stainstream.errors import MissingExtra, UsageError
from stainstream.normalizers import TABLE
from stainstream.normalizers.conventions import PROFILES, Conventions
from stainstream.normalizers.fitted import Fitted, Reference
from stainstream.normalizers.macenko import Macenko
from stainstream.normalizers.reinhard import LabStatistics, Reinhard
from stainstream.normalizers.store import find, names, read, read_reference, read_surveys, save, shelf

from .tiles import demo, mapped, restained

METHODS = [row.name for row in TABLE]
NUMBERS = st.floats(-1e300, 1e300)
SPREADS = st.floats(1e-3, 1e300)


def _triples(numbers: st.SearchStrategy[float]) -> st.SearchStrategy[tuple[float, float, float]]:
    return st.tuples(numbers, numbers, numbers)


LABS = st.builds(LabStatistics, mean=_triples(NUMBERS), std=_triples(SPREADS))
CONVENTIONS = st.builds(
    Conventions,
    lab=st.sampled_from(["cie", "opencv8"]),
    tissue_only=st.booleans(),
    threshold=SPREADS,
    least_tissue=st.floats(0, 1),
    white=SPREADS,
    offset=st.sampled_from([0, 1]),
    angles=st.tuples(st.floats(0, 100), st.floats(0, 100)),
    standardize=st.floats(0, 100),
    rounding=st.sampled_from(["nearest", "truncate"]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(LABS, LABS, CONVENTIONS, st.text())
def test_what_is_read_is_what_was_saved(
    tmp_path: Path, source: LabStatistics, target: LabStatistics, conventions: Conventions, name: str
) -> None:
    fitted = Reinhard(source, target, conventions, name)
    save(tmp_path / "x.toml", fitted)
    assert read(tmp_path / "x.toml") == fitted


@pytest.mark.parametrize("method", METHODS)
def test_every_method_comes_back_from_its_file(method: str, tmp_path: Path) -> None:
    try:
        fitted = TABLE[method].load().fit(demo(size=256), restained(demo(1, 1, 256)), "stream")
    except MissingExtra as error:
        pytest.skip(str(error))
    save(tmp_path / f"{method}.toml", fitted)
    again = read(tmp_path / f"{method}.toml")
    assert again == fitted
    np.testing.assert_array_equal(mapped(again, demo()), mapped(fitted, demo()))


def test_a_file_is_loaded_like_a_model(tmp_path: Path) -> None:
    fitted = Macenko.fit(demo(), restained(demo(1, 1)), "staintools")
    save(tmp_path / "mine.toml", fitted)
    with ss.load(tmp_path / "mine.toml") as normalize:
        assert normalize.artifact.name == "macenko"
        np.testing.assert_array_equal(normalize(demo(2, 2)), mapped(fitted, demo(2, 2)))


def test_surveys_travel_with_the_statistics(tmp_path: Path) -> None:
    counts, survey = gather([demo(row, row, 256) for row in range(3)])
    assert survey is not None
    surveys = {"source": survey, "target": msgspec.structs.replace(survey, note='of "mine" \\ \n\t\x7f ü 😀')}
    save(tmp_path / "x.toml", Reinhard.fit(counts, demo()), surveys)
    assert read_surveys(tmp_path / "x.toml") == surveys
    save(tmp_path / "y.toml", Reinhard.fit(counts, demo()))
    assert read_surveys(tmp_path / "y.toml") == {}


def test_a_target_is_shared_without_its_image(tmp_path: Path) -> None:
    source, target = demo(), restained(demo(1, 2))
    conventions = PROFILES["stream"]
    statistics = {kind.method: kind.study(target, conventions) for kind in (Reinhard, Macenko)}
    save(tmp_path / "lab.toml", Reference(statistics, conventions, "lab"))
    shared = read_reference(tmp_path / "lab.toml")
    assert shared == Reference(statistics, conventions, "lab")
    for kind in (Reinhard, Macenko):
        assert kind.fit(source, target=shared) == kind.fit(source, target=target, profile="stream")
    with pytest.raises(UsageError, match=r"cannot normalize with .*it is a reference, without a source"):
        ss.load(tmp_path / "lab.toml")


def test_a_calibrations_target_is_a_reference_too(tmp_path: Path) -> None:
    fitted = Reinhard.fit(demo(), restained(demo(1, 1)), "staintools")
    save(tmp_path / "x.toml", fitted)
    assert Reinhard.fit(demo(2, 2), read_reference(tmp_path / "x.toml")).target == fitted.target


def _reading(path: Path) -> list[Any]:
    return [read(path), read_reference(path), read_surveys(path)]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    counts, survey = gather([demo(size=256)])
    assert survey is not None
    path = tmp_path_factory.mktemp("good") / "good.toml"
    save(path, Macenko.fit(counts, restained(demo(1, 1))), {"source": survey})
    return path


WRONG = {
    "a number as text": (r"full = 99.0", 'full = "much"', "[conventions] full: Expected `float`, got `str`"),
    "an unknown key": (r"white = ", "whit = ", "[conventions] whit: Object contains unknown field `whit`"),
    "an unknown choice": (r"unmix = \"lstsq\"", 'unmix = "qr"', "[conventions] unmix: Invalid enum value 'qr'"),
    "out of range": (r"white = 240.0", "white = -1.0", "[conventions] white: Expected `float` > 0.0"),
    "too few numbers": (r"angles = .*", "angles = [1.0]", "[conventions] angles: Expected `array` of length 2, got 1"),
    "an unknown profile": (r"profile = .*", 'profile = "mine"', "[conventions] profile: unknown profile 'mine'"),
    "an unknown method": (r"method = .*", 'method = "magic"', "method: unknown method 'magic'; known are reinhard,"),
    "an unknown table": (r"\[survey.source\]", "[servey.source]", "servey: unknown; known are"),
    "another method's table": (r"\[source.macenko\]", "[source.khan]", "[source] macenko: there is no table"),
    "a number missing": (r"full = \[.*", "", "[source.macenko] full: Object missing required field `full`"),
    "not a stain": (r"stains = \[\[", "stains = [[9", "[source.macenko] stains: stains are not vectors of length 1"),
    "none of a stain": (r"full = \[.*", "full = [0.0, 1.0]", "[source.macenko] full: full is not above 0"),
    "no number": (r"full = \[.*", "full = [nan, 1.0]", "[source.macenko] full: full is not above 0"),
    "a value in a table below": (
        r"mean = \[.*",
        "mean = 3",
        "[survey.source.palette] mean: Expected `array`, got `int`",
    ),
    "a negative spread": (r"spread = .*", "spread = -1.0", "[survey.source] spread: Expected `float` >= 0.0"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_named_with_its_line_and_key(case: str, good: Path, tmp_path: Path) -> None:
    pattern, replacement, message = WRONG[case]
    text, found = re.subn(pattern, replacement, good.read_text(encoding="utf-8"), count=1)
    assert found
    bad = tmp_path / "bad.toml"
    bad.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        _reading(bad)
    assert message in str(caught.value)
    line = re.search(r"bad\.toml, line (\d+):", str(caught.value))
    assert line is not None
    blamed = text.splitlines()[int(line[1]) - 1]
    key = message.partition(":")[0].rpartition(" ")[2]
    assert re.match(rf"{key} = |\[.*\]", blamed), blamed


def test_what_is_not_toml_is_named_with_its_line(good: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text(good.read_text(encoding="utf-8").replace("lab = ", "lab ", 1), encoding="utf-8")
    with pytest.raises(UsageError, match=r"bad\.toml: it is not TOML: .*line 7"):
        read(bad)
    bad.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="it is not TOML"):
        read(bad)


def test_keys_that_are_left_out_are_the_profiles(good: Path, tmp_path: Path) -> None:
    text = good.read_text(encoding="utf-8")
    start, end = text.index("[conventions]"), text.index("[source.macenko]")
    short = tmp_path / "short.toml"
    short.write_text(text[:start] + '[conventions]\nprofile = "staintools"\nwhite = 250.0\n' + text[end:], "utf-8")
    assert read(short).conventions == msgspec.structs.replace(PROFILES["staintools"], white=250.0)


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no calibration '.*none.toml': .*he-camelyon17-centre4"):
        read(tmp_path / "none.toml")
    with pytest.raises(UsageError, match="cannot write"):
        save(tmp_path / "no" / "folder.toml", Reinhard.fit(demo(size=64), demo(1, 1, 64)))


@pytest.mark.parametrize("name", names())
def test_what_ships_can_be_used(name: str) -> None:
    content = tomllib.loads(find(name).read_text(encoding="utf-8"))
    reference = read_reference(name)
    assert set(reference.statistics) == set(content["target"])
    assert reference.survey is not None
    assert reference.survey.license == "CC0-1.0"
    for method in reference.statistics:
        fitted: Fitted[Any] = TABLE[method].load().fit(demo(), target=reference)
        assert mapped(fitted, demo()).std() > 10


def test_a_calibration_ships() -> None:
    calibrations = [name for name in names() if "method" in tomllib.loads(find(name).read_text(encoding="utf-8"))]
    assert calibrations
    assert shelf().is_dir()
    for name in calibrations:
        assert set(read_surveys(name)) == {"source", "target"}
        assert mapped(read(name), demo()).shape == (512, 512, 3)

"""Configuration files: what they say, and what is said of mistakes in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stainstream.errors import UsageError
from stainstream.streams import RunSettings, read_streams

TWO = """\
# a comment
log = "json"
capacity = 7

[streams.left]
source = "camera0"
sinks = ["a"]

[streams.right]  # another
source = "camera1"
sinks = ["b"]
capacity = 9
"""


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "s.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_one_stream_needs_no_name(tmp_path: Path) -> None:
    path = written(tmp_path, 'source = "camera0"\nseconds = 2\nrecord = ["a.mp4?what=both"]\n')
    assert read_streams(path, {}) == {"": RunSettings(source="camera0", seconds=2.0, record=("a.mp4?what=both",))}


def test_several_share_what_stands_above_and_differ_in_the_rest(tmp_path: Path) -> None:
    left, right = read_streams(written(tmp_path, TWO), {}).values()
    assert left == RunSettings(source="camera0", sinks=("a",), log="json", capacity=7)
    assert right == RunSettings(source="camera1", sinks=("b",), log="json", capacity=9)


def test_the_command_line_goes_before_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, TWO)
    assert [each.capacity for each in read_streams(path, {"capacity": 3}).values()] == [3, 3]
    with pytest.raises(UsageError, match=r"cannot give --source for several streams: .* add: --stream NAME"):
        read_streams(path, {"source": "demo"})
    left, right = read_streams(path, {"source": "demo"}, "left").values()
    assert (left.source, right.source) == ("demo", "camera1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("capacity = 3\nsped = 4\n", "line 2: sped: unknown; known are "),
        ("capacity = 0\n", "line 1: capacity: Expected `int` >= 1"),
        ('[x]\nsource = "a"\n', "line 1: x: unknown"),
        ('\n"source" = 3\n', "line 2: source: Expected `str`, got `int`"),
        ('sinks = ["a", 3]\n', "line 1: sinks: Expected `str`, got `int`"),
        ('log = "xml"\n', "line 1: log: Invalid enum value 'xml'"),
        (TWO + "sped = 1\n", "line 13: [streams.right] sped: unknown"),
        (TWO.replace("capacity = 7", "sped = 7"), "line 3: sped: unknown"),
        (
            TWO.replace("capacity = 9", "capacity = true"),
            "line 12: [streams.right] capacity: Expected `int`",
        ),
        ("streams = 3\n", "line 1: streams: it is no table"),
        ("[streams]\n", "line 1: streams: it names no stream; add one: [streams.NAME]"),
        ('[streams."a b"]\n', "a b: a stream's name consists of letters"),
        (TWO.replace("camera1", "camera0"), "line 9: [streams] right: left uses 'camera0', too"),
        (TWO.replace('["b"]', '["null", "a"]'), "right: left uses 'a', too"),
        (
            "[streams.a]\n[streams.b]\n",
            "b: a uses 'zmq+tcp://127.0.0.1:5560', too; give each stream its own",
        ),
        ("streams.a = 3\n", "a: it is no table"),
        ("source = \n", "it is not TOML"),
        (b"\xff", "it is not TOML"),
    ],
)
def test_a_mistake_is_named_with_its_file_line_and_key(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        read_streams(path, {})
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_a_password_in_a_mistake_is_not_shown(tmp_path: Path) -> None:
    text = TWO.replace("camera0", "rtsp://me:secret@host/a").replace("camera1", "rtsp://me:secret@host/a")
    with pytest.raises(UsageError) as caught:
        read_streams(written(tmp_path, text), {})
    assert "secret" not in str(caught.value)


def refusal(path: Path) -> str:
    """What is said of a file's mistake, with the file's name; nothing if there is none."""
    try:
        read_streams(path, {})
    except UsageError as error:
        return str(error)[str(error).index(str(path)) :]
    return ""


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from([*RunSettings.__struct_fields__, "streams", "sped"]) | st.text(max_size=8)
TABLES = st.dictionaries(KEYS, VALUES, max_size=5)


@given(values=TABLES, streams=st.none() | st.dictionaries(st.text(max_size=8), TABLES, max_size=3))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_is_taken_or_refused_by_name(
    tmp_path: Path, values: dict[str, Any], streams: dict[str, Any] | None
) -> None:
    content = _without_none(values | ({"streams": streams} if streams is not None else {}))
    assert "\n" not in refusal(written(tmp_path, tomli_w.dumps(content)))


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_taken_or_refused_by_name(tmp_path: Path, content: bytes) -> None:
    refusal(written(tmp_path, content))


@given(st.builds(RunSettings, capacity=st.integers(1, 99), seconds=st.floats(0, 1e6), source=st.text(max_size=30)))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_settings_come_back_as_written(tmp_path: Path, stream: RunSettings) -> None:
    path = written(tmp_path, tomli_w.dumps(_without_none(msgspec.to_builtins(stream))))
    assert read_streams(path, {}) == {"": stream}


def _without_none(value: Any) -> Any:
    """TOML has no word for nothing."""
    if isinstance(value, dict):
        return {key: _without_none(each) for key, each in value.items() if each is not None}
    if isinstance(value, list | tuple):
        return [_without_none(each) for each in value if each is not None]
    return value

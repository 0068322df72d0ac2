"""Settings, addresses, TOML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from stainstream.config import Address, Settings, cache_folder, read, redacted, settings
from stainstream.errors import UsageError


class Toy(Settings, frozen=True):
    """Something to set."""

    rate: Annotated[float, Meta(gt=0)]
    loop: bool = False
    name: str = "x"


@pytest.mark.parametrize(
    ("text", "target", "options"),
    [
        ("demo", "demo", {}),
        ("demo?size=512x512&rate=30", "demo", {"size": "512x512", "rate": "30"}),
        ("zmq+tcp://host:5555?format=array-1.0", "zmq+tcp://host:5555", {"format": "array-1.0"}),
        ("tiles/slide?.png", "tiles/slide?.png", {}),
        ("tiles/slide?.png?rate=3", "tiles/slide?.png", {"rate": "3"}),
        ("a?rate=", "a", {"rate": ""}),
        ("a?where=x=y", "a", {"where": "x=y"}),
        ("", "", {}),
        ("?rate=3", "", {"rate": "3"}),
    ],
)
def test_an_address_is_a_target_and_options(text: str, target: str, options: dict[str, str]) -> None:
    assert Address.parse(text) == Address(target, options)


@pytest.mark.parametrize("text", ["a?rate=3&rate=4", "a?rate=3&", "a?rate=3&loop", "a?rate=3&&loop=1"])
def test_an_option_twice_or_without_value_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="stands twice or has no value"):
        Address.parse(text)


@given(st.dictionaries(st.from_regex(r"[a-z_]+", fullmatch=True), st.from_regex(r"[^?&]*", fullmatch=True), min_size=1))
def test_options_come_back_as_written(options: dict[str, str]) -> None:
    text = "&".join(f"{key}={value}" for key, value in options.items())
    if not text.endswith("\n"):
        assert Address.parse(f"demo?{text}") == Address("demo", options)


def test_text_becomes_the_type_of_its_field() -> None:
    assert settings({"rate": "2.5", "loop": "1"}, Toy, "here") == Toy(rate=2.5, loop=True)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": "1", "sped": "2"}, "unknown field `sped`"),
        ({}, "missing required field `rate`"),
        ({"rate": "fast"}, "rate"),
        ({"rate": "0"}, "rate"),
        ({"rate": 1.0, "name": 7}, "name"),
    ],
)
def test_wrong_settings_name_the_place_the_key_and_what_is_known(values: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match="wrong settings in here: ") as caught:
        settings(values, Toy, "here")
    assert message in str(caught.value)
    assert str(caught.value).endswith("; known keys: rate, loop, name")


def test_where_nothing_can_be_set_that_is_said() -> None:
    assert settings({}, Settings, "here") == Settings()
    with pytest.raises(UsageError, match="known keys: none"):
        settings({"a": "1"}, Settings, "here")


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Toy(rate=1.0).rate = 2.0  # type: ignore[misc]


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "toy.toml"
    path.write_text('rate = 3\nname = "Größe"\n', encoding="utf-8")
    assert read(path, Toy) == Toy(rate=3.0, name="Größe")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"rate = 3\nrate = 4\n", "it is not TOML"),
        (b"rate = \n", "line 1, column"),
        (b"\xff\xfe", "it is not TOML"),
        (b"\x00", "it is not TOML"),
        (b"rate = 3\nspeed = 4\n", "unknown field `speed`"),
        (b"rate = -3\n", "rate"),
        (b"", "missing required field `rate`"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "toy.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read(path, Toy)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_a_file_that_is_not_there_or_a_folder_is_refused_by_name(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(UsageError, match="cannot read") as caught:
            read(path, Toy)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("camera0?rate=30", "camera0?rate=30"),
        ("rtsp://host/live", "rtsp://host/live"),
        ("rtsp://me:secret@host/live", "rtsp://***@host/live"),
        ("rtsp://me:se@cr@et@host/live?token=secret", "rtsp://***@host/live?***"),
        ("https://host/live?user=me&password=secret", "https://host/live?***"),
        ("zmq+tcp://*:5560?topic=a", "zmq+tcp://*:5560?topic=a"),
        ("zmq+tcp://me:secret@host:1?topic=a", "zmq+tcp://***@host:1?topic=a"),
        ("view?port=1&token=secret&host=*", "view?port=1&token=***&host=*"),
    ],
)
def test_secrets_in_an_address_are_not_shown(address: str, shown: str) -> None:
    assert redacted(address) == shown


def test_a_wrong_option_of_an_address_with_a_password_does_not_show_it() -> None:
    with pytest.raises(UsageError) as caught:
        Address.parse("rtsp://me:secret@host/live?rate=1&rate=2")
    assert "secret" not in str(caught.value)


def test_the_cache_folder_is_the_one_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STAINSTREAM_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path


def test_without_one_asked_for_it_is_the_platforms(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("", None):
        if value is None:
            monkeypatch.delenv("STAINSTREAM_CACHE")
        else:
            monkeypatch.setenv("STAINSTREAM_CACHE", value)
        assert cache_folder().is_absolute()
        assert "stainstream" in cache_folder().parts

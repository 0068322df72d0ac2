"""Keys: who is let in, and who is not."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import numpy as np
import pytest
import zmq

from stainstream.api import open_sink, open_source
from stainstream.endpoint import attach
from stainstream.errors import SinkError, UsageError
from stainstream.feed import Publisher, Subscriber
from stainstream.frame import Frame, PixelFormat
from stainstream.security import make_keys, public_key


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Keys of a server, of a friend whom it trusts, and of a stranger."""
    for name in ("server", "friend", "stranger"):
        make_keys(name, tmp_path)
    (tmp_path / "trusted").mkdir()
    (tmp_path / "friend.key").rename(tmp_path / "trusted" / "friend.key")
    return tmp_path


def test_a_key_that_is_not_listed_gets_nothing(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    server = str(folder / "server.key")
    with Publisher(
        "tcp://127.0.0.1:0", curve=str(folder / "server.key_secret"), keys=str(folder / "trusted")
    ) as publisher:
        publisher.begin("s").send(np.zeros((4, 5, 3), np.uint8))
        with caplog.at_level("WARNING"):
            with Subscriber(publisher.address, curve=str(folder / "stranger.key_secret"), keys=server) as stranger:
                assert stranger.take(timeout=1.0) is None
            assert f"key {public_key(folder / 'stranger.key')} is not in" in caplog.text
        with Subscriber(publisher.address) as naked:
            assert naked.take(timeout=1.0) is None
        with Subscriber(publisher.address, curve=str(folder / "friend.key_secret"), keys=server) as friend:
            assert friend.take(timeout=20) is not None


def test_a_server_with_another_key_is_not_believed(folder: Path) -> None:
    secret, trusted = str(folder / "stranger.key_secret"), str(folder / "trusted")
    with (
        Publisher("tcp://127.0.0.1:0", curve=secret, keys=trusted) as impostor,
        Subscriber(
            impostor.address, curve=str(folder / "friend.key_secret"), keys=str(folder / "server.key")
        ) as friend,
    ):
        impostor.begin("s").send(np.zeros((4, 5, 3), np.uint8))
        assert friend.take(timeout=1.0) is None


@pytest.mark.parametrize("delivery", ["pattern=push pattern=pull", "delivery=live delivery=live"])
def test_sinks_and_sources_have_keys(folder: Path, delivery: str) -> None:
    to, of = delivery.split()
    sink = open_sink(f"zmq+tcp://127.0.0.1:0?{to}&curve={folder}/server.key_secret&keys={folder}/trusted")
    with sink:
        target = f"zmq+{sink.address}"  # type: ignore[attr-defined]
        source = open_source(f"{target}?{of}&curve={folder}/friend.key_secret&keys={folder}/server.key")
        with source:
            frame = Frame(np.zeros((4, 5, 3), np.uint8), PixelFormat.RGB8, 3)
            sink.write(frame)
            assert next(iter(source)).seq == 3


def test_secret_keys_are_their_owners_alone(folder: Path) -> None:
    secret = folder / "server.key_secret"
    if sys.platform != "win32":
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
        secret.chmod(0o644)
        with pytest.raises(UsageError, match="others can read it; run: chmod 600"):
            Publisher("tcp://127.0.0.1:0", curve=str(secret), keys=str(folder / "trusted"))
    with pytest.raises(UsageError, match="it is there already"):
        make_keys("server", folder)


@pytest.mark.parametrize(
    ("curve", "keys", "reason"),
    [
        ("server.key_secret", "", "option keys is missing"),
        ("", "trusted", "option curve is missing"),
        ("server.key", "trusted", "it holds no secret key"),
        ("nothing", "trusted", "it is no key file"),
        ("server.key_secret", "nothing", "it is no key file"),
    ],
)
def test_keys_that_cannot_be_used(folder: Path, curve: str, keys: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        Publisher(
            "tcp://127.0.0.1:0", curve=str(folder / curve) if curve else "", keys=str(folder / keys) if keys else ""
        )


def test_a_feed_that_is_open_to_the_network_is_remarked_upon(caplog: pytest.LogCaptureFixture) -> None:
    for address, open_ in (("zmq+tcp://*:0", True), ("zmq+tcp://127.0.0.1:0", False)):
        caplog.clear()
        with open_sink(address):
            assert ("is open to the network" in caplog.text) is open_


def test_conflation_is_refused() -> None:
    for made, what in ((open_sink, "sink"), (open_source, "source")):
        with pytest.raises(UsageError, match=f"wrong settings in {what}.*use delivery=live"):
            made("zmq+tcp://127.0.0.1:5?conflate=1")
    with pytest.raises(UsageError, match="ZMQ_CONFLATE"):
        attach(zmq.PUB, "tcp://127.0.0.1:0", True, {zmq.CONFLATE: 1}, SinkError)


def test_nothing_is_pickled() -> None:
    """Neither module nor NumPy's own way to it, in all of the package."""
    root = Path(__file__).resolve().parent.parent / "stainstream"
    for file in root.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        for word in (
            "import pickle",
            "pickle.loads",
            "recv_pyobj",
            "send_pyobj",
            "allow_pickle=True",
            "import marshal",
        ):
            assert word not in text, (file, word)

"""ZeroMQ sockets at addresses."""

from __future__ import annotations

import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zmq

from stainstream.endpoint import Socket, attach, detach
from stainstream.errors import SinkError, SourceError

needs_ipc = pytest.mark.skipif(sys.platform == "win32", reason="ipc needs Unix sockets")


@contextmanager
def bound(target: str) -> Iterator[tuple[Socket, str]]:
    opened = attach(zmq.PULL, target, True, {}, SourceError)
    try:
        yield opened, "zmq+" + opened.getsockopt_string(zmq.LAST_ENDPOINT)
    finally:
        detach(opened)


@pytest.fixture
def path() -> Iterator[Path]:
    """A short one: systems allow about a hundred characters."""
    with tempfile.TemporaryDirectory(prefix="ss") as folder:
        yield Path(folder) / "s"


@pytest.mark.parametrize("target", ["zmq+tcp://127.0.0.1:0", "zmq+tcp://127.0.0.1:*", "ZMQ+tcp://localhost:0"])
def test_any_free_port(target: str) -> None:
    with bound(target) as (_, address):
        assert 0 < int(address.rpartition(":")[2]) < 65536


def test_a_port_in_use() -> None:
    with bound("zmq+tcp://127.0.0.1:0") as (_, address):
        with pytest.raises(SourceError, match=r"cannot bind to tcp://127.*: the address is in use; stop the program"):
            attach(zmq.PULL, address, True, {}, SourceError)
        with pytest.raises(SinkError, match="the address is in use"):
            attach(zmq.PUB, address, True, {}, SinkError)
    with bound(address) as (_, again):
        assert again == address


@needs_ipc
def test_a_path_in_use_is_not_taken_away(path: Path) -> None:
    with (
        bound(f"zmq+ipc://{path}"),
        pytest.raises(SourceError, match=r"cannot bind to ipc://.*: the address is in use"),
    ):
        attach(zmq.PULL, f"zmq+ipc://{path}", True, {}, SourceError)


@needs_ipc
def test_a_path_left_behind_is_used_again(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(str(path))
    assert path.exists()
    with bound(f"zmq+ipc://{path}") as (opened, address):
        sender = attach(zmq.PUSH, address, False, {zmq.LINGER: 1000}, SinkError)
        sender.send(b"hello")
        opened.rcvtimeo = 5000
        assert opened.recv() == b"hello"
        detach(sender)


@pytest.mark.parametrize(
    ("target", "bind", "reason"),
    [
        ("zmq+tcp://127.0.0.1", True, "it is no such address; write tcp://host:port"),
        ("zmq+tcp://127.0.0.1", False, "it is no such address; write tcp://host:port"),
        ("zmq+tcp://127.0.0.1:70000", True, "it is no such address"),
        ("zmq+tcp://127.0.0.1:55x", True, "it is no such address"),
        ("zmq+tcp://127.0.0.1:*", False, "it names no one host and port; give both, or set bind=1"),
        ("zmq+tcp://*:5555", False, "it names no one host and port"),
        ("zmq+tcp://nowhere.invalid:5555", False, r"host 'nowhere.invalid' is not known \(.+\); check the name"),
        ("zmq+tcp://a..b:5555", False, r"host 'a..b' is not known \(.+\)"),
        ("zmq+tcp://192.0.2.1:5555", True, "this computer has no such address; give one of its own"),
        ("zmq+tcp://nowhere.invalid:5555", True, "this computer has no such address"),
        pytest.param("zmq+ipc:///nowhere/at/all", True, "No such file or directory", marks=needs_ipc),
        pytest.param("zmq+ipc:///" + "x" * 200, True, "File name too long", marks=needs_ipc),
    ],
)
def test_addresses_that_cannot_be(target: str, bind: bool, reason: str) -> None:
    with pytest.raises(SourceError, match=reason) as error:
        attach(zmq.PULL, target, bind, {}, SourceError)
    assert "\n" not in str(error.value)


def test_version_6_of_ip() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    with bound("zmq+tcp://[::1]:0") as (opened, address):
        sender = attach(zmq.PUSH, address, False, {}, SinkError)
        sender.send(b"hello")
        opened.rcvtimeo = 5000
        assert opened.recv() == b"hello"
        detach(sender)


def test_inproc_meets_within_the_process() -> None:
    with bound("zmq+inproc://here") as (opened, address):
        sender = attach(zmq.PUSH, address, False, {}, SinkError)
        sender.send(b"hello")
        assert opened.recv() == b"hello"
        detach(sender)


@needs_ipc
def test_a_pusher_that_cannot_be_bound_is_let_go_of(path: Path) -> None:
    """Its monitor as well, or closing it would hang."""
    with pytest.raises(SinkError, match="cannot bind to ipc://"):
        attach(zmq.PUSH, f"zmq+ipc://{path.parent / 'no' / 'such' / 'folder'}", True, {}, SinkError)


def test_consumers_that_come_and_go_hold_up_nothing() -> None:
    opened = attach(zmq.PUSH, "zmq+tcp://127.0.0.1:0", True, {zmq.SNDTIMEO: 20_000}, SinkError)
    address = opened.getsockopt_string(zmq.LAST_ENDPOINT)
    for _ in range(1500):
        socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))).close()
    consumer = attach(zmq.PULL, address, False, {zmq.RCVTIMEO: 20_000}, SourceError)
    opened.send(b"still here")
    assert consumer.recv() == b"still here"
    detach(consumer)
    detach(opened)

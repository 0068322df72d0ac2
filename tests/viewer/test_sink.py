"""The page as a sink, and as users ask for it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
import webbrowser
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("aiohttp", reason="aiohttp is not installed")
import stainstream as ss
from stainstream.errors import MissingExtra, SinkError, UsageError
from stainstream.registry import Plugin
from stainstream.sinks import TABLE
from stainstream.viewer import View

from .conftest import until


def frame(seq: int = 0) -> ss.Frame:
    return ss.Frame(np.zeros((8, 8, 3), np.uint8), ss.PixelFormat.RGB8, seq)


def test_options_as_text() -> None:
    made = ss.open_sink("view?host=0.0.0.0&port=9000&open=0&viewers=3&quality=70")
    assert made.options == View.Options(host="0.0.0.0", port=9000, open=False, viewers=3, quality=70)
    assert ss.open_sink("view").options == View.Options()
    for wrong in ("port=65536", "viewers=0", "quality=101", "token=x"):
        with pytest.raises(UsageError, match="wrong settings in sink"):
            ss.open_sink(f"view?{wrong}")


@pytest.mark.parametrize(("host", "family"), [("0.0.0.0", r"[\d.]+"), ("::", r"\[[\w:]+\]")])
def test_the_address_that_is_said_is_one_that_answers(host: str, family: str) -> None:
    view = View("view", View.Options(host=host, port=0, open=False))
    try:
        view.open()
    except SinkError:
        pytest.skip(f"this computer does not listen at {host}")
    with view:
        assert re.match(rf"http://{family}:\d+/\?token=", view.url)
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with opener.open(view.url) as answer:
            assert answer.status == 200


def test_a_port_in_use_is_named() -> None:
    with View("view", View.Options(port=0, open=False)) as view:
        port = int(view.url.rstrip("/").rpartition(":")[2])
        second = View("view", View.Options(port=port, open=False))
        with pytest.raises(SinkError, match=rf"cannot serve the viewer at 127.0.0.1:{port}: the port is in use; stop"):
            second.open()
        second.close()


@pytest.mark.parametrize("host", ["192.0.2.7", "no-such-host.invalid"])
def test_a_host_that_is_not_ours_is_named(host: str) -> None:
    with pytest.raises(SinkError, match=f"cannot serve the viewer at {host}:0: "):
        View("view", View.Options(host=host, port=0, open=False)).open()


def test_it_is_opened_and_closed_again_and_again() -> None:
    view = View("view", View.Options(port=0, open=False))
    with pytest.raises(SinkError, match="cannot show frame 3: the viewer is not open"):
        view.write(frame(3))
    for _ in range(3):
        with view:
            view.write(frame())
            with urllib.request.urlopen(f"{view.url}healthz") as answer:
                assert answer.read() == b"ok\n"
        view.close()
    assert not view.wants_raw


@pytest.mark.parametrize(
    ("options", "desktop", "shown"),
    [
        (View.Options(port=0), True, True),
        (View.Options(port=0), False, False),
        (View.Options(port=0, open=False), True, False),
        (View.Options(port=0, host="0.0.0.0"), True, False),
    ],
)
def test_the_page_opens_by_itself_on_a_desktop_only(
    monkeypatch: pytest.MonkeyPatch, options: View.Options, desktop: bool, shown: bool
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr("sys.platform", "linux")
    for key in ("WAYLAND_DISPLAY", "DISPLAY", "SSH_CONNECTION"):
        monkeypatch.delenv(key, raising=False)
    if desktop:
        monkeypatch.setenv("DISPLAY", ":0")
    with View("view", options) as view:
        if shown:
            until(lambda: opened)
        assert opened == ([view.url] if shown else [])


def test_what_is_missing_is_named_with_its_command() -> None:
    row = TABLE["view"]
    without: Plugin[View] = Plugin("view", row.target, row.summary, needs=("no_such_module",), extra=row.extra)
    with pytest.raises(MissingExtra, match=r"'no_such_module' is missing; run: pip install 'stainstream\[view\]'"):
        without.load()
    assert row.missing is None


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to catch")
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--view"], "viewer at http://127.0.0.1:"),
        (["--sink", "view?open=0&port=0"], "viewer at http://127.0.0.1:"),
        (["--view-host", "0.0.0.0"], "/?token="),
    ],
)
def test_run_says_where_the_page_is(tmp_path: Path, options: list[str], says: str) -> None:
    port = [] if options[0] == "--sink" else ["--view-port", "0", "--no-open"]
    process = subprocess.Popen(
        [sys.executable, "-m", "stainstream", "run", *options, *port],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    )
    assert process.stderr is not None
    line = next(line for line in process.stderr if "viewer at" in line)
    assert says in line
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with opener.open(line.split()[-1]) as answer:
        assert b"<title>stainstream</title>" in answer.read()
    process.send_signal(signal.SIGTERM)
    rest = process.communicate(timeout=20)[1]
    assert process.returncode == 0
    assert "captured" in rest
    assert "Traceback" not in rest

"""The live viewer: ages, drops, memory and cost, in whole processes: ``python -m benchmarks.viewer RESULT.json``.

* *browser*: a stream with the page open in Chromium; the age of each frame is from its capture until the page has
  received its message. Demo frames, split view, 1280x800 window, no GPU.
* *slow*: a client that sleeps 50 ms after each frame; the age of what it is given.
* *crowd*: ten viewers come, are given three frames and go, 200 times; resident memory of the server.
* *off*: processor time of a stream whose viewer nobody looks at, beside the same stream into ``null``, in turn.

Ages are in ms, memory in MiB. Chromium and the stream share the machine's processors.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil

from stainstream.benchmark.rows import machine
from stainstream.viewer.messages import unpack
from tests.viewer.chromium import FLAGS

STAINSTREAM = [sys.executable, "-m", "stainstream"]
WARM_S = 3.0
# Notes when frames arrive, by the server's clock, which the page asks for anyway.
PROBE = """
window.ages = []; window.ahead = NaN; let best = Infinity;
window.WebSocket = class extends WebSocket {
  constructor(...given) {
    super(...given);
    this.addEventListener("message", ({ data }) => {
      const now = performance.now();
      if (typeof data === "string") {
        const { op, sent, clock_ns } = JSON.parse(data);
        if (op !== "pong" || now - sent > best) return;
        best = now - sent; window.ahead = clock_ns / 1e6 + best / 2 - now;
      } else {
        const length = new DataView(data).getUint32(4, true);
        const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 8, length)));
        window.ages.push([now, header.captured_ns / 1e6, header.seq]);
      }
    });
  }
};
"""


@contextmanager
def stream(source: str, *options: str) -> Iterator[tuple[psutil.Popen, str, Path]]:
    """A stream with a viewer: process, address of the page, and the file that will hold its counters."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [*STAINSTREAM, "run", "--source", source, "--view-port", "0", "--no-open", "--report", str(report)]
        process = psutil.Popen([*command, *options], cwd=folder, stderr=subprocess.PIPE, text=True)
        try:
            url = next(line.split()[-1] for line in process.stderr if "viewer at" in line)
            yield process, url, report
        finally:
            end(process)


def end(process: psutil.Popen) -> None:
    """End a stream in good order, if it still runs."""
    if process.poll() is None:
        process.terminate()
    process.wait()


def dropped(report: Path) -> dict[str, int]:
    """Frames captured, and lost on the way to the viewer, of a stream that has ended."""
    counts = json.loads(report.read_text(encoding="utf-8"))
    (account,) = (account for sink, account in counts["sinks"].items() if sink.startswith("view"))
    return {"captured": counts["captured"], "dropped": sum(account["dropped"].values())}


def percentiles(ages: list[float]) -> dict[str, float]:
    """Median, 95th, 99th percentile and the highest."""
    values = np.percentile(ages, [50, 95, 99, 100])
    return {name: round(float(value), 1) for name, value in zip(("p50", "p95", "p99", "max"), values, strict=True)}


def browser(size: str, rate: int, seconds: float) -> dict[str, Any]:
    """A stream with the page open in Chromium."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    with sync_playwright() as playwright, stream(f"demo?size={size}&rate={rate}") as (process, url, report):
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        page = chromium.new_page(viewport={"width": 1280, "height": 800})
        page.add_init_script(PROBE)
        page.goto(url)
        page.wait_for_selector("canvas[data-frame]")
        page.wait_for_timeout(WARM_S * 1000)
        page.evaluate("() => { window.ages.length = 0; }")
        page.wait_for_timeout(seconds * 1000)
        found, ahead = page.evaluate("() => [window.ages, window.ahead]")
        chromium.close()
        end(process)
        counts = dropped(report)
    ages = [now + ahead - captured for now, captured, _ in found]
    span = found[-1][2] - found[0][2] + 1
    return {
        "size": size,
        "rate": rate,
        "seconds": seconds,
        **counts,
        "received_fps": round(len(found) / seconds, 2),
        "received_share": round(len(found) / span, 4),
        "age_ms": percentiles(ages),
    }


async def _slow(url: str, pause_s: float, frames: int) -> list[float]:
    ages = []
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}stream", max_msg_size=0) as socket:
        await socket.send_str('{"op": "ready"}')
        async for message in socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                ages.append((time.monotonic_ns() - unpack(message.data)[0].captured_ns) / 1e6)
                if len(ages) == frames:
                    break
                await asyncio.sleep(pause_s)
                await socket.send_str('{"op": "ready"}')
    return ages[10:]


def slow(size: str, rate: int, frames: int) -> dict[str, Any]:
    """A viewer that sleeps 50 ms a frame."""
    with stream(f"demo?size={size}&rate={rate}") as (_, url, _report):
        ages = asyncio.run(_slow(url, 0.05, frames))
    age = percentiles(ages)
    return {
        "size": size,
        "rate": rate,
        "frames": len(ages),
        "age_ms": age,
        "p95_over_period_ms": round(age["p95"] - 1000 / rate, 1),
    }


async def _crowd(url: str, viewers: int) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(viewers):
            group.create_task(_slow(url, 0.0, 3))


def crowd(size: str, rounds: int, viewers: int = 10) -> dict[str, Any]:
    """Viewers that come and go."""
    with stream(f"demo?size={size}&rate=30") as (process, url, _report):
        samples = []
        for _ in range(rounds):
            asyncio.run(_crowd(url, viewers))
            samples.append(round(process.memory_info().rss / 2**20, 1))
    settled = samples[len(samples) // 4 :]
    return {
        "size": size,
        "rounds": rounds,
        "viewers": viewers,
        "mib_after_a_quarter": settled[0],
        "mib_at_the_end": settled[-1],
        "mib_highest": max(samples),
    }


def off(size: str, rate: int, seconds: float, runs: int) -> dict[str, Any]:
    """What a viewer costs that nobody looks at, in percent of a processor."""
    used: dict[str, list[float]] = {"view?open=0&port=0": [], "null": []}
    for _ in range(runs):
        for sink, shares in used.items():
            source = f"demo?size={size}&rate={rate}"
            process = psutil.Popen([*STAINSTREAM, "run", "--source", source, "--sink", sink], stderr=subprocess.DEVNULL)
            time.sleep(WARM_S * 2)
            before = process.cpu_times()
            time.sleep(seconds)
            after = process.cpu_times()
            end(process)
            shares.append(100 * (after.user + after.system - before.user - before.system) / seconds)
    view, null = (float(np.median(shares)) for shares in used.values())
    return {
        "size": size,
        "rate": rate,
        "percent_with_viewer": round(view, 2),
        "percent_without": round(null, 2),
        "difference": round(view - null, 2),
    }


def main(file: Path, quick: bool) -> None:
    """Measure all and write it down."""
    seconds, frames, rounds, runs = (4.0, 40, 5, 1) if quick else (30.0, 500, 200, 3)
    results = {
        "browser": [browser("1080p", 30, seconds), browser("4K", 15, seconds)],
        "slow": [slow("1080p", 30, frames), slow("512x512", 60, frames)],
        "crowd": crowd("1080p", rounds),
        "off": off("1080p", 30, seconds / 2, runs),
    }
    file.write_text(json.dumps({"machine": machine(), "quick": quick, "results": results}, indent=2) + "\n")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--quick" in sys.argv)

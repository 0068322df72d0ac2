"""The page in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("aiohttp", reason="aiohttp is not installed")
pytest.importorskip("playwright", reason="playwright is not installed")
import stainstream as ss
from stainstream.model import find
from stainstream.viewer import View

from .conftest import Streaming, demo, streaming, until
from .test_pair import alike
from .test_snapshot import check
from .test_stream import Desk

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

# A plot's different levels, of a copy: reading the page's own canvas again and again is what browsers warn of.
LEVELS = """id => {
  const plot = document.getElementById(id);
  const context = new OffscreenCanvas(plot.width, plot.height).getContext("2d", { willReadFrequently: true });
  context.drawImage(plot, 0, 0);
  return new Set(context.getImageData(0, 0, plot.width, plot.height).data).size > 3;
}"""
SIZE = "512x384"
SOURCE = f"demo?size={SIZE}&rate=12"
PIXELS = """() => {
  const stage = document.getElementById("view");
  const { width, height, dataset } = stage;
  const copy = Object.assign(document.createElement("canvas"), { width, height });
  const context = copy.getContext("2d", { willReadFrequently: true });
  context.drawImage(stage, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  const text = data.reduce((before, each) => before + String.fromCharCode(each), "");
  return [Number(dataset.frame), dataset.mode, width, height, btoa(text)];
}"""


@contextmanager
def opened(
    browser: Browser, url: str, width: int = 1280, height: int = 760, *, frames: bool = True, **options: Any
) -> Iterator[Page]:
    """The page, with frames on it; whatever it complains about fails the test."""
    context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True, **options)
    page = context.new_page()
    page.set_default_timeout(30_000)
    complaints: list[str] = []
    requests: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    try:
        page.goto(url)
        if frames:
            page.wait_for_selector("canvas[data-frame]")
        yield page
        page.wait_for_timeout(50)
        assert complaints == []
        origin = url.partition("/?")[0].rstrip("/")
        assert [each for each in requests if not each.startswith((origin, f"blob:{origin}"))] == []
    finally:
        context.close()


def pixels(page: Page) -> tuple[int, str, ss.RGB8]:
    """Number, mode and pixels of what stands on the stage now."""
    import base64

    number, mode, width, height, data = page.evaluate(PIXELS)
    rgba = np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)
    return number, mode, np.ascontiguousarray(rgba[..., :3])


def nearest(value: float) -> int:
    """Rounded as JavaScript does."""
    return int(np.floor(value + 0.5))


def middle(stage: ss.RGB8, width: int = 512, height: int = 384) -> ss.RGB8:
    """The frame in the middle of the stage, one frame pixel a screen pixel."""
    left, top = nearest(stage.shape[1] / 2 - width / 2), nearest(stage.shape[0] / 2 - height / 2)
    return np.ascontiguousarray(stage[top : top + height, left : left + width])


def wait_for_new(page: Page, frames: int = 3) -> None:
    """Wait until so many frames more were shown."""
    page.wait_for_function(
        "at => Number(document.getElementById('view').dataset.frame) >= at",
        arg=int(page.locator("#view").get_attribute("data-frame") or 0) + frames,
    )


@pytest.fixture(scope="module")
def stream(browser: Browser) -> Iterator[Streaming]:
    """One stream for the tests that change nothing about it."""
    with streaming(SOURCE) as page:
        yield page


def test_moving_pixels_are_those_of_the_engine(browser: Browser, stream: Streaming) -> None:
    with opened(browser, f"{stream.base}/?quality=100") as page, ss.load("default", "lut_numpy") as normalize:
        page.keyboard.press("1")
        seen = set()
        for key, mode in (("n", "normalized"), ("n", "normalized"), ("r", "raw")):
            page.keyboard.press(key)
            page.wait_for_selector(f"canvas[data-mode={mode}]")
            wait_for_new(page, 4)
            number, shown, stage = pixels(page)
            raw = demo(SIZE, number)
            assert shown == mode
            assert alike(middle(stage), raw if mode == "raw" else normalize(raw))
            seen.add(number)
        assert len(seen) == 3


def test_both_sides_of_the_split_are_of_the_same_frame(browser: Browser, stream: Streaming) -> None:
    with opened(browser, f"{stream.base}/?quality=100") as page, ss.load("default", "lut_numpy") as normalize:
        page.keyboard.press("1")
        wait_for_new(page, 4)
        number, mode, stage = pixels(page)
        raw, shown = demo(SIZE, number), middle(stage)
        wanted = np.concatenate([raw[:, :256], normalize(raw)[:, 256:]], axis=1)
        assert mode == "split"
        assert alike(shown, wanted)


def test_the_split_is_dragged_and_moved_by_keys(browser: Browser, stream: Streaming) -> None:
    with opened(browser, f"{stream.base}/?quality=100") as page, ss.load("default", "lut_numpy") as normalize:
        page.keyboard.press("1")
        stage = page.locator("#view").bounding_box()
        line = page.locator("#divider")
        assert stage is not None
        middle_y = stage["y"] + stage["height"] / 2
        page.mouse.move(stage["x"] + stage["width"] / 2, middle_y)
        page.mouse.down()
        page.mouse.move(stage["x"] + stage["width"] / 2 - 100, middle_y, steps=5)
        page.mouse.up()
        share = 50 - 10_000 / stage["width"]
        assert float(line.get_attribute("aria-valuenow") or 0) == pytest.approx(share, abs=1)
        wait_for_new(page, 4)
        number, _, shown = pixels(page)
        raw = demo(SIZE, number)
        frame = middle(shown)
        assert alike(frame[:, :150], raw[:, :150])
        assert alike(frame[:, 162:], normalize(raw)[:, 162:])
        line.focus()
        for key, moved in (
            ("ArrowRight", 2),
            ("PageUp", 12),
            ("Home", -share),
            ("End", 100 - share),
            ("ArrowLeft", 98 - share),
        ):
            page.keyboard.press(key)
            assert float(line.get_attribute("aria-valuenow") or 0) == pytest.approx(share + moved, abs=1.5)
        page.locator("#view").focus()
        page.keyboard.press("[")
        assert line.get_attribute("aria-valuenow") == "96"


def test_keys_do_what_the_help_says(browser: Browser, stream: Streaming) -> None:
    with opened(browser, stream.url) as page:

        def pressed(name: str) -> str | None:
            return page.locator(name).get_attribute("aria-pressed")

        for key, mode in (("r", "raw"), ("n", "normalized"), ("s", "split")):
            page.keyboard.press(key)
            page.wait_for_selector(f"canvas[data-mode={mode}]")
            assert pressed(f"button[data-mode={mode}]") == "true"
            assert page.locator("#divider").is_visible() is (mode == "split")
            assert page.locator("#tag-raw").is_visible() is (mode != "normalized")
            assert page.locator("#tag-normalized").is_visible() is (mode != "raw")
        page.keyboard.press("b")
        for mode in ("raw", "normalized", "raw"):
            page.wait_for_selector(f"canvas[data-mode={mode}]")
        page.keyboard.press("r")
        page.wait_for_selector("canvas[data-mode=raw]")
        assert pressed("#blink") == "false"
        page.keyboard.press("1")
        assert page.locator("#zoom").inner_text() == "100 %"
        page.keyboard.press("+")
        page.keyboard.press("+")
        assert page.locator("#zoom").inner_text() == "200 %"
        page.keyboard.press("+")
        page.keyboard.press("+")
        assert page.locator("#map").is_visible()
        page.keyboard.press("-")
        assert page.locator("#zoom").inner_text() == "283 %"
        page.keyboard.press("f")
        assert pressed("#fit") == "true"
        page.keyboard.press("i")
        assert not page.locator("#panel").is_visible()
        page.keyboard.press("i")
        assert page.locator("#panel").is_visible()
        page.keyboard.press("m")
        assert page.evaluate("document.activeElement.id") == "model"
        page.locator("#view").focus()
        page.keyboard.press("?")
        assert page.locator("#help").is_visible()
        page.keyboard.press("r")  # is the dialog's now
        page.keyboard.press("Escape")
        assert not page.locator("#help").is_visible()


def test_magnified_parts_have_the_full_resolution(browser: Browser) -> None:
    with (
        ss.load("default", "lut_numpy") as normalize,
        streaming("demo?size=2048x1536&rate=6") as running,
        opened(browser, f"{running.base}/?quality=100") as page,
    ):
        page.keyboard.press("n")
        page.keyboard.press("1")
        for _ in range(4):
            page.keyboard.press("ArrowRight")
            page.keyboard.press("ArrowDown")
        wait_for_new(page, 4)
        for _ in range(20):  # until a frame has come that was asked for in full
            wait_for_new(page, 1)
            number, _, stage = pixels(page)
            if is_part(stage, normalize(demo("2048x1536", number))):
                break
        else:
            pytest.fail("the stage never showed the frame's own pixels")


def is_part(stage: ss.RGB8, whole: ss.RGB8) -> bool:
    """Whether the stage shows the frame 240 pixels right of and below its middle; that may be a pixel off."""
    height, width = stage.shape[:2]
    left, top = 240 - nearest(width / 2 - 1024), 240 - nearest(height / 2 - 768)
    places = [(x, y) for x in range(left - 2, left + 3) for y in range(top - 2, top + 3)]
    return any(alike(stage, whole[y : y + height, x : x + width]) for x, y in places)


def test_what_is_frozen_stays_and_can_be_magnified(browser: Browser, stream: Streaming) -> None:
    with opened(browser, f"{stream.base}/?quality=100") as page, ss.load("default", "lut_numpy") as normalize:
        page.keyboard.press(" ")
        page.wait_for_selector("#state[data-state=frozen]")
        number, _, _ = pixels(page)
        page.wait_for_timeout(500)
        page.keyboard.press("n")
        page.keyboard.press("1")
        page.wait_for_selector("canvas[data-mode=normalized]")
        page.wait_for_timeout(300)
        still, mode, stage = pixels(page)
        assert (still, mode) == (number, "normalized")
        assert alike(middle(stage), normalize(demo(SIZE, number)))
        page.keyboard.press(" ")
        wait_for_new(page)
        page.wait_for_selector("#state[data-state=live]")


@pytest.mark.parametrize("frozen", [True, False])
def test_a_snapshot_is_downloaded_and_right(browser: Browser, stream: Streaming, tmp_path: Path, frozen: bool) -> None:
    with opened(browser, stream.url) as page:
        wait_for_new(page)
        if frozen:
            page.keyboard.press(" ")
            page.wait_for_timeout(400)
        number = int(page.locator("#view").get_attribute("data-frame") or 0)
        with page.expect_download() as download:
            page.keyboard.press("p")
        download.value.save_as(tmp_path / "s.zip")
        saved = check((tmp_path / "s.zip").read_bytes(), SIZE)
        assert saved == number if frozen else saved >= number
        assert re.fullmatch(rf"stainstream_\d{{8}}T\d{{6}}_{saved:09d}\.zip", download.value.suggested_filename)
        page.wait_for_selector(f"text=Saved {download.value.suggested_filename}")


def test_what_must_be_seen_is_always_on_the_picture(browser: Browser, stream: Streaming) -> None:
    with opened(browser, stream.url) as page:
        page.keyboard.press("i")
        page.wait_for_function("() => Number(document.getElementById('rate').textContent) > 3")
        page.wait_for_function("() => document.getElementById('age-box').dataset.level !== 'none'")
        overlay = page.locator("#overlay").inner_text()
        digest = stream.live.status().digest
        assert re.search(
            r"Rate\s+[\d.]+ fps\s+Age\s+\d+ ms\s+Drops\s+\d+\s+Model\s+" + re.escape(find("default").name) + " ",
            overlay,
        )
        assert digest[:12] in overlay
        page.keyboard.press("i")
        page.wait_for_function("() => document.getElementById('focus').textContent.endsWith('%')")
        for plot in ("histogram-raw", "histogram-normalized", "focus-plot"):
            page.wait_for_function(LEVELS, arg=plot)
        box = page.locator("#view").bounding_box()
        assert box is not None
        page.keyboard.press(" ")
        page.wait_for_timeout(200)
        page.mouse.move(box["x"] + box["width"] / 2 - 20, box["y"] + box["height"] / 2)
        page.wait_for_selector("#probe:visible")
        found = re.search(r"x (\d+) +y (\d+)\nraw +(\d+) +(\d+) +(\d+)", page.locator("#probe").inner_text())
        assert found is not None
        x, y, *color = map(int, found.groups())
        assert color == demo(SIZE, pixels(page)[0])[y, x].tolist()


def test_the_model_is_switched_and_recording_started(browser: Browser, two_models: str) -> None:
    desk = Desk()
    with streaming(SOURCE, "", desk) as running, opened(browser, running.url) as page:
        page.wait_for_selector(f"#model option[value={two_models}]", state="attached")
        page.select_option("#model", two_models)
        page.wait_for_function(f"() => document.getElementById('overlay-model').textContent === '{two_models}'")
        assert running.live.status().model == two_models
        page.keyboard.press("v")
        page.wait_for_selector("#record[aria-pressed=true]")
        assert desk.recording
        desk.fails = True
        page.keyboard.press("v")
        page.wait_for_selector("text=cannot record: the disk is full; free some")
        desk.fails = False
        page.click("#record")
        page.wait_for_selector("#record[aria-pressed=false]")
        assert not desk.recording


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_can_use_it(browser: Browser, stream: Streaming, scheme: Any) -> None:
    with opened(browser, stream.url, 390, 844, has_touch=True, device_scale_factor=2, color_scheme=scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        for button in page.locator(".tools button:visible").all():
            box = button.bounding_box()
            assert box is not None
            assert box["height"] >= 44
            assert 0 <= box["x"] <= box["x"] + box["width"] <= 390
        for name in ("#overlay", "#tag-raw", "#tag-normalized", "#model", "#state", "#divider"):
            box = page.locator(name).bounding_box()
            assert box is not None, name
            assert -16 <= box["x"] <= box["x"] + box["width"] <= 406, name
        page.tap("button[data-mode=normalized]")
        page.wait_for_selector("canvas[data-mode=normalized]")
        page.tap("#in")
        wait_for_new(page)
        surround = page.evaluate("getComputedStyle(document.getElementById('stage')).backgroundColor")
        assert len(set(re.findall(r"\d+", surround))) == 1  # neutral gray


def test_without_motion_blinking_is_by_hand(browser: Browser, stream: Streaming) -> None:
    with opened(browser, stream.url, reduced_motion="reduce") as page:
        for mode in ("raw", "normalized", "raw"):
            page.keyboard.press("b")
            page.wait_for_selector(f"canvas[data-mode={mode}]")
            page.wait_for_timeout(800)
            assert page.locator("#view").get_attribute("data-mode") == mode


def test_everything_has_a_name_and_can_be_reached_by_tab(browser: Browser, stream: Streaming) -> None:
    with opened(browser, stream.url) as page:
        page.wait_for_selector("#digest:enabled")
        unnamed = page.evaluate(
            "[...document.querySelectorAll('button, select, canvas, [role]')].filter(each => !(each.ariaLabel"
            " || each.textContent.trim() || each.labels?.length || each.ariaHidden"
            " || each.matches('[role=status], [role=alert]'))).length"
        )
        assert unnamed == 0
        reached = set()
        for _ in range(40):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("document.activeElement.id || document.activeElement.dataset.mode"))
        assert {"model", "digest", "view", "divider", "raw", "blink", "one", "freeze", "snapshot", "record"} <= reached


def test_the_token_is_taken_out_of_the_address(browser: Browser) -> None:
    with streaming(SOURCE, "&host=0.0.0.0") as running:
        local = f"http://127.0.0.1:{running.base.rpartition(':')[2]}"
        with opened(browser, local + "/" + running.url.partition("/")[2].partition("/")[2].partition("/")[2]) as page:
            assert page.url == f"{local}/"
            wait_for_new(page)
        context = browser.new_context()
        stranger = context.new_page()
        answer = stranger.goto(f"{local}/?token=guessed")
        assert answer is not None
        assert answer.status == 401
        assert stranger.locator("canvas").count() == 0
        context.close()


def test_frames_out_of_range_have_a_warning_over_them(browser: Browser) -> None:
    with View("view", View.Options(port=0, open=False)) as view, opened(browser, view.url, frames=False) as page:
        for number, distance, outside in ((1, 31.44, True), (2, 8.0, False)):
            show(view, number, drift={"distance": distance, "limit": 20.0, "out_of_range": outside})
            page.wait_for_selector(f"canvas[data-frame='{number}']")
            page.wait_for_selector("#warning", state="visible" if outside else "hidden")
            said = page.locator("#warning").text_content()
            assert said == ("Colors out of the model's range: 31.4 \u0394E (limit 20.0)" if outside else "")
        assert page.locator("#drift").inner_text() == "8.0 \u0394E"
        assert page.locator("#drift-meter").get_attribute("data-level") == "good"


def test_the_page_comes_back_with_the_stream(browser: Browser) -> None:
    with View("view", View.Options(port=0, open=False)) as view:
        url = view.url
        port = int(url.rstrip("/").rpartition(":")[2])
        context = browser.new_context()
        page = context.new_page()
        page.goto(url)
        page.wait_for_selector("text=Waiting for frames")
        show(view, 1)
        page.wait_for_selector("canvas[data-frame='1']")
    page.wait_for_selector("#banner:visible")
    page.wait_for_selector("#state[data-state=off]")
    with View("view", View.Options(port=port, open=False)) as view:
        until(lambda: view.wants_raw)
        show(view, 2)
        page.wait_for_selector("canvas[data-frame='2']")
        page.wait_for_selector("#banner", state="hidden")
        context.close()


def show(view: View, number: int, **meta: Any) -> None:
    """Offer a frame until somebody has it."""
    image = np.full((48, 64, 3), 99, np.uint8)
    assert view._server is not None
    hub = view._server.hub
    before = hub.sent.frames

    def shown() -> bool:
        view.write(ss.Frame(image, ss.PixelFormat.RGB8, number, 1, meta, image))
        return hub.sent.frames > before

    until(shown)

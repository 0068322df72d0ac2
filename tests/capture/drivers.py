"""Drivers that do what a file tells them to, so that tests can make a camera fail while it runs."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import numpy as np

from stainstream.capture.driver import Driver, Shot
from stainstream.capture.messages import Attached, Failure
from stainstream.errors import SourceError
from stainstream.frame import PixelFormat
from stainstream.sources.camera import Camera, CameraOptions


class Scripted(Camera):
    """A noisy camera of 96x64 pixels; `target` is the file that says how it is."""

    class Options(CameraOptions, frozen=True, kw_only=True):
        period_s: float = 0.02
        slow_open_s: float = 0.0

    options: Options
    driver = "tests.capture.drivers:ScriptedDriver"


class ScriptedDriver(Driver):
    """Reads what is in the file before each picture."""

    Options = Scripted.Options
    options: Scripted.Options

    def open(self) -> str:
        self._random, self._number = np.random.default_rng(), 0
        self._image = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
        if self._mode == "gone":
            raise SourceError(f"cannot read {self.target}", "it is gone", "plug it in")
        if self._mode == "hang-open":
            time.sleep(3600)
        time.sleep(self.options.slow_open_s)
        return f"hint {self.hint}".strip()[:20]

    @property
    def _mode(self) -> str:
        return Path(self.target).read_text()

    def read(self) -> Shot | Failure | None:
        time.sleep(self.options.period_s)
        mode = self._mode
        if mode in ("hang", "hang-open"):
            time.sleep(3600)
        if mode == "crash":
            os.abort()
        if mode == "gone":
            raise SourceError(f"lost {self.target}", "it is gone", "plug it in")
        if mode == "error":
            raise ZeroDivisionError("of the vendor's making")
        if mode == "fail":
            return Failure("damaged picture")
        if mode != "freeze":
            self._image = self._random.integers(0, 255, (64, 96, 3), np.uint8)
        if mode == "lid":
            self._image = np.zeros((64, 96, 3), np.uint8)
        if mode == "grow":
            self._image = np.repeat(self._image, 2, axis=1)
        self._number += 1
        return Shot(self._image, PixelFormat.RGB8, 3 if mode == "skip" else 0, {"device_frame": self._number})

    def close(self) -> None:
        """Nothing is held."""


class Counting(Camera):
    """Pictures as fast as they can be made, each filled with its own number."""

    driver = "tests.capture.drivers:CountingDriver"


class CountingDriver(Driver):
    """Writes some pictures into the ring itself, and leaves others to be copied."""

    Options = CameraOptions

    def open(self) -> str:
        self._number = 0
        return ""

    def read(self) -> Shot | Failure | None:
        self._number += 1
        if self.room is not None and self._number % 2:
            image = self.room.reshape(512, 1024)
            image.view(np.uint32)[:] = self._number
        else:
            image = np.full((512, 256), self._number, np.uint32).view(np.uint8)
        return Shot(image, PixelFormat.Mono8, meta={"device_frame": self._number})

    def close(self) -> None:
        """Nothing is held."""


class Listed(CountingDriver):
    """Finds one camera."""

    @staticmethod
    def attached() -> list[Attached]:
        return [Attached("made-up:1", "Made up")]


class HangingList(CountingDriver):
    """Looks for cameras for ever."""

    @staticmethod
    def attached() -> list[Attached]:
        time.sleep(3600)
        return []


class CrashingList(CountingDriver):
    """Dies of looking for cameras."""

    @staticmethod
    def attached() -> list[Attached]:
        os.abort()


class BrokenList(CountingDriver):
    """Cannot look for cameras."""

    @staticmethod
    def attached() -> list[Attached]:
        raise SourceError("cannot list cameras", "the library is missing", "run: make it so")


class Chatty(CountingDriver):
    """Prints while it looks for cameras."""

    @staticmethod
    def attached() -> list[Attached]:
        os.write(1, b"printed\n")
        logging.getLogger("vendor").warning("logged")
        return []

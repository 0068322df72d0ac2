"""H.264 in MP4, by PyAV."""

from __future__ import annotations

import os
import struct
from fractions import Fraction
from pathlib import Path

import av
import av.error
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from stainstream.color.convert import even
from stainstream.errors import SinkError
from stainstream.frame import RGB8

from .base import About, Encoding, Stamp, Writer, utc

__all__ = ["Mp4"]

_TICKS = 90_000  # a second
_FRAGMENT_S = 0.5
_OPTIONS = {
    # In fragments while it is written; at the end they are joined, for players that know no fragments.
    "movflags": "hybrid_fragmented+frag_keyframe+empty_moov+default_base_moof+use_metadata_tags",
    "flush_packets": "1",
}


class Mp4(Writer):
    """H.264, color at half resolution, for slides and talks; plays at the pace at which the frames were captured.

    Until it is closed the file consists of fragments of half a second, which is what a killed process or a full disk
    costs at most. An odd last row or column is doubled, since H.264 wants even sizes.
    """

    def __init__(self, path: Path, about: About, encoding: Encoding) -> None:
        av.logging.set_level(None)
        self._path, self._rate = path, encoding.rate
        path.touch(exist_ok=False)
        self._frames, self._last, self._key = 0, -1, 0
        self._broken = False
        try:
            self._container: av.container.OutputContainer | None = av.open(
                str(path), "w", format="mp4", options=_OPTIONS
            )
            self._stream = self._container.add_stream("libx264", rate=Fraction(encoding.rate or 30).limit_denominator())
            self._set(about, encoding)
            self._stream.codec_context.open()
        except (av.error.FFmpegError, ValueError) as error:
            path.unlink(missing_ok=True)
            raise SinkError(f"cannot encode {about.width}x{about.height} into {path}", str(error)) from error

    def _set(self, about: About, encoding: Encoding) -> None:
        codec = self._stream.codec_context
        codec.width, codec.height = about.width + about.width % 2, about.height + about.height % 2
        codec.pix_fmt, codec.time_base, codec.max_b_frames = "yuv420p", Fraction(1, _TICKS), 0
        codec.options = {"preset": encoding.preset, "crf": str(encoding.quality), "tune": "zerolatency"}
        # The matrix that OpenCV's conversion uses, and that players assume which do not read the tags.
        codec.colorspace, codec.color_range = Colorspace.SMPTE170M, ColorRange.MPEG
        codec.color_primaries, codec.color_trc = 1, 13  # of sRGB (ITU-T H.273)
        self._stream.time_base = codec.time_base
        assert self._container is not None
        size = {"pixel_size_um": f"{about.pixel_size_um:.9g}"} if about.pixel_size_um else {}
        self._container.metadata.update(
            {
                "title": about.stream,
                "creation_time": utc(about.utc_ns),
                **size,
                **about.facts,
            }
        )

    def write(self, rgb: RGB8, stamp: Stamp) -> None:
        planes = cv2.cvtColor(even(rgb), cv2.COLOR_RGB2YUV_I420)
        frame = av.VideoFrame.from_ndarray(np.asarray(planes, np.uint8), format="yuv420p")
        seconds = self._frames / self._rate if self._rate else stamp.seconds
        frame.pts = self._last = max(round(seconds * _TICKS), self._last + 1)
        frame.time_base = Fraction(1, _TICKS)
        if self._frames == 0 or frame.pts - self._key >= _FRAGMENT_S * _TICKS:
            frame.pict_type, self._key = av.video.frame.PictureType.I, frame.pts
        self._encode(frame)
        self._frames += 1

    def _encode(self, frame: av.VideoFrame | None) -> None:
        assert self._container is not None
        try:
            self._container.mux(self._stream.encode(frame))
        except av.error.FFmpegError as error:
            self._broken = True
            raise SinkError(f"cannot write {self._path}", error.strerror or str(error)) from error

    def close(self) -> int:
        container = self._container
        if container is not None:
            try:
                if not self._broken:
                    self._encode(None)
                container.close()
            except (av.error.FFmpegError, SinkError):
                self._broken = True
            self._container = None
            if self._broken:
                self._frames = _mended(self._path)
        return self._frames


def _mended(path: Path) -> int:
    """Cut a file after its last whole fragment; how many frames it then holds."""
    with path.open("r+b") as file:
        file.truncate(_whole(file.fileno()))
    try:
        with av.open(str(path)) as container:
            return sum(packet.size > 0 for packet in container.demux(video=0))
    except av.error.FFmpegError:
        return 0


def _whole(file: int) -> int:
    """Where the last fragment ends of which everything was stored (ISO 14496-12: a box begins with its length)."""
    length = os.fstat(file).st_size
    place, whole = 0, 0
    while place + 16 <= length:
        size, kind, large = struct.unpack(">I4sQ", os.pread(file, 16, place))
        place += large if size == 1 else size
        if size == 0 or place > length:
            break
        if kind != b"moof":
            whole = place
    return whole

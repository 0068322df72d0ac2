"""OpenCV without its chatter."""

from __future__ import annotations

import os

import cv2

__all__ = ["quiet"]


def quiet() -> None:
    """Keep OpenCV's and FFmpeg's own messages off stderr; call it before opening a file or camera with them.

    What goes wrong is said in our own errors instead, and FFmpeg's messages would show the passwords in cameras'
    addresses. A user who wants them sets ``OPENCV_LOG_LEVEL`` and ``OPENCV_FFMPEG_LOGLEVEL``, which are left alone.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET; read when FFmpeg is first used
    if "OPENCV_LOG_LEVEL" not in os.environ:
        silent = 0
        getattr(cv2.utils, "logging", cv2).setLogLevel(silent)  # its place before OpenCV 5 was cv2 itself

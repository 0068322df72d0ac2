"""Sinks for frames, in order of preference."""

from stainstream.registry import Plugin, Table

from .base import Sink

__all__ = ["TABLE", "Sink"]

TABLE: Table[Sink] = Table(
    "sink",
    (
        Plugin(
            "null",
            "stainstream.sinks.null:Null",
            "throws frames away: measures everything before it",
            pattern=r"null",
            example="null",
        ),
        Plugin(
            "memory",
            "stainstream.sinks.memory:Memory",
            "keeps frames at hand, for notebooks",
            pattern=r"memory",
            example="memory?keep=10",
        ),
        Plugin(
            "zmq",
            "stainstream.sinks.zeromq:ZeroMQ",
            "publishes frames over ZeroMQ (tcp or ipc)",
            pattern=r"zmq\+(tcp|ipc|inproc)://.+",
            example="zmq+tcp://127.0.0.1:5560?format=stainstream&pattern=pub",
        ),
        Plugin(
            "video",
            "stainstream.sinks.video:Video",
            "a video file",
            pattern=r"(?!\w[\w+.-]+://).+\.(mp4|m4v|avi|mkv|mov)",
            example="normalized.mp4?rate=30",
        ),
        Plugin(
            "files",
            "stainstream.sinks.files:Files",
            "a folder of images, one file a frame",
            pattern=r"(?!\w[\w+.-]+://).+",
            example="normalized/?suffix=png",
        ),
    ),
)

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
            "view",
            "stainstream.viewer.sink:View",
            "a live page for browsers, raw and normalized side by side",
            pattern=r"view",
            example="view?host=127.0.0.1&port=8560",
            needs=("aiohttp", "prometheus_client", "simplejpeg"),
            extra="view",
        ),
        Plugin(
            "shm",
            "stainstream.sinks.ring:Ring",
            "frames for other processes of this computer, through shared memory",
            pattern=r"shm://[\w.-]+",
            example="shm://microscope?delivery=live",
        ),
        Plugin(
            "zmq",
            "stainstream.sinks.zeromq:ZeroMQ",
            "publishes frames over ZeroMQ (tcp or ipc)",
            pattern=r"zmq\+(tcp|ipc|inproc)://.+",
            example="zmq+tcp://127.0.0.1:5560?format=stainstream&pattern=pub",
        ),
        Plugin(
            "recorder",
            "stainstream.sinks.recorder:Recorder",
            "records video or OME files that stay readable whatever happens, from the start or when told to",
            pattern=r"record:.+|(?!\w[\w+.-]+://).+\.ome\.(tiff?|zarr)",
            example="record:rec.mp4?what=both&preroll=10",
        ),
        Plugin(
            "virtualcam",
            "stainstream.sinks.virtualcam:VirtualCamera",
            "a camera for meeting programs",
            pattern=r"virtualcam(:.+)?",
            example="virtualcam",
            needs=("pyvirtualcam",),
            extra="virtualcam",
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

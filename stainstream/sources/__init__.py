"""Sources of frames, in order of preference."""

from stainstream.registry import Plugin, Table

from .base import Feed, Source

__all__ = ["TABLE", "Feed", "Source"]

TABLE: Table[Source] = Table(
    "source",
    (
        Plugin(
            "demo",
            "stainstream.sources.demo:Demo",
            "pans over bundled CC0 tissue at a set size and rate",
            pattern=r"demo",
            example="demo?size=1920x1080&rate=30",
        ),
        Plugin(
            "shm",
            "stainstream.sources.ring:Ring",
            "frames of another process of this computer, through shared memory",
            pattern=r"shm://[\w.-]+",
            example="shm://microscope?delivery=live",
        ),
        Plugin(
            "zmq",
            "stainstream.sources.zeromq:ZeroMQ",
            "a scanner or camera feed over ZeroMQ (tcp or ipc)",
            pattern=r"zmq\+(tcp|ipc|inproc)://.+",
            example="zmq+tcp://host:5555?format=array-1.0&pattern=pull",
        ),
        Plugin(
            "camera",
            "stainstream.sources.opencv:OpenCV",
            "a USB, V4L2 or network camera through OpenCV",
            pattern=r"camera\d+|v4l2:.+|/dev/video\d+|/dev/v4l/.+|rtsps?://.+|https?://.+",
            example="camera0?size=1920x1080&rate=30",
        ),
        Plugin(
            "micromanager",
            "stainstream.sources.micromanager:MicroManager",
            "a camera of a Micro-Manager configuration",
            pattern=r"mm:.*",
            example="mm:Camera?cfg=MMConfig.cfg",
            needs=("pymmcore_plus",),
            extra="micromanager",
        ),
        Plugin(
            "basler",
            "stainstream.sources.basler:Basler",
            "a Basler camera through pylon",
            pattern=r"basler:.*",
            example="basler:SERIAL?exposure=10",
            needs=("pypylon",),
            extra="basler",
        ),
        Plugin(
            "genicam",
            "stainstream.sources.genicam:GenICam",
            "a GigE Vision or USB3 Vision camera of any make, through the library Aravis",
            pattern=r"genicam:.*",
            example="genicam:SERIAL?exposure=10",
        ),
        Plugin(
            "video",
            "stainstream.sources.video:Video",
            "a video file",
            pattern=r"(?!\w[\w+.-]+://).+\.(mp4|m4v|avi|mkv|mov|webm|mjpe?g|mpe?g|ts)",
            example="scan.mp4?loop=1",
        ),
        Plugin(
            "slide",
            "stainstream.sources.slide:Slide",
            "tiles of a whole slide, as a scanner would send them",
            pattern=r"slide:.+|(?!\w[\w+.-]+://).+\.(svs|ndpi|mrxs|scn|vms|vmu|bif|svslide)",
            example="slide:biopsy.svs?order=scan&tile=512",
            needs=("openslide",),
            extra="slide",
        ),
        Plugin(
            "files",
            "stainstream.sources.files:Files",
            "an image, a folder of images or a pattern",
            pattern=r"(?!\w[\w+.-]+://).+",
            example="tiles/*.png",
        ),
    ),
)

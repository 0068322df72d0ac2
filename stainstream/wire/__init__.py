"""Frames to bytes and back: pure functions, no sockets."""

from stainstream.registry import Plugin, Table

from .base import Codec

__all__ = ["TABLE", "Codec"]

TABLE: Table[Codec] = Table(
    "wire format",
    (
        Plugin("stainstream", "stainstream.wire.native:Native", "our own: a superset of array-1.0"),
        Plugin("array-1.0", "stainstream.wire.array10:Array10", "PSI htypes, EPICS areaDetector ADZMQ"),
        Plugin("imagezmq", "stainstream.wire.imagezmq:ImageZMQ", "imagezmq, raw or JPEG"),
        Plugin("netgear", "stainstream.wire.netgear:NetGear", "vidgear's NetGear, raw or JPEG"),
        Plugin(
            "dectris-v2",
            "stainstream.wire.dectris:Dectris",
            "DECTRIS Stream V2: CBOR, raw or LZ4",
            needs=("cbor2",),
            extra="dectris",
        ),
    ),
)

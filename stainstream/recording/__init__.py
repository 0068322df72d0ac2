"""Formats of recordings: frames in order into one file or folder, which can be read whatever ends the recording."""

from stainstream.registry import Plugin, Table

from .base import Writer

__all__ = ["TABLE", "Writer"]

TABLE: Table[Writer] = Table(
    "kind of recording",
    (
        Plugin(
            "mp4",
            "stainstream.recording.mp4:Mp4",
            "H.264 video, for slides and talks",
            pattern=r".+\.mp4",
            example="rec.mp4",
            needs=("av",),
            extra="record",
        ),
        Plugin(
            "ome-tiff",
            "stainstream.recording.ome_tiff:OmeTiff",
            "every pixel as it was, in one file",
            pattern=r".+\.ome\.tiff?",
            example="rec.ome.tiff",
        ),
        Plugin(
            "ome-zarr",
            "stainstream.recording.ome_zarr:OmeZarr",
            "every pixel as it was, a chunk a frame",
            pattern=r".+\.ome\.zarr",
            example="rec.ome.zarr",
        ),
    ),
)

"""Feeds that lose nothing, for programs at either end of stainstream: a scanner's, a consumer's. Needs pyzmq alone.

Examples
--------
A scanner::

    with Publisher("tcp://*:5555") as publisher:
        series = publisher.begin("slide-7")
        for pixels in scan:
            series.send(pixels, shape=(512, 512, 3))
        print(series.end())

A consumer::

    with Subscriber("tcp://127.0.0.1:5560", name="archive", cursor="archive.cursor") as subscriber:
        for item in subscriber:
            if isinstance(item, Tile):
                store(item.series, item.sequence, item.payload)
"""

from .counts import Counts
from .publisher import Publisher, Series
from .subscriber import End, Subscriber
from .tile import Tile
from .viewer import Viewer

__all__ = ["Counts", "End", "Publisher", "Series", "Subscriber", "Tile", "Viewer"]

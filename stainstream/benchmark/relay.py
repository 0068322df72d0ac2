"""The least that any runtime must do: three bare pyzmq processes that move the same bytes.

python -m stainstream.benchmark.relay send|relay ADDRESS ... (started by `stainstream bench`)
"""

from __future__ import annotations

import sys

import numpy as np
import zmq

from stainstream.stream.memory import keep_large_blocks

__all__ = ["main"]

_HWM = 4


def main(role: str, *addresses: str) -> None:
    """Send one image for ever to an address, or pass messages on from the first address to the second."""
    keep_large_blocks()
    context = zmq.Context()
    if role == "send":
        _send(_socket(context, zmq.PUSH, addresses[0], bind=False), np.load(addresses[1]).data)
    else:
        taken = _socket(context, zmq.PULL, addresses[0], bind=True)
        given = _socket(context, zmq.PUSH, addresses[1], bind=False)
        while True:
            given.send_multipart(taken.recv_multipart(copy=False), copy=False)


def _send(socket: zmq.Socket[bytes], image: memoryview) -> None:
    header = b'{"htype":"array-1.0","type":"uint8","shape":[512,512,3],"frame":0}'
    while True:
        socket.send_multipart([header, image], copy=False)


def _socket(context: zmq.Context[zmq.Socket[bytes]], kind: int, address: str, bind: bool) -> zmq.Socket[bytes]:
    socket = context.socket(kind)
    socket.set_hwm(_HWM)
    socket.linger = 0
    (socket.bind if bind else socket.connect)(address)
    return socket


if __name__ == "__main__":
    main(*sys.argv[1:])

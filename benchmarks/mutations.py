"""Messages that are almost right, for all that reads from strangers: ``python -m benchmarks.mutations FILE [COUNT]``.

A million (COUNT) mutations of valid messages of every wire format, compressed ones too, of a feed's envelopes and
tiles. Each must become a frame, be passed over, or be refused under a cause; nothing else may be raised, and nothing
larger than the limit allocated. What is allowed beside the image (`allowance`) are copies of the message, and what a
text of 64 KiB can become.
"""

from __future__ import annotations

import faulthandler
import json
import os
import random
import resource
import struct
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, TypeAlias

import cbor2
import cv2
import lz4.block
import numpy as np
import zstandard

from stainstream.benchmark.rows import machine
from stainstream.errors import WireError
from stainstream.feed.message import pack, unpack
from stainstream.feed.tile import read
from stainstream.frame import Frame, PixelFormat
from stainstream.wire import TABLE
from stainstream.wire.native import Native

LIMIT = 64 << 10
BESIDE = 1 << 20
CHUNK = 10_000
LIBRARIES = ("cbor2", "dectris-compression", "lz4", "msgspec", "opencv-python-headless", "simplejpeg", "zstandard")
META = {"slide": "S-1", "stage": {"x": 1.5, "y": -2}, "tile": [3, 4], "ndattr": {"ColorMode": 1, "BayerPattern": 2}}

Message: TypeAlias = list[bytes]
Read: TypeAlias = Callable[[Sequence[bytes]], object]

_NUMBERS = (0, 1, 2, 127, 128, 255, 256, 65535, 65536, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 63, (1 << 64) - 1)
_VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        -1,
        *_NUMBERS,
        10**400,
        0.5,
        1e308,
        "",
        "x" * 300,
        [],
        {},
        [[]],
        [0],
        [1 << 31] * 3,
        [1, 2, 3, 4],
    ),
    *("lz4", "zstd", "jpeg", "bslz4", "uint16", "float64", "object", "big", "end", "RGB16", "Mono8", "array-2.0"),
)


@dataclass
class Account:
    """What became of one decoder's messages."""

    messages: int = 0
    accepted: int = 0
    passed_over: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    largest: int = 0
    """Bytes that one message had allocated at once."""
    slowest_ms: float = 0.0

    @property
    def balanced(self) -> bool:
        """Whether each message is in one of the counts."""
        return self.messages == self.accepted + self.passed_over + sum(self.rejected.values())


def images() -> dict[PixelFormat, np.ndarray[Any, Any]]:
    """One of each kind, smooth so that they compress."""
    ramp = np.add.outer(np.arange(24), np.arange(32))
    return {
        PixelFormat.RGB8: np.stack([ramp, 2 * ramp, 255 - ramp], axis=-1).astype(np.uint8),
        PixelFormat.Mono8: ramp.astype(np.uint8),
        PixelFormat.Mono12: (64 * ramp).astype(np.uint16),
        PixelFormat.BayerGR8: ramp.astype(np.uint8),
    }


def frames() -> list[Frame]:
    """What is sent, before it is mutated."""
    return [Frame(image, kind, 7, 1, META) for kind, image in images().items()]


def seeds() -> dict[str, tuple[Read, list[Message]]]:
    """For each decoder how it reads, and valid messages."""
    found: dict[str, tuple[Read, list[Message]]] = {}
    for row in TABLE:
        codec = row.load()(max_frame_bytes=LIMIT)
        messages = [[bytes(part) for part in codec.encode(each)] for each in frames() if _said(row.name, each)]
        found[row.name] = codec.decode, messages
    rgb, gray = frames()[:2]
    counts = {"frames": 2, "sent": 1, "dropped": {"cause": 1}}
    natives = [Native(encoding=each, single=single) for each in ("lz4", "zstd", "jpeg") for single in (True, False)]
    packed = [[bytes(part) for part in each.encode(frame)] for each in natives for frame in (rgb, gray)]
    packed.append(_bomb())
    told = [[bytes(part) for part in said] for each in natives[:2] for said in (each.start(rgb), each.end(counts))]
    found["stainstream"][1].extend([*packed, *told])
    found["array-1.0"][1].extend([parts[1:] for parts in packed if len(parts) == 3])
    done, jpeg = cv2.imencode(".jpg", rgb.image)
    assert done
    found["imagezmq"][1].append([b'{"msg": "camera"}', jpeg.tobytes()])
    compressed = {"terminate_flag": False, "compression": {"dct": True}, "message": None, "dtype": "", "shape": ""}
    found["netgear"][1].extend([[json.dumps(compressed).encode(), jpeg.tobytes()], [b'{"terminate_flag": true}']])
    found["dectris-v2"][1].extend(_dectris())
    tiles = [parts for parts in found["stainstream"][1] if len(parts) == 3 and parts[2]]
    found["tile of a feed"] = lambda parts: read("s", 0, [memoryview(each) for each in parts], limit=LIMIT), tiles
    found["envelope of a feed"] = lambda parts: unpack(parts[0] if parts else b""), [[each] for each in _envelopes()]
    return found


def _said(name: str, frame: Frame) -> bool:
    return name not in ("imagezmq", "netgear") or frame.format in (PixelFormat.RGB8, PixelFormat.Mono8)


def _dectris() -> list[Message]:
    """Compressed, of three channels, start and end."""
    raw = images()[PixelFormat.Mono12].tobytes()
    blocks = [lz4.block.compress(raw[at : at + 512], store_size=False) for at in range(0, len(raw), 512)]
    packed = struct.pack(">QI", len(raw), 512) + b"".join(struct.pack(">I", len(each)) + each for each in blocks)
    messages = []
    for algorithm in ("lz4", "bslz4"):
        typed = cbor2.CBORTag(69, cbor2.CBORTag(56500, [algorithm, 2, packed]))
        data = {"threshold_1": cbor2.CBORTag(40, [[24, 32], typed])}
        messages.append({"type": "image", "image_id": 3, "series_id": 1, "start_time": [5, 1000], "data": data})
    plane = cbor2.CBORTag(40, [[8, 8], cbor2.CBORTag(64, bytes(64))])
    messages.append({"type": "image", "image_id": 3, "data": dict.fromkeys(("red", "green", "blue"), plane)})
    messages.append({"type": "start", "channels": ["threshold_1"], "flatfield": {"threshold_1": plane}})
    messages.append({"type": "end", "series_id": 1, "series_unique_id": "x"})
    return [[cbor2.dumps(each)] for each in messages]


def _bomb() -> Message:
    """A few kilobytes that would unpack to 64 MiB."""
    header = {"htype": "array-1.0", "type": "uint8", "shape": [24, 32, 3], "encoding": "zstd"}
    return [b"", json.dumps(header).encode(), zstandard.compress(bytes(64 << 20))]


def _envelopes() -> list[bytes]:
    place = {"series": "s", "seq": 3, "base": 1}
    who = {"name": "n", "session": "x"}
    return [
        pack("ping", **who),
        pack("hello", **who, role="live", ready=True),
        pack("tile", **place),
        pack("void", **place, cause="c"),
        pack("end", **place, tiles=4, rejected={"c": 1}),
        pack("ack", tiles=[["s", 0, 3], ["s", 4, 4, "c"]]),
        pack("frame", skipped=2),
        pack("refused", reason="r"),
        pack("ready"),
    ]


def mutated(message: Message, others: Sequence[Message], chance: random.Random) -> Message:
    """A message that is a little, or altogether, wrong."""
    parts = list(message)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        how = chance.randrange(10)
        if how == 0:
            parts = _moved(parts, chance.choice(others), chance)
        elif parts:
            at = chance.randrange(len(parts))
            parts[at] = _reworded(parts[at], chance) if how < 6 else _scratched(parts[at], chance)
    return parts


def _moved(parts: Message, other: Message, chance: random.Random) -> Message:
    """Parts are left out, doubled, exchanged or taken from another message."""
    pool = parts + other
    return chance.choice(
        (
            parts[:-1],
            parts[1:],
            parts + parts[-1:],
            parts[::-1],
            [chance.choice(pool) for _ in parts],
            [b"".join(parts)],
        )
    )


def _reworded(part: bytes, chance: random.Random) -> bytes:
    """Of a header, in JSON or CBOR, one value is another, or not there."""
    for read_, write in ((json.loads, lambda value: json.dumps(value).encode()), (_cbor, cbor2.dumps)):
        try:
            header = read_(part)
        except (ValueError, RecursionError, cbor2.CBORDecodeError):
            continue
        if isinstance(header, dict):
            try:
                return bytes(write(_replaced(header, chance)))
            except (cbor2.CBOREncodeError, RecursionError):
                break
    return _scratched(part, chance)


def _cbor(part: bytes) -> Any:
    return cbor2.loads(part, semantic_decoders={0: lambda value, immutable: value})  # noqa: ARG005


def _replaced(value: Any, chance: random.Random) -> Any:
    """The same with one thing in it replaced."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(list(value))
        if chance.random() < 0.1:
            return {name: each for name, each in value.items() if name != key}
        return {**value, key: _replaced(value[key], chance)}
    if isinstance(value, list | tuple) and value and chance.random() < 0.7:
        at = chance.randrange(len(value))
        return [*value[:at], _replaced(value[at], chance), *value[at + 1 :]]
    if isinstance(value, cbor2.CBORTag) and chance.random() < 0.9:
        if chance.random() < 0.2:
            return cbor2.CBORTag(chance.choice((0, 5, 28, 29, 35, 40, 1040, 56500, *range(64, 88))), value.value)
        return cbor2.CBORTag(value.tag, _replaced(value.value, chance))
    if isinstance(value, int) and chance.random() < 0.3:
        return value + chance.choice((-1, 1))
    return _scratched(value, chance) if isinstance(value, bytes) else chance.choice(_VALUES)


def _scratched(part: bytes, chance: random.Random) -> bytes:
    """Bytes are changed, added, cut out or repeated."""
    data = bytearray(part)
    # Heads and lengths are in front: be there half of the time.
    at = chance.randrange(min(len(data), 40) + 1 if chance.random() < 0.5 else len(data) + 1)
    how = chance.randrange(7)
    if how == 0 and at < len(data):
        data[at] ^= 1 << chance.randrange(8)
    elif how == 1:
        data[at : at + 1] = bytes([chance.randrange(256)])
    elif how == 2:
        width = chance.choice((1, 2, 4, 8))
        number = chance.choice(_NUMBERS) & (1 << 8 * width) - 1
        data[at : at + width] = number.to_bytes(width, chance.choice(("big", "little")))
    elif how == 3:
        del data[at : at + chance.choice((1, 2, 8, 100))]
    elif how == 4:
        data[at:at] = chance.randbytes(chance.choice((1, 2, 8, 100)))
    elif how == 5:
        del data[at:]
    else:
        data[at:at] = data[at : at + 16] * chance.choice((1, 8, 1000))
    return bytes(data)


def attack(
    count: int, chance: random.Random, accounts: dict[str, Account], found: dict[str, tuple[Read, list[Message]]]
) -> list[str]:
    """Read `count` mutated messages, in turn by each decoder; what should not have happened, in words."""
    names = list(found)
    made = []
    for number in range(count):
        name = names[number % len(names)]
        messages = found[name][1]
        made.append((name, mutated(chance.choice(messages), messages, chance)))
    tracemalloc.start()  # not before: mutating would take twice as long
    try:
        return _read(made, accounts, found)
    finally:
        tracemalloc.stop()


def _read(
    made: Sequence[tuple[str, Message]],
    accounts: dict[str, Account],
    found: dict[str, tuple[Read, list[Message]]],
) -> list[str]:
    wrong = []
    for name, parts in made:
        decode = found[name][0]
        account = accounts.setdefault(name, Account())
        account.messages += 1
        tracemalloc.reset_peak()
        before, start = tracemalloc.get_traced_memory()[0], time.thread_time()
        try:
            result = decode(parts)
        except WireError as error:
            account.rejected[error.cause] += 1
            result = error
        except Exception as error:  # noqa: BLE001 - this is what is looked for
            wrong.append(f"{name}: {error!r:.300} for {[bytes(each[:200]) for each in parts]!r:.900}")
            continue
        else:
            account.accepted += result is not None
            account.passed_over += result is None
        account.slowest_ms = max(account.slowest_ms, 1e3 * (time.thread_time() - start))
        allocated = tracemalloc.get_traced_memory()[1] - before
        account.largest = max(account.largest, allocated)
        if allocated > allowance(parts):
            wrong.append(
                f"{name}: {allocated} bytes for {[bytes(each[:200]) for each in parts]!r:.900}: {result!r:.200}"
            )
        if isinstance(result, Frame) and result.image.nbytes > LIMIT:
            wrong.append(f"{name}: an image of {result.image.nbytes} bytes, {LIMIT} are allowed")
    return wrong


def allowance(parts: Sequence[bytes]) -> int:
    """Bytes that reading a message may have allocated at once."""
    return 2 * LIMIT + 3 * sum(map(len, parts)) + BESIDE


def main(file: Path, count: int = 1_000_000) -> None:
    """Run it and write it down."""
    faulthandler.enable(os.fdopen(os.dup(2), "w"))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libjpeg comments on each damaged JPEG
    found, accounts, wrong = seeds(), dict[str, Account](), list[str]()
    attack(CHUNK, random.Random(-1), {}, found)  # what is imported and kept once is not a message's doing
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    for chunk in range(-(-count // CHUNK)):
        wrong += attack(min(CHUNK, count - chunk * CHUNK), random.Random(chunk), accounts, found)
        if chunk % 10 == 9 or wrong:
            print(f"{(chunk + 1) * CHUNK} messages, {len(wrong)} wrong", *wrong[:3], sep="\n", flush=True)
        if len(wrong) > 100:
            break
    result = {
        **machine(),
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
        "messages": sum(each.messages for each in accounts.values()),
        "limit_bytes": LIMIT,
        "processor_s": round(time.process_time() - start, 1),
        "resident_growth_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before,
        "wrong": wrong,
        "decoders": {
            name: {
                "messages": each.messages,
                "accepted": each.accepted,
                "passed_over": each.passed_over,
                "rejected": dict(each.rejected.most_common()),
                "balanced": each.balanced,
                "largest_allocation_bytes": each.largest,
                "slowest_processor_ms": round(each.slowest_ms, 1),
            }
            for name, each in accounts.items()
        },
    }
    file.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["decoders"], indent=1))
    if wrong:
        print(f"{len(wrong)} messages did what none may")
        sys.exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))

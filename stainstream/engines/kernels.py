"""Look-up kernels: LLVM vector code that numba compiles for the host's own instruction set.

All take addresses rather than arrays, so that there is one signature, compiled once and kept on disk by numba, whatever
the flags of an array. They release the GIL. Input and output may be the same buffer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numba as nb
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

__all__ = ["KERNELS", "gather", "scatter", "to_cells"]

_WIDTH = 32  # pixels a vector step
_BLOCK = 256  # pixels whose indices are computed before their words are fetched: 1 KiB, which stays in the L1 cache
_LINE = 64  # bytes of a cache line
_AHEAD = 4 * 3 * _BLOCK  # bytes that the input is fetched ahead: the look-ups of a block hide that of a later one
_GROUP = 8  # pixels fetched in one unrolled step

# Table order: cells of 8x8x8 neighboring colors, 2 KiB each. (Bits of r | g << 8 | b << 16, their shift to the left.)
_CELLS = ((0xF80000, 0), (0x00F800, 3), (0x0000F8, 6), (0x070000, -10), (0x000700, -5), (0x000007, 0))

_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_PACKED = ir.VectorType(_I8, 3 * _WIDTH)
_WORDS = ir.VectorType(_I32, _WIDTH)
_WIDE = ir.VectorType(_I8, 4 * _WIDTH)
_ADDRESS = types.int64
_VOID_OF_4 = types.void(_ADDRESS, _ADDRESS, _ADDRESS, types.int64)

Build = Callable[[Any, Any, Any, Sequence[Any]], Any]


def _pointer(b: Any, address: Any, kind: Any) -> Any:
    return b.inttoptr(address, kind.as_pointer())


def _shift(b: Any, value: Any, left: int, kind: Any) -> Any:
    amount = [abs(left)] * _WIDTH if isinstance(kind, ir.VectorType) else abs(left)
    return (b.shl if left > 0 else b.lshr)(value, ir.Constant(kind, amount)) if left else value


def _shuffle(b: Any, vector: Any, order: list[int]) -> Any:
    zero = ir.Constant(vector.type, [0] * vector.type.count)
    return b.shuffle_vector(vector, zero, ir.Constant(ir.VectorType(_I32, len(order)), order))


def _indices(b: Any, source: Any) -> Any:
    """Cell indices of the `_WIDTH` packed pixels at address `source`."""
    pixels = b.load(_pointer(b, source, _PACKED), align=1)
    spread = [k for j in range(_WIDTH) for k in (3 * j, 3 * j + 1, 3 * j + 2, 3 * _WIDTH)]
    pixel = b.bitcast(_shuffle(b, pixels, spread), _WORDS)
    index = ir.Constant(_WORDS, [0] * _WIDTH)
    for bits, left in _CELLS:
        index = b.or_(index, _shift(b, b.and_(pixel, ir.Constant(_WORDS, [bits] * _WIDTH)), left, _WORDS))
    return index


@intrinsic
def _gather_step(typing: Any, source: Any, target: Any, table: Any, offset: Any) -> tuple[Any, Build]:
    """Look up `_WIDTH` pixels with one gather instruction (or what the processor has instead)."""

    def build(context: Any, b: Any, signature: Any, args: Sequence[Any]) -> Any:
        source, target, table, offset = args
        index = _indices(b, b.add(source, offset))
        longs, pointers = ir.VectorType(_I64, _WIDTH), ir.VectorType(_I32.as_pointer(), _WIDTH)
        base = b.insert_element(ir.Constant(longs, ir.Undefined), table, ir.Constant(_I32, 0))
        base = b.shuffle_vector(base, base, ir.Constant(_WORDS, [0] * _WIDTH))
        where = b.inttoptr(b.add(base, b.shl(b.zext(index, longs), ir.Constant(longs, [2] * _WIDTH))), pointers)
        mask = ir.VectorType(ir.IntType(1), _WIDTH)
        function = cgutils.get_or_insert_function(
            b.module,
            ir.FunctionType(_WORDS, [pointers, _I32, mask, _WORDS]),
            f"llvm.masked.gather.v{_WIDTH}i32.v{_WIDTH}p0",
        )
        everywhere, nothing = ir.Constant(mask, [1] * _WIDTH), ir.Constant(_WORDS, ir.Undefined)
        found = b.bitcast(b.call(function, [where, ir.Constant(_I32, 4), everywhere, nothing]), _WIDE)
        keep = [k for j in range(_WIDTH) for k in (4 * j, 4 * j + 1, 4 * j + 2)]
        b.store(_shuffle(b, found, keep), _pointer(b, b.add(target, offset), _PACKED), align=1)
        return context.get_dummy_value()

    return _VOID_OF_4, build


@intrinsic
def _index_step(typing: Any, source: Any, indices: Any) -> tuple[Any, Build]:
    """Write the cell indices of `_WIDTH` pixels to memory."""

    def build(context: Any, b: Any, signature: Any, args: Sequence[Any]) -> Any:
        source, indices = args
        b.store(_indices(b, source), _pointer(b, indices, _WORDS), align=4)
        return context.get_dummy_value()

    return types.void(_ADDRESS, _ADDRESS), build


@intrinsic
def _fetch_step(typing: Any, indices: Any, table: Any, target: Any, last: Any) -> tuple[Any, Build]:
    """Look up `_GROUP` pixels one by one and write them in pairs.

    A pair is written as 8 bytes of which 6 count: the next pair overwrites the other two. The last pair of a block
    (`last` true) writes its 6 bytes only, since what follows may be input that is still to be read.
    """

    def build(context: Any, b: Any, signature: Any, args: Sequence[Any]) -> Any:
        indices, table, target, last = args
        words = []
        for k in range(_GROUP):
            index = b.load(b.gep(_pointer(b, indices, _I32), [ir.Constant(_I64, k)]))
            words.append(b.zext(b.load(b.gep(_pointer(b, table, _I32), [b.zext(index, _I64)])), _I64))
        pairs = [b.or_(words[k], _shift(b, words[k + 1], 24, _I64)) for k in range(0, _GROUP, 2)]
        for k, pair in enumerate(pairs[:-1]):
            b.store(pair, _pointer(b, b.add(target, ir.Constant(_I64, 6 * k)), _I64), align=1)
        end = b.add(target, ir.Constant(_I64, 3 * _GROUP - 6))
        with b.if_else(b.icmp_signed("!=", last, ir.Constant(last.type, 0))) as (exact, generous):
            with exact:
                b.store(b.trunc(pairs[-1], _I32), _pointer(b, end, _I32), align=1)
                rest = b.trunc(_shift(b, pairs[-1], -32, _I64), _I16)
                b.store(rest, _pointer(b, b.add(end, ir.Constant(_I64, 4)), _I16), align=1)
            with generous:
                b.store(pairs[-1], _pointer(b, end, _I64), align=1)
        return context.get_dummy_value()

    return types.void(_ADDRESS, _ADDRESS, _ADDRESS, types.int64), build


@intrinsic
def _prefetch(typing: Any, address: Any) -> tuple[Any, Build]:
    """Ask for the cache line at `address`, which need not exist."""

    def build(context: Any, b: Any, signature: Any, args: Sequence[Any]) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [_I8.as_pointer(), _I32, _I32, _I32])
        function = cgutils.get_or_insert_function(b.module, kind, "llvm.prefetch.p0")
        read, keep, data = ir.Constant(_I32, 0), ir.Constant(_I32, 3), ir.Constant(_I32, 1)
        b.call(function, [_pointer(b, args[0], _I8), read, keep, data])
        return context.get_dummy_value()

    return types.void(_ADDRESS), build


@intrinsic
def _scratch(typing: Any) -> tuple[Any, Build]:
    """Address of `_BLOCK` words on the stack."""

    def build(context: Any, b: Any, signature: Any, args: Sequence[Any]) -> Any:
        return b.ptrtoint(cgutils.alloca_once(b, _I32, size=_BLOCK), _I64)

    return _ADDRESS(), build


@intrinsic
def _byte(typing: Any, address: Any) -> tuple[Any, Build]:
    def build(context: Any, b: Any, signature: Any, args: Sequence[Any]) -> Any:
        return b.zext(b.load(_pointer(b, args[0], _I8)), _I64)

    return types.int64(_ADDRESS), build


@intrinsic
def _put_byte(typing: Any, address: Any, value: Any) -> tuple[Any, Build]:
    def build(context: Any, b: Any, signature: Any, args: Sequence[Any]) -> Any:
        b.store(b.trunc(args[1], _I8), _pointer(b, args[0], _I8))
        return context.get_dummy_value()

    return types.void(_ADDRESS, types.int64), build


@intrinsic
def _word(typing: Any, table: Any, index: Any) -> tuple[Any, Build]:
    def build(context: Any, b: Any, signature: Any, args: Sequence[Any]) -> Any:
        return b.zext(b.load(b.gep(_pointer(b, args[0], _I32), [args[1]])), _I64)

    return types.int64(_ADDRESS, types.int64), build


@intrinsic
def _put_word(typing: Any, table: Any, index: Any, value: Any) -> tuple[Any, Build]:
    def build(context: Any, b: Any, signature: Any, args: Sequence[Any]) -> Any:
        b.store(b.trunc(args[2], _I32), b.gep(_pointer(b, args[0], _I32), [args[1]]))
        return context.get_dummy_value()

    return types.void(_ADDRESS, types.int64, types.int64), build


_compiled = nb.njit("void(int64, int64, int64, int64)", nogil=True, cache=True)


@nb.njit("int64(int64)", nogil=True, cache=True, inline="always")
def _cell(pixel: int) -> int:
    """Place of the color `pixel` (r | g << 8 | b << 16) in the table of cells: `_CELLS`, for one pixel."""
    high = (pixel & 0xF80000) | (pixel & 0x00F800) << 3 | (pixel & 0x0000F8) << 6
    return high | (pixel & 0x070000) >> 10 | (pixel & 0x000700) >> 5 | (pixel & 0x000007)


@nb.njit("void(int64, int64, int64, int64, int64)", nogil=True, cache=True)
def _tail(source: int, target: int, table: int, first: int, pixels: int) -> None:
    for at in range(3 * first, 3 * pixels, 3):
        pixel = _byte(source + at) | _byte(source + at + 1) << 8 | _byte(source + at + 2) << 16
        word = _word(table, _cell(pixel))
        _put_byte(target + at, word)
        _put_byte(target + at + 1, word >> 8)
        _put_byte(target + at + 2, word >> 16)


@_compiled
def gather(source: int, target: int, table: int, pixels: int) -> None:
    """Look up `pixels` packed RGB pixels at address `source` into `target`, by vector gathers."""
    for step in range(pixels // _WIDTH):
        _gather_step(source, target, table, 3 * _WIDTH * step)
    _tail(source, target, table, pixels // _WIDTH * _WIDTH, pixels)


@_compiled
def scatter(source: int, target: int, table: int, pixels: int) -> None:
    """Look up `pixels` packed RGB pixels at address `source` into `target`, by single loads."""
    indices = _scratch()
    for block in range(pixels // _BLOCK):
        start = 3 * _BLOCK * block
        for line in range(0, 3 * _BLOCK, _LINE):
            _prefetch(source + start + _AHEAD + line)
        for k in range(0, _BLOCK, _WIDTH):
            _index_step(source + start + 3 * k, indices + 4 * k)
        for k in range(0, _BLOCK - _GROUP, _GROUP):
            _fetch_step(indices + 4 * k, table, target + start + 3 * k, 0)
        k = _BLOCK - _GROUP
        _fetch_step(indices + 4 * k, table, target + start + 3 * k, 1)
    _tail(source, target, table, pixels // _BLOCK * _BLOCK, pixels)


@nb.njit("void(int64, int64)", nogil=True, cache=True)
def to_cells(linear: int, cells: int) -> None:
    """Copy the 256^3 words at address `linear`, in the order of `color.lut.Table`, to `cells` in cell order."""
    for pixel in range(1 << 24):
        _put_word(cells, _cell(pixel), _word(linear, pixel) & 0xFFFFFF)


KERNELS: tuple[Callable[[int, int, int, int], None], ...] = (gather, scatter)

"""Tables of the classic methods, against what they were baked from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stainstream.color.lut import COLORS, bake, colors_of, index_of, quantize
from stainstream.normalizers import TABLE
from stainstream.normalizers.fitted import Fitted
from tests.normalizers.tiles import demo, restained

_SOME = np.arange(0, COLORS, 17, dtype=np.uint32)

CASES = [
    ("reinhard", "stream"),
    ("macenko", "torchstain"),
    ("vahadane", "staintools"),
    ("ruifrok", "stream"),
    ("khan", "stream"),
]


@pytest.mark.parametrize(("method", "profile"), CASES)
def test_a_table_is_what_float64_gives(method: str, profile: str) -> None:
    row = next(each for each in TABLE if each.name == method)
    if row.missing is not None:
        pytest.skip(f"{method} needs {row.missing}")
    fitted: Fitted[Any] = row.load().fit(demo(), restained(demo(1, 1)), profile)
    table = bake(fitted, method, fitted.rounding).table[_SOME]
    np.testing.assert_array_equal(table, index_of(quantize(fitted(colors_of(_SOME) / 255.0), fitted.rounding)))

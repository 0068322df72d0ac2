"""What becomes of a color: methods that know no device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stainstream.registry import Plugin, Table

if TYPE_CHECKING:
    from .fitted import Fitted

__all__ = ["TABLE"]

_HERE = "stainstream.normalizers"

TABLE: Table[Fitted[Any]] = Table(
    "method",
    (
        Plugin("reinhard", f"{_HERE}.reinhard:Reinhard", "mean and spread in L*a*b*"),
        Plugin("macenko", f"{_HERE}.macenko:Macenko", "two stains, at the edges of the plane of optical density"),
        Plugin(
            "vahadane",
            f"{_HERE}.vahadane:Vahadane",
            "two stains, by sparse non-negative matrix factorization",
            needs=("scipy",),
            extra="classic",
        ),
        Plugin("ruifrok", f"{_HERE}.ruifrok:Ruifrok", "two stains, with Ruifrok and Johnston's fixed hues"),
        Plugin("khan", f"{_HERE}.khan:Khan", "two stains, by a classifier of pixels, and a spline for each"),
    ),
)

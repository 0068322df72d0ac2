"""Natural cubic smoothing splines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stainstream.color.stats import Values

__all__ = ["Spline"]


@dataclass(frozen=True, eq=False)
class Spline:
    """A natural cubic spline; outside its knots it keeps its outermost values."""

    knots: Values
    """Shape (n,), ascending."""
    pieces: Values
    """Shape (n - 1, 4): coefficients between two knots of powers 0 to 3 of x less the first of them."""

    @classmethod
    def smooth(cls, x: Values, y: Values, stiffness: float) -> Spline:
        """The curve f that minimizes the sum of (y - f(x))^2 plus `stiffness` times the integral of f''^2.

        Source: C. H. Reinsch, Smoothing by spline functions, Numerische Mathematik 10, 1967.

        Parameters
        ----------
        x, y
            Shape (n,), at least three different x. Points of one x become their mean, with their joint weight.
        stiffness
            0 goes through all points; the larger, the straighter.
        """
        knots, where, counts = np.unique(x, return_inverse=True, return_counts=True)
        means = np.bincount(where, y) / counts
        steps = np.diff(knots)
        inner = len(knots) - 2
        bending, rows = np.zeros((inner + 2, inner)), np.arange(inner)
        bending[rows, rows] = 1 / steps[:-1]
        bending[rows + 2, rows] = 1 / steps[1:]
        bending[rows + 1, rows] = -1 / steps[:-1] - 1 / steps[1:]
        widths = np.diag((steps[:-1] + steps[1:]) / 3) + np.diag(steps[1:-1] / 6, 1) + np.diag(steps[1:-1] / 6, -1)
        relaxed = bending / counts[:, None]
        bends = np.linalg.solve(widths + stiffness * bending.T @ relaxed, bending.T @ means)
        values = means - stiffness * relaxed @ bends
        bends = np.concatenate([[0.0], bends, [0.0]])
        slopes = np.diff(values) / steps - steps * (2 * bends[:-1] + bends[1:]) / 6
        return cls(knots, np.stack([values[:-1], slopes, bends[:-1] / 2, np.diff(bends) / steps / 6], axis=1))

    def __call__(self, x: Values) -> Values:
        """Evaluate at x of any shape."""
        x = np.clip(x, self.knots[0], self.knots[-1])
        k = np.zeros(x.shape, np.uint8)
        for knot in self.knots[1:-1].tolist():  # there are a dozen: quicker than a search
            k += x > knot
        a, b, c, d = (column.astype(x.dtype).take(k) for column in self.pieces.T)
        step = x - self.knots.astype(x.dtype).take(k)
        return np.asarray(((d * step + c) * step + b) * step + a)

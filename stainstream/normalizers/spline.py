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
    values: Values
    """Shape (n,): the spline at its knots."""
    bends: Values
    """Shape (n,): its second derivative there, 0 at both ends."""

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
        return cls(knots, means - stiffness * relaxed @ bends, np.concatenate([[0.0], bends, [0.0]]))

    def __call__(self, x: Values) -> Values:
        """Evaluate at x of any shape."""
        x = np.clip(x, self.knots[0], self.knots[-1])
        k = np.clip(np.searchsorted(self.knots, x) - 1, 0, len(self.knots) - 2)
        step = self.knots[k + 1] - self.knots[k]
        right = (x - self.knots[k]) / step
        left = 1.0 - right
        curved = (left**3 - left) * self.bends[k] + (right**3 - right) * self.bends[k + 1]
        return np.asarray(left * self.values[k] + right * self.values[k + 1] + curved * step**2 / 6.0)

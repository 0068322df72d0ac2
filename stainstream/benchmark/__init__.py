"""Measurements: engines beside their alternatives, and the whole loop, in one run."""

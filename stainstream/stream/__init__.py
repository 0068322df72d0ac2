"""Frames on their way: source, engine and sinks, overlapping on threads."""

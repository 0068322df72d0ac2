"""Whole slides, one or an archive of them: read, normalized, written."""

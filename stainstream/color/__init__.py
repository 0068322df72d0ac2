"""Colors: pixel formats and tables."""

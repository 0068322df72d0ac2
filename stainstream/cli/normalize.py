"""``stainstream normalize``: images and folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import DEFAULT, EngineName, ModelName, Threads

__all__ = ["normalize"]

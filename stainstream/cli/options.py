"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from stainstream.config import DEFAULT

__all__ = ["DEFAULT", "EngineName", "Frames", "ModelName", "Threads", "TrustPlan"]

ModelName: TypeAlias = Annotated[
    str,
    typer.Option(
        "--model", "-m", help="A model's name, a model folder, an .onnx, .toml or .cube file.", show_default=True
    ),
]
EngineName: TypeAlias = Annotated[
    str,
    typer.Option("--engine", help="auto, lut_cuda, lut_numba, lut_numpy, net_tensorrt or net_onnx.", show_default=True),
]
Threads: TypeAlias = Annotated[
    int | None, typer.Option(min=1, help="Threads that one frame may use.", show_default="all processors")
]
TrustPlan: TypeAlias = Annotated[
    bool, typer.Option("--trust-plan", help="Run a TensorRT plan that came with the model: it is a program, not data.")
]
Frames: TypeAlias = Annotated[int, typer.Option(min=0, help="Stop after so many frames; 0 for no limit.")]

"""Running an ONNX file once, to check it."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from stainstream.frame import RGB8

__all__ = ["run"]


def run(data: bytes, rgb: RGB8) -> NDArray[Any]:
    """What an ONNX file makes of images: by ONNX Runtime, or, where it is not installed, by ONNX's slow reference.

    Parameters
    ----------
    data
        The file; it takes and gives uint8 (N, H, W, 3) or float32 (N, 3, H, W) in [0, 1].
    rgb
        uint8, shape (n, height, width, 3).
    """
    end = onnx.load_from_string(data).graph.input[0]
    wide = end.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    given = {end.name: (rgb.transpose(0, 3, 1, 2) / 255.0).astype(np.float32) if wide else rgb}
    if find_spec("onnxruntime") is None:
        from onnx.reference import ReferenceEvaluator

        return np.asarray(next(iter(ReferenceEvaluator(data).run(None, given))))
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, given)[0])

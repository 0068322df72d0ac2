"""Where tables and networks run, in order of preference."""

from stainstream.registry import Plugin, Table

from .base import Artifact, Engine

__all__ = ["TABLE", "Artifact", "Engine"]

TABLE: Table[Engine] = Table(
    "engine",
    (
        Plugin(
            "lut_cuda",
            "stainstream.engines.lut_cuda:LutCuda",
            "the table, on an NVIDIA GPU",
            needs=("cuda.core", "cuda.bindings"),
            extra="gpu",
            hardware="stainstream.engines.gpu:absent",
        ),
        Plugin("lut_numba", "stainstream.engines.lut_numba:LutNumba", "the table, with this processor's own SIMD"),
        Plugin("lut_numpy", "stainstream.engines.lut_numpy:LutNumpy", "the table, in NumPy: the reference"),
        Plugin(
            "net_tensorrt",
            "stainstream.engines.net_tensorrt:NetTensorrt",
            "the network, in TensorRT or TensorRT-RTX on an NVIDIA GPU",
            needs=("cuda.bindings",),
            extra="gpu",
            hardware="stainstream.engines.gpu:absent",
        ),
        Plugin(
            "net_onnx",
            "stainstream.engines.net_onnx:NetOnnx",
            "the network, in ONNX Runtime: on the processor, CUDA or TensorRT",
            needs=("onnxruntime",),
            extra="onnx",
        ),
    ),
)

"""Other ways to run the same network on the same cores."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from stainstream.engines.net_onnx import NetOnnx
from stainstream.frame import RGB8
from stainstream.model import Model, Network

__all__ = ["Run", "limit_threads", "peers", "torch_network"]

Run: TypeAlias = Callable[[RGB8], RGB8]
"""uint8 (n, height, width, 3) in and out."""


def peers(model: Model, threads: int) -> dict[str, Run]:
    """Every installed runtime of the network itself, by name; uint8 in and out, `threads` threads."""
    makers: dict[str, Callable[[Model, int], Run]] = {
        "onnxruntime": _onnxruntime,
        "openvino": _openvino,
        "torch": _torch,
    }
    return {name: make(model, threads) for name, make in makers.items() if find_spec(name) is not None}


def limit_threads(threads: int) -> None:
    """Let OpenCV and torch, and what is built on them, use so many threads."""
    import cv2

    cv2.setNumThreads(threads)
    if find_spec("torch") is not None:
        import torch

        torch.set_num_threads(threads)


def _onnxruntime(model: Model, threads: int) -> Run:
    engine = NetOnnx(Network(model.network, model.name, model.digest), threads)
    engine.open()
    return engine


def _openvino(model: Model, threads: int) -> Run:
    import openvino

    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(model.network), "CPU", settings)
    request = compiled.create_infer_request()
    return lambda batch: np.asarray(request.infer([batch], share_inputs=True, share_outputs=True)[0])


def _torch(model: Model, threads: int) -> Run:
    import torch

    network = torch_network(model.network)
    nearest = model.card is None or model.card.rounding == "nearest"

    def run(batch: RGB8) -> RGB8:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            image = torch.from_numpy(batch).permute(0, 3, 1, 2).float().div_(255.0).sub_(0.5).div_(0.5)
            levels = (network(image) * 0.5 + 0.5).clamp_(0, 1).mul_(255.0)
            whole = (levels.round_() if nearest else levels).to(torch.uint8)
            return np.asarray(whole.permute(0, 2, 3, 1).contiguous().numpy())

    return run


def torch_network(path: Path) -> Any:
    """The convolutions of an exported StainNet, as torch has them."""
    import onnx
    import torch
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    steps: list[torch.nn.Module] = []
    for node in graph.node:
        if node.op_type == "Conv":
            weight, bias = (torch.from_numpy(np.array(constants[name])) for name in node.input[1:3])
            layer = torch.nn.Conv2d(weight.shape[1], weight.shape[0], (weight.shape[2], weight.shape[3]))
            layer.weight.data, layer.bias.data = weight, bias  # type: ignore[union-attr]
            steps.append(layer)
        elif node.op_type == "Relu":
            steps.append(torch.nn.ReLU(inplace=True))
    return torch.nn.Sequential(*steps).eval()

"""TensorRT plans: built by TensorRT-RTX, which needs no GPU; their names; damaged and foreign ones."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import stainstream as ss
from stainstream.engines import plan as plans
from stainstream.engines.net_tensorrt import NetTensorrt, _beside, make_plan
from stainstream.engines.plan import Precision, Profile, TensorRT, kept, plan_name, save
from stainstream.engines.precision import half, quantized
from stainstream.errors import EngineError, MissingExtra
from stainstream.frame import RGB8
from stainstream.model import Network, find
from tests.engines.tables import scrambled
from tests.graphs import Graph, blur, negative

SMALL = Profile(batch=1, height=64, width=64, usual=64)


@pytest.fixture(scope="module")
def tensorrt() -> TensorRT:
    pytest.importorskip("tensorrt_rtx_bindings")
    return TensorRT("rtx")


def _networks() -> dict[str, bytes]:
    """StainNet, a 3x3 variant and the generator, each with random weights."""
    torch = pytest.importorskip("torch")
    from stainstream.training.graph import graph_of
    from stainstream.training.networks import ResnetGenerator, StainNet

    torch.manual_seed(0)
    made: dict[str, Any] = {
        "StainNet": StainNet(),
        "3x3": StainNet(conv3x3=2),
        "generator": ResnetGenerator(filters=16, blocks=2),
    }
    return {name: graph_of(net.eval(), "nearest").SerializeToString() for name, net in made.items()}


@pytest.fixture(scope="module")
def networks() -> dict[str, bytes]:
    return _networks()


@pytest.fixture(scope="module")
def tiles() -> list[RGB8]:
    with ss.open_source("demo?size=64x64&rate=0&frames=4") as source:
        return [np.array(frame.image) for frame in source]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("name", ["StainNet", "3x3", "generator"])
def test_tensorrt_reads_and_builds_each_network_in_each_precision(
    tensorrt: TensorRT, networks: dict[str, bytes], tiles: list[RGB8], tmp_path: Path, name: str, precision: Precision
) -> None:
    if precision == "int8":
        pytest.importorskip("onnxruntime")
    path = tmp_path / "model.onnx"
    path.write_bytes(networks[name])
    plan = make_plan(Network(path, name, "00"), SMALL, precision, tensorrt, lambda: tiles)
    assert len(plan) > 10_000


def test_the_full_generator_is_built_for_full_hd(tensorrt: TensorRT) -> None:
    pytest.importorskip("torch")
    from stainstream.training.graph import graph_of
    from stainstream.training.networks import ResnetGenerator

    network = graph_of(ResnetGenerator().eval(), "nearest").SerializeToString()
    assert len(tensorrt.build(network, Profile())) > len(network)


def test_the_default_model_is_built(tensorrt: TensorRT) -> None:
    assert tensorrt.build(find("default").network.read_bytes(), SMALL)


def test_what_tensorrt_cannot_read_is_refused_in_one_line(tensorrt: TensorRT) -> None:
    with pytest.raises(EngineError, match="TensorRT cannot read the network: ") as caught:
        tensorrt.build(b"no network", SMALL)
    assert "\n" not in str(caught.value)
    graph = Graph(cast=False)
    graph.add("Transpose", perm=[0, 2, 1, 3])  # bytes meet something else than a cast
    with pytest.raises(EngineError, match="TensorRT cannot"):
        tensorrt.build(graph.model().SerializeToString(), SMALL)


def test_a_file_that_cannot_be_read_is_named(tensorrt: TensorRT, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"cannot read .*none\.onnx"):
        make_plan(Network(tmp_path / "none.onnx", "none", "00"), SMALL, "fp32", tensorrt)


def _run(network: bytes, image: RGB8) -> Any:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    return session.run(None, {"rgb": image[None]})[0].astype(int)


@pytest.mark.parametrize("name", ["StainNet", "3x3", "generator"])
def test_half_precision_is_within_a_level_and_really_half(
    networks: dict[str, bytes], tiles: list[RGB8], name: str
) -> None:
    halved = half(networks[name])
    difference = np.abs(_run(halved, tiles[0]) - _run(networks[name], tiles[0]))
    assert difference.max() <= 1
    assert 0 < (difference > 0).mean() < 0.1
    assert len(halved) < 0.75 * len(networks[name])
    typed = onnx.shape_inference.infer_shapes(onnx.load_from_string(halved)).graph
    kinds = {each.name: each.type.tensor_type.elem_type for each in typed.value_info}
    heavy = [node for node in typed.node if node.op_type in ("Conv", "ConvTranspose")]
    assert {kinds[node.output[0]] for node in heavy} == {onnx.TensorProto.FLOAT16}


def test_a_network_without_convolutions_is_not_halved() -> None:
    with pytest.raises(EngineError, match="it has no convolution"):
        half(negative().model().SerializeToString())


def test_int8_is_explicit_and_symmetric(networks: dict[str, bytes], tiles: list[RGB8]) -> None:
    pytest.importorskip("onnxruntime")
    graph = onnx.load_from_string(quantized(networks["generator"], tiles)).graph
    points = {node.input[2] for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")}
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    assert points
    for point in points:
        assert constants[point].dtype == np.int8
        assert not constants[point].any()
    with pytest.raises(EngineError, match="there are no tiles to calibrate with"):
        quantized(networks["generator"], [])


def test_whatever_makes_another_plan_makes_another_name(tensorrt: TensorRT) -> None:
    gpu = (9, 0, "NVIDIA H200 / 141 GB")
    names = {
        plan_name("m", "00", SMALL, "fp32", tensorrt, gpu),
        plan_name("n", "00", SMALL, "fp32", tensorrt, gpu),
        plan_name("m", "01", SMALL, "fp32", tensorrt, gpu),
        plan_name("m", "00", replace(SMALL, batch=2), "fp32", tensorrt, gpu),
        plan_name("m", "00", replace(SMALL, width=128), "fp32", tensorrt, gpu),
        plan_name("m", "00", SMALL, "fp16", tensorrt, gpu),
    }
    assert len(names) == 6
    assert all("/" not in name and " " not in name for name in names)
    assert all(name.endswith(f"rtx{tensorrt.version}_portable.plan") for name in names)
    tensorrt = TensorRT("rtx")
    tensorrt.flavor, tensorrt.version = "trt", "10.14.1"
    bound = {
        plan_name("m", "00", SMALL, "fp32", tensorrt, each)
        for each in (gpu, (9, 0, "NVIDIA H100"), (8, 9, "NVIDIA H200 / 141 GB"))
    }
    tensorrt.version = "11.4.0"
    bound.add(plan_name("m", "00", SMALL, "fp32", tensorrt, gpu))
    assert len(bound) == 4
    assert "m_fp32_" in min(bound)
    assert any(name.endswith("trt11.4.0_sm90-NVIDIA-H200-141-GB.plan") for name in bound)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STAINSTREAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "plans"


def test_a_plan_is_kept_whole_and_for_its_owner_alone(cache: Path) -> None:
    assert kept("a.plan") is None
    save("a.plan", b"plan")
    assert kept("a.plan") == b"plan"
    assert [path.name for path in cache.iterdir()] == ["a.plan"]
    if os.name == "posix":
        assert stat.S_IMODE((cache / "a.plan").stat().st_mode) == 0o600
        assert stat.S_IMODE(cache.stat().st_mode) == 0o700


@pytest.mark.parametrize("damage", [b"", b"plan", b"x" * 100])
def test_a_damaged_plan_is_not_run(cache: Path, damage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    save("a.plan", b"plan" * 20)
    (cache / "a.plan").write_bytes(damage)
    assert kept("a.plan") is None
    assert "a.plan is damaged" in caplog.text


@pytest.mark.skipif(os.name != "posix", reason="only POSIX says who may write")
def test_a_plan_that_others_may_have_written_is_not_run(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    save("a.plan", b"plan")
    for mode in (0o620, 0o602, 0o666):
        (cache / "a.plan").chmod(mode)
        assert kept("a.plan") is None
        assert "others may have written" in caplog.text
        caplog.clear()


def test_a_plan_that_came_with_the_model_is_run_only_if_it_is_trusted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network = Network(blur().save(tmp_path / "blur.onnx"), "blur", "00")
    assert _beside(network, "a.plan") is None
    (tmp_path / "a.plan").write_bytes(b"plan")
    assert caplog.text == ""
    assert _beside(network, "a.plan") is None
    assert "a plan is a program; --trust-plan runs it" in caplog.text
    assert _beside(replace(network, trust_plan=True), "a.plan") == b"plan"


def test_trust_reaches_the_network(tmp_path: Path) -> None:
    path = blur().save(tmp_path / "blur.onnx")
    pytest.importorskip("onnxruntime")
    with ss.load(path, engine="net_onnx?provider=cpu", trust_plan=True) as normalize:
        assert isinstance(normalize.artifact, Network)
        assert normalize.artifact.trust_plan
    with ss.load(path, engine="net_onnx?provider=cpu") as normalize:
        assert isinstance(normalize.artifact, Network)
        assert not normalize.artifact.trust_plan


def test_sizes_beyond_the_profile_are_refused_with_the_way_to_have_them(tmp_path: Path) -> None:
    engine = NetTensorrt(Network(tmp_path / "a.onnx", "a", "00"))
    assert str(engine.profile) == "1 to 2 images of 16x16 to 1920x1088"
    parts = list(engine._parts(np.zeros((5, 20, 30, 3), np.uint8), np.zeros((5, 20, 30, 3), np.uint8)))
    assert [len(source) for source, _ in parts] == [2, 2, 1]
    for shape in ((2160, 3840, 3), (8, 100, 3), (1, 100, 2000, 3)):
        with pytest.raises(EngineError, match=r"the plan is for 1 to 2 images of .*--engine 'net_tensorrt\?width="):
            list(engine._parts(np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)))


def test_a_table_is_refused_with_a_reason() -> None:
    with pytest.raises(EngineError, match="cannot run 'scrambled': it is a table"):
        NetTensorrt(scrambled())


def test_without_tensorrt_the_command_that_brings_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "_PACKAGES", {"trt": ("no_such_tensorrt",)})
    with pytest.raises(MissingExtra, match=r"pip install 'stainstream\[tensorrt\]'"):
        TensorRT()


@pytest.mark.gpu
def test_on_a_gpu_stainnet_is_within_a_level_of_the_table() -> None:
    pytest.importorskip("tensorrt", reason="TensorRT-RTX does not run on every GPU, nor on the simulated one")
    with ss.open_source("demo?size=512x512&rate=0&frames=1") as source:
        image = next(iter(source)).image.copy()
    with ss.load(engine="lut_numpy") as table, ss.load(engine="net_tensorrt") as network:
        difference = np.abs(table(image).astype(int) - network(image))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01

"""``stainstream export`` as users run it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest

import stainstream as ss
from stainstream.color.cube import Cube
from stainstream.color.lut import quantize
from stainstream.model import find

from .conftest import Command

NOISE: ss.RGB8 = np.random.default_rng(0).integers(0, 256, (21, 30, 3), np.uint8)
DEFAULT = find("default").name


@pytest.fixture(scope="module")
def exact() -> ss.RGB8:
    """What the default model makes of noise."""
    with ss.load("default", "lut_numpy") as normalize:
        return normalize(NOISE)


@pytest.fixture
def generator(tmp_path: Path) -> Path:
    """A StainGAN's checkpoint, as its authors' code writes them."""
    torch = pytest.importorskip("torch")
    from stainstream.training.networks import ResnetGenerator

    torch.manual_seed(0)
    torch.save(ResnetGenerator(4, 2).state_dict(), tmp_path / "latest_net_G_A.pth")
    return tmp_path / "latest_net_G_A.pth"


def _done(command: Command, *arguments: object) -> str:
    done = command("export", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_table(command: Command, tmp_path: Path, exact: ss.RGB8) -> None:
    assert f"{DEFAULT}.npy" in _done(command, "default", "--to", "lut")
    table = np.load(tmp_path / f"{DEFAULT}.npy")
    np.testing.assert_array_equal(table[tuple(np.moveaxis(NOISE, -1, 0))], exact)


def test_a_cube_whose_error_is_printed(command: Command, tmp_path: Path, exact: ss.RGB8) -> None:
    text = _done(command, "default", "he.cube", "--size", "65")
    assert "off by at most 1 levels of 255, mean 0.02" in text
    assert "ffmpeg -i IN -vf lut3d=he.cube" in text
    assert "at most 1 levels of 255" in (tmp_path / "he.cube").read_text()
    cube = Cube.read(tmp_path / "he.cube")
    assert (cube.name, cube.size) == (DEFAULT, 65)
    assert np.abs(quantize(cube(NOISE / 255.0)).astype(int) - exact).max() <= 2


def test_the_suffix_is_added_where_it_is_missing(command: Command, tmp_path: Path) -> None:
    _done(command, "default", "mine.v2", "--to", "cube", "--size", "3")
    assert Cube.read(tmp_path / "mine.v2.cube").size == 3


def test_weights_and_back(command: Command, tmp_path: Path, exact: ss.RGB8) -> None:
    torch = pytest.importorskip("torch")
    assert "weights of StainNet" in _done(command, "default", "w.pth")
    weights = torch.load(tmp_path / "w.pth", weights_only=True)
    assert sum(value.numel() for value in weights.values()) == 1283
    _done(command, "w.pth", "again", "--rounding", "nearest", "--stain", "H&E")
    model = find(tmp_path / "again")
    assert model.card is not None
    assert (model.card.name, model.card.stain, model.card.source) == ("again", "H&E", "not stated")
    assert model.card.command == "stainstream export w.pth again --rounding nearest"
    assert model.network.read_bytes() == find("default").network.read_bytes()


def test_a_model_is_copied_with_its_card(command: Command, tmp_path: Path) -> None:
    _done(command, "default", "mine", "--target", "our scanner")
    card, origin = find(tmp_path / "mine").card, find("default").card
    assert card is not None
    assert origin is not None
    assert (card.name, card.target) == ("mine", "our scanner")
    assert (card.source, card.license, card.command) == (origin.source, origin.license, origin.command)
    assert not card.default


def test_float_tensors(command: Command, tmp_path: Path, exact: ss.RGB8) -> None:
    pytest.importorskip("torch")
    onnxruntime = pytest.importorskip("onnxruntime")
    _done(command, "default", "--tensors", "float")
    session = onnxruntime.InferenceSession(str(tmp_path / f"{DEFAULT}-float.onnx"), providers=["CPUExecutionProvider"])
    image = (NOISE.transpose(2, 0, 1)[None] / 255).astype(np.float32)
    result = session.run(None, {"rgb": image})[0][0].transpose(1, 2, 0)
    assert np.abs(quantize(result).astype(int) - exact).max() <= 1


def test_a_bare_file_is_the_models(command: Command, tmp_path: Path) -> None:
    _done(command, "default", "bare.onnx")
    assert (tmp_path / "bare.onnx").read_bytes() == find("default").network.read_bytes()


def test_a_generator_runs_at_any_size(command: Command, tmp_path: Path, generator: Path) -> None:
    pytest.importorskip("onnxruntime")
    _done(command, generator, "teacher")
    model = find(tmp_path / "teacher")
    assert model.card is not None
    assert model.card.method == "StainGAN generator (ResNet, 2 blocks)"
    with ss.load(tmp_path / "teacher") as normalize:
        assert normalize(NOISE).shape == NOISE.shape
        assert normalize(NOISE[:8, :8]).std() > 0
    _done(command, "teacher", "again.pth")
    torch = pytest.importorskip("torch")
    first, again = (torch.load(tmp_path / name, weights_only=True) for name in ("latest_net_G_A.pth", "again.pth"))
    assert first.keys() == again.keys()
    assert all(torch.equal(again[key], value) for key, value in first.items())


def test_a_generator_has_no_table(command: Command, generator: Path) -> None:
    for form in ("lut", "cube"):
        done = command("export", generator, "--to", form)
        assert done.returncode == 2
        assert "looks at neighbors" in done.stderr
        assert "--to onnx" in done.stderr


def test_tables_need_no_torch(command: Command, tmp_path: Path) -> None:
    """A folder that shadows torch stands for an installation that lacks it."""
    (tmp_path / "shadow").mkdir()
    (tmp_path / "shadow" / "torch.py").write_text("raise ModuleNotFoundError('No module named torch', name='torch')")
    path = os.pathsep.join([str(tmp_path / "shadow"), os.environ.get("PYTHONPATH", "")])
    assert command("export", "default", "a.cube", "--size", "2", PYTHONPATH=path).returncode == 0
    assert command("export", "default", "copy", PYTHONPATH=path).returncode == 0
    done = command("export", "default", "a.pth", PYTHONPATH=path)
    assert done.returncode == 2
    assert "pip install 'stainstream[train]'" in done.stderr


def test_the_float_graph_names_its_ends(command: Command, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    _done(command, "default", "f.onnx", "--tensors", "float")
    graph = onnx.load(tmp_path / "f.onnx").graph
    dims = [dim.dim_param or dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim]
    assert (graph.input[0].name, dims) == ("rgb", ["N", 3, "H", "W"])


def test_a_plan_is_built_without_a_gpu_and_kept_or_given_away(command: Command, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx_bindings")
    cache = str(tmp_path / "cache")
    kept = command("export", DEFAULT, "--to", "tensorrt", "--largest", "64x64", STAINSTREAM_CACHE=cache)
    assert kept.returncode == 0, kept.stderr
    (plan,) = (tmp_path / "cache" / "plans").iterdir()
    assert plan.name in kept.stdout
    assert "--engine 'net_tensorrt?precision=fp32&batch=2&width=64&height=64'" in kept.stdout
    given = command("export", DEFAULT, "out", "--to", "tensorrt", "--largest", "64x64", "--precision", "fp16")
    assert given.returncode == 0, given.stderr
    assert "--trust-plan" in given.stdout
    (away,) = (tmp_path / "out").iterdir()
    assert away.name.startswith(f"{DEFAULT}_fp16_")


def test_int8_is_for_what_is_no_table(command: Command) -> None:
    pytest.importorskip("tensorrt_rtx_bindings")
    done = command("export", DEFAULT, "--to", "tensorrt", "--precision", "int8")
    assert done.returncode == 2
    assert f"not making an int8 plan of '{DEFAULT}': it is exactly a table" in done.stderr

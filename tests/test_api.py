"""Names and addresses in, live objects out."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import stainstream as ss
from stainstream import engines
from stainstream.api import artifact
from stainstream.color.lut import Colors, Lut, Rounding, bake
from stainstream.engines.lut_numba import LutNumba
from stainstream.engines.lut_numpy import LutNumpy
from stainstream.engines.net_onnx import NetOnnx
from stainstream.errors import EngineError, MissingExtra, ModelError, StainstreamError, UsageError
from stainstream.frame import RGB8
from stainstream.model import Network, find, write
from stainstream.sinks.null import Null
from stainstream.sources.demo import Demo
from tests.graphs import blur, card, negative

IMAGE: RGB8 = np.random.default_rng(0).integers(0, 256, (20, 31, 3), np.uint8)


@pytest.fixture(scope="module")
def negative_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that makes negatives; its table is baked once for this module."""
    return negative().save(tmp_path_factory.mktemp("models") / "negative.onnx")


@pytest.fixture
def blur_file(tmp_path: Path) -> Path:
    return blur().save(tmp_path / "blur.onnx")


@pytest.fixture(scope="module")
def normalize(negative_file: Path) -> Iterator[ss.Normalizer]:
    with ss.load(negative_file) as loaded:
        yield loaded


def _folder(path: Path, rounding: Rounding = "nearest") -> Path:
    return write(path, negative().model().SerializeToString(), card(rounding=rounding)).path


def test_a_model_is_called_like_a_function(normalize: ss.Normalizer) -> None:
    np.testing.assert_array_equal(normalize(IMAGE), 255 - IMAGE)
    np.testing.assert_array_equal(normalize(IMAGE[None, :, ::-1]), 255 - IMAGE[None, :, ::-1])
    out = IMAGE.copy()
    assert normalize(out, out) is out
    assert normalize(out, out=out) is out
    np.testing.assert_array_equal(out, IMAGE)


def test_it_says_what_it_is_and_where_it_runs(normalize: ss.Normalizer, negative_file: Path) -> None:
    assert normalize.model is not None
    assert (normalize.model.path, normalize.model.card) == (negative_file, None)
    assert isinstance(normalize.artifact, Lut)
    assert normalize.artifact.name == "negative"
    assert normalize.meta == {
        "model": {"name": "negative", "sha256": normalize.model.digest, "engine": type(normalize.engine).__name__}
    }


def test_the_default_is_loaded_by_default() -> None:
    with ss.load() as normalize, ss.load("default", engine="lut_numpy") as reference:
        assert normalize.model is not None
        assert normalize.model.path == find("default").path
        np.testing.assert_array_equal(normalize(IMAGE), reference(IMAGE))


def test_the_first_engine_that_works_is_taken_and_named(normalize: ss.Normalizer) -> None:
    assert isinstance(normalize.engine, LutNumba)
    assert normalize.choice.startswith("lut_numba (")


@pytest.mark.parametrize(("name", "kind"), [("lut_numba", LutNumba), ("lut_numpy", LutNumpy)])
def test_an_engine_is_taken_by_its_name(negative_file: Path, name: str, kind: type[engines.Engine]) -> None:
    with ss.load(negative_file, engine=name, threads=1) as normalize:
        assert isinstance(normalize.engine, kind)
        assert normalize.engine.threads == 1
        assert normalize.choice == f"{name} ({normalize.engine.detail})"


def test_an_unknown_engine_is_told_the_known_ones(negative_file: Path) -> None:
    with pytest.raises(UsageError, match="unknown engine 'lut_abacus': known are lut_cuda, lut_numba, lut_numpy"):
        ss.load(negative_file, engine="lut_abacus")


def test_what_is_not_pixelwise_runs_as_a_network(blur_file: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(blur_file), providers=["CPUExecutionProvider"])
    with ss.load(blur_file) as normalize:
        assert isinstance(normalize.artifact, Network)
        assert isinstance(normalize.engine, NetOnnx)
        np.testing.assert_array_equal(normalize(IMAGE), session.run(None, {"rgb": IMAGE[None]})[0][0])
        assert "; not engine LutNumba cannot run 'blur': it is not pixelwise" in normalize.choice
        assert normalize.meta["model"]["sha256"] == find(blur_file).digest


@pytest.mark.parametrize("name", ["lut_numba", "lut_numpy"])
def test_what_is_not_pixelwise_is_refused_by_a_table_engine_with_the_reason(blur_file: Path, name: str) -> None:
    with pytest.raises(EngineError, match="cannot run 'blur': it is not pixelwise, so it has no table"):
        ss.load(blur_file, engine=name)


def test_a_network_engine_runs_the_network_also_where_a_table_could_stand_for_it(negative_file: Path) -> None:
    pytest.importorskip("onnxruntime")
    image = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    with ss.load(negative_file, engine="net_onnx") as network, ss.load(negative_file) as table:
        assert "net_onnx" in network.choice
        assert np.array_equal(network(image), table(image))


def test_why_something_runs_as_a_network_is_logged(blur_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "stainstream"):
        assert isinstance(artifact(find(blur_file)), Network)
    assert "blur runs as a network: cannot bake a convolution: its kernel of shape (3, 3, 3, 3)" in caplog.text


NO_RUNTIME = """
import sys
sys.modules["onnxruntime"] = None
import stainstream as ss
try:
    ss.load(sys.argv[1], engine=sys.argv[2])
except ss.StainstreamError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(("engine", "error"), [("auto", EngineError), ("net_onnx", MissingExtra)])
def test_without_onnx_runtime_the_command_that_brings_it_is_named(
    blur_file: Path, engine: str, error: type[StainstreamError]
) -> None:
    command = [sys.executable, "-c", NO_RUNTIME, str(blur_file), engine]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(error.__name__)
    assert "pip install 'stainstream[onnx]'" in done.stdout
    if engine == "auto":
        assert "no engine can run 'blur': engine LutNumba cannot run 'blur'" in done.stdout


class Swap:
    """A fitted method: a normalizer that is no model."""

    name = "swap"

    def __call__(self, rgb: Colors) -> Colors:
        return rgb[..., ::-1]


def test_a_method_is_baked_and_loaded() -> None:
    with ss.load(Swap()) as normalize:
        np.testing.assert_array_equal(normalize(IMAGE), IMAGE[..., ::-1])
        assert normalize.model is None
        assert isinstance(normalize.artifact, Lut)
        assert normalize.meta["model"]["name"] == "swap"
        assert normalize.meta["model"]["sha256"] == normalize.artifact.digest == bake(Swap(), "again").digest


def test_a_closed_model_is_closed_and_opens_again(negative_file: Path) -> None:
    normalize = ss.load(negative_file, threads=1)
    for _ in range(2):
        np.testing.assert_array_equal(normalize(IMAGE), 255 - IMAGE)
        normalize.close()
        normalize.close()
        with pytest.raises(EngineError, match="is closed"):
            normalize(IMAGE)
        normalize.open()
    normalize.close()


def test_a_model_folder_is_loaded_with_its_card(tmp_path: Path) -> None:
    with ss.load(_folder(tmp_path / "toy"), engine="lut_numpy") as normalize:
        np.testing.assert_array_equal(normalize(IMAGE), 255 - IMAGE)
        assert normalize.model is not None
        assert normalize.model.card is not None
        assert normalize.artifact.name == normalize.model.card.name == "toy"


def test_a_card_that_rounds_otherwise_than_its_graph_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAINSTREAM_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ModelError, match="refusing model 'toy': its card says truncate, its graph nearest"):
        ss.load(_folder(tmp_path / "toy", rounding="truncate"))


def test_a_damaged_model_is_refused_though_its_table_is_kept(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "toy")
    ss.load(folder, engine="lut_numpy").close()
    network = bytearray((folder / "model.onnx").read_bytes())
    network[len(network) // 2] ^= 1
    (folder / "model.onnx").write_bytes(network)
    with pytest.raises(ModelError, match="refusing model 'toy'"):
        ss.load(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"not ONNX", "cannot (read|use)"), (b"", "is not one uint8 tensor")],
)
def test_a_file_that_is_no_network_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message):
        ss.load(path)


def test_a_network_of_floats_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = negative().save(tmp_path / "a.onnx", kind=1)
    with pytest.raises(ModelError, match=r"uint8 tensor .* run: stainstream export"):
        ss.load(path)


@pytest.mark.parametrize("name", ["nothing", "none.onnx"])
def test_an_unknown_model_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match=name):
        ss.load(name)


def test_a_source_is_made_of_its_address() -> None:
    source = ss.open_source("demo?size=64x48&rate=5")
    assert isinstance(source, Demo)
    assert (source.target, source.is_open) == ("demo", False)
    assert source.options == Demo.Options(size="64x48", rate=5)
    with source:
        frame = next(iter(source))
    assert (frame.width, frame.height) == (64, 48)


def test_a_sink_is_made_of_its_address() -> None:
    sink = ss.open_sink("null")
    assert isinstance(sink, Null)
    assert sink.target == "null"


def test_defaults_count_where_the_address_says_nothing_and_the_plug_in_knows_them() -> None:
    defaults = {"size": "32x32", "rate": "7", "unheard_of": "1"}
    assert ss.open_source("demo?size=64x48", defaults).options == Demo.Options(size="64x48", rate=7)
    assert ss.open_sink("null", defaults).options == Null.Options()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("demo?sise=64x48", r"wrong settings in source 'demo\?sise=64x48': .*`sise`.*known keys: .*size"),
        ("demo?rate=fast", "rate"),
        ("demo?rate=1&rate=2", "'rate' stands twice"),
        ("gopher://host", "unknown source 'gopher://host'.*demo"),
    ],
)
def test_a_wrong_address_is_refused(address: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ss.open_source(address)


def test_a_wrong_option_of_a_url_shows_no_password() -> None:
    with pytest.raises(UsageError) as caught:
        ss.open_source("rtsp://me:secret@host/live?token=hidden")
    assert "secret" not in str(caught.value)
    assert "hidden" not in str(caught.value)

"""The package as a whole: what it offers, and what loading it costs."""

from __future__ import annotations

import ast
import importlib
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import stainstream

PACKAGE = Path(stainstream.__file__).parent
MODULES = [name for _, name, _ in pkgutil.walk_packages([str(PACKAGE)], "stainstream.") if "__main__" not in name]
PROGRAMS = ("stainstream.cli", "stainstream.benchmark")  # run, not imported


def _python(code: str, cache: Path | None = None) -> Any:
    """What `code`, run by a fresh interpreter, prints as JSON."""
    environment = os.environ | ({"STAINSTREAM_CACHE": str(cache)} if cache else {})
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


LOADED = """
import json, sys
before = set(sys.modules)
{code}
names = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(json.dumps(sorted(names - sys.stdlib_module_names)))
"""


@pytest.mark.parametrize(
    "code",
    [
        "import stainstream",
        "import stainstream; stainstream.Frame, stainstream.PixelFormat, stainstream.RGB8",
        "import stainstream; stainstream.StainstreamError, stainstream.__version__, dir(stainstream)",
        "import stainstream; stainstream.Lut, stainstream.bake",
    ],
)
def test_importing_it_loads_nothing_but_numpy(code: str) -> None:
    assert set(_python(LOADED.format(code=code))) <= {"numpy", "stainstream"}


@pytest.mark.parametrize("family", ["engines", "sources", "sinks", "wire"])
def test_a_familys_table_loads_no_plug_in(family: str) -> None:
    code = f"from stainstream.{family} import TABLE; [(row.name, row.missing) for row in TABLE]"
    assert not {"cv2", "numba", "onnx", "onnxruntime", "torch", "zmq"} & set(_python(LOADED.format(code=code)))


@pytest.mark.parametrize("name", MODULES)
def test_what_a_module_offers_is_there(name: str) -> None:
    offered = getattr(_module(name), "__all__", [])
    assert len(set(offered)) == len(offered)
    for each in offered:
        assert getattr(_module(name), each) is not None, each


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith(PROGRAMS)])
def test_what_a_module_defines_is_offered_or_private(name: str) -> None:
    public = {each for each, value in vars(_module(name)).items() if _defined_by(name, each, value)}
    assert public <= set(getattr(_module(name), "__all__", []))


def _module(name: str) -> ModuleType:
    if name.startswith(("stainstream.torch", "stainstream.training")):
        pytest.importorskip("torch")
    return importlib.import_module(name)


def _defined_by(module: str, name: str, value: object) -> bool:
    """Whether it is a public class or function of this very module."""
    return not name.startswith("_") and callable(value) and getattr(value, "__module__", None) == module


def test_the_packages_own_names_are_listed_once_and_load() -> None:
    assert sorted(stainstream.__all__) == dir(stainstream)
    homes = [name for names in stainstream._HOMES.values() for name in names]
    assert sorted(homes) == sorted(stainstream.__all__)
    for name in stainstream.__all__:
        assert getattr(stainstream, name) is not None
    with pytest.raises(AttributeError, match="module 'stainstream' has no attribute 'nothing'"):
        _ = stainstream.nothing


def _imports(path: Path) -> set[str]:
    """Top-level packages that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_torch_is_imported_where_it_is_at_home_and_nowhere_else() -> None:
    users = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if "torch" in _imports(path)}
    # The benchmark measures torch as a competitor.
    benchmarks = ("benchmark/peers.py", "benchmark/gpu_measures.py", "benchmark/classic.py")
    homes = ("torch.py", "training/", "engines/net_torch.py", *benchmarks)
    assert "training/networks.py" in users
    assert not [path for path in users if not path.startswith(homes)]


def test_onnx_runtime_is_imported_where_it_is_at_home_and_nowhere_else() -> None:
    users = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if "onnxruntime" in _imports(path)}
    assert users <= {"engines/net_onnx.py", "engines/precision.py", "benchmark/peers.py", "training/runner.py"}


FLOW = """
import json, sys
for name in {blocked}:
    sys.modules[name] = None  # importing it fails, as where it is not installed
import numpy as np
import stainstream as ss
normalize = ss.load("default")
rgb = np.arange(3 * 64 * 48, dtype=np.uint8).reshape(48, 64, 3)
out = normalize(rgb)
assert out.shape == rgb.shape and out.dtype == np.uint8 and (out != rgb).any()
heavy = [name for name in ("onnx", "onnxruntime", "torch", "cv2", "zmq") if sys.modules.get(name)]
status = "/proc/self/status"
peak = 0
if sys.platform == "linux":
    lines = dict(line.split(":", 1) for line in open(status))
    peak = int(lines["VmHWM"].split()[0]) / 1024
print(json.dumps({{"out": out.tobytes().hex(), "heavy": heavy, "peak": peak}}))
"""


def test_the_default_needs_neither_torch_nor_onnx_runtime_and_is_baked_once(tmp_path: Path) -> None:
    cold = _python(FLOW.format(blocked=("torch", "onnxruntime")), tmp_path)
    assert cold["heavy"] == ["onnx"]
    assert len(list(tmp_path.rglob("*.lut"))) == 1
    warm = _python(FLOW.format(blocked=("torch", "onnxruntime", "onnx")), tmp_path)
    assert warm["heavy"] == []
    assert warm["out"] == cold["out"]
    assert warm["peak"] <= cold["peak"] < 600  # MB


def test_with_a_kept_table_nothing_heavy_is_imported_even_where_it_is_installed(tmp_path: Path) -> None:
    _python(FLOW.format(blocked=()), tmp_path)
    assert _python(FLOW.format(blocked=()), tmp_path)["heavy"] == []


def test_the_version_is_the_distributions() -> None:
    from importlib.metadata import version

    assert version("stainstream") == stainstream.__version__

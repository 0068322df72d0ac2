"""A GPU that is none: our kernels' own text, and a stand-in for NVIDIA's driver library, built for the host."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import stainstream

__all__ = ["build", "environment"]

_KERNELS = Path(stainstream.__file__).parent / "engines" / "lut_rgb8.cu"
_FLAGS = ["-std=c++17", "-O2", "-march=native", "-fPIC", "-shared", "-fvisibility=hidden"]
_FLAGS += ["-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter"]
# An address that the GPU would not take ends the process here, too.
_FLAGS += ["-fsanitize=alignment", "-fsanitize-undefined-trap-on-error"]


def build(source: str, target: Path, *flags: str) -> Path:
    """Compile one of the folder's files into a shared library; skips the test where that cannot be done."""
    compiler = os.environ.get("CXX") or shutil.which("g++")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("needs Linux and a C++ compiler (g++, or CXX)")
    file = Path(__file__).with_name(source)
    done = subprocess.run(
        [compiler, *_FLAGS, *flags, f'-DKERNELS="{_KERNELS}"', str(file), "-o", str(target)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return target


def environment(folder: Path) -> dict[str, str]:
    """The environment of a process that finds the simulated driver in `folder`."""
    build("driver.cpp", folder / "libcuda.so.1", "-Wl,-soname,libcuda.so.1")
    path = os.pathsep.join([str(folder), os.environ.get("LD_LIBRARY_PATH", "")]).rstrip(os.pathsep)
    return {**os.environ, "LD_LIBRARY_PATH": path}

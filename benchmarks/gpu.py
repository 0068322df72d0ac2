"""All figures of a GPU in one file: python benchmarks/gpu.py FILE.json [--generator FILE.onnx] [--seconds N].

Where there is no GPU, or a runtime is missing, the row says "not measured". Without --generator a generator of the
paper's size with random weights is measured, which takes as long as a trained one; that needs the extra: train.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from stainstream.benchmark.gpu import device, gpu_rows
from stainstream.benchmark.gpu_row import PAPER_GENERATOR_FPS
from stainstream.benchmark.rows import PAPER, machine


def main() -> None:
    """Measure, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("--generator", type=Path)
    parser.add_argument("--seconds", type=float, default=2.0)
    given = parser.parse_args()
    with TemporaryDirectory() as place:
        generator = given.generator or _random_generator(Path(place) / "generator.onnx")
        rows = []
        for row in gpu_rows(given.model, given.seconds, generator):
            rows.append(row)
            figure = f"{row.fps:,.0f} frames/s" if row.fps else f"{row.status}: {row.reason}"
            print(f"{row.bench:8}{row.engine:30}{row.network:20}{row.batch:>4}  {row.input:8}{figure}", flush=True)
    about = {"machine": {**machine(), "gpu": device()}, "paper": PAPER, "paper_generator_fps": PAPER_GENERATOR_FPS}
    given.file.write_bytes(msgspec.json.format(msgspec.json.encode({**about, "rows": rows})) + b"\n")


def _random_generator(path: Path) -> Path | None:
    try:
        import torch

        from stainstream.training.graph import graph_of
        from stainstream.training.networks import ResnetGenerator
    except ImportError:
        return None
    torch.manual_seed(0)
    path.write_bytes(graph_of(ResnetGenerator().eval(), "nearest").SerializeToString())
    return path


if __name__ == "__main__":
    main()

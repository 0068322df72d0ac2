"""``stainstream export``: a model as a model folder, ONNX, a table, a ``.cube`` file, or weights."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from stainstream.origin import Origin

__all__ = ["Form", "Precision", "Rounding", "Tensors", "export"]

_UNKNOWN = "the model's, or not stated"


class Form(StrEnum):
    """What to make of a model."""

    onnx = "onnx"
    lut = "lut"
    cube = "cube"
    torch = "torch"
    tensorrt = "tensorrt"


_SUFFIXES = {Form.lut: ".npy", Form.cube: ".cube", Form.torch: ".pth"}


class Rounding(StrEnum):
    """How levels become integers."""

    nearest = "nearest"
    truncate = "truncate"


class Precision(StrEnum):
    """What a TensorRT plan computes in."""

    fp32 = "fp32"
    fp16 = "fp16"
    int8 = "int8"


class Tensors(StrEnum):
    """What an ONNX file takes and gives."""

    uint8 = "uint8"
    float = "float"


def export(
    model: Annotated[
        str,
        typer.Argument(
            help="A model's name, a model folder, an .onnx, a calibration's .toml or a .cube file; or a checkpoint of "
            "a StainNet (the authors' .pth files) or of a StainGAN's generator."
        ),
    ],
    out: Annotated[
        Path | None, typer.Argument(help="The file or model folder to write.", show_default="the model's name")
    ] = None,
    to: Annotated[
        Form | None,
        typer.Option(
            help="onnx: a model folder, or one .onnx file if OUT ends so. lut: the exact table (.npy). cube: for OBS, "
            "ffmpeg and video tools. torch: weights (.pth). tensorrt: a plan for this GPU, kept for --engine "
            "net_tensorrt, or put into the folder OUT.",
            show_default="what OUT ends with, else onnx",
        ),
    ] = None,
    size: Annotated[int, typer.Option(min=2, max=256, help="Points a side of a .cube; 33 and 65 are usual.")] = 33,
    tensors: Annotated[
        Tensors,
        typer.Option(
            help="Of ONNX: uint8 RGB (N, H, W, 3), which stainstream runs; or float RGB (N, 3, H, W) in [0, 1], for "
            "other programs, as one .onnx file."
        ),
    ] = Tensors.uint8,
    rounding: Annotated[
        Rounding | None,
        typer.Option(
            help="Of a checkpoint; truncate reproduces the authors' code byte for byte.", show_default="truncate"
        ),
    ] = None,
    precision: Annotated[
        Precision,
        typer.Option(help="Of a TensorRT plan. int8 is for StainGAN generators; measure it before you use it."),
    ] = Precision.fp32,
    tiles: Annotated[
        Path | None, typer.Option(help="Images to calibrate int8 with.", show_default="the bundled tissue")
    ] = None,
    largest: Annotated[str, typer.Option(help="Largest image that a TensorRT plan takes.")] = "1920x1088",
    batch: Annotated[int, typer.Option(min=1, max=64, help="Most images that a TensorRT plan takes at a time.")] = 2,
    name: Annotated[str, typer.Option(help="The model's name.", show_default="OUT's")] = "",
    stain: Annotated[str, typer.Option(help="For the card: H&E, Pap ...", show_default=_UNKNOWN)] = "",
    source: Annotated[str, typer.Option(help="For the card: what it normalizes.", show_default=_UNKNOWN)] = "",
    target: Annotated[
        str, typer.Option(help="For the card: what it makes things look like.", show_default=_UNKNOWN)
    ] = "",
    license: Annotated[
        str, typer.Option("--license", help="For the card: the weights' licence.", show_default=_UNKNOWN)
    ] = "",
) -> None:
    """Write a model in another form: to run it without torch, in video tools, or in one's own code.

    What is written is first compared with the model: a network with torch, within one level; a .cube, which can only
    come near it, with the exact table, and how far it is off is printed.
    """
    from stainstream.origin import origin as find

    origin = find(model, rounding.value if rounding else None)
    form = to or next((form for form, suffix in _SUFFIXES.items() if out and out.suffix == suffix), Form.onnx)
    if form is Form.onnx:
        known = {"name": name, "stain": stain, "source": source, "target": target, "license": license}
        _onnx(origin, out, tensors, {key: value for key, value in known.items() if value})
        return
    if form is Form.tensorrt:
        _plan(origin, out, precision, tiles, largest, batch)
        return
    suffix = _SUFFIXES[form]
    file = out or Path(origin.name)
    file = file if file.suffix.lower() == suffix else file.with_name(file.name + suffix)
    if form is Form.torch:
        _torch(origin, file)
    else:
        _table(origin, file, size if form is Form.cube else None)


def _onnx(origin: Origin, out: Path | None, tensors: Tensors, known: dict[str, str]) -> None:
    from stainstream.exchange import save

    if tensors is Tensors.float or (out and out.suffix.lower() == ".onnx"):
        file = out or Path(f"{origin.name}-float.onnx")
        file = file if file.suffix.lower() == ".onnx" else file.with_name(f"{file.name}.onnx")
        save(origin.onnx(tensors.value), file)
        typer.echo(f"wrote {file} ({tensors.value} RGB in and out)")
        return
    import msgspec

    from stainstream.model import write

    folder = out or Path(origin.name)
    card = origin.card()
    card = msgspec.structs.replace(
        card,
        **{"name": folder.resolve().name, **known},
        default=False,
        command=card.command or f"stainstream export {origin.file} {folder.name} --rounding {card.rounding}",
    )
    model = write(folder, origin.onnx(), card)
    typer.echo(f"wrote {model.path} ({model.digest[:12]}); run: stainstream run --model {folder}")


def _table(origin: Origin, file: Path, size: int | None) -> None:
    from stainstream.exchange import save_cube, save_table

    table = origin.pixelwise()
    if size is None:
        save_table(table, file)
        typer.echo(f"wrote {file}, exact; in Python: numpy.load({file.name!r})[r, g, b]")
        return
    off = save_cube(table, file, size)
    typer.echo(f"wrote {file}; interpolated, it is off by {off}")
    typer.echo(f"run: ffmpeg -i IN -vf lut3d={file}:interp=trilinear OUT")


def _torch(origin: Origin, file: Path) -> None:
    from stainstream.exchange import save

    network = origin.network()
    from stainstream.training.export import weights_of  # after the line that says where torch is missing

    save(weights_of(network), file)
    typer.echo(f"wrote {file}: weights of {type(network).__name__}, for load_state_dict")


def _plan(origin: Origin, out: Path | None, precision: Precision, tiles: Path | None, largest: str, batch: int) -> None:
    from stainstream.plans import export_plan

    path, engine = export_plan(origin.onnx(), origin.name, precision.value, out, tiles, largest, batch)
    typer.echo(f"wrote {path}")
    beside = "" if out is None else " --trust-plan"
    typer.echo(f"run: stainstream run --model {origin.file} --engine '{engine}'{beside}")

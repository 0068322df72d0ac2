"""Entry point: commands, errors, exit codes."""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer

from stainstream import __version__
from stainstream.errors import StainstreamError

from . import bench, doctor, export, models, normalize, replay, run, sources

__all__ = ["app", "main"]

app = typer.Typer(
    help="Real-time stain normalization for microscopes and slide scanners.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (run, normalize, replay, bench, models, sources, doctor, export):
    app.command()(getattr(command, command.__name__.rpartition(".")[2]))


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def common(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and what happens inside.")] = False,
) -> None:
    """Real-time stain normalization for microscopes and slide scanners."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.DEBUG if debug else logging.INFO, format="stainstream: %(message)s"
    )
    for noisy in ("numba", "matplotlib", "PIL"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def main() -> None:
    """Run the command line; errors that were foreseen end in one line and exit code 2."""
    # --debug may stand anywhere: who adds it does so to a line that has just failed.
    debug = "--debug" in sys.argv
    if debug:
        sys.argv = [sys.argv[0], "--debug", *(each for each in sys.argv[1:] if each != "--debug")]
    try:
        app()
    except StainstreamError as error:
        if debug:
            raise
        sys.stderr.write(f"stainstream: error: {error}\n")
        sys.exit(2)

"""Entry point: commands, errors, exit codes."""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer

from stainstream import __version__
from stainstream.errors import StainstreamError

from . import archive, bench, calibrate, doctor, evaluate, export, keys, logs, models, normalize, replay, run, sources
from .train import train

__all__ = ["app", "main"]

app = typer.Typer(
    help="Real-time stain normalization for microscopes and slide scanners.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (run, normalize, archive, replay, calibrate, bench, models, sources, doctor, evaluate, export):
    app.command()(getattr(command, command.__name__.rpartition(".")[2]))
app.add_typer(keys.keys, name="keys")
app.add_typer(train, name="train")


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
    logs.set_up(debug=debug)


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
        logging.getLogger(__name__).error("error: %s", error)
        sys.exit(2)

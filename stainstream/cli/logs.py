"""What goes to the log: lines for people, or an object of JSON each; passwords never."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import msgspec

from stainstream.config import clean

__all__ = ["set_up"]

_NOISY = ("numba", "matplotlib", "PIL")


def set_up(*, debug: bool = False, json: bool = False, stream: str = "") -> None:
    """Send what is logged to stderr.

    Parameters
    ----------
    json
        One object a line: ``time``, ``level``, ``logger``, ``message``, ``stream`` and what else is known.
    stream
        Which of several streams this process is.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json(stream) if json else _Text(stream))
    logging.basicConfig(level=logging.DEBUG if debug else logging.INFO, handlers=[handler], force=True)
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if json:
        logging.captureWarnings(True)
        sys.excepthook = _log_crash


class _Text(logging.Formatter):
    def __init__(self, stream: str) -> None:
        super().__init__(f"stainstream{f'[{stream}]' if stream else ''}: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return clean(super().format(record)) + getattr(record, "secret", "")  # said once, to whoever started us


class _Json(logging.Formatter):
    def __init__(self, stream: str) -> None:
        super().__init__()
        self._stream = {"stream": stream} if stream else {}

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            **self._stream,
            "message": clean(record.getMessage()),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["traceback"] = clean(self.formatException(record.exc_info))
        return msgspec.json.encode(line, enc_hook=str).decode()


def _log_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Log what nobody foresaw, too, as one line."""
    logging.getLogger("stainstream").critical("crashed: %s", error, exc_info=(kind, error, trace))

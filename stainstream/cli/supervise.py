"""Several streams of one configuration, and a look at one before it runs."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping

from stainstream.config import redacted
from stainstream.notify import Notifier
from stainstream.streams import RunSettings

from .status import stopping_on_signals

__all__ = ["check", "supervise"]

_log = logging.getLogger(__name__)

_BEAT_EVERY_S = 0.5


def check(streams: Mapping[str, RunSettings]) -> list[str]:
    """Check all that can be checked before a device opens; what would run, in a line each.

    Raises
    ------
    StainstreamError
        For the first thing that is wrong.
    """
    from stainstream.live import Live

    found = []
    for name, settings in streams.items():
        live = Live(settings)
        live.check()
        where = f"{redacted(live.source.target)} -> {', '.join(live.sinks)}"
        found.append(
            f"{f'{name}: ' if name else ''}{where}; {live.policy}; {settings.normalizer or f'model {settings.model}'}"
        )
    return found


def supervise(streams: Mapping[str, RunSettings]) -> None:
    """Run each stream in a process of its own, started as this one was, until all have ended or Ctrl-C."""
    from stainstream.stream.supervisor import Supervisor

    for line in check(streams):
        _log.info("stream %s", line)
    started = [sys.executable, "-m", "stainstream", *sys.argv[1:]]
    supervisor = Supervisor({name: [*started, "--stream", name] for name in streams})
    notifier, said = Notifier(), 0.0

    def tick() -> None:
        nonlocal said
        if said == 0.0:
            notifier.ready()
        if time.monotonic() - said >= _BEAT_EVERY_S:
            said = time.monotonic()
            notifier.alive(", ".join(f"{name} {state}" for name, state in supervisor.states.items()))

    with stopping_on_signals(supervisor):
        supervisor.run(tick)
    notifier.stopping()
    _log.info("all streams have ended")

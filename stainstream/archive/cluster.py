"""Dask clusters that normalize archives."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

from distributed import Client, Future, LocalCluster, WorkerPlugin, as_completed, get_worker

from stainstream.api import Normalizer, load
from stainstream.errors import MissingExtra, UsageError
from stainstream.slides.pyramid import Band

from .job import Begun, Job
from .record import Record

__all__ = ["cluster", "work"]

_PLUGIN = "stainstream"
_WAIT_S = 60


@contextlib.contextmanager
def cluster(where: str, workers: int) -> Iterator[Client]:
    """Connect to a cluster, or start one that ends with the block.

    Parameters
    ----------
    where
        ``"local"``, a scheduler's address, ``"slurm"`` or ``"k8s"``; the latter two are set up by Dask's own
        configuration files (``jobqueue.slurm``, ``kubernetes``).
    workers
        How many to start; 0 for one a processor, and on SLURM and Kubernetes for one.

    Raises
    ------
    UsageError
        If there is no such cluster, or it does not answer.
    MissingExtra
        If what starts it is not installed.
    """
    if not logging.getLogger("stainstream").isEnabledFor(logging.DEBUG):
        logging.getLogger("distributed").setLevel(logging.ERROR)  # it tells every connection
    with contextlib.ExitStack() as stack:
        if "://" in where:
            try:
                yield stack.enter_context(Client(where, timeout=_WAIT_S))
            except (OSError, TimeoutError) as error:
                raise UsageError(f"cannot use cluster {where}", f"its scheduler does not answer: {error}") from error
            return
        started = stack.enter_context(_started(where, workers))
        yield stack.enter_context(Client(started))


def _started(where: str, workers: int) -> Any:
    match where:
        case "local":
            count = workers or os.cpu_count() or 1
            return LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address=":0")
        case "slurm":
            try:
                from dask_jobqueue import SLURMCluster
            except ImportError as error:
                raise MissingExtra("cannot use cluster slurm", "dask_jobqueue", "slurm") from error
            started = SLURMCluster(cores=1, processes=1)
        case "k8s":
            try:
                from dask_kubernetes.operator import KubeCluster
            except ImportError as error:
                raise MissingExtra("cannot use cluster k8s", "dask_kubernetes", "k8s") from error
            started = KubeCluster(name="stainstream")
        case _:
            raise UsageError(
                f"unknown cluster {where!r}", "it is local, slurm, k8s or a scheduler's address, as tcp://host:8786"
            )
    started.scale(workers or 1)
    return started


class _Table(WorkerPlugin):  # type: ignore[misc] # Dask has no types
    """Holds the model on a worker, once for all slides: its table is mapped from the cache."""

    name = _PLUGIN

    def __init__(self, model: str, engine: str) -> None:
        self._model, self._engine = model, engine
        self.normalize: Normalizer | None = None

    def setup(self, worker: Any) -> None:  # noqa: ARG002 - Dask prescribes it
        self.normalize = load(self._model, self._engine, 1)

    def teardown(self, worker: Any) -> None:  # noqa: ARG002 - Dask prescribes it
        if self.normalize is not None:
            self.normalize.close()


def work(
    client: Client,
    jobs: list[Job],
    model: str,
    engine: str,
    tell: Callable[[float], object] = lambda share: None,  # noqa: ARG005
) -> Iterator[Record]:
    """Do all jobs, one slide or band a task, and tell what became of each slide as it ends.

    A task whose worker dies is given to another, as often as Dask allows (``distributed.scheduler.allowed-failures``).

    Parameters
    ----------
    tell
        Called as slides or bands end, with what share of a slide that was.

    Raises
    ------
    ModelError, UsageError, EngineError
        If a worker cannot load the model.
    """
    if any(not job.per_slide for job in jobs):
        client.register_plugin(_Table(model, engine))
    slides = {client.submit(_begin, job, pure=False, key=f"{job.name}-{id(job):x}"): job for job in jobs}
    shares = dict.fromkeys(slides, 1.0)
    ended = as_completed(slides)
    for future in ended:
        share, job = shares.pop(future), slides.pop(future, None)
        if job is None:
            tell(share)  # a band: what it came to is its slide's affair
        elif (error := future.exception()) is not None:
            tell(share)
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            yield job.noted(Record(slide=job.name, status="failed", output=job.output, error=reason))
        elif isinstance(result := future.result(), Record):
            tell(share)
            yield result
        else:
            bands, joined = _submitted(client, job, result)
            slides[joined] = job
            shares |= dict.fromkeys([*bands, joined], share / (len(bands) + 1))
            ended.update([*bands, joined])
        future.release()  # or Dask would do it again if the worker that has the result died


def _submitted(client: Client, job: Job, begun: Begun) -> tuple[list[Future], Future]:
    """The tasks of a slide's bands, and the one that joins them; they come before slides that wait."""
    every, name = begun.bands.all, f"{job.name}-{id(job):x}"
    bands = [
        client.submit(_band, job, begun, band, pure=False, priority=1, key=f"{name}-{band.number + 1}of{len(every)}")
        for band in every
    ]
    return bands, client.submit(_join, job, begun, bands, pure=False, priority=1, key=f"{name}-joined")


def _begin(job: Job) -> Record | Begun:
    return job.begin(_model(job))


def _band(job: Job, begun: Begun, band: Band) -> Record:
    return job.band(begun, band, _model(job))


def _join(job: Job, begun: Begun, done: list[Record]) -> Record:
    return job.join(begun, done, _model(job))


def _model(job: Job) -> Normalizer | None:
    if job.per_slide:
        return None
    loaded: Normalizer | None = get_worker().plugins[_PLUGIN].normalize
    return loaded

"""Where tasks run: in this process, on a local Dask cluster as long as the run takes, or on somebody's scheduler."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import pickle
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
from typing import Any, TypeVar

from roofline.errors import InputError, line_of
from roofline.plugins import load_plugins, plugins

T = TypeVar("T")

#: a task whose workers died this often is given up: it kills them
DEATHS = 3
#: seconds after which a task is given up whose scheduler is gone; that it is gone shows at once where its process died,
#: and after half a minute where its machine or the network did
LOST_S = 5.0
GONE = "the scheduler does not answer any more"


class Serial(Executor):
    """Runs a task when it is submitted, in this process."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a task, and return its result as a future that is done."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class OnDask(Executor):
    """Runs tasks on a Dask cluster; each ends, with a `ConnectionError` where its scheduler is gone.

    The executor of a Dask client leaves a task pending for ever when the scheduler dies while its result is fetched.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a task on any worker, and return the future of its result; it cannot be cancelled."""
        if self._client.status == "closed":
            raise ConnectionError(GONE)
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        self._client.loop.add_callback(self._pass_on, self._client.submit(fn, *args, **kwargs), future)
        return future

    async def _pass_on(self, theirs: Any, ours: Future[Any]) -> None:
        asked = asyncio.ensure_future(theirs.result())
        while not (await asyncio.wait([asked], timeout=LOST_S))[0]:
            if self._client.status != "running":
                asked.cancel()
                break
        try:
            ours.set_result(await asked)
        except (asyncio.CancelledError, CancelledError):
            ours.set_exception(ConnectionError(GONE))
        except Exception as error:  # the task's own, or why its result could not be fetched
            fetching = isinstance(error, OSError) and theirs.status != "error"
            ours.set_exception(ConnectionError(GONE) if fetching else error)


@contextmanager
def executor(workers: int | None = None, scheduler: str | None = None) -> Iterator[tuple[Executor, int]]:
    """Yield an executor and how many tasks it runs at once.

    Parameters
    ----------
    workers
        Processes of the local cluster; as many as processors by default, 0 for none: in this process.
    scheduler
        Address of a Dask scheduler that runs already, ``tcp://host:port``.

    Raises
    ------
    InputError
        Dask is not installed, or nobody answers at the address.
    """
    if workers is not None and workers < 0:
        raise InputError(f"workers must be a whole number, not negative, got {workers}")
    if workers == 0 and scheduler is None:
        yield Serial(), 1
        return
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError:
        raise InputError(
            "workers need Dask: pip install 'roofline[dask]', or ask for none: workers=0, --workers 0"
        ) from None
    settings = {"distributed.scheduler.allowed-failures": DEATHS, "distributed.comm.timeouts.connect": "10s"}
    with dask.config.set(settings):
        if scheduler is not None:
            with _silent("distributed", "distributed.client"):
                client = _connected(Client, scheduler)
                try:
                    yield OnDask(client), max(1, sum(client.nthreads().values()))
                finally:
                    client.close(timeout=5)
            return
        count = workers or os.cpu_count() or 1
        quiet = {"dashboard_address": "127.0.0.1:0", "silence_logs": logging.CRITICAL}  # any port: several may run
        with ExitStack() as stack:
            with _uninterrupted():
                local = stack.enter_context(
                    LocalCluster(n_workers=count, threads_per_worker=1, processes=True, **quiet)  # type: ignore[no-untyped-call]
                )
                client = stack.enter_context(Client(local))  # type: ignore[no-untyped-call]
            yield OnDask(client), count


@contextmanager
def _silent(*names: str) -> Iterator[None]:
    """Keep what a library logs about its connection to itself: a lost one is told in a line."""
    before = [(logger, logger.level) for logger in map(logging.getLogger, names)]
    for logger, _ in before:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in before:
            logger.setLevel(level)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back until the block is done, and for good from processes that it starts: they end with this one.

    What is half started ends in dozens of lines otherwise.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # it would let the signal through when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _connected(client: Any, scheduler: str) -> Any:
    try:
        return client(scheduler, timeout="10s")
    except (OSError, TimeoutError, ValueError) as error:
        line = " ".join(str(error).split())[:160]
        raise InputError(f"no Dask scheduler answers at {scheduler!r}: {line}") from None


def submit(executor: Executor, fn: Callable[..., T], /, *args: Any) -> Future[T]:
    """Submit a task to any executor; a process that runs it loads the plugins of this one first."""
    if not plugins():
        return executor.submit(fn, *args)
    return executor.submit(_run, _Carried(fn, args))


class _Carried:
    """A task that brings its plugins along: they are loaded before what they define is unpickled."""

    def __init__(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.fn, self.args = fn, args

    def __reduce__(self) -> tuple[Any, ...]:
        try:  # Dask's own: it takes what a notebook defines along
            dumps = importlib.import_module("cloudpickle").dumps
        except ImportError:
            dumps = pickle.dumps
        return _unpacked, (plugins(), dumps((self.fn, self.args)))


def _unpacked(names: tuple[str, ...], content: bytes) -> _Carried:
    """Return a task; one whose plugins this process cannot load says so when it runs, and no process dies of it."""
    try:
        load_plugins(*names)
        return _Carried(*pickle.loads(content))
    except Exception as error:
        return _Carried(_refused, (f"a worker cannot take the task: {line_of(error)}",))


def _refused(why: str) -> Any:
    raise InputError(why)


def _run(task: _Carried) -> Any:
    return task.fn(*task.args)


def lost(error: BaseException) -> InputError:
    """Return what to tell somebody whose workers are gone."""
    line = " ".join(str(error).split())[:160]
    return InputError(f"the workers are gone ({type(error).__name__}: {line}): run it again to go on")

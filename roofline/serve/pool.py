"""The processes that work for the service: as many as are allowed, each ended when its request is given up."""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
from typing import Any

from roofline.plugins import plugins
from roofline.serve import worker
from roofline.serve.frames import Body, ask
from roofline.serve.limits import MIB, Limits

#: memory beyond tables that a process may keep after a request, and once nothing has been asked for a while
SPARE_BYTES, RESTING_BYTES = 192 * MIB, 24 * MIB
REST_S = 5.0


class Worker:
    """A process and the socket to it."""

    def __init__(self, context: Any, limits: Limits) -> None:
        self.link, theirs = socket.socketpair()
        self.link.setblocking(False)
        with theirs:
            self.process = context.Process(target=worker.run, args=(theirs, limits, plugins()), daemon=True)
            self.process.start()
        self.spare_bytes = 0

    def is_there(self) -> bool:
        """Return whether the process of an idle worker still listens."""
        try:
            return bool(self.link.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def end(self) -> None:
        """End the process, whatever it does."""
        self.process.kill()
        self.link.close()


class Pool:
    """Answers requests in processes, the first come first."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        methods = multiprocessing.get_all_start_methods()
        self._context: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        if "forkserver" in methods:  # what they import is imported once, so that an ended one is soon replaced
            self._context.set_forkserver_preload([worker.__name__])
        self._free = asyncio.Semaphore(limits.workers)
        self._idle: list[Worker] = []
        self._all: set[Worker] = set()
        self._rest: asyncio.TimerHandle | None = None
        self._ended = False

    async def warm(self) -> None:
        """Have a process ready, and what others are forked from."""
        self._idle.append(await self._start())

    async def answer(
        self, head: dict[str, Any], body: Body, *, limit_s: float | None = None
    ) -> tuple[dict[str, Any], memoryview]:
        """Return the head and the content of the answer; a process whose request is given up is ended.

        Raises
        ------
        EOFError
            The process has ended by itself, or all of them have been ended.
        OSError
            The system has no room for a process.
        TimeoutError
            It has worked for longer than `limit_s`.
        """
        async with self._free:
            found = self._ready() or await self._start()
            try:
                async with asyncio.timeout(limit_s):
                    answer = await ask(found.link, head, body)
            except BaseException:
                self._drop(found)
                raise
            found.spare_bytes += answer[0]["grown_bytes"]
            if found.spare_bytes > SPARE_BYTES:
                self._drop(found)
            else:
                self._idle.append(found)
            self._rest_later()
            return answer

    def _ready(self) -> Worker | None:
        """Return the process that worked last; one that the system has ended since is none."""
        while self._idle:
            found = self._idle.pop()
            if found.is_there():
                return found
            self._drop(found)
        return None

    async def _start(self) -> Worker:
        """Return a new process; should it come when nobody waits any more, it is idle."""
        if self._ended:
            raise EOFError
        starting = asyncio.ensure_future(asyncio.to_thread(Worker, self._context, self.limits))
        starting.add_done_callback(self._started)
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(lambda task: self._idle.append(task.result()) if _succeeded(task) else None)
            raise

    def _started(self, task: asyncio.Task[Worker]) -> None:
        if _succeeded(task):
            self._all.add(task.result())
            if self._ended:
                task.result().process.kill()

    def _drop(self, found: Worker) -> None:
        self._all.discard(found)
        found.end()

    def _rest_later(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
        self._rest = asyncio.get_running_loop().call_later(REST_S, self._give_back)

    def _give_back(self) -> None:
        """End idle processes that hold much: nothing has been asked for a while."""
        for found in [w for w in self._idle if w.spare_bytes > RESTING_BYTES]:
            self._idle.remove(found)
            self._drop(found)

    def end(self) -> None:
        """End all processes; requests under way fail."""
        self._ended = True
        if self._rest is not None:
            self._rest.cancel()
        for found in list(self._all):
            found.process.kill()  # who waits for it closes the socket
        for found in self._idle:
            self._drop(found)
        self._idle.clear()


def _succeeded(task: asyncio.Task[Worker]) -> bool:
    """Return whether there is a process; where the loop has ended before, it ends once its socket is closed."""
    return not task.cancelled() and task.exception() is None

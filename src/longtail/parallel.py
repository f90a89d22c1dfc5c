"""Work spread over threads or processes whose results come back in order, few at a time."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from typing import TypeVar

K = TypeVar("K")
T = TypeVar("T")
R = TypeVar("R")


def usable_cores() -> int:
    """Return how many processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_order(
    executor: Executor, work: Callable[[T], R], tasks: Iterable[tuple[K, T]], *, ahead: int
) -> Iterator[tuple[K, R]]:
    """Yield the key of each task with the result of `work` on it, in the order of `tasks`.

    At most `ahead` tasks are under way or done before they are asked for, so that memory is bounded
    by the size of the tasks and not by their number. Keys stay in this process.
    """
    pending: deque[tuple[K, Future[R]]] = deque()
    try:
        for key, task in tasks:
            if len(pending) == ahead:
                first, future = pending.popleft()
                yield first, future.result()
            pending.append((key, executor.submit(work, task)))
        while pending:
            first, future = pending.popleft()
            yield first, future.result()
    finally:
        for _, future in pending:
            future.cancel()


def process_pool(workers: int, *, preload: list[str]) -> ProcessPoolExecutor:
    """Return a pool of processes that have the modules `preload` loaded.

    They are forked from a small server, never from this process: its threads (of pyarrow, boto3,
    torch) may hold locks that a fork would leave locked for good.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(preload)
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent)


def _end_with_parent() -> None:
    """Leave Ctrl-C to the parent, and do not outlive it if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_after_parent, daemon=True).start()


def _exit_after_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

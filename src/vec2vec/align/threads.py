"""How the fitters share out the threads of torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import ParamSpec, Protocol, TypeVar

import torch
from threadpoolctl import threadpool_limits

P = ParamSpec("P")
T = TypeVar("T")


class Submit(Protocol):
    """Has a task done, with these arguments, once a thread is free for it."""

    def __call__(self, task: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]: ...


@contextmanager
def threads_for(tasks: int, device: torch.device, most: int | None = None) -> Iterator[Submit]:
    """Share the threads of torch out among so many tasks, which are begun in order; after it, they are as they were.

    Two tasks on a thread each take less time than one after the other on two threads: where the products are small,
    threads wait for one another longer than they work. An accelerator, and a single thread, do a task when it is given.

    Parameters
    ----------
    tasks : how many there can be at once
    device : of their tensors
    most : threads that are of use to a task; no more of BLAS or OpenMP, either, so that tasks may set such limits
    """
    threads = torch.get_num_threads()
    workers = min(tasks, threads) if device.type == "cpu" else 1
    if workers < 2:
        yield in_turn
        return
    share = min(threads // workers, most or threads)
    limited = nullcontext() if most is None else threadpool_limits(most)  # or that of one task ends with another's
    with limited, ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(share,)) as pool:
        try:
            yield pool.submit
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)


def in_turn(task: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
    """Do a task when it is given."""
    future: Future[T] = Future()
    future.set_result(task(*args, **kwargs))
    return future

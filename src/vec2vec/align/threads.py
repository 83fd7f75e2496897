"""How the fitters share out the threads of torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import cached_property, partial
from typing import Generic, ParamSpec, Protocol, TypeVar

import torch
from threadpoolctl import threadpool_limits

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Task(Protocol[T_co]):
    """What has been submitted; a `concurrent.futures.Future`, or `Deferred`."""

    def result(self) -> T_co:
        """What comes of it, once that is there."""


class Submit(Protocol):
    """Has a function called with these arguments."""

    def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Task[T]: ...


class Deferred(Generic[T]):
    """A task that is done, once, where its result is asked for."""

    def __init__(self, function: Callable[[], T]) -> None:
        self.function = function

    @cached_property
    def _done(self) -> T:
        return self.function()

    def result(self) -> T:
        """Do it, if that is not done."""
        return self._done


def in_turn(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Task[T]:
    """Have it called where its result is asked for."""
    return Deferred(partial(function, *args, **kwargs))


@contextmanager
def threads_for(tasks: int, device: torch.device, most: int | None = None) -> Iterator[Submit]:
    """Share the threads of torch out among so many tasks, which are begun in order; after it, they are as they were.

    Two tasks on a thread each take less time than one after the other on two threads: where the products are small,
    threads wait for one another longer than they work. A single task, a single thread, and an accelerator have nothing
    to share: what is yielded there is `in_turn`.

    Parameters
    ----------
    tasks : how many there can be at once
    device : of their tensors
    most : threads that are of use to a task, if they are shared; no more of BLAS or OpenMP, either, so that tasks may
        limit these themselves: BLAS has one limit for all threads, which the first of them to end would lift
    """
    threads = torch.get_num_threads()
    workers = min(tasks, threads) if device.type == "cpu" else 1
    if workers < 2:
        yield in_turn
        return
    share = min(threads // workers, most or threads)
    limited = nullcontext() if most is None else threadpool_limits(most)
    with limited, ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(share,)) as pool:
        try:
            yield pool.submit
        finally:
            try:
                pool.shutdown(cancel_futures=True)
            finally:
                torch.set_num_threads(threads)  # of threads to come: this one's has not changed

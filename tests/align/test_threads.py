"""Tasks that share the threads of torch."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from vec2vec.align.base import Progress
from vec2vec.align.halves import early_maps
from vec2vec.align.population import Population, given
from vec2vec.align.rounds import Reporter, Schedule, Side, extend, refine, transport
from vec2vec.align.schedules import SinkhornConfig
from vec2vec.align.search import Search
from vec2vec.align.threads import threads_for
from vec2vec.align.whitening import Axes, polar, unit

CPU = torch.device("cpu")
SCHEDULE = Schedule(3, 60, (0.25, 0.25), (0.0, 0.0), (1.0, 1.0), 4)


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_tasks_are_done_at_once_on_a_share_of_the_threads() -> None:
    torch.set_num_threads(4)
    met = threading.Barrier(2, timeout=60)

    def task(number: int) -> tuple[int, int]:
        met.wait()  # for the other one
        return number, torch.get_num_threads()

    with threads_for(2, CPU) as submit:
        assert [one.result() for one in [submit(task, number) for number in (1, 2)]] == [(1, 2), (2, 2)]
    with threads_for(2, CPU, 1) as submit:
        assert [one.result() for one in [submit(task, number) for number in (1, 2)]] == [(1, 1), (2, 1)]
    assert threads_of_a_new_thread() == 4


def threads_of_a_new_thread() -> int:
    """How many torch uses there: what a thread sets is for itself, and for those that come after it."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


def test_limits_that_tasks_set_at_once_end_with_them() -> None:
    torch.set_num_threads(2)
    met = threading.Barrier(2, timeout=60)

    def first() -> int:
        with threadpool_limits(1):
            met.wait()  # the second sets its limit within this one
            met.wait()
        met.wait()  # and is still at work when this one has ended
        return blas_threads()

    def second() -> int:
        met.wait()
        with threadpool_limits(1):
            met.wait()
            met.wait()
            return blas_threads()

    with threadpool_limits(2, user_api="blas"):  # whatever the tests are run with
        with threads_for(2, CPU, 1) as submit:
            assert [one.result() for one in (submit(first), submit(second))] == [1, 1]
        assert blas_threads() == 2


def blas_threads() -> int:
    """Of numpy's BLAS, whose limit is that of all threads."""
    return next(one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas")


@pytest.mark.parametrize(("threads", "tasks", "device"), [(1, 3, "cpu"), (3, 1, "cpu"), (3, 3, "cuda")])
def test_where_there_is_nothing_to_share_a_task_is_done_when_it_is_asked_for(
    threads: int, tasks: int, device: str
) -> None:
    torch.set_num_threads(threads)
    done: list[str] = []
    with threads_for(tasks, torch.device(device)) as submit:
        given = [submit(lambda: done.append(threading.current_thread().name)) for _ in range(tasks)]
        for number, task in enumerate(given):
            assert len(done) == number
            task.result()
            task.result()
    assert done == [threading.current_thread().name] * tasks


def test_a_task_that_fails_ends_the_others_and_leaves_the_threads_as_they_were() -> None:
    torch.set_num_threads(2)
    held, begun = threading.Event(), []

    def fail() -> None:
        raise ValueError("no such map")

    def last() -> None:
        begun.append(held.wait(60))

    def fit() -> None:
        with threads_for(2, CPU) as submit:
            failed, *_ = submit(fail), submit(held.wait, 60), submit(held.wait, 60), submit(last)
            threading.Timer(0.5, held.set).start()
            failed.result()

    with pytest.raises(ValueError, match="no such map"):
        fit()
    assert not begun
    assert threads_of_a_new_thread() == 2


def sides(rows: int = 300, width: int = 6) -> tuple[Side, Side]:
    """Two samples of one skewed distribution."""
    rng = np.random.default_rng(0)
    z = torch.from_numpy((rng.exponential(size=(2, rows, width)) * np.linspace(2, 1, width)).astype(np.float32))
    first, second = (Axes.fit(one, width) for one in z)
    return Side(unit(z[0] @ first.directions), first), Side(unit(z[1] @ second.directions), second)


def test_the_number_of_threads_does_not_change_what_is_found() -> None:
    x, y = sides()
    config = SinkhornConfig(early_rounds=4, early_rows=64, early_draws=5)
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        rng, report = np.random.default_rng(1), Reporter(None, 1.0)
        population = Population(x, y, rng)
        starts = (given(extend(torch.eye(2), population.shape, rng)) for _ in range(4))
        population.found += population.refined(starts, 4, SCHEDULE)
        children = list(population.children(6, SCHEDULE))
        assert population.found[4:] == children
        early = early_maps(x, y, torch.eye(2), config, rng, report, "half")
        assert [step["step"] for step in report.history] == [1, 2, 3, 4] * 5
        found.append([*(one.rotation for one in population.found), *early, torch.from_numpy(rng.normal(size=3))])
    for other in found[1:]:
        assert all(torch.equal(one, same) for one, same in zip(found[0], other, strict=True))


@pytest.mark.parametrize("threads", [1, 2])
def test_children_are_those_of_a_plain_loop_in_which_they_have_children_in_turn(threads: int) -> None:
    """Of one candidate and twelve children, most have a child for a parent, which may be still to come."""
    torch.set_num_threads(threads)
    x, y = sides()
    population = Population(x, y, np.random.default_rng(2))
    population.found += population.refined([given(torch.eye(6))], 1, SCHEDULE)
    found, rng = [population.found[0].rotation], copy.deepcopy(population.rng)
    torch.set_num_threads(1)  # of this thread, for the same last digits
    for _ in range(12):
        one, other = rng.choice(len(found), 2, replace=len(found) < 2)
        found.append(refine(x, y, polar(found[one] + found[other]), SCHEDULE, rng, Reporter(None, 1.0), "child"))
    torch.set_num_threads(threads)
    assert len(list(population.children(12, SCHEDULE))) == 12
    assert all(torch.equal(one.rotation, same) for one, same in zip(population.found, found, strict=True))


class StoppedError(Exception):
    """Raised by a callback that ends a fit."""


def test_on_one_thread_progress_is_reported_after_every_round(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    x, y = sides()
    rounds: list[int] = []

    def counted(*given: Any) -> tuple[torch.Tensor, float]:
        rounds.append(1)
        return transport(*given)

    def stop(progress: Progress) -> None:
        raise StoppedError

    monkeypatch.setattr("vec2vec.align.rounds.transport", counted)
    config = SinkhornConfig(early_rows=64, trial_rows=64, cluster_rows=64, clusters=(4,), trial_rounds=3)
    with pytest.raises(StoppedError):
        early_maps(x, y, torch.eye(2), config, np.random.default_rng(0), Reporter(stop, 1.0), "half")
    assert len(rounds) == 1
    with pytest.raises(StoppedError):
        Search(x, y, config, np.random.default_rng(0), "half").go_on(Reporter(stop, 1.0), generations=0)
    assert len(rounds) == 1 + config.trial_rounds + 1  # and the transport that a candidate is scored by

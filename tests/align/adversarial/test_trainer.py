"""The training: every option runs, it is deterministic, resumable, and says what went wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from adversarial_tiny import TINY, networks, sides, tiny, train_tiny
from safetensors.torch import load_file
from torch import nn

import vec2vec
from vec2vec.align.adversarial import Vec2VecConfig, fit
from vec2vec.align.adversarial.data import Relations, Rows, draw, hold_back
from vec2vec.align.adversarial.lane import divide
from vec2vec.align.adversarial.objective import GENERATOR_LOSSES
from vec2vec.align.adversarial.restarts import clip_gradients, hopeless
from vec2vec.align.adversarial.score import Score, correlation
from vec2vec.align.adversarial.trainer import Run, Trainer, running, train
from vec2vec.align.base import Progress, make_config
from vec2vec.errors import ArtifactError, ConfigError, DivergenceError, InputError, MissingExtraError, OutputError
from vec2vec.preprocess import Preprocessor

CPU = torch.device("cpu")


def losses(run: Run) -> dict[str, float]:
    last = [entry for entry in run.history if entry["stage"] == "training"][-1]
    return {k: v for k, v in last.items() if k not in ("stage", "run", "step", "seconds")}


def same(one: Run, other: Run) -> bool:
    return one.best.keys() == other.best.keys() and all(torch.equal(one.best[k], other.best[k]) for k in one.best)


OPTIONS: dict[str, dict[str, Any]] = {
    "the paper's": {},
    "non-saturating, smoothed": {"kind": "non-saturating", "smoothing": 0.1},
    "relativistic": {"kind": "relativistic"},
    "a shared latent critic": {"latent_critics": "shared"},
    "no latent critic": {"latent_critics": "none", "latent_adversarial": 0.0},
    "latent critics alone": {"adversarial": 0.0},
    "no critics": {"adversarial": 0.0, "latent_adversarial": 0.0, "latent_critics": "none"},
    "R1": {"r1": 1.0, "r1_every": 2},
    "noise": {"noise": 0.2},
    "relations": {"relations": 5, "noise": 0.2},
    "matching by relations": {"relations": 5, "matching": 1.0, "matching_rows": 64},
    "matching by anchors": {"anchors": 2, "matching": 1.0, "matching_rows": 64, "heat": 2.0},
    "averaged": {"ema": 0.9},
    "batch norms": {"norm": "batch", "critic_norm": "none"},
    "bfloat16": {"precision": "bfloat16"},
    "no reconstruction, no VSP": {"reconstruction": 0.0, "vsp": 0.0, "vsp_across": 0.0},
    "no cycle": {"cycle": 0.0},
}


@pytest.mark.parametrize("spaces", [(5, 7), (5, 7, 4)])
@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_trains(option: str, spaces: tuple[int, ...]) -> None:
    config = tiny(**OPTIONS[option])
    (run,) = train_tiny(spaces, **OPTIONS[option]).values()
    found = losses(run)
    expected = {name for name in GENERATOR_LOSSES if getattr(config, name)}
    assert expected <= found.keys()
    assert ("critic" in found) == bool(config.adversarial)
    assert ("latent_critic" in found) == (config.latent_critics != "none")
    assert all(np.isfinite(value) for value in found.values())
    assert len(run.scores) == 3
    assert run.best_score in run.scores


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("option", ["the paper's", "matching by relations", "averaged"])
def test_it_is_deterministic(option: str, count: int) -> None:
    first, second = (train_tiny(count=count, **OPTIONS[option]) for _ in range(2))
    assert first.keys() == second.keys() == set(range(count))
    assert all(same(first[k], second[k]) for k in first)
    if count > 1:
        assert not same(first[0], first[1])


@pytest.mark.parametrize("option", ["the paper's", "R1", "noise", "matching by relations"])
def test_trained_together_is_trained_apart(option: str) -> None:
    settings = OPTIONS[option] | {"steps": 4, "clip": 0.5}
    together, alone = train_tiny(count=2, **settings), train_tiny(**settings)
    for name, value in alone[0].best.items():
        torch.testing.assert_close(together[0].best[name], value, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("option", ["the paper's", "averaged", "R1", "matching by relations"])
def test_threads_do_not_change_what_is_trained(option: str) -> None:
    settings = OPTIONS[option] | {"steps": 4}
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(train_tiny(count=3, **settings))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    for other in found[1:]:
        for run, state in found[0].items():
            for name, value in state.best.items():
                torch.testing.assert_close(other[run].best[name], value, atol=2e-4, rtol=1e-3)


def test_how_networks_are_divided() -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert divide(3, CPU, 1) == [[0], [1], [2]]
        assert divide(3, CPU, 2) == divide(3, torch.device("cuda"), 1) == [[0, 1, 2]]
        torch.set_num_threads(1)
        assert divide(3, CPU, 1) == [[0, 1, 2]]
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("with_it", "without"),
    [
        ({"r1": 1.0, "r1_every": 1}, {"r1": 0.0}),
        ({"warmup": 5}, {"warmup": 0}),
        ({"decay": True}, {"decay": False}),
        ({"noise": 0.3}, {"noise": 0.0}),
        ({"smoothing": 0.2}, {"smoothing": 0.0}),
        ({"ema": 0.9}, {"ema": 0.0}),
        (
            {"anchors": 2, "matching": 1.0, "matching_rows": 64, "heat": 4.0},
            {"anchors": 2, "matching": 1.0, "matching_rows": 64, "heat": 1.0},
        ),
    ],
)
def test_an_option_changes_what_is_trained(with_it: dict[str, Any], without: dict[str, Any]) -> None:
    one, other = (train_tiny(kind="non-saturating", **settings)[0] for settings in (with_it, without))
    assert not same(one, other)


def test_slopes_of_stacked_critics_are_taken_in_full_precision() -> None:
    found = train_tiny(count=2, r1=0.3, r1_every=1, precision="bfloat16")
    assert all(np.isfinite(value) for run in found.values() for value in losses(run).values())


def test_losses_fall_with_three_spaces() -> None:
    (run,) = train_tiny((5, 7, 4), steps=150, rate=3e-3, check_every=50).values()
    first = next(entry for entry in run.history if entry["stage"] == "training")
    last = losses(run)
    for name in ("reconstruction", "cycle", "vsp_across"):
        assert last[name] < 0.5 * first[name]


# --- checkpoints ------------------------------------------------------------------------------------------------------


class KilledError(Exception):
    pass


@pytest.mark.parametrize(
    ("option", "count"),
    [("averaged", 1), ("batch norms", 1), ("matching by relations", 1), ("matching by relations", 2)],
)
def test_killed_and_resumed_is_as_if_it_had_not_been(tmp_path: Path, option: str, count: int) -> None:
    settings = {"steps": 30, "check_every": 10, "checkpoint_every": 10, "checkpoint": tmp_path / "c"} | OPTIONS[option]
    whole = train_tiny(count=count, **settings | {"checkpoint": None})

    def kill(progress: Progress) -> None:
        if progress.step == 20:
            raise KilledError

    config = tiny(**settings)
    with pytest.raises(KilledError):
        train(networks(config, (5, 7), count), sides(5, 7), config, seed=0, device=CPU, progress=kill)
    steps: list[int] = []
    resumed = tiny(**settings, resume=True)
    found = train(
        networks(resumed, (5, 7), count),
        sides(5, 7),
        resumed,
        seed=0,
        device=CPU,
        progress=lambda p: steps.append(p.step),
    )
    assert steps[0] == 20  # it went on from 10
    assert all(same(whole[k], found[k]) for k in whole)
    assert [s.value for s in whole[0].scores] == [s.value for s in found[0].scores]


def test_a_checkpoint_of_another_training_or_a_damaged_one(tmp_path: Path) -> None:
    settings = {"steps": 4, "checkpoint": tmp_path / "c", "checkpoint_every": 2}
    train_tiny(**settings)
    with pytest.raises(ConfigError, match="another training"):
        train_tiny(**settings, resume=True, rate=1e-5)
    for other in ({"frozen": ["backbone.skip.weight"]}, {"networks": networks(tiny(), (5, 7), 2)[1:]}):
        options = {"networks": networks(tiny(), (5, 7)), "frozen": ()} | other
        with pytest.raises(ConfigError, match="settings, seed, rows or start differ"):
            train(
                options["networks"],
                sides(5, 7),
                tiny(**settings, resume=True),
                seed=0,
                device=CPU,
                frozen=options["frozen"],
            )
    path = tmp_path / "c" / "training.safetensors"
    assert {"0.network.network.inputs.0.last.weight", "0.network.exp_avg.network.inputs.0.last.weight"} <= load_file(
        path
    ).keys()
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ArtifactError, match="damaged"):
        train_tiny(**settings, resume=True)


# --- divergence -------------------------------------------------------------------------------------------------------


def test_divergence_names_the_loss_and_keeps_the_last_good_state(tmp_path: Path) -> None:
    config = tiny(steps=40, checkpoint=tmp_path / "c", checkpoint_every=10, warmup=0, decay=False)
    held = networks(config, (5, 7))
    good: list[dict[str, torch.Tensor]] = []

    def spoil(progress: Progress) -> None:
        if progress.step == 20:
            good.append(load_file(tmp_path / "c" / "training.safetensors"))
            for group in optimizers[0].param_groups:
                group["params"][0].data.fill_(torch.nan)

    optimizers: list[torch.optim.Optimizer] = []
    adam = torch.optim.Adam

    class Remembered(adam):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            optimizers.append(self)

    torch.optim.Adam = Remembered  # type: ignore[misc]
    try:
        with pytest.raises(
            DivergenceError,
            match=r"the loss (reconstruction|cycle|vsp\w*|adversarial) is nan at step 21; the state before it",
        ):
            train(held, sides(5, 7), config, seed=0, device=CPU, progress=spoil)
    finally:
        torch.optim.Adam = adam  # type: ignore[misc]
    kept = load_file(tmp_path / "c" / "training.safetensors")
    assert all(torch.isfinite(value).all() for value in kept.values())


def test_a_rate_beyond_reason_diverges(tmp_path: Path) -> None:
    with pytest.raises(DivergenceError, match="nothing was saved; try a lower rate"):
        train_tiny(steps=60, rate=1e4, clip=0.0, norm="none", warmup=0, checkpoint=tmp_path / "c", checkpoint_every=60)


@pytest.mark.parametrize("count", [1, 2])
def test_where_no_score_is_finite_the_training_diverged(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vec2vec.align.adversarial.trainer.score", lambda *_: Score(float("nan"), 0.5, float("nan")))
    with pytest.raises(DivergenceError, match="no label-free score is finite at step 3"):
        train_tiny(count=count)


@pytest.mark.parametrize(("rows", "restarts"), [(14, 1), (20, 2)])
def test_rows_that_are_too_few_are_refused_before_the_training(rows: int, restarts: int) -> None:
    source, target = (side.native for side in sides(5, 7, rows=rows))
    reported: list[Progress] = []
    with pytest.raises(InputError, match=rf"cannot be trained on {rows // restarts} rows of a side"):
        fit(source, target, tiny(restarts=restarts), seed=0, progress=reported.append)
    assert not reported


def test_rows_that_are_just_enough_are_trained_on() -> None:
    source, target = (side.native for side in sides(5, 7, rows=15))
    assert fit(source, target, tiny(), seed=0).history


@pytest.mark.parametrize("preset", ["own", "paper"])
def test_a_run_that_is_given_up_leaves_the_others_as_they_were(preset: str) -> None:
    config, found = tiny(preset=preset, relations=4, restarts=3), []
    for lost in ([], [1]):
        with running(config, CPU) as accelerator:
            trainer = Trainer(networks(config, (5, 7), 3), sides(5, 7), config, accelerator, 0, (), ())
            for step in range(4):
                if step == 2 and lost:
                    trainer.drop(lost)
                trainer.take_step()
                trainer.step += 1
            found.append([trainer.network_tensors(run) for run in (0, 2)])
    for whole, part in zip(*found, strict=True):
        for name, value in whole.items():
            torch.testing.assert_close(part[name], value, atol=1e-5, rtol=1e-4)


def test_a_run_that_diverged_has_no_part_in_the_losses_that_are_shown() -> None:
    config = tiny(restarts=2)
    with running(config, CPU) as accelerator:
        trainer = Trainer(networks(config, (5, 7), 2), sides(5, 7), config, accelerator, 0, (), ())
        trainer.pending = [[([0, 1], {"cycle": torch.tensor([0.25, torch.nan])})]]
        assert trainer.look() == {"cycle": 0.25}
        assert list(trainer.runs) == [0]


def test_shortcuts_go_at_a_rate_of_their_own() -> None:
    config = tiny(preset="own", relations=4, rate=1e-9, shortcut_rate=0.01, steps=4, warmup=0, decay=False)
    begun = networks(config, (5, 7))
    (run,) = train(networks(config, (5, 7)), sides(5, 7), config, seed=0, device=CPU).values()
    for name, value in begun[0].state_dict().items():
        moved = (run.latest[name] - value).abs().max().item()
        if name.endswith(".skip.weight"):  # each of Adam's first steps is about as long as its rate
            rate = 0.01 * value.square().mean().sqrt().item()
            assert rate < moved < 8 * rate
        else:
            assert moved < 1e-7


# --- several processes ------------------------------------------------------------------------------------------------

WORKER = """
import sys
from pathlib import Path
import torch
from safetensors.torch import save_file
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
from adversarial_tiny import train_tiny
from accelerate.state import PartialState
runs = train_tiny(steps=5, vsp=0.0, vsp_across=0.0, warmup=0, decay=False, check_every=5, batch=40)
state = PartialState()
save_file(runs[0].best, str(Path(sys.argv[2]) / f"{state.num_processes}.{state.process_index}.safetensors"))
"""


def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    source = str(Path(sys.modules["vec2vec"].__file__).parents[1])
    env = os.environ | {"PYTHONPATH": source, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for start in ([sys.executable], launch):
        arguments = [*start, str(script), str(Path(__file__).parent), str(tmp_path)]
        done = subprocess.run(arguments, env=env, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
    alone, first, second = (load_file(tmp_path / f"{name}.safetensors") for name in ("1.0", "2.0", "2.1"))
    for name, value in alone.items():
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], value, atol=1e-4, rtol=1e-3)


# --- trackers ---------------------------------------------------------------------------------------------------------


def test_losses_go_to_tensorboard(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train_tiny(steps=20, check_every=10, tracker="tensorboard", log_folder=tmp_path / "logs")
    (folder,) = {path.parent for path in (tmp_path / "logs").rglob("events*") if path.parent.name == "vec2vec"}
    events = EventAccumulator(str(folder)).Reload()
    assert {"reconstruction", "cycle", "critic", "score"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("cycle")] == [10, 20]


def test_a_tracker_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vec2vec.align.adversarial.trainer.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"vec2vec\[tracking\]"):
        train_tiny(tracker="wandb")


def test_what_is_written_needs_a_place_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("vec2vec.align.adversarial._from_nothing", lambda *_: pytest.fail("begun"))
    x, y = (side.native for side in sides(5, 7))
    for settings in ({"checkpoint": tmp_path / "file"}, {"checkpoint": tmp_path / "file" / "c"}):
        with pytest.raises(OutputError, match=r"file.*: cannot be written"):
            fit(x, y, tiny(**settings), seed=0)
    with pytest.raises(OutputError, match="file: cannot be written"):
        fit(x, y, tiny(tracker="tensorboard", log_folder=tmp_path / "file"), seed=0)


def test_another_device_than_that_of_the_process_is_an_error() -> None:
    held = Accelerator(cpu=True)
    try:
        with pytest.raises(ConfigError, match="accelerate has taken another device for this process"):
            train(networks(tiny(), (5, 7)), sides(5, 7), tiny(), seed=0, device=torch.device("meta"))
    finally:
        assert held.device.type == "cpu"
        AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.filterwarnings("ignore:source. 300 rows", "ignore:target. 300 rows")
def test_gradients_are_taken_whatever_it_is_called_in() -> None:
    x, y = (side.native for side in sides(5, 7))
    with torch.no_grad():
        found = vec2vec.fit(x, y, "vec2vec", **(TINY | {"restarts": 2}))
    with torch.inference_mode():
        again = vec2vec.fit(x, y, "vec2vec", **(TINY | {"restarts": 2}))
    np.testing.assert_array_equal(found.translator.translate(x[:9]), again.translator.translate(x[:9]))


@pytest.mark.filterwarnings("ignore:source. 300 rows", "ignore:target. 300 rows")
def test_the_time_left_is_unknown_before_a_second_opinion() -> None:
    told: list[Progress] = []
    x, y = (side.native for side in sides(5, 7))
    vec2vec.fit(x, y, "vec2vec", progress=told.append, **TINY)
    training = [one.remaining for one in told if one.stage == "training"]
    assert training
    assert set(training) == {None}
    later = [one for one in told if one.stage != "training"]
    assert later[-1].remaining is not None
    assert told.index(later[0]) == len(training)


# --- parts ------------------------------------------------------------------------------------------------------------


def test_an_epoch_has_every_row_once_and_a_step_can_be_divided() -> None:
    side = sides(5, rows=50)[0]
    steps = [draw(side, 20, step, (0,)) for step in range(5)]
    everything = side.take(np.arange(50))
    for epoch in (torch.cat(steps)[:50], torch.cat(steps)[50:]):
        assert sorted(map(tuple, epoch.tolist())) == sorted(map(tuple, everything.tolist()))
    assert not torch.equal(torch.cat(steps)[:50], torch.cat(steps)[50:])


def test_rows_on_disk_are_the_rows_in_memory(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((60, 4)).astype(np.float16)
    np.save(tmp_path / "x.npy", x)
    native = Preprocessor.fit(x.astype(np.float32))
    disk, memory = Rows.of(np.load(tmp_path / "x.npy", mmap_mode="r"), native), Rows.of(x.astype(np.float32), native)
    assert disk.kept is None
    assert memory.kept is not None
    for step in range(4):
        torch.testing.assert_close(draw(disk, 25, step, (1, 2)), draw(memory, 25, step, (1, 2)))
    one, other = (Relations.of(side, 4, CPU) for side in (disk, memory))
    chosen = np.array([5, 3, 40])
    torch.testing.assert_close(one.of_rows(chosen, disk.take(chosen)), other.of_rows(chosen, memory.take(chosen)))


def test_what_is_held_back_is_not_trained_on() -> None:
    training, held = hold_back(sides(5, 7), 40, seed=3)
    for one, other in zip(training, held, strict=True):
        assert len(other) == 40
        assert sorted([*one.indices, *other.indices]) == list(range(300))


def test_relations_do_not_change_under_an_isometry() -> None:
    x = np.random.default_rng(0).exponential(size=(200, 4)).astype(np.float32)
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((7, 4)))[0].T.astype(np.float32)
    one, other = (Rows.of(rows, Preprocessor.fit(rows)) for rows in (x, x @ turn))
    found = [Relations.of(side, 6, CPU).kept for side in (one, other)]
    torch.testing.assert_close(found[0], found[1], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("stacked", [False, True])
def test_clipping(stacked: bool) -> None:
    held = [nn.Parameter(torch.zeros(2, 3)), nn.Parameter(torch.zeros(2, 1))]
    held[0].grad, held[1].grad = torch.tensor([[3.0, 0, 0], [0.3, 0, 0]]), torch.tensor([[4.0], [0.4]])
    clip_gradients(held, 1.0, stacked=stacked)
    rows = [torch.stack([held[0].grad[k, 0], held[1].grad[k, 0]]) for k in range(2)]
    if stacked:  # each run by itself: the second is within the limit
        torch.testing.assert_close(rows[0], torch.tensor([0.6, 0.8]))
        torch.testing.assert_close(rows[1], torch.tensor([0.3, 0.4]))
    else:
        assert torch.cat(rows).norm().item() == pytest.approx(1.0)
    clip_gradients(held, 0.0, stacked=stacked)


def test_hopeless_restarts() -> None:
    scores = {0: [0.1, 0.8], 1: [0.1, 0.2], 2: [0.1, float("nan")], 3: [0.1, 0.5]}
    assert hopeless(scores, patience=3) == [2]
    assert hopeless(scores, patience=2) == [1, 2]
    assert hopeless({0: [0.8, 0.8], 1: [0.1, 0.1]}, patience=2) == []
    assert hopeless({0: [0.9], 2: [0.8], 4: [0.7], 1: [0.1], 3: [0.2]}, patience=1) == [1, 4]  # 3 is a witness
    assert hopeless({1: [0.9], 3: [0.8], 2: [0.7]}, patience=1) == [3]  # two are left
    assert hopeless({0: [0.9], 2: [0.8], 4: [0.7]}, patience=1) == [4]


def test_correlation_and_the_guard() -> None:
    x = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    assert correlation(x @ x.T, 3 * x @ x.T + 1) == pytest.approx(1.0)
    assert correlation(x @ x.T, -x @ x.T) == pytest.approx(-1.0)
    start = Score(0.5, 0.5, 1.0, (0.8, 0.7), (2.0, 3.0))
    assert Score(0.4, 0.4, 1.0, (0.8, 0.72), (2.0, 3.0)).better_than(start)
    assert not Score(0.9, 0.9, 1.0, (0.78, 0.9), (1.0, 1.0)).better_than(start)  # worse in one direction
    assert not Score(0.9, 0.9, 1.0, (0.801, 0.701), (1.0, 1.0)).better_than(start)  # chance
    assert not start.better_than(start)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"matchin": 1.0}, "did you mean 'matching'"),
        ({"init": "warm"}, "init"),
        ({"shortcut": "pad"}, "warm start"),
        ({"init": "random", "anchors": 0}, "matching needs something"),
        ({"restarts": 2, "norm": "batch"}, "norm=batch"),
        ({"latent_adversarial": 1.0}, "latent_critics"),
        ({"resume": True}, "checkpoint"),
        ({"preset": "paper"}, "init=random"),
        ({"latent": 3}, "linear start"),
        ({"width": 10**18}, "width"),
    ],
)
def test_settings_that_will_not_do(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_config(Vec2VecConfig, settings, method="vec2vec")

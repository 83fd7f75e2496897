"""``fit(method="vec2vec")`` as a whole: the warm start and its guard, the verdict, one more space, the command line."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import vec2vec
from vec2vec.align import added
from vec2vec.align.adversarial import linear_network, network_config
from vec2vec.align.adversarial.checkpoint import START, STATE, digest
from vec2vec.align.adversarial.config import Vec2VecConfig
from vec2vec.align.adversarial.data import Rows
from vec2vec.align.adversarial.restarts import between
from vec2vec.align.adversarial.trainer import train
from vec2vec.align.base import Progress, ProgressCallback, SpaceFit
from vec2vec.align.second_opinion import second_opinion
from vec2vec.cli import app
from vec2vec.errors import ConfigError, DimensionError, InputError, OutputError, Vec2VecWarning
from vec2vec.preprocess import Preprocessor
from vec2vec.translator import NetworkSpace, Space, Translator, linear_translator
from vec2vec.verdict import Verdict

SMALL: dict[str, Any] = {"width": 32, "adapter_depth": 2, "backbone_depth": 2, "batch": 128, "matching_rows": 512}
CLUSTERS, HIDDEN, ROWS = 12, 10, 1500


class World:
    """Clusters of unequal weights, seen through as many isometries as there are widths, in a bent space."""

    def __init__(self, *widths: int) -> None:
        rng = np.random.default_rng(1)
        weights = np.linspace(1, 3, CLUSTERS)
        centres = 1.5 * rng.standard_normal((CLUSTERS, HIDDEN))

        def points(rows: int) -> np.ndarray:
            chosen = rng.choice(CLUSTERS, rows, p=weights / weights.sum())
            return centres[chosen] + 0.5 * rng.standard_normal((rows, HIDDEN))

        views = [np.linalg.qr(rng.standard_normal((w, HIDDEN)))[0].T for w in widths]

        def see(x: np.ndarray, view: np.ndarray) -> np.ndarray:
            return np.asarray(x @ view + 0.5 + 0.02 * rng.standard_normal((len(x), view.shape[1])), np.float32)

        self.rows = [see(points(ROWS), view) for view in views]
        held = points(500)
        self.held = [see(held, view) for view in views]


@pytest.fixture(scope="module")
def world() -> World:
    return World(24, 40, 30)


@pytest.fixture(scope="module")
def linear(world: World) -> Translator:
    quick = {"guesses": 5, "clusters": (CLUSTERS,), "cumulant_starts": 150, "cumulant_generations": 3, "rounds": 10}
    found = vec2vec.fit(world.rows[0], world.rows[1], source_name="a", target_name="b", **quick).translator
    found.record["digest"] = digest(world.rows[:2])
    return found


def at_start(linear: Translator, folder: Path) -> dict[str, Any]:
    """Settings of a training that goes on from the linear start of an earlier one, which is not fitted again."""
    folder.mkdir(exist_ok=True)
    linear.save_pretrained(folder / START)
    return {"checkpoint": folder, "resume": True}


@pytest.fixture(scope="module")
def warm(world: World, linear: Translator, tmp_path_factory: pytest.TempPathFactory) -> vec2vec.Fit:
    settings = SMALL | at_start(linear, tmp_path_factory.mktemp("warm"))
    return vec2vec.fit(world.rows[0], world.rows[1], "vec2vec", steps=60, check_every=20, rate=1e-3, **settings)


def top1(found: np.ndarray, truth: np.ndarray) -> float:
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (found, truth))
    return float(((a @ b.T).argmax(axis=1) == np.arange(len(a))).mean())


def test_step_zero_is_the_linear_translator(world: World, linear: Translator) -> None:
    spaces = [space for name in linear.spaces if isinstance(space := linear.space(name), Space)]
    shape = network_config(Vec2VecConfig(**SMALL), linear.latent_width)
    network = linear_network(shape, spaces, seed=3).requires_grad_(False).eval()
    held = {name: NetworkSpace(spaces[i].preprocessor, network, i) for i, name in enumerate(linear.spaces)}
    start = Translator(held)
    for i, reverse in enumerate((False, True)):
        x = world.held[i]
        np.testing.assert_allclose(start.translate(x, reverse=reverse), linear.translate(x, reverse=reverse), atol=1e-4)


def test_a_warm_start_ends_as_a_network_or_as_it_began(warm: vec2vec.Fit, world: World) -> None:
    guard = warm.history[-1]
    assert guard["stage"] == "guard"
    assert (warm.translator.network is None) == (guard["kept"] == "start")
    assert warm.verdict.label == "aligned"
    assert top1(warm.translator.translate(world.held[0]), world.held[1]) > 0.95
    assert top1(warm.translator.translate(world.held[1], reverse=True), world.held[0]) > 0.95
    checks = [entry for entry in warm.history if entry["stage"] == "check"]
    assert [entry["step"] for entry in checks] == [0, 20, 40, 60]


def test_a_checkpoint_that_is_not_there_is_warned_of(world: World, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("vec2vec.align.adversarial._improve", lambda *_: pytest.fail("begun"))
    with (
        pytest.warns(Vec2VecWarning, match="no state of a training to go on from: it begins anew"),
        pytest.raises(pytest.fail.Exception, match="begun"),
    ):
        vec2vec.fit(*world.rows[:2], "vec2vec", checkpoint=tmp_path / "mistyped", resume=True)


@pytest.mark.parametrize("other", ["seed", "model", "width", "older version"])
def test_a_start_of_another_training_is_refused(world: World, linear: Translator, tmp_path: Path, other: str) -> None:
    spaces = {name: linear.space(name) for name in linear.spaces}
    record = {"seed": 0} if other == "older version" else linear.record
    settings = SMALL | at_start(Translator(spaces, verdict=linear.verdict, record=record), tmp_path)
    source = world.rows[0][:, ::-1] if other == "model" else world.rows[0]
    source = source[:, :20] if other == "width" else source
    with pytest.raises(ConfigError, match="start of another training: its seed or rows differ"):
        vec2vec.fit(source, world.rows[1], "vec2vec", steps=4, seed=int(other == "seed"), **settings)


def test_weights_between_two_networks_are_where_they_are_asked_for() -> None:
    first, last = (
        {"weight": torch.full((2, 3), value), "count": torch.tensor(count)} for value, count in ((1.0, 0), (3.0, 7))
    )
    assert torch.equal(between(first, last, 0.25)["weight"], torch.full((2, 3), 1.5))
    for share, end in ((0.0, first), (1.0, last)):
        assert torch.equal(between(first, last, share)["weight"], end["weight"])
    assert int(between(first, last, 0.5)["count"]) == 7  # what is counted is the last one's


def test_what_counts_is_interpolated_between_the_start_and_the_trained_network(
    world: World, linear: Translator
) -> None:
    spaces = [space for name in linear.spaces if isinstance(space := linear.space(name), Space)]
    sides = [Rows.of(rows, space.preprocessor) for rows, space in zip(world.rows[:2], spaces, strict=True)]
    maps = [(torch.from_numpy(space.basis), torch.from_numpy(space.decode)) for space in spaces]
    found = []
    for share in (0.0, 0.25, 1.0):
        config = Vec2VecConfig(**SMALL, steps=20, check_every=10, interpolation=share)
        network = linear_network(network_config(config, linear.latent_width), spaces, seed=3)
        (run,) = train([network], sides, config, seed=0, device=torch.device("cpu"), start=maps).values()
        found.append(run)
    begun, between_both, trained = (run.latest for run in found)
    moved = max(float((trained[name] - value).abs().max()) for name, value in begun.items())
    assert moved > 1e-3
    for name, value in between_both.items():
        torch.testing.assert_close(value, 0.75 * begun[name] + 0.25 * trained[name], atol=1e-5 * moved, rtol=1e-5)
    first, last = ([run.scores[i].found for run in found] for i in (0, -1))
    assert first[0] == first[1] == first[2]
    assert last[0] == first[0]  # what is scored is what counts
    assert len(set(last)) == 3


def test_the_guard_keeps_the_start_from_a_training_that_does_harm(
    world: World, linear: Translator, tmp_path: Path
) -> None:
    off = dict.fromkeys(("stay", "matching", "cycle", "reconstruction"), 0.0)
    settings = SMALL | at_start(linear, tmp_path) | off | {"vsp_across": 1.0, "adversarial": 1.0}
    found = vec2vec.fit(
        world.rows[0],
        world.rows[1],
        "vec2vec",
        steps=30,
        check_every=10,
        rate=0.02,
        warmup=0,
        critic_width=16,
        **settings,
    )
    assert found.history[-1] == {"stage": "guard", "kept": "start"}
    x = world.held[0]
    np.testing.assert_array_equal(found.translator.translate(x), linear.translate(x))


def test_the_guard_keeps_the_start_in_a_training_that_was_resumed_as_well(
    world: World, linear: Translator, tmp_path: Path, monkeypatch: Any
) -> None:
    first, second = (linear.space(name) for name in linear.spaces)

    def fit(*_: Any, progress: ProgressCallback, **__: Any) -> SpaceFit:
        progress(Progress("refining", 1, 1, remaining=0.0))
        return SpaceFit(first, second, [], linear.verdict)

    monkeypatch.setattr("vec2vec.align.sinkhorn.fit", fit)
    told: list[Progress] = []
    settings = SMALL | {"steps": 2, "rate": 1e-9, "shortcut_rate": 1e-9, "checkpoint": tmp_path / "c"}
    whole, resumed = (
        vec2vec.fit(*world.rows[:2], "vec2vec", resume=again, progress=told.append, **settings)
        for again in (False, True)
    )
    assert whole.history[-1] == resumed.history[-1] == {"stage": "guard", "kept": "start"}
    assert [(one.stage, one.remaining) for one in told] == [("refining", None), ("training", 0.0)]


@pytest.mark.parametrize("name", [STATE, f"{START}/config.json"])
def test_the_state_of_another_training_is_not_replaced(
    world: World, tmp_path: Path, monkeypatch: Any, name: str
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"hours of work")
    monkeypatch.setattr("vec2vec.align.adversarial._improve", lambda *_: pytest.fail("begun"))
    with pytest.raises(OutputError, match="is the state of another training; go on from it with resume=true"):
        vec2vec.fit(*world.rows[:2], "vec2vec", checkpoint=tmp_path)
    assert (tmp_path / name).read_bytes() == b"hours of work"


def test_a_start_that_is_not_aligned_is_not_trained(world: World, linear: Translator, tmp_path: Path) -> None:
    failed = Verdict("not aligned", 0.0, (0.0, 0.05), {"consistency": 0.0}, "It failed.")
    spaces = {name: linear.space(name) for name in linear.spaces}
    settings = SMALL | at_start(Translator(spaces, verdict=failed, record=linear.record), tmp_path)
    found = vec2vec.fit(*world.rows[:2], "vec2vec", steps=10, **settings)
    assert found.verdict.label == "not aligned"
    assert found.translator.network is None


def test_an_unrelated_target_is_not_aligned() -> None:
    rng = np.random.default_rng(0)
    source, target = World(24).rows[0], rng.standard_normal((ROWS, 40)).astype(np.float32)
    settings = SMALL | {"init": "random", "steps": 30, "check_every": 15, "critic_width": 32, "batch": 64}
    del settings["matching_rows"]
    found = vec2vec.fit(source, target, "vec2vec", restarts=2, **settings)
    assert found.verdict.label == "not aligned"
    assert found.translator.network is not None


def mixture(seed: int, latent: int = 16, clusters: int = 30, rows: int = 4000, held: int = 500) -> list[np.ndarray]:
    """Unpaired rows of a mixture through two different random nonlinear encoders, and held-out rows through both."""
    rng = np.random.default_rng(seed)
    scale = 2.0 * 0.88 ** np.arange(latent)
    centres = scale * (rng.exponential(size=(clusters, latent)) - 1)
    weights, spread = rng.dirichlet(np.full(clusters, 2.0)), 0.35 * scale

    def points(count: int) -> np.ndarray:
        return centres[rng.choice(clusters, count, p=weights)] + spread * rng.standard_normal((count, latent))

    def encoder(width: int):
        straight = np.linalg.qr(rng.standard_normal((width, latent)))[0].T
        into, out_of = rng.standard_normal((latent, 64)) / latent**0.5, rng.standard_normal((64, width)) / 8
        return lambda x: (x @ straight + 0.4 * np.tanh(x @ into) @ out_of + 0.2).astype(np.float32)

    first, second = encoder(40), encoder(56)
    texts = points(held)
    return [first(points(rows)), second(points(rows)), first(texts), second(texts)]


def test_restarts_from_nothing_see_two_disjoint_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = World(24, 40).rows[:2]
    seen: list[Any] = []

    def stop(networks: Any, sides: Any, *_: Any, **__: Any) -> Any:
        seen.extend(sides)
        raise RuntimeError

    monkeypatch.setattr("vec2vec.align.adversarial.train", stop)
    with pytest.raises(RuntimeError):
        vec2vec.fit(source, target, "vec2vec", init="random", restarts=4)
    for side, whole in zip(seen, (source, target), strict=True):
        rows = [{row.tobytes() for row in part.take(np.arange(len(part))).numpy()} for part in side]
        assert rows[0] == rows[2]
        assert rows[1] == rows[3]
        assert not rows[0] & rows[1]
        assert len(rows[0] | rows[1]) == len(whole)


def test_from_nothing_it_finds_what_nobody_told_it() -> None:
    """A reduced form of benchmarks/adversarial.py scratch."""
    source, target, x, y = mixture(1)
    settings = {"width": 32, "critic_width": 48, "latent": 24, "backbone_depth": 1, "critic_depth": 2, "batch": 192}
    settings |= {"steps": 250, "matching_rows": 512, "restarts": 2, "check_every": 125}
    found = vec2vec.fit(source, target, "vec2vec", init="random", **settings)
    assert found.verdict.label == "aligned"
    assert top1(found.translator.translate(x), y) > 0.6
    assert top1(found.translator.translate(y, reverse=True), x) > 0.6


def test_a_second_opinion_on_a_network_is_that_on_its_linear_twin(world: World, linear: Translator) -> None:
    network = network_translator(linear, 0.0)
    spaces = network.space("a"), network.space("b")
    opinion = second_opinion(spaces, *world.rows[:2], seed=0, device=torch.device("cpu"))
    assert opinion is not None
    assert opinion.label == "aligned"
    assert opinion.evidence["support"] > 0.8


def test_the_same_seed_gives_the_same_translator(world: World) -> None:
    settings = SMALL | {
        "init": "random",
        "steps": 10,
        "critic_width": 16,
        "restarts": 2,
        "batch": 64,
        "relations": 4,
        "anchors": 0,
    }
    x = world.held[0]
    first, second = (
        vec2vec.fit(*world.rows[:2], "vec2vec", seed=1, **settings).translator.translate(x) for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)
    other = vec2vec.fit(*world.rows[:2], "vec2vec", seed=2, **settings).translator.translate(x)
    assert not np.array_equal(first, other)


# --- one more space ---------------------------------------------------------------------------------------------------


def network_translator(linear: Translator, scale: float = 0.002, norm: str = "layer") -> Translator:
    """As if the guard had let a network pass: the linear start with residual layers that do a little."""
    spaces = [space for name in linear.spaces if isinstance(space := linear.space(name), Space)]
    shape = network_config(Vec2VecConfig(**SMALL, norm=norm), linear.latent_width)
    network = linear_network(shape, spaces, seed=3)
    with torch.no_grad():
        for part in (*network.inputs, network.backbone, *network.outputs):
            part.last.weight.normal_(0, scale, generator=torch.Generator().manual_seed(0))
    network.requires_grad_(False).eval()
    held = {name: NetworkSpace(spaces[i].preprocessor, network, i) for i, name in enumerate(linear.spaces)}
    return Translator(held, verdict=linear.verdict, record=linear.record)


@pytest.mark.parametrize("kind", ["linear", "network, trained", "network, all of it trained"])
def test_add_space(world: World, linear: Translator, kind: str) -> None:
    old = linear if kind == "linear" else network_translator(linear)
    references, options = {"b": world.rows[1]}, {}
    if "trained" in kind:
        options = {"steps": 20, "check_every": 10, "rate": 1e-4, "batch": 128, "matching_rows": 512}
    if "all" in kind:
        references["a"] = world.rows[0]
        options["frozen"] = False
    before = old.translate(world.held[0], source="a", target="b")
    larger = old.add_space(world.rows[2], "c", references, **options)
    assert larger.spaces == ("a", "b", "c")
    for i, j in ((0, 2), (2, 0), (1, 2), (2, 1), (0, 1)):  # a and c never met
        there = larger.translate(world.held[i], source="abc"[i], target="abc"[j])
        assert top1(there, world.held[j]) > 0.85  # 0.90 at least was seen; machines differ by a row or two
    if "all" not in kind:  # what was there is as it was
        np.testing.assert_array_equal(larger.translate(world.held[0], source="a", target="b"), before)
    assert old.spaces == ("a", "b")
    assert larger.record["added"][0]["name"] == "c"
    assert larger.verdict is not None
    assert larger.verdict.label == "aligned"


@pytest.fixture
def by_pairs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fit that a new space is aligned by is a quick one of known pairs."""

    def fit(*_: Any, source_name: str, target_name: str, progress: Any, **__: Any) -> vec2vec.Fit:
        if progress is not None:
            progress(Progress("by pairs", 1, 1, remaining=0.0))
        natives = [Preprocessor.fit(world.rows[i]) for i in (2, 1)]
        x, y = (native.apply(world.held[i]) for native, i in zip(natives, (2, 1), strict=True))
        left, _, right = np.linalg.svd(x.T @ y, full_matrices=False)
        translator = linear_translator(*natives, left @ right, names=(source_name, target_name))
        return vec2vec.Fit(translator, Verdict("aligned", 0.9, (0.8, 1.0), {}, "It worked."))

    monkeypatch.setattr(added, "fit", fit)


@pytest.mark.usefixtures("by_pairs")
@pytest.mark.parametrize("frozen", [True, False])
def test_a_network_of_batch_norms_has_one_more_space(world: World, linear: Translator, frozen: bool) -> None:
    old = network_translator(linear, norm="batch")
    references = {"b": world.rows[1]} if frozen else {"b": world.rows[1], "a": world.rows[0]}
    quick = {"steps": 4, "rate": 1e-5, "batch": 128, "matching_rows": 128, "check_every": 2}
    quick |= {"shortcut_rate": 1e-5} if frozen else {}
    larger = old.add_space(world.rows[2], "c", references, frozen=frozen, **quick)
    assert top1(larger.translate(world.held[0], source="a", target="c"), world.held[2]) > 0.9
    before = old.translate(world.held[0], source="a", target="b")
    same = np.array_equal(larger.translate(world.held[0], source="a", target="b"), before)
    assert same == frozen


@pytest.mark.usefixtures("by_pairs")
def test_a_new_space_is_trained_on_the_rows_that_are_asked_for(
    world: World, linear: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def counted(networks: Any, sides: Any, *rest: Any, **options: Any) -> Any:
        seen.extend(map(len, sides))
        return train(networks, sides, *rest, **options)

    monkeypatch.setattr(added, "train", counted)
    network_translator(linear).add_space(
        world.rows[2], "c", {"b": world.rows[1]}, rows=600, steps=1, batch=64, matching_rows=64
    )
    assert seen == [600, 600]


@pytest.mark.usefixtures("by_pairs")
@pytest.mark.parametrize(("steps", "remaining"), [(0, [0.0]), (1, [None, 0.0])])
def test_the_time_left_is_unknown_before_the_training(
    world: World, linear: Translator, steps: int, remaining: list[float | None]
) -> None:
    told: list[Progress] = []
    quick = {"steps": steps, "batch": 64, "matching_rows": 64} if steps else {}
    old = network_translator(linear)
    old.add_space(world.rows[2], "c", {"b": world.rows[1]}, progress=told.append, **quick)
    assert [one.remaining for one in told] == remaining


def test_add_space_refuses(world: World, linear: Translator) -> None:
    old = network_translator(linear)
    with pytest.raises(InputError, match="already"):
        old.add_space(world.rows[2], "a", {"b": world.rows[1]})
    with pytest.raises(InputError, match="no space 'd'"):
        old.add_space(world.rows[2], "c", {"d": world.rows[1]})
    with pytest.raises(InputError, match="reference"):
        old.add_space(world.rows[2], "c", {})
    with pytest.raises(ConfigError, match="nothing to train"):
        linear.add_space(world.rows[2], "c", {"b": world.rows[1]}, steps=5)
    with pytest.raises(InputError, match="every space"):
        old.add_space(world.rows[2], "c", {"b": world.rows[1]}, steps=5, frozen=False)
    with pytest.raises(DimensionError, match=r"b: has width \d+, the space 'b' \d+"):
        linear.add_space(world.rows[2], "c", {"b": world.rows[1][:, :-1]})
    with pytest.raises(ConfigError, match="rate: these are settings of the training; give steps"):
        old.add_space(world.rows[2], "c", {"b": world.rows[1]}, rate=1e-4)
    with pytest.raises(ConfigError, match="nothing is trained without steps; give steps"):
        old.add_space(world.rows[2], "c", {"b": world.rows[1]}, frozen=False)
    with pytest.raises(ConfigError, match="restarts: there is one network"):
        old.add_space(world.rows[2], "c", {"b": world.rows[1]}, steps=5, restarts=3)
    with pytest.raises(ConfigError, match="'nonsense'"):
        old.add_space(world.rows[2], "c", {"b": world.rows[1]}, steps=5, nonsense=3)
    with pytest.raises(ConfigError, match="steps is -5"):
        old.add_space(world.rows[2], "c", {"b": world.rows[1]}, steps=-5)
    for key, value in (("width", 999), ("init", "random"), ("norm", "batch")):
        with pytest.raises(ConfigError, match=f"{key}: there is one network to go on with"):
            old.add_space(world.rows[2], "c", {"b": world.rows[1]}, steps=5, **{key: value})
    with pytest.raises(OutputError, match=r"null.*: cannot be written"):
        old.add_space(world.rows[2], "c", {"b": world.rows[1]}, steps=5, checkpoint=Path(os.devnull) / "c")
    both = {"a": world.rows[0], "b": world.rows[1]}
    with pytest.raises(ConfigError, match="stay: it goes by the linear start"):
        old.add_space(world.rows[2], "c", both, steps=5, stay=1.0)
    with pytest.raises(ConfigError, match="needs relations or anchors"):
        old.add_space(world.rows[2], "c", both, steps=5, matching=1.0)


# --- the command line -------------------------------------------------------------------------------------------------


def test_on_the_command_line(tmp_path: Path, world: World, linear: Translator) -> None:
    for name, rows in zip("abc", world.rows, strict=True):
        np.save(tmp_path / f"{name}.npy", rows)
    np.save(tmp_path / "new.npy", world.held[0])
    runner, out = CliRunner(), tmp_path / "t"
    start = SMALL | at_start(linear, tmp_path / "training")
    files = [str(tmp_path / f"{name}.npy") for name in "abc"]
    options = ["--method", "vec2vec", "--init", "sinkhorn", "--restarts", "2", "--out", str(out)]
    options += [f"--set={key}={value}" for key, value in (start | {"steps": 20, "check_every": 10}).items()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = runner.invoke(app, ["fit", *files[:2], *options, "--source-name", "a", "--target-name", "b"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "t.training.png").read_bytes().startswith(b"\x89PNG")
    lines = [json.loads(line) for line in (tmp_path / "t.training.jsonl").read_text().splitlines()]
    assert {entry["run"] for entry in lines if entry["stage"] == "check"} == {0, 1}
    shutil.rmtree(out)
    again = runner.invoke(app, ["fit", *files[:2], *options])
    assert again.exit_code == 2
    assert "t.training.png: exists already" in again.stderr
    rows = tmp_path / "t.training.jsonl"
    own = runner.invoke(app, ["fit", f"{rows}::vector", files[1], *options, "--force"])
    assert (own.exit_code, "is the input itself" in own.stderr) == (2, True)
    assert len(rows.read_text().splitlines()) == len(lines)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert (
            runner.invoke(app, ["fit", *files[:2], *options, "--force", "--source-name=a", "--target-name=b"]).exit_code
            == 0
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = runner.invoke(app, ["add-space", str(out), files[2], "--name", "c", "--reference", f"b={files[1]}"])
    assert done.exit_code == 0, done.output
    assert Translator.from_pretrained(out).spaces == ("a", "b", "c")
    there = str(tmp_path / "there.npy")
    done = runner.invoke(
        app, ["translate", str(out), str(tmp_path / "new.npy"), "--from", "a", "--to", "c", "--out", there]
    )
    assert done.exit_code == 0, done.output
    assert top1(np.load(there), world.held[2]) > 0.9


def test_errors_on_the_command_line(tmp_path: Path, world: World) -> None:
    np.save(tmp_path / "a.npy", world.rows[0])
    np.save(tmp_path / "b.npy", world.rows[1])
    files = [str(tmp_path / f"{name}.npy") for name in "ab"]
    runner = CliRunner()
    done = runner.invoke(app, ["fit", *files, "--out", str(tmp_path / "t"), "--method", "vec2vec", "--set", "step=3"])
    assert done.exit_code == 2
    assert "did you mean 'steps'" in done.output
    done = runner.invoke(app, ["fit", *files, "--out", str(tmp_path / "t"), "--restarts", "3"])
    assert done.exit_code == 2
    assert "no setting 'restarts'" in done.output
    done = runner.invoke(app, ["add-space", str(tmp_path / "t"), files[0], "--name", "c", "--reference", "b"])
    assert done.exit_code == 2
    assert "SPACE=FILE" in done.output

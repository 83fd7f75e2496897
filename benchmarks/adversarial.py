"""The adversarial method: cost of a step, restarts together, the warm start on real vectors, from scratch, ablation.

    python benchmarks/adversarial.py step                # beside a plain eager loop with the same losses and updates
    python benchmarks/adversarial.py restarts            # a step of four at once, and of one after another
    python benchmarks/adversarial.py whole --seeds 0     # whole fits, from the first guess to the verdict: the same
    python benchmarks/adversarial.py warm --seeds 0 1 2 3 4      # the standard split, beside its start and linear maps
    python benchmarks/adversarial.py scratch --seeds 0 1 2 3 4   # synthetic, truth known, nothing known at the start
    python benchmarks/adversarial.py ablation
    python benchmarks/adversarial.py spaces --starts S --encoders E   # a third space; after `warm --starts S`
    python benchmarks/adversarial.py real --minutes 9 --seeds 0 1 2 3    # from scratch on the real vectors: for a GPU
    python benchmarks/adversarial.py --report

Every line goes to results/adversarial.jsonl with the machine. Truth serves to report, never to fit, stop or choose.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import HERE, SHARED, Line, add_line, machine, markdown, need_lines, split
from torch import nn
from torch.nn import functional

import vec2vec
from vec2vec.align import fast_products
from vec2vec.align.adversarial import _network_spaces, linear_network, network_config
from vec2vec.align.adversarial import fit as fit_vec2vec
from vec2vec.align.adversarial.checkpoint import START
from vec2vec.align.adversarial.config import Vec2VecConfig
from vec2vec.align.adversarial.data import Rows, draw
from vec2vec.align.adversarial.objective import plans_for
from vec2vec.align.adversarial.restarts import between
from vec2vec.align.adversarial.trainer import Trainer, mixed, running, train
from vec2vec.align.threads import threads_for
from vec2vec.networks import Network, NetworkConfig, seeded
from vec2vec.preprocess import Preprocessor
from vec2vec.translator import Space, Translator

RESULTS = HERE / "results" / "adversarial.jsonl"
CPU = torch.device("cpu")
REFERENCE: dict[str, Any] = {  # the public reference's configuration
    "init": "random",
    "preset": "paper",
    "width": 1024,
    "latent": 1024,
    "adapter_depth": 3,
    "backbone_depth": 4,
    "critic_width": 1024,
    "critic_depth": 5,
    "critic_norm": "none",
    "shortcut": "pad",
    "latent_critics": "shared",
    "batch": 256,
    "restarts": 1,
    "warmup": 0,
    "decay": False,
    "rate": 2e-5,
    "critic_rate": 1e-5,
    "clip": 1000.0,
}


def gaussian(widths: Sequence[int], rows: int = 4096) -> list[Rows]:
    """Rows of no structure, for timing."""
    rng = np.random.default_rng(0)
    sides = [rng.standard_normal((rows, width)).astype(np.float32) for width in widths]
    return [Rows.of(side, Preprocessor.fit(side)) for side in sides]


def random_networks(config: Vec2VecConfig, widths: Sequence[int], count: int) -> list[Network]:
    networks = []
    for k in range(count):
        with seeded(k):
            networks.append(Network(network_config(config, config.latent or config.width), widths))
    return networks


# --- the cost of a step -----------------------------------------------------------------------------------------------


class PlainLoop:
    """The same losses and updates, written as research code does: a pass for each use, an optimiser for each part."""

    def __init__(self, config: Vec2VecConfig, sides: Sequence[Rows]) -> None:
        self.config, self.sides = config, sides
        self.network = random_networks(config, [len(side.preprocessor.mean) for side in sides], 1)[0]
        with running(config, CPU) as accelerator:
            self.critics = Trainer([self.network], sides, config, accelerator, 0, (), ()).lanes[0].stack.module.critics
        adam = partial(torch.optim.Adam, betas=(config.beta1, config.beta2), foreach=False)
        self.generator = adam(self.network.parameters(), lr=config.rate)
        held = [*self.critics.outputs, *self.critics.latents]
        self.optimizers = [adam(critic.parameters(), lr=config.critic_rate) for critic in held]

    def step(self, rows: Sequence[torch.Tensor]) -> float:
        c, net, (x, y) = self.config, self.network, rows
        first, second, shared = self.critics.outputs[0], self.critics.outputs[1], self.critics.latents[0]
        there, back = net.F1(x), net.F2(y)
        shown = ((first, x, back), (second, y, there), (shared, net.encode(x, 0), net.encode(y, 1)))
        real = [(critic, _unit(a, i), _unit(b, i)) for i, (critic, a, b) in enumerate(shown)]
        told = sum(0.5 * (critic(fake) - 1).square().mean() for critic, _, fake in real[:2]) / 2
        loss = c.adversarial * told + c.latent_adversarial * 0.5 * (shared(real[2][2]) - 1).square().mean()
        rebuilt = net.R1(x), net.R2(y)
        loss = (
            loss
            + c.reconstruction * sum((a - b).square().sum(1).mean() for a, b in zip(rebuilt, rows, strict=True)) / 2
        )
        again = net.F2(there), net.F1(back)
        loss = loss + c.cycle * sum((a - b).square().sum(1).mean() for a, b in zip(again, rows, strict=True)) / 2
        for weight, others in ((c.vsp, rebuilt), (c.vsp_across, (there, back))):
            loss = loss + weight * sum(_vsp(a, b) for a, b in zip(rows, others, strict=True)) / 2
        self.generator.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), c.clip)
        self.generator.step()
        for (critic, a, b), optimizer in zip(real, self.optimizers, strict=True):
            optimizer.zero_grad()
            wrong = 0.5 * (critic(a.detach()) - 1).square().mean() + 0.5 * critic(b.detach()).square().mean()
            wrong.backward()
            nn.utils.clip_grad_norm_(critic.parameters(), c.clip)
            optimizer.step()
        return float(loss)


def _unit(x: torch.Tensor, critic: int) -> torch.Tensor:
    return x if critic == 2 else functional.normalize(x, dim=1)


def _vsp(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    x, y = functional.normalize(x, dim=1), functional.normalize(y, dim=1)
    return (x @ x.T - y @ y.T).square().sum(1).mean()


def time_step(args: argparse.Namespace) -> Line:
    """Seconds a step: plain, ours, ours in bfloat16, and that of the arithmetic at the measured product rate."""
    config = Vec2VecConfig(**REFERENCE)
    sides = gaussian((384, 512))
    batch = [side.take(np.arange(256)) for side in sides]
    plain = PlainLoop(config, sides)
    line: Line = {"what": "step", "plain": _median(lambda: plain.step(batch), args.repeats)}
    for name, settings in (("ours", {}), ("ours_bfloat16", {"precision": "bfloat16"})):
        one = Vec2VecConfig(**(REFERENCE | settings))
        with fast_products(), running(one, CPU) as accelerator:
            trainer = Trainer(random_networks(one, (384, 512), 1), sides, one, accelerator, 0, (), ())
            line[name] = _median(trainer.take_step, args.repeats)
    for name, precision in (("product_rate", "medium"), ("plain_product_rate", "highest")):
        torch.set_float32_matmul_precision(precision)
        a, b = torch.randn(512, 1024), torch.randn(1024, 1024)
        seconds = _median(partial(torch.mm, a, b), 50)
        line[name] = 2 * 512 * 1024 * 1024 / seconds / 1e9
    torch.set_float32_matmul_precision("highest")
    line["gflop"] = arithmetic(config) / 1e9
    line["floor"] = line["gflop"] / line["product_rate"]
    return line


def arithmetic(config: Vec2VecConfig) -> float:
    """Floating-point operations of the matrix products of a step, at the reference's configuration of two spaces."""
    b, w, d = config.batch, config.width, (384, 512)
    into = [di * w + (config.adapter_depth - 1) * w * w for di in d]
    out_of = into
    backbone = config.backbone_depth * w * w
    forward = 2 * sum(into) + 4 * backbone + 3 * sum(out_of)  # both passes; into each space: two sources, and back
    critics = [di * w + (config.critic_depth - 2) * w * w + w for di in (*d, w)]
    told = 2 * sum(critics)  # forward, and the gradient of what is shown
    criticised = 2 * 3 * sum(critics)
    similarities = 2 * 3 * 3 * sum(b * di for di in d)
    return 2.0 * b * (3 * forward + told + criticised + similarities)


def _median(action: Callable[[], Any], repeats: int) -> float:
    action()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds))


def time_restarts(args: argparse.Namespace) -> Line:
    """Seconds of a step of K = 4 networks of one width (512 is asked for) at once, beside four times that of one."""
    width = args.width
    settings = REFERENCE | {"width": width, "latent": width, "critic_width": width, "restarts": 4}
    config, sides = Vec2VecConfig(**settings), gaussian((384, 512))
    seconds: dict[int, list[float]] = {1: [], 4: []}
    threads = torch.get_num_threads()
    with fast_products(), running(config, CPU) as accelerator:
        trainers = {
            count: Trainer(random_networks(config, (384, 512), count), sides, config, accelerator, 0, (), ())
            for count in seconds
        }
        with threads_for(len(trainers[4].lanes), CPU) as trainers[4].submit:
            for turn in range(args.repeats + 1):  # in turns, so that other work on the machine meets both alike
                for count, trainer in trainers.items():
                    torch.set_num_threads(threads)  # of this thread: the lanes of the four have set their own
                    began = time.perf_counter()
                    trainer.take_step()
                    if turn:
                        seconds[count].append(time.perf_counter() - began)
    one, four = (float(np.median(seconds[count])) for count in seconds)
    line: Line = {"what": "restarts", "width": width, "one": one, "four": four, "ratio": four / (4 * one)}
    return line | {"least ratio": min(seconds[4]) / (4 * min(seconds[1]))}


def time_whole(args: argparse.Namespace, seed: int) -> Line:
    """Seconds of a whole fit from nothing with K = 4 networks of one width, beside four times that of a fit with one.

    Either ends with a verdict: of four, the best two of different halves are one another's witnesses; a single one is
    judged by a second opinion. No network is stopped early, but in the last fit, which has the defaults.
    """
    source, target, x, y = world(seed)
    wide = {name: args.width for name in ("width", "latent", "critic_width")}
    line: Line = {"what": "whole", "seed": seed, "width": args.width}
    fits = {"one": {"restarts": 1}, "four": {"restarts": 4, "patience": 1000}, "four, stopped early": {"restarts": 4}}
    for name, changes in fits.items():
        settings = SMALL | wide | dict(map(_setting, args.set)) | changes
        began = time.perf_counter()
        fitted = vec2vec.fit(source, target, "vec2vec", seed=seed, threads=args.threads, **settings)
        line[name] = time.perf_counter() - began
        line[f"training, {name}"] = max(one["seconds"] for one in fitted.history if one["stage"] == "check")
        line[f"top-1, {name}"] = truth(fitted.translator, x, y)["forward"]["top1"]
        print(json.dumps(line), flush=True)
    return line | {f"ratio, {name}": line[name] / (4 * line["one"]) for name in list(fits)[1:]}


# --- the warm start on real vectors -----------------------------------------------------------------------------------


def warm(args: argparse.Namespace, seed: int) -> Line:
    """The network beside its linear start, and beside linear maps that were given the same soft targets."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, target, x, y = standard(args, folder)
        started, start_seconds = linear_start(args, source, target, seed)
        settings = dict(map(_setting, args.set))
        kept = folder / "training"
        kept.mkdir()
        started.save_pretrained(kept / START)
        config = Vec2VecConfig(**(settings | {"checkpoint": kept, "checkpoint_every": 10**6, "resume": True}))
        began = time.perf_counter()
        with fast_products():
            fitted = fit_vec2vec(source, target, config, seed=seed)
    line: Line = {"what": "warm", "seed": seed, "settings": settings, "start seconds": start_seconds}
    line |= {"training seconds": time.perf_counter() - began, "kept": fitted.history[-1]["kept"]}
    spaces = [space for name in started.spaces if isinstance(space := started.space(name), Space)]
    sides = [Rows.of(rows, space.preprocessor) for rows, space in zip((source, target), spaces, strict=True)]
    maps = [(torch.from_numpy(space.basis), torch.from_numpy(space.decode)) for space in spaces]
    network = linear_network(network_config(config, spaces[0].latent_width), spaces, mixed(seed, 0))
    frozen = [n for n, _ in network.named_parameters() if "skip" not in n]
    first = {name: value.clone() for name, value in network.state_dict().items()}
    whole = Vec2VecConfig(**(settings | {"interpolation": 1.0}))
    with fast_products():
        run = train([network], sides, whole, seed=seed, device=CPU, start=maps, frozen=frozen)[0]
        ridge = ridge_translator(spaces, sides, maps, config)
    trained = Translator(dict(zip(("source", "target"), fitted.spaces(), strict=True)), verdict=fitted.verdict)
    if args.starts is not None:
        trained.save_pretrained(args.starts / f"network-{seed}", force=True)
    half_way = between(first, run.latest, config.interpolation)
    found = {
        "start": truth(started, x, y),
        "network": truth(trained, x, y),
        "linear, same loss": truth(_translator(network.config, half_way, spaces), x, y),
        "linear, not interpolated": truth(_translator(network.config, run.latest, spaces), x, y),
        "ridge, same targets": truth(ridge, x, y),
    }
    for other in ("start", "linear, same loss", "linear, not interpolated"):
        line[f"gain over {other}"] = {
            way: paired_bootstrap(found["network"][way]["hits"], found[other][way]["hits"]) for way in WAYS
        }
    for name, scores in found.items():
        line[name] = {way: {k: v for k, v in scores[way].items() if k != "hits"} for way in WAYS}
    return line


WAYS = ("forward", "back")


def standard(args: argparse.Namespace, folder: Path, *names: str) -> list[np.ndarray]:
    """The standard split: source, target, and both held-out sides; of MiniLM and USE, or of two other encoders."""
    data = args.encoders if names else args.shared / "data"
    pair = ("--source", names[0], "--target", names[1]) if names else ()
    split(args.shared, folder, "--seed", 0, "--data", data, *pair)
    return [np.load(folder / f"{part}.npy").astype(np.float32) for part in PARTS]


def linear_start(args: argparse.Namespace, source: np.ndarray, target: np.ndarray, seed: int) -> tuple[Translator, Any]:
    """What ``method="sinkhorn"`` finds, and the seconds that it took: kept in a folder, if one is given."""
    kept = None if args.starts is None else args.starts / str(seed)
    if kept is not None and kept.is_dir():
        return Translator.from_pretrained(kept), None
    began = time.perf_counter()
    found = vec2vec.fit(source, target, "sinkhorn", seed=seed).translator
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        found.save_pretrained(kept)
    return found, time.perf_counter() - began


def ridge_translator(
    spaces: Sequence[Space],
    sides: Sequence[Rows],
    maps: Sequence[tuple[torch.Tensor, torch.Tensor]],
    config: Vec2VecConfig,
    blocks: int = 8,
) -> Translator:
    """Ridge regression of 8,192 rows onto the barycentres of the same plans, each way, as two spaces."""
    widths = [space.width for space in spaces]
    grams = [torch.zeros(w, w) for w in widths]
    crosses = [torch.zeros(widths[0], widths[1]), torch.zeros(widths[1], widths[0])]
    for step in range(blocks):
        rows = [draw(side, 1024, step, (i,)) for i, side in enumerate(sides)]
        pools = [draw(side, config.matching_rows, step, (7, i)) for i, side in enumerate(sides)]
        for s, plan in enumerate(plans_for(rows, pools, maps, config)):
            grams[s] += rows[s].T @ rows[s]
            crosses[s] += rows[s].T @ (plan @ pools[1 - s])
    found = [
        torch.linalg.solve(g + 1e-3 * g.trace() / len(g) * torch.eye(len(g)), c)
        for g, c in zip(grams, crosses, strict=True)
    ]
    # a latent of both spaces side by side: what comes from one is decoded into the other
    eye = [np.eye(w, dtype=np.float32) for w in widths]
    into = [np.pad(eye[0], ((0, 0), (0, widths[1]))), np.pad(eye[1], ((0, 0), (widths[0], 0)))]
    out_of = [np.vstack([eye[0], found[1].numpy()]), np.vstack([found[0].numpy(), eye[1]])]
    return Translator(
        {
            name: Space(space.preprocessor, basis, np.ascontiguousarray(decode))
            for name, space, basis, decode in zip(("source", "target"), spaces, into, out_of, strict=True)
        }
    )


PARTS = ("source", "target", "source_eval", "target_eval")


def _translator(shape: NetworkConfig, tensors: dict[str, torch.Tensor], spaces: Sequence[Space]) -> Translator:
    first, second = _network_spaces(shape, tensors, [space.preprocessor for space in spaces])
    return Translator({"source": first, "target": second})


def truth(translator: Translator, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Top-1 by raw cosine, as score.py has it, and mean centred cosine, both ways."""
    found = {}
    for way, (a, b, reverse) in {"forward": (x, y, False), "back": (y, x, True)}.items():
        there = translator.translate(a, reverse=reverse)
        native = translator.space(translator.spaces[0 if reverse else 1]).preprocessor
        cosine = (native.apply(there) * native.apply(b)).sum(axis=1).mean()
        one = hits(there, b)
        found[way] = {"top1": float(one.mean()), "centred": float(cosine), "hits": one}
    return found


def paired_bootstrap(one: np.ndarray, other: np.ndarray, draws: int = 2000) -> list[float]:
    """Difference of two hit rates on the same rows, and the ends of its 95% interval."""
    gain = one.astype(float) - other.astype(float)
    rng = np.random.default_rng(0)
    means = np.array([gain[rng.integers(0, len(gain), len(gain))].mean() for _ in range(draws)])
    return [float(gain.mean()), *map(float, np.quantile(means, (0.025, 0.975)))]


# --- three spaces -----------------------------------------------------------------------------------------------------

FEATURES = ("tfidf", "chargram", "ppmi", "w2v")


def student(args: argparse.Namespace, width: int = 256, ridge: float = 1e-3) -> np.ndarray:
    """A third encoder made from the shared texts: word and character statistics, regressed onto MiniLM.

    A static student: its features are those of `encoders.py`, taught by every fourth text of the first half; its axes
    are turned at random and cut to a width of its own.
    """
    columns = [np.load(args.encoders / f"mix.{name}.npy").astype(np.float32) for name in FEATURES]
    x = np.hstack([column / np.linalg.norm(column, axis=1, keepdims=True) for column in columns])
    y = np.load(args.shared / "data" / "mix.minilm.npy").astype(np.float32)
    x = x - x.mean(axis=0)
    taught = slice(None, len(x) // 2, 4)
    gram = x[taught].T @ x[taught]
    gram += ridge * np.trace(gram) / len(gram) * np.eye(len(gram), dtype=np.float32)
    made = x @ np.linalg.solve(gram, x[taught].T @ (y[taught] - y.mean(axis=0)))
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((made.shape[1], width)))[0]
    return np.asarray(made @ turn + 0.05, np.float32)


def three_spaces(args: argparse.Namespace, seed: int) -> Line:
    """MiniLM and USE trained together, the student added by MiniLM alone: student to USE beside the direct fit."""
    third = student(args)
    half = (len(third) - HELD) // 2
    with tempfile.TemporaryDirectory() as name:
        source, target, x, y = standard(args, Path(name))
    rows = np.random.default_rng(seed).permutation(half)[: args.rows]
    own, held = third[half + rows], third[2 * half :]  # texts of the target's half: none that MiniLM's side has
    trained = Translator.from_pretrained(args.starts / f"network-{seed}")
    began = time.perf_counter()
    larger = trained.add_space(
        own, "student", {"source": source[rows]}, seed=seed, threads=args.threads, steps=args.steps
    )
    line: Line = {"what": "spaces", "seed": seed, "rows": len(own), "steps": args.steps}
    line |= {"seconds": time.perf_counter() - began, "verdict": larger.record["added"][0]["verdict"]["label"]}
    direct = vec2vec.fit(own, target[rows], "sinkhorn", seed=seed, threads=args.threads)
    line["direct verdict"] = direct.verdict.label
    sides = {"student": held, "source": x, "target": y}
    for a, b in (("student", "source"), ("student", "target"), ("source", "target")):
        for s, t in ((a, b), (b, a)):
            line[f"{s} to {t}"] = float(hits(larger.translate(sides[s], source=s, target=t), sides[t]).mean())
    line["direct, student to target"] = float(hits(direct.translator.translate(held), y).mean())
    line["direct, target to student"] = float(hits(direct.translator.translate(y, reverse=True), held).mean())
    return line


HELD = 4096


def hits(there: np.ndarray, native: np.ndarray) -> np.ndarray:
    """Of which rows the translation's nearest native vector by raw cosine is their own."""
    t, n = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (there, native))
    similarity = t @ n.T
    nearest: np.ndarray = (similarity > np.diag(similarity)[:, None]).sum(axis=1) == 0
    return nearest


# --- from scratch -----------------------------------------------------------------------------------------------------

SMALL: dict[str, Any] = {"init": "random"}


def world(seed: int, *, latent: int = 16, clusters: int = 40, rows: int = 60_000, held: int = 1000) -> list[np.ndarray]:
    """Unpaired rows of a mixture through two random nonlinear encoders of 40 and 56 dimensions, and held-out pairs.

    With fewer clusters than the latent has dimensions, some of these are told by the clusters' covariances alone, and
    trainings end in maps that look right but are turned within them.

    Either encoder: x Q + ½ tanh(x U + b) H + m. The mixture's axes have falling variance and skewed centres, since a
    mixture that looks alike from several sides has no one answer.
    """
    rng = np.random.default_rng(seed)
    scale = 2.0 * 0.88 ** np.arange(latent)
    centres = scale * (rng.exponential(size=(clusters, latent)) - 1)
    weights = rng.dirichlet(np.full(clusters, 2.0))
    spread = 0.35 * scale * np.exp(0.4 * rng.standard_normal((clusters, latent)))

    def points(count: int) -> np.ndarray:
        chosen = rng.choice(clusters, count, p=weights)
        return centres[chosen] + spread[chosen] * rng.standard_normal((count, latent))

    def encoder(width: int) -> Callable[[np.ndarray], np.ndarray]:
        straight = np.linalg.qr(rng.standard_normal((width, latent)))[0].T
        into, out_of = rng.standard_normal((latent, 64)) / latent**0.5, rng.standard_normal((64, width)) / 8
        bias, mean = rng.standard_normal(64), 0.2 * rng.standard_normal(width)
        return lambda x: (x @ straight + 0.5 * np.tanh(x @ into + bias) @ out_of + mean).astype(np.float32)

    first, second = encoder(40), encoder(56)
    texts = points(held)
    return [first(points(rows)), second(points(rows)), first(texts), second(texts)]


def scratch(args: argparse.Namespace, seed: int) -> Line:
    """Random networks, no pairs: top-1 among 1,000 held-out, and what the verdict says."""
    source, target, x, y = world(seed)
    if args.unrelated:  # another mixture, through another encoder
        target, y = world(seed + 1000)[1::2]
    settings = SMALL | dict(map(_setting, args.set))
    began = time.perf_counter()
    fitted = vec2vec.fit(source, target, "vec2vec", seed=seed, threads=args.threads, **settings)
    seconds = time.perf_counter() - began
    found = truth(fitted.translator, x, y)
    line: Line = {"what": "unrelated" if args.unrelated else "scratch", "seed": seed, "settings": settings}
    checks = [entry for entry in fitted.history if entry["stage"] == "check"]
    line |= {"seconds": seconds, "value": checks[-1]["score"], "steps": checks[-1]["step"]}
    scores = {way: found[way]["top1"] for way in found}
    return line | {"verdict": fitted.verdict.label, "expected": fitted.verdict.expected_top1} | scores


REDUCED: dict[str, Any] = {"restarts": 1, "steps": 150}
ABLATION: dict[str, dict[str, Any]] = {
    "all": {},
    "no adversarial": {"adversarial": 0.0},
    "no cycle": {"cycle": 0.0},
    "no VSP": {"vsp": 0.0, "vsp_across": 0.0},
    "no reconstruction": {"reconstruction": 0.0},
    "no latent critic": {"latent_adversarial": 0.0, "latent_critics": "none"},
    "no matching": {"matching": 0.0, "anchors": 0},
    "no adversarial, no latent critic": {"adversarial": 0.0, "latent_adversarial": 0.0, "latent_critics": "none"},
    "relations for anchors": {"anchors": 0, "relations": 24},
}


def ablation(args: argparse.Namespace, seed: int, name: str, changes: dict[str, Any]) -> Line:
    """One training on half of the rows, without one of the losses: top-1 of the best check, by the score."""
    source, target, x, y = world(seed, rows=12_000)
    settings = SMALL | REDUCED | dict(map(_setting, args.set)) | changes
    config = Vec2VecConfig(**settings)
    began = time.perf_counter()
    with fast_products():
        found = fit_vec2vec(source, target, config, seed=seed)
    scores = truth(Translator(dict(zip(("source", "target"), found.spaces(), strict=True))), x, y)
    line: Line = {"what": "ablation", "without": name, "seed": seed, "seconds": time.perf_counter() - began}
    checks = [entry["score"] for entry in found.history if entry["stage"] == "check"]
    return line | {"value": max(checks)} | {way: scores[way]["top1"] for way in WAYS}


def from_scratch_on_real(args: argparse.Namespace, seed: int, name: str, seconds: float) -> Line:
    """One training from nothing on the real vectors for so many seconds, with top-1 against steps; for a GPU."""
    with tempfile.TemporaryDirectory() as folder:
        source, target, x, y = standard(args, Path(folder))
    natives = [Preprocessor.fit(rows) for rows in (source, target)]
    sides = [Rows.of(rows, native) for rows, native in zip((source, target), natives, strict=True)]
    widths = [native.width for native in natives]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    settings: dict[str, Any] = (REFERENCE if name == "reference" else OURS) | dict(map(_setting, args.set))
    steps = 20  # at first, to see how long one takes
    while True:
        config, curve = Vec2VecConfig(**(settings | {"steps": steps})), []
        with fast_products(), running(config, device) as accelerator:
            with seeded(mixed(seed, 0)):
                network = Network(network_config(config, config.latent or config.width), widths)
            if config.preset == "own":
                network.silence()
            trainer = Trainer([network], sides, config, accelerator, seed, (), ())
            began = time.perf_counter()
            for trainer.step in range(steps):
                trainer.take_step()
                if steps > 20 and ((trainer.step + 1) % max(1, steps // 10) == 0 or trainer.step + 1 == steps):
                    tensors = trainer.network_tensors(0)
                    spaces = _network_spaces(network.config, tensors, natives)
                    scores = truth(Translator(dict(zip(("source", "target"), spaces, strict=True))), x, y)
                    curve.append([trainer.step + 1, *(scores[way]["top1"] for way in WAYS)])
            if device.type == "cuda":
                torch.cuda.synchronize()
            taken = time.perf_counter() - began
        if steps > 20:
            break
        steps = max(21, int(20 * 0.8 * seconds / taken))
    line: Line = {"what": "real", "settings name": name, "seed": seed, "device": str(device), "steps": steps}
    line |= {"seconds": taken, "forward": curve[-1][1], "back": curve[-1][2], "converged": curve[-1][1] > CONVERGED}
    return line | {"curve": curve}


CONVERGED = 0.3  # top-1 among 4,096


def _setting(text: str) -> tuple[str, Any]:
    key, _, value = text.partition("=")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


def perform(args: argparse.Namespace) -> None:
    about = {"run": time.strftime("%Y-%m-%dT%H:%M:%S"), "machine": machine(), "threads": torch.get_num_threads()}

    def note(line: Line) -> None:
        add_line(args.results, line | about)
        print(json.dumps(line), flush=True)

    if args.what == "step":
        note(time_step(args))
    elif args.what == "restarts":
        note(time_restarts(args))
    elif args.what == "ablation":
        for (name, changes), seed in itertools.product(ABLATION.items(), args.seeds):
            note(ablation(args, seed, name, changes))
    elif args.what == "real":
        for name, seed in itertools.product(("reference", "ours"), args.seeds):
            note(from_scratch_on_real(args, seed, name, args.minutes * 60 / (2 * len(args.seeds))))
    else:
        for seed in args.seeds:
            note({"warm": warm, "scratch": scratch, "spaces": three_spaces, "whole": time_whole}[args.what](args, seed))


OURS: dict[str, Any] = {"init": "random", "width": 512, "latent": 512, "critic_width": 512, "restarts": 1, "rate": 5e-4}


def report(lines: list[Line]) -> str:
    """A table for each kind of line."""
    parts = []
    for what in dict.fromkeys(line["what"] for line in lines):
        rows = [line for line in lines if line["what"] == what]
        known = dict.fromkeys(key for line in rows for key in line)
        keys = [key for key in known if key not in ("what", "run", "machine", "scores", "changes")]
        parts.append(f"**{what}**\n\n" + markdown(keys, [[_cell(line.get(key)) for key in keys] for line in rows]))
    return "\n\n".join(parts)


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_cell(one)}" for key, one in value.items())
    if isinstance(value, list):
        return " ".join(map(_cell, value))
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "what", nargs="?", choices=["step", "restarts", "whole", "warm", "scratch", "ablation", "spaces", "real"]
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--width", type=int, default=512, help="of `restarts` and `whole`")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--minutes", type=float, default=9.0, help="of `real`, in all")
    parser.add_argument("--starts", type=Path, help="of `warm`: where linear starts are kept from one run to the next")
    parser.add_argument("--encoders", type=Path, help="of `spaces`: the folder that encoders.py made")
    parser.add_argument(
        "--rows", type=int, default=8000, help="of `spaces`: of the third space and those it is fitted to"
    )
    parser.add_argument("--steps", type=int, default=0, help="of `spaces`: of training for the new adapters")
    parser.add_argument("--unrelated", action="store_true", help="of `scratch`: the target is another mixture")
    parser.add_argument("--threads", type=int, help="of torch")
    parser.add_argument("--shared", type=Path, default=SHARED)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--report", action="store_true")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.report:
        print(report(need_lines(args.results)))
    elif args.what:
        perform(args)
    else:
        parser.error("say what to measure, or --report")


if __name__ == "__main__":
    main()

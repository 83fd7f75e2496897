"""The adversarial method: cost of a step, restarts together, the warm start on real vectors, from scratch, ablation.

    python benchmarks/adversarial.py step                # beside a plain eager loop with the same losses and updates
    python benchmarks/adversarial.py restarts            # four at once, and one after another
    python benchmarks/adversarial.py warm --seeds 0 1 2 3 4      # the standard split, beside its start and linear maps
    python benchmarks/adversarial.py scratch --seeds 0 1 2 3 4   # synthetic, truth known, nothing known at the start
    python benchmarks/adversarial.py ablation
    python benchmarks/adversarial.py real --minutes 9    # from scratch on the real vectors: for a GPU
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
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import HERE, SHARED, Line, add_line, machine, markdown, need_lines, read_lines, split
from torch import nn
from torch.nn import functional

import vec2vec
from vec2vec.align import fast_products
from vec2vec.align.adversarial import fit as fit_vec2vec
from vec2vec.align.adversarial import linear_network, network_config
from vec2vec.align.adversarial.config import Vec2VecConfig
from vec2vec.align.adversarial.data import Rows
from vec2vec.align.adversarial.trainer import Trainer, mixed, running, train
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
            self.critics = Trainer([self.network], sides, config, accelerator, 0, (), ()).stack.module.critics
        adam = {"betas": (config.beta1, config.beta2), "foreach": False}
        self.generator = torch.optim.Adam(self.network.parameters(), lr=config.rate, **adam)
        held = [*self.critics.outputs, *self.critics.latents]
        self.optimizers = [torch.optim.Adam(critic.parameters(), lr=config.critic_rate, **adam) for critic in held]

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
        return loss.item()


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
        seconds = _median(lambda a=a, b=b: a @ b, 50)
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
    """Seconds of a step of K = 4 networks of width 512 at once, beside four times that of one."""
    settings = REFERENCE | {"width": 512, "latent": 512, "critic_width": 512, "restarts": 4}
    config, sides = Vec2VecConfig(**settings), gaussian((384, 512))
    line: Line = {"what": "restarts"}
    with fast_products():
        for name, count in (("one", 1), ("four", 4)):
            with running(config, CPU) as accelerator:
                trainer = Trainer(random_networks(config, (384, 512), count), sides, config, accelerator, 0, (), ())
                line[name] = _median(trainer.take_step, args.repeats)
    return line | {"ratio": line["four"] / (4 * line["one"])}


# --- the warm start on real vectors -----------------------------------------------------------------------------------


def warm(args: argparse.Namespace, seed: int) -> Line:
    """The network, its linear start, and a linear map trained on the same soft targets, scored on held-out truth."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        split(args.shared, folder, "--seed", 0, "--data", args.shared / "data")
        source, target, x, y = (np.load(folder / f"{part}.npy").astype(np.float32) for part in PARTS)
    settings = dict(map(_setting, args.set))
    began = time.perf_counter()
    fitted = vec2vec.fit(source, target, "vec2vec", seed=seed, **settings)
    line: Line = {"what": "warm", "seed": seed, "settings": settings, "seconds": time.perf_counter() - began}
    line["kept"] = fitted.history[-1].get("kept")
    line["network"] = truth(fitted.translator, x, y)
    config = Vec2VecConfig(**settings)
    start = vec2vec.fit(source, target, "sinkhorn", seed=seed).translator
    line["start"] = truth(start, x, y)
    spaces = [space for name in start.spaces if isinstance(space := start.space(name), Space)]
    maps = [(torch.from_numpy(space.basis), torch.from_numpy(space.decode)) for space in spaces]
    network = linear_network(network_config(config, spaces[0].latent_width), spaces, mixed(seed, 0))
    frozen = [n for n, _ in network.named_parameters() if "skip" not in n]
    sides = [Rows.of(rows, space.preprocessor) for rows, space in zip((source, target), spaces, strict=True)]
    with fast_products():
        run = train([network], sides, config, seed=seed, device=CPU, start=maps, frozen=frozen)[0]
    line["linear, same targets"] = truth(_translator(network.config, run.best, spaces), x, y)
    line["difference"] = {
        way: paired_bootstrap(line["network"][way]["hits"], line["start"][way]["hits"]) for way in ("forward", "back")
    }
    for held in ("network", "start", "linear, same targets"):
        for way in ("forward", "back"):
            del line[held][way]["hits"]
    return line


PARTS = ("source", "target", "source_eval", "target_eval")


def _translator(shape: NetworkConfig, tensors: dict[str, torch.Tensor], spaces: Sequence[Space]) -> Translator:
    from vec2vec.align.adversarial import _network_spaces

    first, second = _network_spaces(shape, tensors, [space.preprocessor for space in spaces])
    return Translator({"source": first, "target": second})


def truth(translator: Translator, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Top-1 by raw cosine, as score.py has it, and mean centred cosine, both ways."""
    found = {}
    for way, (a, b, reverse) in {"forward": (x, y, False), "back": (y, x, True)}.items():
        there = translator.translate(a, reverse=reverse)
        native = translator.space(translator.spaces[0 if reverse else 1]).preprocessor
        t, n = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (there, b))
        similarity = t @ n.T
        hits = (similarity > np.diag(similarity)[:, None]).sum(axis=1) == 0
        cosine = (native.apply(there) * native.apply(b)).sum(axis=1).mean()
        found[way] = {"top1": float(hits.mean()), "centred": float(cosine), "hits": hits}
    return found


def paired_bootstrap(one: np.ndarray, other: np.ndarray, draws: int = 2000) -> list[float]:
    """Difference of two hit rates on the same rows, and the ends of its 95% interval."""
    gain = one.astype(float) - other.astype(float)
    rng = np.random.default_rng(0)
    means = np.array([gain[rng.integers(0, len(gain), len(gain))].mean() for _ in range(draws)])
    return [float(gain.mean()), *map(float, np.quantile(means, (0.025, 0.975)))]


# --- from scratch -----------------------------------------------------------------------------------------------------

SMALL: dict[str, Any] = {"init": "random"}


def world(seed: int, *, latent: int = 16, clusters: int = 12, rows: int = 6000, held: int = 1000) -> list[np.ndarray]:
    """Unpaired rows of a mixture through two random nonlinear encoders of 40 and 56 dimensions, and held-out pairs.

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


def scratch(args: argparse.Namespace, seed: int, **changes: Any) -> Line:
    source, target, x, y = world(seed)
    settings = SMALL | dict(map(_setting, args.set)) | changes
    began = time.perf_counter()
    fitted = vec2vec.fit(source, target, "vec2vec", seed=seed, **settings)
    seconds = time.perf_counter() - began
    found = truth(fitted.translator, x, y)
    line: Line = {"what": "scratch", "seed": seed, "settings": settings, "seconds": seconds, "changes": changes}
    scores = {way: found[way]["top1"] for way in found}
    return line | {"verdict": fitted.verdict.label, "expected": fitted.verdict.expected_top1} | scores


ABLATION: dict[str, dict[str, Any]] = {
    "all": {},
    "no adversarial": {"adversarial": 0.0},
    "no cycle": {"cycle": 0.0},
    "no VSP": {"vsp": 0.0, "vsp_across": 0.0},
    "no reconstruction": {"reconstruction": 0.0},
    "no latent critic": {"latent_adversarial": 0.0, "latent_critics": "none"},
    "no relations, no matching": {"relations": 0, "matching": 0.0},
}


def from_scratch_on_real(args: argparse.Namespace, seed: int, name: str, settings: dict[str, Any]) -> Line:
    """One training from nothing on the real vectors, with top-1 at its end; for a GPU."""
    with tempfile.TemporaryDirectory() as folder:
        split(args.shared, Path(folder), "--seed", 0, "--data", args.shared / "data")
        source, target, x, y = (np.load(Path(folder) / f"{part}.npy").astype(np.float32) for part in PARTS)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    began = time.perf_counter()
    with fast_products():
        found = fit_vec2vec(source, target, Vec2VecConfig(**settings), seed=seed, device=device)
    scores = truth(Translator(dict(zip(("source", "target"), found.spaces(), strict=True))), x, y)
    line: Line = {"what": "real", "settings name": name, "seed": seed, "seconds": time.perf_counter() - began}
    line |= {way: scores[way]["top1"] for way in scores}
    checks = [entry for entry in found.history if entry["stage"] == "check"]
    return line | {"steps": settings["steps"], "scores": [[c["run"], c["step"], c["score"]] for c in checks]}


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
            note(scratch(args, seed, **changes) | {"what": "ablation", "without": name})
    elif args.what == "real":
        share = args.minutes * 60 / (2 * len(args.seeds))
        for name, seed in itertools.product(("reference", "ours"), args.seeds):
            settings = (REFERENCE | {"rate": 2e-5}) if name == "reference" else dict(OURS)
            settings |= {"steps": max(10, int(share / args.step_seconds)), "check_every": 200, "max_rows": 65_536}
            note(from_scratch_on_real(args, seed, name, settings | dict(map(_setting, args.set))))
    else:
        for seed in args.seeds:
            note(warm(args, seed) if args.what == "warm" else scratch(args, seed))


OURS: dict[str, Any] = {"init": "random", "width": 512, "latent": 512, "critic_width": 512, "restarts": 1, "rate": 5e-4}


def report(lines: list[Line]) -> str:
    """A table for each kind of line."""
    parts = []
    for what in dict.fromkeys(line["what"] for line in lines):
        rows = [line for line in lines if line["what"] == what]
        keys = [key for key in rows[0] if key not in ("what", "run", "machine", "settings", "scores", "changes")]
        parts.append(f"**{what}**\n\n" + markdown(keys, [[_cell(line.get(key)) for key in keys] for line in rows]))
    return "\n\n".join(parts)


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_cell(one)}" for key, one in value.items())
    if isinstance(value, list):
        return " ".join(map(_cell, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["step", "restarts", "warm", "scratch", "ablation", "real"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--minutes", type=float, default=9.0, help="of `real`, in all")
    parser.add_argument("--step-seconds", type=float, default=0.012, help="of `real`: what a step takes, about")
    parser.add_argument("--shared", type=Path, default=SHARED)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--report", action="store_true")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.report:
        print(report(need_lines(read_lines(args.results), args.results)))
    elif args.what:
        perform(args)
    else:
        parser.error("say what to measure, or --report")


if __name__ == "__main__":
    main()

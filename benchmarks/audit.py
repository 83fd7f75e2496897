"""What an audit reads from USE's vectors of the shared texts with MiniLM as the known encoder.

    python benchmarks/audit.py attributes [--task genre] [--setting mixed] [--paired]
    python benchmarks/audit.py inverter --minutes 30       # trained on the reference's half of the mixed corpus
    python benchmarks/audit.py words [--rows 200]           # with that inverter
    python benchmarks/audit.py defences [--names rotation,noise-1]      # the same
    python benchmarks/audit.py --report

Tasks, each one label a row unless it is said: ``domain`` of a text (5); ``genre`` of a film (25, several each);
``disease`` of a medical answer (MedQuAD's, all that the texts name); ``subject`` of an Enron mail, among 101.

Settings:

========  ==========================================================================================================
within    the leak is of that domain, and the reference holds other texts of it
later     leak and reference are the mixed corpus without that domain, whose vectors come later (Enron is never in it)
alone     the leak is that domain alone, and the reference is the mixed corpus without it
mixed     leak and reference are the mixed corpus, with that domain
========  ==========================================================================================================

For the task ``domain``, which has no domain of its own, there is only ``mixed``. Translators are kept in
benchmarks/cache, by setting and seed. With --paired the translator is ridge on the pairs of all rows that it may see:
how much of the ceiling a linear translation can reach. No text of the data is written: of words, the figures alone.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import vec2vec
from vec2vec.align import limited_threads
from vec2vec.audit import LabelSet, Reference, Truth, audit
from vec2vec.audit.inversion import train_inverter
from vec2vec.audit.result import as_json
from vec2vec.translator import Translator

HERE = Path(__file__).resolve().parent
DATA = HERE.parent.parent / "shared" / "data"
CACHE = HERE / "cache"
RESULTS = HERE / "results" / "audit.jsonl"
DOMAIN = {"genre": "movies", "disease": "medquad", "subject": "enron"}
GENRES, ROWS, PAIRED_HALF = 25, 2000, 27_232
SETTINGS = {"domain": ["mixed"], "genre": ["within", "later", "alone", "mixed"],
            "disease": ["within", "later", "alone", "mixed"], "subject": ["within", "later", "alone"]}  # fmt: skip
DESCRIBED = {
    "brown": "general written English: newspaper reports, essays, letters and novels",
    "medquad": "a medical answer about a disease, its symptoms and treatment, or about a drug",
    "movies": "the plot of a film: what happens to its characters",
    "reviews": "a critic's review of a film, and what is good or bad about it",
    "tweets": "a tweet: a short, informal message on social media",
}


@dataclass(frozen=True)
class Texts:
    """All texts, those of ``mix`` first, with both encoders' vectors."""

    texts: list[str]
    domains: np.ndarray
    labels: list[tuple[str, ...]]
    use: np.ndarray
    minilm: np.ndarray
    mixed: int


@cache
def load() -> Texts:
    records: list[dict[str, Any]] = []
    counts = []
    for name in ("mix", "ood"):
        with gzip.open(DATA / f"{name}.jsonl.gz", "rt", encoding="utf8") as lines:
            records += [json.loads(line) for line in lines]
        counts.append(len(records))
    use, minilm = (
        np.concatenate([np.load(DATA / f"{part}.{encoder}.npy") for part in ("mix", "ood")]).astype(np.float32)
        for encoder in ("use", "minilm")
    )
    labels = [tuple(r["labels"]) if isinstance(r["labels"], list) else (r["labels"],) for r in records]
    domains = np.array([r["domain"] for r in records])
    return Texts([r["text"] for r in records], domains, labels, use, minilm, counts[0])


@dataclass(frozen=True)
class Rows:
    """Row numbers: what a translator is fitted on (leak, reference), and what is read."""

    leak: np.ndarray
    reference: np.ndarray
    read: np.ndarray


def rows_of(task: str, setting: str, seed: int) -> Rows:
    """Disjoint rows for a task and a setting."""
    data = load()
    rng = np.random.default_rng(seed)
    mix = np.arange(len(data.texts)) < data.mixed
    if setting == "mixed":
        first, second = np.arange(PAIRED_HALF), np.arange(PAIRED_HALF, 2 * PAIRED_HALF)
        of_task = first if task == "domain" else first[data.domains[first] == DOMAIN[task]]
        return Rows(first, second, rng.permutation(of_task)[:ROWS])
    own = rng.permutation(np.flatnonzero(data.domains == DOMAIN[task]))
    if task == "subject" and setting == "later":  # no mail is in the mixed corpus
        return Rows(np.arange(PAIRED_HALF), np.arange(PAIRED_HALF, 2 * PAIRED_HALF), own[:ROWS])
    others = rng.permutation(np.flatnonzero(mix & (data.domains != DOMAIN[task])))
    half, middle = len(own) // 2, len(others) // 2
    if setting == "within":
        return Rows(own[:half], own[half:], own[:half][:ROWS])
    if setting == "later":
        return Rows(others[:middle], others[middle:], own[:ROWS])
    return Rows(own[:half], others[middle:], own[:half][:ROWS])


def translator_of(task: str, setting: str, seed: int, rows: Rows) -> tuple[Translator, float]:
    """Fitted once for all tasks with the same rows."""
    whole = setting == "mixed" or (task, setting) == ("subject", "later")
    name = "mixed" if whole else f"{setting}-{DOMAIN[task]}"
    folder = CACHE / f"audit-{name}-{seed}"
    if not folder.exists():
        data = load()
        fit = vec2vec.fit(
            data.use[rows.leak],
            data.minilm[rows.reference],
            seed=seed,
            source_name="use",
            target_name="minilm",
            threads=1,
        )
        CACHE.mkdir(exist_ok=True)
        fit.translator.save_pretrained(folder)
    found = Translator.from_pretrained(folder)
    return found, float(found.record["seconds"])


def paired_translator(rows: Rows) -> Translator:
    """Ridge on the pairs of the same rows, without those that are read."""
    data = load()
    seen = np.setdiff1d(np.r_[rows.leak, rows.reference], rows.read)
    pairs = data.use[seen], data.minilm[seen]
    return vec2vec.fit(*pairs, pairs=pairs, method="ridge", source_name="use", target_name="minilm").translator


def labels_of(task: str, read: np.ndarray) -> tuple[LabelSet, list[tuple[str, ...]]]:
    """The labels with descriptions, and those of every text."""
    data = load()
    if task == "domain":
        return LabelSet(DESCRIBED, "domain"), [(str(d),) for d in data.domains]
    own = np.flatnonzero(data.domains == DOMAIN[task])
    if task == "subject":
        own = read
    count: dict[str, int] = {}
    for i in own:
        for label in data.labels[i]:
            if label.strip():
                count[label] = count.get(label, 0) + 1
    names = sorted(count, key=lambda label: (-count[label], label))
    if task == "genre":
        return LabelSet({n: f"a film of the genre {n.lower()}" for n in names[:GENRES]}, "genre"), data.labels
    return LabelSet({n: n for n in names}, task), data.labels


def attributes(task: str, setting: str, seed: int, *, paired: bool) -> dict[str, Any]:
    """One line of the results."""
    data, rows = load(), rows_of(task, setting, seed)
    started = time.perf_counter()
    if paired:
        translator, fit_seconds = paired_translator(rows), None
    else:
        translator, fit_seconds = translator_of(task, setting, seed, rows)
    labels, every = labels_of(task, rows.read)
    described = vec2vec.embed(list(labels.descriptions.values()), "minilm", threads=1)
    labels = LabelSet(labels.descriptions, labels.name, described)
    reference = Reference(
        data.minilm[rows.reference], labels=None if task == "subject" else _pick(every, rows.reference)
    )
    found = audit(
        data.use[rows.read],
        None,
        reference,
        scope="the shared data",
        labels=labels,
        truth=Truth(labels=_pick(every, rows.read), vectors=data.minilm[rows.read]),
        translator=translator,
        seed=seed,
        threads=1,
        leak_rows=ROWS,
        candidates=101 if task == "subject" else None,
        picture_rows=10,
    )
    line: dict[str, Any] = {
        "task": task, "setting": setting, "seed": seed, "translator": "paired" if paired else "unpaired",
        "verdict": found.verdict.label, "fit_seconds": fit_seconds,
        "seconds": round(time.perf_counter() - started, 1), "translation": as_json(found.translation),
        "notes": list(found.notes), "readers": [],
    }  # fmt: skip
    for one in found.attributes:
        tree = as_json(asdict(one))
        keep = ("kind", "rows", "translated", "naive", "native", "chance", "majority", "lift")
        line["readers"].append({key: tree[key] for key in keep} | {"labels": len(one.names)})
    return line


def inverter(minutes: float, seed: int) -> dict[str, Any]:
    """A decoder of the known encoder, trained on the texts of the mixed corpus that stand in no leak and on no mail."""
    data, rows = load(), rows_of("domain", "mixed", seed).reference
    texts = [data.texts[i] for i in rows]
    encoder = vec2vec.get_encoder("minilm", threads=1)
    folder = CACHE / "audit-inverter"
    with limited_threads(1):
        made = train_inverter(
            texts, data.minilm[rows], encoder, checkpoint=CACHE / "audit-inverter.state", minutes=minutes, seed=seed
        )
    made.save_pretrained(folder, force=True)
    return {"task": "inverter", "seed": seed, "minutes": minutes, "record": as_json(made.record)}


def words(inverter: str, rows: int, seed: int, rounds: int) -> dict[str, Any]:
    """Enron mails, by a translator of the mixed corpus and an inverter that have seen none."""
    data, chosen = load(), rows_of("subject", "later", seed)
    translator, _ = translator_of("subject", "later", seed, chosen)
    read = np.sort(chosen.read[:rows])
    found = audit(
        data.use[read],
        "minilm",
        Reference(data.minilm[chosen.reference], tuple(data.texts[i] for i in chosen.reference)),
        scope="the shared data",
        truth=Truth(tuple(data.texts[i] for i in read), vectors=data.minilm[read]),
        translator=translator,
        inverter=inverter,
        threads=1,
        seed=seed,
        invert_rows=rows,
        rounds=rounds,
        picture_rows=10,
    )
    assert found.inversion is not None
    tree = found.to_dict()["inversion"]
    tree.pop("examples")
    return {"task": "words", "seed": seed, "rounds": rounds, "seconds": round(found.seconds, 1), **tree}


def defences(names: str, inverter: str, seed: int) -> dict[str, Any]:
    """The domain of a text, and words, from 8,000 protected vectors of the mixed corpus. Each defence costs a fit."""
    data, rows = load(), rows_of("domain", "mixed", seed)
    translator, _ = translator_of("domain", "mixed", seed, rows)
    every: list[tuple[str, ...]] = [(str(d),) for d in data.domains]
    read = np.sort(np.random.default_rng(seed).permutation(rows.leak)[:8000])
    found = audit(
        data.use[read],
        "minilm",
        Reference(
            data.minilm[rows.reference],
            tuple(data.texts[i] for i in rows.reference),
            labels=_pick(every, rows.reference),
        ),
        scope="the shared data",
        truth=Truth(tuple(data.texts[i] for i in read), labels=_pick(every, read), vectors=data.minilm[read]),
        translator=translator,
        inverter=inverter,
        defences=names,
        invert_rows=50,
        rounds=0,
        seed=seed,
        threads=1,
        picture_rows=10,
    )
    tree = found.to_dict()
    return {"task": "defences", "seed": seed, "seconds": round(found.seconds, 1), "defences": tree["defences"],
            "recommendation": tree["recommendation"]}  # fmt: skip


def report() -> str:
    """The results as Markdown."""
    lines = [json.loads(line) for line in RESULTS.read_text(encoding="utf8").splitlines()]
    head = "task | setting | seed | verdict | reader | chance | untranslated | translated | ceiling | lift | by pairs"
    out = [f"| {head} |", "| --- " * 11 + "|"]
    paired = {
        (line["task"], line["setting"], line["seed"], one["kind"]): one["lift"]
        for line in lines
        if line.get("translator") == "paired"
        for one in line["readers"]
    }
    for line in lines:
        if line.get("translator") != "unpaired":
            continue
        where = line["task"], line["setting"], line["seed"]
        for one in line["readers"] or [None]:
            cells = [*map(str, where), line["verdict"]]
            if one is not None:
                shown = [_figure(one[key]["top1"]) for key in ("chance", "naive", "translated", "native")]
                lifts = one["lift"], paired.get((*where, one["kind"]))
                cells += [one["kind"], *shown, *("" if lift is None else f"{lift:.2f}" for lift in lifts)]
            out.append("| " + " | ".join(cells) + " |")
    for line in lines:
        if line["task"] == "words":
            out += ["", "| vectors | method | token F1 | BLEU | ROUGE-L | cosine | revealing |", "| --- " * 7 + "|"]
            for one in line["recoveries"]:
                m = one["measures"]
                cells = [one["vectors"], one["method"]]
                cells += [_figure(m[key]) for key in ("token_f1", "bleu", "rouge_l", "cosine", "revealing")]
                out.append("| " + " | ".join(cells) + " |")
        if line["task"] == "defences":
            keys = ("top1", "attributes", *(("token_f1", "revealing") if line["defences"][0]["token_f1"] else ()))
            titles = ("defence", "attack", "recall@10", "leakage", "top-1", *keys[1:])
            out += ["", "| " + " | ".join(titles) + " |", "| --- " * len(titles) + "|"]
            for one in line["defences"]:
                cells = [one["title"], one["verdict"], _figure(one["recall"]), f"{one['leakage']:.2f}"]
                cells += [_figure(one[key]) for key in keys]
                out.append("| " + " | ".join(cells) + " |")
    return "\n".join(out)


def _figure(one: dict[str, float]) -> str:
    low, high = f"{one['low']:.3f}", f"{one['high']:.3f}"
    return f"{one['value']:.3f}" if low == high else f"{one['value']:.3f} ({low}–{high})"


def _pick(values: list[tuple[str, ...]], rows: np.ndarray) -> tuple[tuple[str, ...], ...]:
    return tuple(values[i] for i in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("attributes", "inverter", "words", "defences"))
    parser.add_argument("--task", choices=tuple(SETTINGS))
    parser.add_argument("--setting")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--inverter", default=str(CACHE / "audit-inverter"), help="of `words` and `defences`")
    parser.add_argument("--minutes", type=float, default=30.0, help="of `inverter`")
    parser.add_argument("--names", default="all")
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--paired", action="store_true", help="of `attributes`")
    parser.add_argument("--report", action="store_true")
    a = parser.parse_args()
    if a.report:
        print(report())
        return
    for line in lines_of(a):
        with open(RESULTS, "a", encoding="utf8") as stream:
            stream.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)


def lines_of(a: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What is asked for, one after the other."""
    if a.what == "defences":
        yield defences(a.names, a.inverter, a.seed)
    elif a.what == "inverter":
        yield inverter(a.minutes, a.seed)
    elif a.what == "words":
        yield words(a.inverter, a.rows, a.seed, a.rounds)
    else:
        for task in [a.task] if a.task else SETTINGS:
            for setting in SETTINGS[task]:
                if a.setting in (None, setting):
                    yield attributes(task, setting, a.seed, paired=a.paired)


if __name__ == "__main__":
    main()

"""What a run leaves behind: ``results.parquet``, tables as Markdown, LaTeX and HTML, and figures."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vec2vec.bench.config import BenchConfig, CorpusData, FilesData, SampleData
from vec2vec.bench.grid import Cell, Grid
from vec2vec.bench.methods import find_bench_method
from vec2vec.bench.runner import Bench
from vec2vec.stores import atomic_file

Line = dict[str, Any]
TEXT: tuple[str, ...] = (
    "cell",
    "experiments",
    "status",
    "error",
    "data",
    "source",
    "target",
    "method",
    "label",
    "kind",
    "scored_on",
)
TEXT += ("direction", "matching", "system", "verdict", "command", "versions", "settings", "machine", "device", "date")
TEXT += ("warnings", "source_domains", "target_domains")
WHOLE: tuple[str, ...] = (
    "rows_source",
    "rows_target",
    "pairs",
    "pairs_used",
    "seed",
    "pool",
    "queries",
    "threads",
    "fit_peak_mib",
    "peak_mib",
)
TRUTHS = ("whole",)
FIGURES: tuple[str, ...] = (
    "cosine",
    "centred_cosine",
    "top1",
    "top1_low",
    "top1_high",
    "top5",
    "top16",
    "mean_rank",
    "median_rank",
)
FIGURES += ("overlap10", "recall1", "recall10", "ndcg10")
FIGURES += tuple(f"{side}_{name}" for side in ("target", "source") for name in ("recall1", "recall10", "ndcg10"))
FIGURES += tuple(f"{name}_to_{side}" for side in ("target", "source") for name in ("recall1", "recall10", "ndcg10"))
FIGURES += (
    "expected_top1",
    "expected_low",
    "expected_high",
    "fit_seconds",
    "fit_cpu_seconds",
    "score_seconds",
    "seconds",
)
FIGURES += ("cpu_seconds",)


def write_report(bench: Bench) -> list[Path]:
    """Write everything anew from the results that are there; the files written.

    Raises
    ------
    OutputError : a file cannot be written
    """
    from vec2vec.bench.figures import write_figures
    from vec2vec.bench.tables import all_tables, to_html, to_latex, to_markdown

    results = bench.results()
    rows = list(flatten(bench.config, bench.grid, results))
    written = [bench.out / "results.parquet"]
    write_parquet(written[0], rows)
    tables = all_tables(bench.config, rows)
    head = (
        " ".join(bench.config.title.split()),
        [*filter(None, [" ".join(bench.config.note.split())]), *conditions(rows, len(bench.grid.cells))],
    )

    def write_tables(figures: Sequence[Path]) -> list[Path]:
        texts = {
            "tables.md": to_markdown(*head, tables, [path.relative_to(bench.out) for path in figures]),
            "tables.tex": to_latex(*head, tables),
            "tables.html": to_html(*head, tables, figures),
        }
        for name, text in texts.items():
            with atomic_file(bench.out / name, force=True) as stream:
                stream.write(text.encode())
        return [bench.out / name for name in texts]

    write_tables(())  # should a figure fail, they are there
    figures = write_figures(bench, rows, results, bench.out / "figures")
    return [*written, *write_tables(figures), *figures]


def flatten(config: BenchConfig, grid: Grid, results: Mapping[str, Line]) -> Iterator[Line]:
    """A row for each figure of each cell; one without figures where a cell has none, or failed.

    Its pairs are those that were used, the mean over its seeds: of pairs that repeat, each seed draws others.
    """
    members: dict[str, list[str]] = {}
    pairs = _mean_pairs(grid, results)
    for experiment, names in grid.experiments.items():
        for name in names:
            members.setdefault(name, []).append(experiment)
    for name, result in results.items():
        cell, about = grid.cells[name], result.get("about", {})
        common = _common(config, cell, result) | {"cell": name, "experiments": ",".join(members[name])}
        common["pairs"] = pairs[_but_for_its_seed(cell)]
        for line in result.get("lines") or [{}]:
            row = common | {key: about.get(key) for key in (*TEXT, *WHOLE, *FIGURES) if key in about} | line
            row["versions"] = json.dumps(about.get("versions", {}))
            row["warnings"] = json.dumps(about.get("warnings", []))
            yield row


def _mean_pairs(grid: Grid, results: Mapping[str, Line]) -> dict[str, int]:
    """The pairs that fits used, by what is the same for all seeds."""
    used: dict[str, list[int]] = {}
    for name, result in results.items():
        used.setdefault(_but_for_its_seed(grid.cells[name]), []).append(_used_pairs(grid.cells[name], result))
    return {key: round(statistics.mean(some)) for key, some in used.items()}


def _but_for_its_seed(cell: Cell) -> str:
    return json.dumps(asdict(cell) | {"seed": None, "inputs": None}, sort_keys=True)


def _used_pairs(cell: Cell, result: Line) -> int:
    return int(result.get("about", {}).get("fitted_pairs", cell.pairs))


def _common(config: BenchConfig, cell: Cell, result: Line) -> Line:
    about = result.get("about", {})
    fitted = about.get("fitted_rows") or [None, None]
    source, target = space_labels(config, cell)
    return {
        "status": result["status"],
        "error": result.get("error"),
        "data": cell.data,
        "source": source,
        "target": target,
        "method": cell.method,
        "label": find_bench_method(cell.method, config.methods).label,
        "kind": cell.kind,
        "settings": json.dumps(dict(cell.settings)),
        "rows_source": fitted[0],
        "rows_target": fitted[1],
        "pairs_used": _used_pairs(cell, result),
        "seed": cell.seed,
        "source_domains": ",".join(cell.source_domains),
        "target_domains": ",".join(cell.target_domains),
    } | {key: result.get(key) for key in ("command", "threads", "machine", "date", "seconds")}


def space_labels(config: BenchConfig, cell: Cell) -> tuple[str, str]:
    """What tables call the two spaces of a cell."""
    data = config.data[cell.data]
    if isinstance(data, CorpusData):
        return config.spaces[cell.source].label or cell.source, config.spaces[cell.target].label or cell.target
    if isinstance(data, SampleData):
        return "MiniLM", "USE"
    assert isinstance(data, FilesData) or data.kind == "words"
    return data.source_label, data.target_label


def conditions(rows: Iterable[Line], cells: int) -> list[str]:
    """When and where the figures were made, and how much of the grid there is."""
    rows = list(rows)
    done = len({row["cell"] for row in rows if row["status"] == "done"})
    failed = len({row["cell"] for row in rows if row["status"] == "failed"})
    lines = [f"{done:,} of {cells:,} cells are done" + (f", {failed:,} failed" if failed else "") + "."]
    dates = sorted(row["date"][:10] for row in rows)
    if dates:
        machines = sorted({f"{row['machine']}, {row['threads']} thread(s) a cell" for row in rows})
        versions = sorted({json.loads(row["versions"]).get("vec2vec", "") for row in rows if row["status"] == "done"})
        when = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
        lines.append(f"{when}; {'; '.join(machines)}; vec2vec {', '.join(versions)}.")
    return lines


def write_parquet(path: Path, rows: list[Line]) -> None:
    """All rows as a table with the same columns always."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = [(name, pa.string()) for name in TEXT] + [(name, pa.int64()) for name in WHOLE]
    fields += [(name, pa.bool_()) for name in TRUTHS] + [(name, pa.float64()) for name in FIGURES]
    table = pa.Table.from_pylist(rows, schema=pa.schema(fields))
    with atomic_file(path, force=True) as stream:
        pq.write_table(table, stream)

"""A run from end to end: cells in processes of their own, kill and resume, failures, tables and figures."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from bench_data import CORPUS, FILES, UNPAIRED, WORDS, experiment, toml
from typer.testing import CliRunner

from vec2vec.bench import Bench, BenchProgress, write_report
from vec2vec.bench.config import load_config
from vec2vec.bench.figures import write_figures
from vec2vec.bench.grid import Cell
from vec2vec.bench.report import flatten
from vec2vec.bench.runner import Child
from vec2vec.bench.tables import all_tables, paper_table, worth_table
from vec2vec.bench.work import perform
from vec2vec.cli import app
from vec2vec.errors import ConfigError, OutputError

SPACES = [["left", "right"]]


def write(folder: Path, *parts: str) -> Path:
    path = folder / "run.toml"
    path.write_text("\n".join(parts))
    return path


@pytest.fixture(scope="module")
def ran(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """One run over every kind of data, by the command; its folder and what the command said."""
    folder = tmp_path_factory.mktemp("ran")
    matching = "[methods.ot-emd]\nsettings = { sample = 30 }\n"
    common = {"spaces": SPACES, "data": "texts", "pairs": [10, 100]}
    path = write(
        folder,
        toml(data, CORPUS, WORDS, matching),
        experiment(name="texts", methods=["procrustes", "identity", "ot-emd"], **common),
        experiment(name="words", data="words", methods=["procrustes"], pairs=[200]),
    )
    said = CliRunner().invoke(app, ["bench", str(path), "--out", str(folder / "out"), "--workers", "2"])
    return folder / "out", said


def test_a_run_writes_results_tables_and_figures(ran: tuple[Path, Any]) -> None:
    out, said = ran
    assert said.exit_code == 0, said.output
    assert "5 of 5 cells are done" in said.output
    rows = pq.read_table(out / "results.parquet").to_pylist()
    assert {row["status"] for row in rows} == {"done"}
    for row in rows:
        assert row["command"].endswith(f"--only {row['cell']}")
        assert json.loads(row["versions"]).keys() >= {"vec2vec", "numpy", "torch", "POT", "python"}
        assert row["machine"]
        assert row["peak_mib"] > 20

    def top1(method: str, **wanted: Any) -> float:
        wanted = {"direction": "forward", "matching": "cosine", "experiments": "texts", "pairs": 0} | wanted
        found = [r for r in rows if r["method"] == method and all(r[key] == value for key, value in wanted.items())]
        assert len(found) == 1
        return float(found[0]["top1"])

    assert top1("procrustes", pairs=100) > 0.5
    assert top1("procrustes", pairs=100, direction="backward") > 0.5
    assert top1("identity") < 0.2
    assert top1("ot-emd", matching="Hungarian") < 0.3
    assert top1("procrustes", experiments="words", pairs=200) > 0.7
    assert top1("procrustes", experiments="words", pairs=200, matching="CSLS") > 0.7
    verdicts = {row["verdict"] for row in rows if row["method"] == "procrustes"}
    assert verdicts <= {"aligned", "uncertain", "not aligned"}
    assert max(row["overlap10"] for row in rows if row["method"] == "procrustes" and row["overlap10"]) > 0.8
    assert sorted(path.name for path in (out / "figures").iterdir()) == [
        "texts-cosines-left-Right.png",
        "texts-pairs.png",
    ]
    markdown = (out / "tables.md").read_text()
    assert "left → Right, texts, 60 candidates" in markdown
    assert "| OT, exact | the scored texts |" in markdown
    assert "![texts-pairs](figures/texts-pairs.png)" in markdown
    page = (out / "tables.html").read_text()
    assert page.count("<img") == 2
    assert 'src="data:image/png;base64,iVBOR' in page
    latex = (out / "tables.tex").read_text()
    assert latex.count(r"\begin{tabular}") == latex.count(r"\bottomrule") == markdown.count("\n## ") - 1
    assert r"left $\to$ Right" in latex


def test_a_fit_that_is_another_one_again_counts_once(ran: tuple[Path, Any]) -> None:
    out, _ = ran
    config, _ = load_config(str(out.parent / "run.toml"))
    rows = pq.read_table(out / "results.parquet").to_pylist()
    again = [row | {"cell": f"{row['cell']}-all"} for row in rows]
    assert all_tables(config, [*rows, *again]) == all_tables(config, rows)
    other = [row | {"cell": f"{row['cell']}-s1", "seed": row["seed"] + 1} for row in rows]
    assert all_tables(config, [*rows, *other]) != all_tables(config, rows)
    other = [row | {"cell": f"{row['cell']}-m", "method": f"{row['method']}-m"} for row in rows]
    assert all_tables(config, [*rows, *other]) != all_tables(config, rows)


def test_tables_go_by_the_pairs_that_a_fit_used(data: Path, tmp_path: Path) -> None:
    for name in ("left", "right", "left-eval", "right-eval", "left-pairs", "right-pairs"):
        x = np.load(data / f"{name}.npy")
        np.save(tmp_path / f"{name}.npy", np.tile(x[:20], (3, 1)) if name.endswith("pairs") else x)
    path = write(tmp_path, toml(tmp_path, FILES), experiment(data="pairs", methods=["procrustes"], pairs=[60]))
    bench = Bench(str(path), tmp_path / "out")
    ((name, cell),) = bench.grid.cells.items()
    result = {"status": "done", "seconds": 1.0} | json.loads(json.dumps(perform(bench.places, cell, 1)))
    rows = list(flatten(bench.config, bench.grid, {name: result}))
    assert {row["pairs"] for row in rows} == {20}
    assert "20" in all_tables(bench.config, rows)[0].table.sections[0].rows[0]
    del result["about"]["fitted_pairs"]  # as results of an earlier version lack it
    assert {row["pairs"] for row in flatten(bench.config, bench.grid, {name: result})} == {60}


def test_seeds_of_pairs_that_repeat_stand_in_one_line(data: Path, tmp_path: Path) -> None:
    settings = {"data": "pairs", "methods": ["procrustes"], "pairs": [20, 60], "seeds": [0, 1, 2]}
    bench = Bench(str(write(tmp_path, toml(data, FILES), experiment(**settings))), tmp_path / "out")

    def result(cell: Cell) -> dict[str, Any]:
        about = {"fitted_pairs": cell.pairs - (cell.seed if cell.pairs == 60 else 0), "fitted_rows": [60, 60]}
        scores = {"top1": 0.5 + cell.seed / 10, "mean_rank": 2.0, "cosine": 0.5, "scored_on": "pairs", "pool": 60}
        line = scores | {"direction": "forward", "matching": "cosine", "whole": True}
        return {"status": "done", "seconds": 1.0, "about": about, "lines": [line]}

    rows = list(flatten(bench.config, bench.grid, {name: result(cell) for name, cell in bench.grid.cells.items()}))
    assert {(row["pairs"], row["pairs_used"]) for row in rows} == {(20, 20), (59, 60), (59, 59), (59, 58)}
    quality, *others = all_tables(bench.config, rows)
    seeds = quality.table.columns.index("seeds")
    assert [line[seeds] for line in quality.table.sections[0].rows] == ["3", "3"]
    paper = next(one for one in others if "M1" in one.title)
    assert "0.600" in str(paper.table.sections[0].rows)  # the mean of three seeds, not one of them


def test_the_most_pairs_are_those_of_either_pair_of_spaces() -> None:
    few, many = (ROW | {"source": name, "pairs": n, "rows_source": 9} for name, n in (("a", 50), ("c", 200)))
    scores = {"mean_rank": 1.0, "cosine": 0.5, "label": "Procrustes"}
    table = paper_table([one | scores for one in (few, many)], "t")
    assert table is not None
    assert [line[0] for line in table.table.sections[0].rows] == ["a", "c"]


def pooled_rows() -> list[dict[str, Any]]:
    """Fits scored among 80 and 800 candidates of more rows, a matching among all of its own 200."""
    kinds = {"Sinkhorn": ("unpaired", "cosine"), "Procrustes": ("pairs", "cosine"), "OT": ("matching", "argmax")}
    scores = {"cosine": 0.5, "mean_rank": 2.0}
    rows = []
    for label, pairs, size, pool, top1 in [
        ("Sinkhorn", 0, 500, 80, 0.9), ("Sinkhorn", 0, 500, 800, 0.3), ("Sinkhorn", 0, 900, 800, 0.4),
        ("Procrustes", 10, 900, 80, 0.9), ("Procrustes", 10, 900, 800, 0.3), ("Procrustes", 1000, 900, 800, 0.7),
        ("OT", 0, None, 200, 0.1),
    ]:  # fmt: skip
        kind, matching = kinds[label]
        row = ROW | scores | {"label": label, "method": label.lower(), "kind": kind, "matching": matching}
        rows.append(row | {"pairs": pairs, "rows_source": size, "pool": pool, "top1": top1, "whole": label == "OT"})
    return rows


def test_a_set_that_is_scored_in_parts_is_in_the_tables_by_its_largest_pool() -> None:
    paper = paper_table(pooled_rows(), "t")
    assert paper is not None
    found = {section.title: [line[1] for line in section.rows] for section in paper.table.sections}
    assert found == {"pairs, 200 candidates": ["OT"], "pairs, 800 candidates": ["Sinkhorn", "Procrustes"]}
    worth = worth_table(pooled_rows(), "t")
    assert worth is not None
    (section,) = worth.table.sections
    assert section.title == "a → b, pairs, 800 candidates"
    assert section.rows == (("Sinkhorn", "500", "0.300", "≈ 10"), ("Sinkhorn", "900", "0.400", "≈ 32"))
    everything = [row | {"pool": 8000, "whole": True} for row in pooled_rows() if row["pool"] == 800]
    worth = worth_table([*pooled_rows(), *everything], "t")
    assert worth is not None
    assert [section.title for section in worth.table.sections] == ["a → b, pairs"]


def test_a_set_that_is_scored_in_parts_is_in_the_figures_by_its_largest_pool(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, toml(data, FILES), experiment(data="pairs", methods=["chance"]))
    bench = Bench(str(path), tmp_path / "out")
    drawn: dict[str, Any] = {}

    def keep(figure: Any, path: Path, *, force: bool) -> Path:
        drawn[path.name] = figure.axes
        return path

    monkeypatch.setattr("vec2vec.bench.figures.save_figure", keep)
    write_figures(bench, [row | {"cell": "c"} for row in pooled_rows()], {"c": {}}, tmp_path / "figures")
    assert set(drawn) == {"e-rows.png", "e-pairs.png", "e-time.png"}
    for axes in drawn.values():
        assert [ax.get_title("left") for ax in axes] == ["a → b, pairs, 800 candidates"]
    (line,) = drawn["e-rows.png"][0].lines
    assert line.get_xydata().tolist() == [[500, 0.3], [900, 0.4]]


def test_a_model_behind_an_endpoint_may_have_any_name(data: Path, tmp_path: Path) -> None:
    space = """[spaces.far]
encoder = "bge-m3"
options = { base_url = "http://127.0.0.1:9/v1" }
"""
    path = write(
        tmp_path, toml(data, CORPUS, space), experiment(data="texts", spaces=[["left", "far"]], methods=["chance"])
    )
    assert Bench(str(path), tmp_path / "out").grid.cells
    write(tmp_path, path.read_text().replace("options", "# options"))
    with pytest.raises(ConfigError, match="no encoder 'bge-m3'"):
        Bench(str(path), tmp_path / "out")


def test_what_is_done_is_not_done_again(ran: tuple[Path, Any], data: Path) -> None:
    out, _ = ran
    before = {path.name: path.stat().st_mtime_ns for path in (out / "cells").iterdir()}
    said = CliRunner().invoke(app, ["bench", str(out.parent / "run.toml"), "--out", str(out)])
    assert said.exit_code == 0, said.output
    assert {path.name: path.stat().st_mtime_ns for path in (out / "cells").iterdir()} == before
    listed = CliRunner().invoke(app, ["bench", str(out.parent / "run.toml"), "--out", str(out), "--list"])
    assert sorted(line.split()[1] + ".json" for line in listed.output.splitlines()) == sorted(before)


def test_a_killed_run_leaves_whole_results_and_goes_on(data: Path, tmp_path: Path) -> None:
    path = write(
        tmp_path, toml(data, FILES), experiment(data="pairs", methods=["procrustes"], pairs=[10, 20, 30], seeds=[0])
    )
    command = [
        sys.executable,
        "-c",
        "from vec2vec.cli import main; main()",
        "bench",
        str(path),
        "--out",
        str(tmp_path / "out"),
    ]
    run = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    cells = tmp_path / "out" / "cells"
    deadline = time.monotonic() + 60
    while not (cells.is_dir() and list(cells.glob("*.json"))) and time.monotonic() < deadline:
        time.sleep(0.02)
    children = psutil.Process(run.pid).children()
    run.send_signal(signal.SIGKILL)
    run.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive  # a cell ends with the run that started it
    done = {one.name: one.read_bytes() for one in cells.glob("*.json")}
    assert 1 <= len(done) < 3
    assert all(json.loads(content)["status"] == "done" for content in done.values())
    bench = Bench(str(path), tmp_path / "out")
    results = bench.run(workers=2)
    assert len(results) == 3
    assert {name: (cells / name).read_bytes() for name in done} == done
    assert not list((tmp_path / "out").glob(".work-*"))


def test_two_runs_are_not_at_work_in_one_folder(data: Path, tmp_path: Path) -> None:
    path = write(tmp_path, toml(data, FILES), experiment(data="pairs", methods=["chance"]))
    bench, again = Bench(str(path), tmp_path / "out"), Bench(str(path), tmp_path / "out")
    seen = []

    def meanwhile(_: BenchProgress) -> None:
        with pytest.raises(OutputError, match="another run is at work there"):
            again.run()
        seen.append(len(list((tmp_path / "out").glob(".work-*"))))

    bench.run(progress=meanwhile)
    assert set(seen) == {1}
    (tmp_path / "out" / ".work-killed").mkdir()
    again.run()
    assert {one.name for one in (tmp_path / "out").iterdir()} == {"cells", "config.toml", "grid.json"}


def test_one_cell_that_crashes_is_recorded_and_the_others_go_on(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = np.load(data / "left-pairs.npy")
    broken[3, 2] = np.nan
    for name in ("left", "right", "left-eval", "right-eval", "left-pairs", "right-pairs"):
        np.save(tmp_path / f"{name}.npy", broken if name == "left-pairs" else np.load(data / f"{name}.npy"))
    path = write(
        tmp_path, toml(tmp_path, FILES), experiment(data="pairs", methods=["ridge", "chance", "identity"], pairs=[60])
    )
    start = Bench._start

    def kill_identity(self: Bench, cell: Any, threads: int, folder: Path) -> Child:
        child = start(self, cell, threads, folder)
        if cell.method == "identity":
            os.kill(child.process.pid, signal.SIGKILL)
        return child

    monkeypatch.setattr(Bench, "_start", kill_identity)
    args = ["bench", str(path), "--out", str(tmp_path / "out"), "--workers", "3"]
    said = CliRunner().invoke(app, args)
    assert said.exit_code == 2
    assert "2 cells failed" in said.output
    assert "1 of 3 cells are done" in said.output
    errors = {one["cell"]["method"]: one.get("error") for one in Bench(str(path), tmp_path / "out").results().values()}
    assert errors["chance"] is None
    assert "killed by signal 9" in errors["identity"]
    monkeypatch.undo()
    assert "failed" in (tmp_path / "out" / "tables.md").read_text()
    assert CliRunner().invoke(app, [*args, "--only", "identity"]).exit_code == 2  # recorded, so not run again
    CliRunner().invoke(app, [*args, "--only", "identity", "--retry"])
    again = {one["cell"]["method"]: one["status"] for one in Bench(str(path), tmp_path / "out").results().values()}
    assert again == {"ridge": "failed", "chance": "done", "identity": "done"}


def test_cells_that_end_together_are_told_one_by_one(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, toml(data, FILES), experiment(data="pairs", methods=["chance", "identity"]))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    monkeypatch.setattr(Bench, "_start", lambda self, cell, threads, folder: Child(ended, io.BytesIO(), cell))
    failed = {"status": "failed", "error": "no", "seconds": 1.0}
    monkeypatch.setattr(Bench, "_finish", lambda self, child, threads, folder: failed)
    said: list[BenchProgress] = []
    Bench(str(path), tmp_path / "out").run(workers=2, progress=said.append)
    told = [(one.done, one.news.partition(",")[0]) for one in said if one.news]
    assert told == [(1, "chance"), (2, "identity")]


def test_unpaired_data_are_fitted_and_judged_without_scores(data: Path, tmp_path: Path) -> None:
    settings = "anchor_rounds = 2, clusters = 4, restarts = 1, rounds = 2, final_clusters = 0, neighbours = 5"
    part = UNPAIRED + f"[methods.mini]\nsettings = {{ {settings} }}\n"
    path = write(tmp_path, toml(data, part), experiment(data="unpaired", methods=["mini"], rows=[100]))
    bench = Bench(str(path), tmp_path / "out")
    (result,) = bench.run().values()
    assert result["lines"] == []
    assert result["about"]["verdict"] != "aligned"  # so few rows cannot be
    write_report(bench)
    assert "without truth" in (tmp_path / "out" / "tables.md").read_text()


def test_a_folder_of_other_files_is_refused_and_left_as_it_is(data: Path, tmp_path: Path) -> None:
    path = write(tmp_path, toml(data, FILES), experiment(data="pairs", methods=["chance"]))
    (tmp_path / "out").mkdir()
    assert Bench(str(path), tmp_path / "out").results() == {}
    (tmp_path / "out" / "config.toml").write_text("my = 1")
    said = CliRunner().invoke(app, ["bench", str(path), "--out", str(tmp_path / "out")])
    assert said.exit_code == 2
    assert "no benchmark's" in said.output
    assert [one.name for one in (tmp_path / "out").iterdir()] == ["config.toml"]
    assert (tmp_path / "out" / "config.toml").read_text() == "my = 1"


ROW = {"matching": "cosine", "whole": True, "direction": "forward", "fit_seconds": 1.0, "top1": 0.5, "pairs": 0}
ROW |= {"experiments": "e", "source": "a", "target": "b", "scored_on": "pairs", "kind": "pairs", "rows_source": None}
ROW |= {"pool": 9}


def test_only_the_figures_of_an_earlier_report_go(data: Path, tmp_path: Path) -> None:
    path = write(tmp_path, toml(data, FILES), experiment(data="pairs", methods=["chance"]))
    bench = Bench(str(path), tmp_path / "out")
    rows = [ROW | {"label": label} for label in ("one", "other")]
    folder = tmp_path / "out" / "figures"
    folder.parent.mkdir()
    assert [path.name for path in write_figures(bench, rows, {}, folder)] == ["e-time.png"]
    (folder / "mine.png").write_bytes(b"")
    assert write_figures(bench, [], {}, folder) == []
    assert [path.name for path in folder.iterdir()] == ["mine.png"]


def test_experiments_of_other_scripts_have_figures_of_their_own(data: Path, tmp_path: Path) -> None:
    names = ["日本", "中国", "a b", "a_b"]
    common = {"title": "t", "data": "pairs", "methods": ["chance"]}
    path = write(tmp_path, toml(data, FILES), *(experiment(name=name, **common) for name in names))
    bench = Bench(str(path), tmp_path / "out")
    rows = [ROW | {"experiments": name, "label": label} for name in names for label in ("one", "other")]
    (tmp_path / "out").mkdir()
    found = write_figures(bench, rows, {}, tmp_path / "out" / "figures")
    assert [path.name for path in found] == ["日本-time.png", "中国-time.png", "a-b-time.png", "a-b-time-2.png"]
    assert all(path.exists() for path in found)


def test_long_labels_end_no_figures_and_a_figure_that_fails_no_tables(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, toml(data, FILES), experiment(data="pairs", methods=["chance"]))
    picture = {"before": [[1.0]], "after": [[1.0]], "domains": None}
    longer = {"cell": "c", "label": "a", "seed": 0, "rows_source": 9, "pairs": 9}
    rows = [ROW | longer | {"source": "x" + "é" * 130, "target": name} for name in "xy"]
    bench = Bench(str(path), tmp_path / "out")
    (tmp_path / "out").mkdir()
    found = write_figures(bench, rows, {"c": {"picture": picture}}, tmp_path / "out" / "figures")
    assert [len(path.name.encode()) <= 210 for path in found] == [True, True]
    assert all(path.exists() for path in found)
    assert found[0] != found[1]

    def fails(*_: object) -> None:
        raise OutputError("no figure")

    monkeypatch.setattr("vec2vec.bench.figures.write_figures", fails)
    with pytest.raises(OutputError, match="no figure"):
        write_report(bench)
    names = {one.name for one in (tmp_path / "out").iterdir() if one.is_file()} - {"figures.txt"}
    assert names == {"results.parquet", "tables.md", "tables.tex", "tables.html"}


def test_dollars_in_titles_and_labels_are_no_formulas(data: Path, tmp_path: Path) -> None:
    odd = "price $_$ x"
    path = write(tmp_path, toml(data, FILES), experiment(title=odd, data="pairs", methods=["chance"]))
    rows = [ROW | {"cell": "c", "source": odd, "scored_on": odd, "seed": 0, "label": label} for label in ("a", odd)]
    rows = [
        row | {"kind": kind, "rows_source": 9, "pairs": n}
        for row in rows
        for kind, n in (("unpaired", 0), ("pairs", 9))
    ]
    rows.append(rows[-1] | {"pairs": 19})
    rows.append(rows[0] | {"rows_source": 19})
    picture = {"before": [[1.0, 0.0], [0.0, 1.0]], "after": [[1.0, 0.0], [0.0, 1.0]], "domains": ["a", odd]}
    (tmp_path / "out").mkdir()
    bench = Bench(str(path), tmp_path / "out")
    found = write_figures(bench, rows, {"c": {"picture": picture}}, tmp_path / "out" / "figures")
    assert [path.name for path in found] == ["e-rows.png", "e-pairs.png", "e-time.png", "e-cosines-price-x-b.png"]

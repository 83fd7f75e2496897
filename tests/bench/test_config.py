"""A wrong configuration is refused before any work, in one line that says where and what to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bench_data import CORPUS, FILES, UNPAIRED, WORDS, experiment, toml

from vec2vec.align.base import METHODS
from vec2vec.bench import Bench, load_config, shipped_configs
from vec2vec.bench.methods import BUILT_IN
from vec2vec.errors import InputError, Vec2VecError

GOOD = {"data": "pairs", "methods": ["procrustes"], "pairs": [20]}


def made(folder: Path, text: str) -> Bench:
    path = folder / "run.toml"
    path.write_text(text)
    return Bench(str(path), folder / "out")


@pytest.mark.parametrize(
    ("part", "settings", "message"),
    [
        (FILES, {"methods": ["procustes"]}, "there is no method 'procustes'; did you mean 'procrustes'"),
        (FILES, {"data": "pears"}, "there is no data 'pears'; did you mean 'pairs'"),
        (FILES, {"methds": ["identity"]}, r"experiments\.0\.methds: is unknown; did you mean 'methods'"),
        (FILES, {"measures": ["recall"]}, r"experiments\.0\.measures\.0"),
        (FILES, {"pairs": []}, "needs pairs: say how many"),
        (FILES, {"pairs": [5]}, "needs 10 pairs at least"),
        (FILES, {"pairs": [61]}, "has 60 known pairs"),
        (FILES, {"rows": [301], "methods": ["sinkhorn"], "pairs": []}, "has 300 rows on one side"),
        (FILES, {"methods": ["sinkhorn"]}, "none of its methods sees pairs"),
        (FILES, {"spaces": [["a", "b"]]}, "has its own two"),
        (FILES, {"source_domains": ["x"]}, "has no domains"),
        (FILES, {"searches": ["s"]}, "there is no search 's'"),
        (UNPAIRED, {"data": "unpaired"}, "needs pairs, and data 'unpaired' has none"),
        (
            UNPAIRED,
            {"data": "unpaired", "methods": ["sinkhorn"], "pairs": [], "measures": ["retrieval"]},
            "the measure 'retrieval' needs pairs",
        ),
        (UNPAIRED, {"data": "unpaired", "methods": ["ot-emd"], "pairs": []}, "is scored on pairs"),
        (UNPAIRED, {"data": "unpaired", "methods": ["sinkhorn"], "pairs": [], "score_on": ["unpaired"]}, "score_on"),
        (FILES.replace("left.npy", "gone.npy"), {}, r"gone\.npy: there is no such file"),
        (FILES.replace('"left-pairs', '"right-pairs'), {}, "has width 9, expected 7"),
        (FILES.replace("source =", "sorce ="), {}, r"data\.pairs\.sorce: is unknown; did you mean 'source'"),
        (FILES + "[methods.procrustes]\nsettings = { whitning = 0.2 }", {}, "did you mean 'whitening'"),
        (FILES + "[methods.procrustes]\nsettings = { whitening = 7 }", {}, "whitening = 7 will not do"),
        (FILES + "[methods.mine]\nmethod = 'minni'", {"methods": ["mine"]}, "did you mean 'mini'"),
        (CORPUS, {"data": "texts"}, "name at least one pair of spaces"),
        (CORPUS, {"data": "texts", "spaces": [["left", "wrong"]]}, "there is no space 'wrong'"),
        (CORPUS, {"data": "texts", "spaces": [["left", "left"]]}, "are both 'left'"),
        (
            CORPUS + "[search.s]\nkind = 'known-item'\ndata = 'texts'",
            {"data": "texts", "spaces": [["left", "right"]], "searches": ["s"], "measures": ["search"]},
            "space 'left' has none",
        ),
        (CORPUS + "[spaces.third]\nencoder = 'minilmm'", {"data": "texts", "spaces": [["left", "third"]]}, "minilm"),
        (
            CORPUS + "[spaces.third]\nencoder = './gone'",
            {"data": "texts", "spaces": [["left", "third"]]},
            "there is no such folder",
        ),
        (CORPUS + "[spaces.third]", {"data": "texts", "spaces": [["left", "third"]]}, "neither vectors of data"),
        (FILES, {"name": "rows, pairs"}, "experiment 'rows, pairs': a name has no ','"),
        (FILES, {"name": "rows/pairs"}, "experiment 'rows/pairs': names become names of files"),
        (FILES, {"name": "x" * 61}, "of 1 to 60 bytes"),
        (FILES + "[methods.'a/b']\nmethod = 'ridge'", {}, "method 'a/b': names become"),
        (FILES.replace("data.pairs", "data.'pairs:one'"), {"data": "pairs:one"}, "data 'pairs:one': a name has no ':'"),
        (CORPUS.replace("spaces.left", "spaces.'org/left'"), {"data": "texts"}, "space 'org/left': names become"),
        (
            CORPUS.replace("= 60", "= 10").replace('domains = "domain"', ""),
            {"data": "texts", "spaces": [["left", "right"]]},
            "has 10 rows to score on; 11 are needed: hold out more, or say measures = \\['retrieval'\\]",
        ),
        (
            CORPUS.replace("= 60", "= 1").replace('domains = "domain"', ""),
            {"data": "texts", "spaces": [["left", "right"]], "measures": ["retrieval"]},
            "has 1 rows to score on; 2 are needed",
        ),
        (
            FILES + "[methods.mine]\nmethod = 'ridge'\nlabel = 'Procrustes'",
            {"methods": ["procrustes", "mine"]},
            "the methods 'procrustes' and 'mine' have the same label 'Procrustes'; give one of them another",
        ),
        (
            CORPUS.replace("[spaces.left]", "[spaces.left]\nlabel = 'Right'"),
            {"data": "texts", "spaces": [["left", "right"]]},
            "the spaces 'left' and 'right' have the same label 'Right'",
        ),
        (FILES.replace('"Left"', '"Right"'), {}, "the spaces 'source' and 'target' have the same label 'Right'"),
        (
            FILES + "[methods.procrutes]\nsettings = { bogus = 1 }",
            {},
            r"method 'procrutes': no experiment names it \(did you mean 'procrustes'\?\); name it in one, or leave",
        ),
        (FILES + "[methods.other]\nmethod = 'nonsense'", {}, "method 'other': no experiment names it; name it"),
        (
            FILES + "[methods.identity]\nrows = [20]",
            {"methods": ["identity"], "pairs": []},
            "the method 'identity' is fitted on no rows; leave out its rows",
        ),
        (FILES, {"score_on": ["pairs"], "measures": []}, "score_on is for the measures 'retrieval' and 'neighbours'"),
        (WORDS, {"data": "words", "methods": ["identity"], "pairs": []}, "is for texts"),
        (WORDS, {"data": "words", "measures": ["neighbours"]}, "is for texts"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(
    data: Path, tmp_path: Path, part: str, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(Vec2VecError, match=message) as caught:
        made(tmp_path, toml(data, part, experiment(**(GOOD | settings))))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_two_experiments_of_one_name(data: Path, tmp_path: Path) -> None:
    with pytest.raises(Vec2VecError, match="two experiments are named 'e'"):
        made(tmp_path, toml(data, FILES, experiment(**GOOD), experiment(**GOOD)))


def test_an_unknown_configuration_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(Vec2VecError, match="did you mean demo"):
        Bench("dem", tmp_path / "out")
    with pytest.raises(Vec2VecError, match="cannot be read"):
        Bench("missing.toml", tmp_path / "out")


@pytest.mark.parametrize("name", shipped_configs())
def test_a_shipped_configuration_holds_and_names_methods_that_there_are(name: str) -> None:
    config, text = load_config(name)
    assert config.experiments
    assert text.startswith("#")
    for one in config.experiments:
        for method in one.methods:
            entry = config.methods.get(method)
            assert ((entry and entry.method) or method) in BUILT_IN


def test_every_fitter_of_the_library_is_built_in() -> None:
    runs = {method.runs for method in BUILT_IN.values()}
    assert set(METHODS) <= runs


def test_the_demo_can_run_as_it_is(tmp_path: Path) -> None:
    bench = Bench("demo", tmp_path / "out")
    assert {cell.method for cell in bench.grid.cells.values()} >= {"sinkhorn", "few-pairs", "ot-gw-low-rank", "chance"}


@pytest.mark.parametrize(("side", "value", "reason"), [("left", np.nan, "NaN"), ("right", 0, "are zero")])
@pytest.mark.parametrize("kind", ["files", "corpus"])
def test_a_bad_row_to_score_on_is_refused_under_the_name_of_its_file(
    data: Path, tmp_path: Path, kind: str, side: str, value: float, reason: str
) -> None:
    for name in ("left", "right", "left-eval", "right-eval", "left-pairs", "right-pairs"):
        x = np.load(data / f"{name}.npy")
        if name == (f"{side}-eval" if kind == "files" else side):
            x[-5] = value
        np.save(tmp_path / f"{name}.npy", x)
    (tmp_path / "texts.jsonl").write_bytes((data / "texts.jsonl").read_bytes())
    part, settings, place = FILES, GOOD, rf"{side}-eval\.npy: row 55"
    if kind == "corpus":
        part, place = CORPUS.replace('domains = "domain"', ""), rf"{side}\.npy: row 295"
        settings = GOOD | {"data": "texts", "spaces": [["left", "right"]]}
    with pytest.raises(InputError, match=f"{place} .*{reason}.*repair it"):
        made(tmp_path, toml(tmp_path, part, experiment(**settings)))


def test_too_few_rows_for_neighbours_are_refused_where_another_experiment_has_enough(
    data: Path, tmp_path: Path
) -> None:
    for side in ("left", "right"):
        np.save(tmp_path / f"{side}-eval.npy", np.load(data / f"{side}-eval.npy")[:8])
    few = FILES.replace('"left-eval', f'"{tmp_path}/left-eval').replace('"right-eval', f'"{tmp_path}/right-eval')
    plain = experiment(name="plain", data="pairs", methods=["chance"], measures=["retrieval"])
    made(tmp_path, toml(data, few, plain))
    with pytest.raises(Vec2VecError, match="has 8 rows to score on; 11 are needed"):
        made(tmp_path, toml(data, few, plain, experiment(data="pairs", methods=["identity"])))


@pytest.mark.parametrize(("domains", "short"), [("", "right"), ('domains = "domain"', "right and left")])
def test_the_files_of_a_corpus_have_a_row_for_each_text(data: Path, tmp_path: Path, domains: str, short: str) -> None:
    for name in ("left", "right"):
        np.save(tmp_path / f"{name}.npy", np.load(data / f"{name}.npy")[: 290 if name in short else None])
    (tmp_path / "texts.jsonl").write_bytes((data / "texts.jsonl").read_bytes())
    text = toml(
        tmp_path,
        CORPUS.replace('domains = "domain"', domains),
        experiment(data="texts", spaces=[["left", "right"]], methods=["identity"]),
    )
    rows = "290 rows and .*texts.jsonl.* 300" if domains else "left.npy has 300 rows and .*right.npy 290"
    with pytest.raises(InputError, match=f"data 'texts': .*{rows}") as caught:
        made(tmp_path, text).run()
    assert "\n" not in str(caught.value)

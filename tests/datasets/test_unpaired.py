"""The split by a keyed hash: a text's set depends on nothing but the text, the seed and the held-out share."""

from __future__ import annotations

import json
import tempfile
import tracemalloc
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vec2vec.datasets import Preparation, Record, Splitter, Tally, deduplicate, open_corpus, write_split
from vec2vec.datasets.base import HashSet
from vec2vec.datasets.unpaired import HELD_OUT, SETS, SOURCE, TARGET, normalise
from vec2vec.errors import InputError

characters = st.characters(exclude_categories=["Cs"])
words = st.text(characters, min_size=1, max_size=8).filter(str.strip)
texts = st.lists(words, min_size=1, max_size=6).map(" ".join)


@st.composite
def variants(draw: st.DrawFn) -> tuple[str, str]:
    """A text, and the same one in other spacing and case."""
    parts = draw(st.lists(st.from_regex(r"[A-Za-z0-9éÉüÜß,.!?]+", fullmatch=True), min_size=1, max_size=6))
    blanks = st.text(" \t\n\u00a0", min_size=1, max_size=3)
    other = draw(blanks)
    for part in parts:
        other += draw(st.sampled_from([part, part.upper(), part.lower()])) + draw(blanks)
    return " ".join(parts), other


@given(variants(), st.integers(0, 99), st.floats(0, 0.9))
def test_the_same_text_in_other_dress_has_the_same_place(pair: tuple[str, str], seed: int, held_out: float) -> None:
    one, other = pair
    assert normalise(one) == normalise(other)
    assert Splitter(seed, held_out).place(one) == Splitter(seed, held_out).place(other)


@given(texts, st.integers(0, 99), st.floats(0, 0.9), st.floats(0, 0.9))
def test_another_held_out_share_never_moves_a_text_to_the_other_side(
    text: str, seed: int, one: float, other: float
) -> None:
    places = {Splitter(seed, share).place(text).set for share in (one, other)} - {HELD_OUT}
    assert len(places) <= 1
    if Splitter(seed, min(one, other)).place(text).set == HELD_OUT:
        assert Splitter(seed, max(one, other)).place(text).set == HELD_OUT


def written(folder: Path) -> dict[str, set[str]]:
    """The normalised texts of each set of a split."""
    return {name: {normalise(r.text) for r in open_corpus(folder / f"{name}.jsonl").records()} for name in SETS}


def split(lines: Iterable[str], folder: Path, name: str, **options: int) -> dict[str, set[str]]:
    file = folder / f"{name}.jsonl"
    file.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines), encoding="utf8")
    out = folder / name
    write_split(open_corpus(file), out, held_out=0.2, format="jsonl", **options)
    return written(out)


# enough texts that no set is empty, whatever else there is
PADDING = [f"padding number {i}" for i in range(60)]


@settings(max_examples=20, deadline=None)
@given(
    st.lists(texts, min_size=2, max_size=30),
    st.lists(texts, max_size=20),
    st.randoms(use_true_random=False),
    st.sampled_from([{}, {"rows": 15, "held_out_rows": 4}]),
)
def test_no_text_is_on_both_sides_of_any_files_orders_or_runs(
    shared: list[str], others: list[str], random: object, options: dict[str, int]
) -> None:
    """Two files that share texts, in other orders, with repetitions, written in runs of their own."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        second = [*others, *shared, *[text.upper() for text in shared], *PADDING]
        random.shuffle(second)  # type: ignore[attr-defined]
        one = split([*PADDING, *shared, *shared], folder, "one", **options)
        two = split(second, folder, "two")
        for a, b in [(one, one), (one, two), (two, one), (two, two)]:
            assert not a[SOURCE] & b[TARGET]
            assert not a[HELD_OUT] & (b[SOURCE] | b[TARGET])
        if not options:
            everything = {normalise(text) for text in [*PADDING, *shared]}
            assert set.union(*one.values()) == everything
            assert all(one[name] <= two[name] | {normalise(t) for t in PADDING} for name in SETS)


@settings(max_examples=10, deadline=None)
@given(st.lists(texts, max_size=30), st.randoms(use_true_random=False))
def test_a_sample_does_not_depend_on_the_order(lines: list[str], random: object) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        shuffled = [*PADDING, *lines]
        random.shuffle(shuffled)  # type: ignore[attr-defined]
        options = {"rows": 10, "held_out_rows": 3}
        one = split([*PADDING, *lines], Path(temporary), "one", **options)
        assert one == split(shuffled, Path(temporary), "two", **options)
        assert [len(one[name]) for name in SETS] == [10, 10, 3]


def test_the_shares_are_what_they_should_be_and_the_seed_matters() -> None:
    lines = [f"text number {i}" for i in range(20_000)]
    splitter = Splitter(0, 0.1)
    sets = Counter(splitter.place(line).set for line in lines)
    # 6 standard deviations of a binomial
    assert abs(sets[HELD_OUT] - 2000) < 6 * (20_000 * 0.1 * 0.9) ** 0.5
    assert abs(sets[SOURCE] - 9000) < 6 * (20_000 * 0.45 * 0.55) ** 0.5
    other = Splitter(1, 0.1)
    same = sum(splitter.place(line).set == other.place(line).set for line in lines)
    assert abs(same - 20_000 * (0.1**2 + 2 * 0.45**2)) < 6 * (20_000 * 0.25) ** 0.5


def test_the_places_stay_as_they_are() -> None:
    """Splits of this version hold for later ones: a change of the hash or the normal form would mix the sides."""
    splitter = Splitter(0, 0.25)
    lines = ["Good morning", "guten  MORGEN", "καλημέρα", "Straße", "早上好", "ﬁne", "one", "two"]
    assert [normalise(line) for line in lines[1:6]] == ["guten morgen", "καλημέρα", "strasse", "早上好", "fine"]
    sets = {SOURCE: "s", TARGET: "t", HELD_OUT: "h"}
    assert "".join(sets[splitter.place(line).set] for line in lines) == "tsshstst"
    assert splitter.place("Good morning").rank == 3481937080488947028


def test_duplicates_leave_the_first(tmp_path: Path) -> None:
    tally = Tally()
    records = [Record(str(i), text) for i, text in enumerate(["One two", "three", "ONE  two\n", "three", "four"])]
    assert [record.id for record in deduplicate(records, tally)] == ["0", "1", "4"]
    assert tally.duplicates == 2


def test_a_set_without_texts_is_an_error_that_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("only one text\n")
    with pytest.raises(InputError, match="of its 1 texts none falls into the set"):
        write_split(open_corpus(tmp_path / "x.txt"), tmp_path / "out", preparation=Preparation())
    assert [path.name for path in tmp_path.iterdir()] == ["x.txt"]


def test_what_was_seen_is_remembered_in_few_bytes() -> None:
    seen = HashSet()
    tracemalloc.start()
    assert all(seen.add(f"text {i}") for i in range(30_000))
    assert tracemalloc.get_traced_memory()[0] < 24 * 30_000
    tracemalloc.stop()
    assert not any(seen.add(f"text {i}") for i in range(30_000))
    assert seen.add("text 30000")
    assert len(seen) == 30_001


@pytest.mark.parametrize("share", [-0.1, 1.0, 2.0])
def test_a_share_that_is_none(share: float) -> None:
    with pytest.raises(InputError, match="it is a share, from 0 to less than 1"):
        Splitter(0, share)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_that_is_none(seed: int) -> None:
    with pytest.raises(InputError, match="it is a number from 0 to less than"):
        Splitter(seed)
    assert Splitter(2**64 - 1).place("x") != Splitter(0).place("x")

"""Texts cut to their first tokens: by words, and by tokenizers that the tests train."""

from __future__ import annotations

from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from vec2vec.datasets import Record, Tally, open_cutter
from vec2vec.datasets.sequences import cut_records
from vec2vec.errors import InputError, MissingExtraError

LINES = [
    "The ferry leaves the harbour at dawn, whatever the weather.",
    "Bread, cheese and apples are all that we carry up the hill.",
    "Größe und Gewicht: 12 × 30 cm, 1.5 kg — ohne Verpackung.",
    "A lamp stood in the window; nobody had lit it for years.",
]


def word_piece() -> tokenizers.Tokenizer:
    """As BERT's: lower case, word pieces, [CLS] and [SEP]."""
    made = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[UNK]", "[CLS]", "[SEP]", "[PAD]"]
    made.train_from_iterator(LINES, trainers.WordPieceTrainer(vocab_size=160, special_tokens=special))
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", made.token_to_id("[CLS]")), ("[SEP]", 2)]
    )
    made.enable_padding(length=64)  # as many models' files have it
    made.enable_truncation(8)
    return made


def byte_level() -> tokenizers.Tokenizer:
    """As GPT's: bytes, without special tokens."""
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(LINES, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet))
    return made


MADE = {"word_piece": word_piece(), "byte_level": byte_level()}


@pytest.fixture(scope="module", params=MADE)
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A model's folder with its tokenizer, and how many special tokens it adds."""
    folder = tmp_path_factory.mktemp("model")
    MADE[request.param].save(str(folder / "tokenizer.json"))
    return folder, 2 if request.param == "word_piece" else 0


def tokens(folder: Path, text: str, room: int | None = None) -> list[str]:
    """What an encoder sees of a text, special tokens aside."""
    held = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    held.no_padding()
    held.no_truncation()
    return list(held.encode(text, add_special_tokens=False).tokens)[:room]


@pytest.mark.parametrize("most", [4, 9, 64])
def test_a_cut_text_holds_what_an_encoder_sees(tokenizer: tuple[Path, int], most: int) -> None:
    folder, special = tokenizer
    texts = [*LINES, " ".join(LINES), "", "one"]
    cut = open_cutter(str(folder), most)(texts)
    for text, short in zip(texts, cut, strict=True):
        assert text.startswith(short)
        assert tokens(folder, short) == tokens(folder, text, most - special)
        if len(tokens(folder, text)) <= most - special:
            assert short == text
    assert open_cutter(str(folder / "tokenizer.json"), most)(texts) == cut


def test_a_long_text_is_cut_as_a_short_one(tokenizer: tuple[Path, int]) -> None:
    """Also where its first token stands far from its beginning, or is as long as it."""
    folder, _ = tokenizer
    line = " ".join(LINES)
    cut = open_cutter(str(folder), 12)
    (expected,) = cut([line])
    assert cut([line * 4000]) == [expected]
    far = " " * 50_000 + line
    assert tokens(folder, cut([far])[0])[-4:] == tokens(folder, cut([far * 2])[0])[-4:]
    (short,) = cut(["x" * 50_000])
    assert tokens(folder, short) == tokens(folder, "x" * 50_000, 12)[: len(tokens(folder, short))]


@given(
    st.lists(st.sampled_from(["a", "bb", "ccc", "é"]), max_size=12), st.integers(1, 8), st.sampled_from([" ", "\n\t"])
)
def test_words(words: list[str], most: int, space: str) -> None:
    text = space.join(words)
    (short,) = open_cutter("whitespace", most)([text])
    assert short.split() == words[:most]
    assert text.startswith(short)


def test_records_keep_the_rest_and_are_counted() -> None:
    tally = Tally()
    records = [Record("1", "a b c d", ("x",), "train"), Record("2", "a b")]
    found = list(cut_records(records, open_cutter("whitespace", 3), tally))
    assert found == [Record("1", "a b c", ("x",), "train"), Record("2", "a b")]
    assert tally.cut == 1


def test_no_room(tmp_path: Path) -> None:
    MADE["word_piece"].save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(InputError, match="adds 2 special tokens, which leaves none of 2 for the text"):
        open_cutter(str(tmp_path), 2)
    with pytest.raises(InputError, match="max_tokens is 0"):
        open_cutter("whitespace", 0)


def test_no_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"there is no tokenizer\.json in this folder"):
        open_cutter(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match=r"tokenizer\.json: is no tokenizer"):
        open_cutter(str(tmp_path))
    with pytest.raises(
        InputError, match=r"fetch it with `hf download sentence-transformers/gtr-t5-base tokenizer\.json`"
    ):
        open_cutter("sentence-transformers/gtr-t5-base")
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'vec2vec\[datasets\]'"):
        open_cutter(str(tmp_path))

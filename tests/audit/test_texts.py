"""Measures of recovered texts, and the entities in them."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vec2vec.audit.inversion.entities import NAMES, CapitalRule, find_patterns, spacy_names
from vec2vec.audit.inversion.measures import measure_texts, reveals, rouge_l, sentence_bleu, token_f1
from vec2vec.audit.masking import COVER, mask
from vec2vec.errors import InputError, MissingExtraError

MAILS = [
    "Please call Jeff Skilling at Enron on Monday. The deal with Dynegy closes in Houston.",
    "I spoke to Jeff about Dynegy. He said that Houston was warm.",
    "The meeting of the board is in Houston, and Jeff will talk about Dynegy.",
]


@pytest.mark.parametrize(
    ("kind", "text", "found"),
    [
        ("dates", "on March 3, 2001 or 12/24/99, on Tuesday", {"march32001", "12/24/99", "tuesday"}),
        ("dates", "the 4th of July; since 1998", {"4thofjuly", "1998"}),
        ("dates", "2001-05-06", {"2001-05-06"}),
        ("times", "at 10:30 am, 5pm, and noon", {"10:30am", "5pm", "noon"}),
        ("amounts", "$1,250.50, 3 million, 40% and 20 dollars", {"$1250.50", "3million", "40%", "20dollars"}),
        ("phone numbers", "(713) 853-1411, 713-853-1411 or 853-1411", {"(713)853-1411", "713-853-1411", "853-1411"}),
        ("e-mail addresses", "write to Jane.Doe@example.com", {"jane.doe@example.com"}),
        ("web addresses", "see http://example.com/a", {"http://example.com/a"}),
    ],
)
def test_patterns(kind, text, found):
    assert find_patterns(text)[kind] == found


def test_an_entity_has_one_kind():
    kinds = find_patterns("call 713-853-1411 at 10:30 on 3/4")
    assert {kind: sorted(own) for kind, own in kinds.items() if own} == {
        "phone numbers": ["713-853-1411"],
        "times": ["10:30"],
        "dates": ["3/4"],
    }


def test_what_an_uncased_tokenizer_writes_is_the_same_entity():
    assert find_patterns("jane. doe @ example. com at 10 : 30")["times"] == find_patterns("at 10:30")["times"]
    assert find_patterns("$ 1, 250")["amounts"] == find_patterns("$1,250")["amounts"]


def test_no_entities_in_plain_words():
    assert not any(find_patterns("we may march on, and a second later it was gone").values())


def test_names_by_capitals():
    rule = CapitalRule.of(MAILS)
    assert rule("Jeff Skilling of Enron") == {"jeff", "skilling", "enron"}
    assert rule("The board met.") == set()  # a single word that begins a sentence, and is no known name
    assert rule("Houston is warm.") == {"houston"}  # it begins the sentence, but is known
    assert rule("jeff called from houston about the deal") == {"jeff", "houston"}


def test_names_by_a_model_need_spacy(monkeypatch):
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(MissingExtraError, match=r"vec2vec\[names\]"):
        spacy_names("en_core_web_sm")


def test_token_f1_counts_repeated_words():
    assert token_f1("the cat", "the cat") == 1
    assert token_f1("the the the", "the cat") == pytest.approx(2 * 1 / 5)
    assert token_f1("dog", "cat") == 0


def test_rouge_l_by_hand():
    assert rouge_l("police killed the gunman", "police kill the gunman") == pytest.approx(0.75)
    assert rouge_l("the gunman kill police", "police kill the gunman") == pytest.approx(0.5)


def test_bleu_is_sacrebleus():
    same, half = sentence_bleu(
        ["the cat sat on the mat", "the dog sat"], ["The cat sat on the mat", "the cat sat down"]
    )
    assert same == pytest.approx(1)
    assert 0 < half < 0.6


def test_the_rule_of_revealing():
    rule = CapitalRule.of(MAILS)
    truth = "Jeff, the pipeline contract was cancelled yesterday by the regulator."
    assert reveals("talk to jeff", truth, rule)
    assert reveals("the contract on a pipeline, cancelled by someone", truth, rule)
    assert not reveals("was cancelled by the man", truth, rule)
    assert not reveals("", truth, rule)


def test_measures_of_perfect_and_of_foreign_texts():
    rule = CapitalRule.of(MAILS)
    perfect = measure_texts([text.lower() for text in MAILS], MAILS, rule, cosines=[1.0] * 3)
    assert perfect.token_f1.value == perfect.exact.value == perfect.rouge_l.value == perfect.revealing.value == 1
    names = next(one for one in perfect.entities if one.kind == NAMES)
    assert names.recall > 0.8
    assert names.precision == 1
    foreign = measure_texts(["nothing of it here"] * 3, MAILS, rule)
    assert foreign.token_f1.value < 0.1
    assert foreign.exact.value == foreign.revealing.value == 0
    assert foreign.exact.high > 0.3  # three texts say little
    assert foreign.cosine is None
    judged = measure_texts(["nothing of it here"] * 3, MAILS, rule, revealing=[True, False, False])
    assert judged.revealing.value == pytest.approx(1 / 3)
    with pytest.raises(InputError, match="2 hypotheses and 3 true"):
        measure_texts(["a", "b"], MAILS, rule)


@given(st.text(max_size=60), st.text(max_size=60))
def test_scores_are_symmetric_shares(a, b):
    for score in (token_f1, rouge_l):
        assert 0 <= score(a, b) <= 1
        assert score(a, b) == pytest.approx(score(b, a))
        assert score(a, a) == 1


@given(st.text(max_size=80))
def test_a_mask_shows_no_letter_and_no_digit(text):
    covered = mask(text)
    assert len(covered) == len(text)
    assert not any(c.isalnum() for c in covered)


@pytest.mark.parametrize("text", ["मेरा नाम राहुल है", "שָׁלוֹם", "u\u0308ber"])
def test_a_mask_shows_no_vowel_that_is_a_mark(text):
    assert set(mask(text)) <= {COVER, " "}

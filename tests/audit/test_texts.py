"""Measures of recovered texts, and the entities in them."""

from __future__ import annotations

import re
import sys
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.normalizers import BertNormalizer

from vec2vec.audit.inversion.entities import NAMES, CapitalRule, find_entities, find_patterns, fold, spacy_names
from vec2vec.audit.inversion.measures import (
    common_subsequence,
    content_words,
    measure_texts,
    reveals,
    rouge_l,
    sentence_bleu,
    token_f1,
    words_of,
)
from vec2vec.audit.masking import COVER, mask
from vec2vec.errors import InputError, MissingExtraError

MAILS = [
    "Please call Jeff Skilling at Enron on Monday. The deal with Dynegy closes in Houston.",
    "I spoke to Jeff about Dynegy. He said that Houston was warm.",
    "The meeting of the board is in Houston, and Jeff will talk about Dynegy.",
]
NO_NAMES = CapitalRule(frozenset())
GERMAN = "Bitte überweisen Sie Jürgen Müller in Köln"
TEXTS = [
    GERMAN,
    "Straße, Œuvre, Łódź, naïveté und ŸES",
    "Οδυσσέας έφυγε",
    "Ёлка в чужой стране",
    "İstanbul güzel",
    "मेरी क्\u200dया हिन्दी है, 25 रुपये",
    "தமிழ் எழுத்து",
    "בְּרֵאשִׁית בָּרָא",
    "محمّد يكتب رسالةً",
    "Tiếng Việt có dấu",
    "한국어 문장",
    "我们将在3月收购那家公司。",
    "Windows™, a co\u00adoperation of neighbours",
]
UNSPACED = [
    "我们将在三月收购那家公司",
    "かれらは三月にカイシャを買います",
    "ฉันจะซื้อบริษัทนั้นในเดือนมีนาคม",
    "ຂ້ອຍຮັກປະເທດລາວ",
    "ខ្ញុំស្រលាញ់ប្រទេសកម្ពុជា",
    "ကျွန်တော်မြန်မာစာဖတ်တယ်",
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


def test_names_and_other_entities_that_lost_their_accents_are_the_same():
    rule = CapitalRule.of([GERMAN])
    for form in ("NFC", "NFD"):
        found = find_entities(unicodedata.normalize(form, f"{GERMAN}, jürgen@köln.de"), rule)
        assert found[NAMES] >= {"jurgen", "muller", "koln"}
        assert found == find_entities("Bitte uberweisen Sie Jurgen Muller in Koln, jurgen @ koln. de", rule)
    assert rule("an jurgen in koln") == rule("an jürgen in köln") == {"jurgen", "koln"}


def test_a_trade_mark_sign_is_no_part_of_a_name():
    assert CapitalRule.of(MAILS)("We are in Houston™ now") == {"houston"}


def test_names_by_a_model_are_folded(monkeypatch):
    class Spacy:
        @staticmethod
        def load(model):
            ent = type("Ent", (), {"text": "Jürgen Müller", "label_": "PERSON"})
            return lambda text: type("Doc", (), {"ents": [ent]})

    monkeypatch.setitem(sys.modules, "spacy", Spacy)
    assert spacy_names("any")(GERMAN) == {"jurgen", "muller"}


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


@given(st.lists(st.sampled_from("abcde"), max_size=90), st.lists(st.sampled_from("abcdef"), max_size=90))
def test_the_longest_common_subsequence_is_that_of_the_plain_recurrence(a, b):
    row = [0] * (len(b) + 1)
    for word in a:
        above = row
        row = [0]
        for j, other in enumerate(b):
            row.append(above[j] + 1 if word == other else max(above[j + 1], row[j]))
    assert common_subsequence(a, b) == row[-1]


def test_rouge_l_of_long_documents_is_no_long_work():
    words = [f"w{i * i % 7919}" for i in range(20_000)]
    began = time.process_time()
    assert 0 < rouge_l(" ".join(words), " ".join(reversed(words))) < 1
    assert time.process_time() - began < 10  # the plain recurrence takes a minute


@given(st.text(st.characters(max_codepoint=127), max_size=80))
def test_words_of_ascii_are_its_letters_and_digits(text):
    assert words_of(text) == re.findall(r"[^\W_]+", text.lower())


@pytest.mark.parametrize("text", TEXTS)
def test_words_are_the_same_after_an_uncased_tokenizer(text):
    seen = BertNormalizer(lowercase=True).normalize_str(text)
    assert seen != text
    for form in ("NFC", "NFD"):
        assert words_of(unicodedata.normalize(form, text)) == words_of(seen)
    assert token_f1(seen, text) == rouge_l(seen, text) == 1
    perfect = measure_texts([seen, text.upper()], [text, text], CapitalRule.of([text]))
    assert perfect.revealing.value == 1


@given(st.text(max_size=60))
def test_folding_twice_is_folding_once(text):
    assert fold(fold(text)) == fold(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("हिन्दी में", ["हिनदी", "म"]),
        ("வணக்கம்", ["வணககம"]),
        ("三月abc收購", ["三", "月", "abc", "收", "購"]),
        ("STRASSE Straße", ["strasse", "strasse"]),
        ("カﾀｶﾅ、時々", ["カ", "タ", "カ", "ナ", "時", "々"]),
        ("ไทย ๒๕๖๗", ["ไ", "ท", "ย", "๒๕๖๗"]),
        ("ကာ", ["က", "ာ"]),
        ("Windows™ don\u2019t", ["windows", "don", "t"]),
    ],
)
def test_words_of_other_scripts(text, words):
    assert words_of(text) == words


@pytest.mark.parametrize("text", UNSPACED)
def test_a_character_more_changes_little_where_there_are_no_spaces(text):
    more = f"{text[:9]}大{text[9:]}"
    assert token_f1(more, text) > 0.9
    assert rouge_l(more, text) > 0.9
    assert sentence_bleu([more], [text])[0] > 0.6
    assert reveals(more, text, NO_NAMES)
    assert reveals(" ".join(more), text, NO_NAMES)  # as BERT's tokenizer writes Chinese


def test_single_characters_reveal_nothing():
    assert content_words("我们将在 the contract") == {"我们将", "们将在", "contract"}
    assert not reveals("".join(reversed(UNSPACED[2])), UNSPACED[2], NO_NAMES)
    assert not reveals("公司那家", UNSPACED[0], NO_NAMES)


def test_bleu_is_sacrebleus():
    same, half = sentence_bleu(
        ["the cat sat on the mat", "the dog sat"], ["The cat sat on the mat", "the cat sat down"]
    )
    assert same == pytest.approx(1)
    assert 0 < half < 0.6
    assert sentence_bleu(["uberweisen sie jurgen in koln"], ["Überweisen Sie Jürgen in Köln"]) == [pytest.approx(1)]


def test_the_rule_of_revealing():
    rule = CapitalRule.of(MAILS)
    truth = "Jeff, the pipeline contract was cancelled yesterday by the regulator."
    assert reveals("talk to jeff", truth, rule)
    assert reveals("the contract on a pipeline, cancelled by someone", truth, rule)
    assert not reveals("was cancelled by the man", truth, rule)
    assert not reveals("", truth, rule)


def test_a_text_beyond_ascii_that_is_recovered_whole_is_revealing():
    assert reveals("es war schon", "Es war schön.", NO_NAMES)
    assert reveals("हिन्दी है", "हिन्दी है", NO_NAMES)
    assert reveals("你好", "你好!", NO_NAMES)
    assert not reveals("nothing", "你好!", NO_NAMES)
    assert not reveals("", "\uff9e", NO_NAMES)  # a letter that folds to nothing
    assert not reveals("thanks", "Thanks!", NO_NAMES)  # of English, the content words say it
    assert not reveals("it\u2019s you", "It\u2019s you\u2026", NO_NAMES)


def test_exact_is_without_accents():
    measures = measure_texts(
        ["bitte  uberweisen", "bitte uberweisen"], ["Bitte überweisen", "Bitte überwiesen"], NO_NAMES
    )
    assert measures.exact.value == 0.5
    assert measure_texts(["三 月 收 購"], ["三月收購"], NO_NAMES).exact.value == 1


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

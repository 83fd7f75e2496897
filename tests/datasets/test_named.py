"""nq, tweettopic, enron and mimic, on small copies in the layout of each, with texts of the tests' own."""

from __future__ import annotations

import csv
import gzip
import json
import os
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vec2vec.datasets import CORPORA, Record, Tally, open_corpus
from vec2vec.datasets.enron import body_of, clean_mail
from vec2vec.datasets.tweettopic import TOPICS, by_number
from vec2vec.errors import InputError


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def write_csv(path: Path, header: str, *rows: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", encoding="utf8", newline="") as stream:
        writer = csv.writer(stream, quoting=csv.QUOTE_NONNUMERIC)
        writer.writerow(header.split(","))
        writer.writerows(rows)


# --- nq ---------------------------------------------------------------------------------------------------------------


def test_nq(tmp_path: Path) -> None:
    write_parquet(tmp_path / "nq" / "train-00000-of-00001.parquet", [{"text": "A river is a flow of water."}])
    write_parquet(tmp_path / "nq" / "dev-00000-of-00001.parquet", [{"text": "A hill is lower than a mountain."}])
    (tmp_path / "nq" / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n"
        "  - {split: train, path: train-*}\n  - {split: dev, path: dev-*}\n---\n"
    )
    train = Record("train-0", "A river is a flow of water.", (), "train")
    dev = Record("dev-0", "A hill is lower than a mountain.", (), "dev")
    assert list(open_corpus(f"nq:{tmp_path}/nq").records()) == [train, dev]
    assert list(open_corpus(f"nq:{tmp_path}/nq", split="dev").records()) == [dev]
    with pytest.raises(
        InputError, match=r"jxm/nq_corpus_dpr:train: is neither in the cache nor .*as in nq:\./nq_corpus_dpr"
    ):
        open_corpus("nq")


# --- tweettopic -------------------------------------------------------------------------------------------------------

ZEROS = [0] * len(TOPICS)
TWEETS = [
    {"id": 11, "text": "new song out tonight", "label_name": ["Music"]},
    {"id": 12, "text": "watching the series with my sister", "label_name": ["Family", "Film, TV & Video"]},
    {"id": 13, "text": "made soup before the gym", "label_name": ["Diaries & Daily Life", "Food & Dining"]},
]
TWEET_RECORDS = [
    Record("11", "new song out tonight", ("music",), "train"),
    Record("12", "watching the series with my sister", ("family", "film_tv_&_video"), "train"),
    Record("13", "made soup before the gym", ("diaries_&_daily_life", "food_&_dining"), "train"),
]


def test_tweettopic_by_name_and_by_number(tmp_path: Path) -> None:
    numbers = []
    for tweet, record in zip(TWEETS, TWEET_RECORDS, strict=True):
        label = [int(topic in record.labels) for topic in TOPICS]
        numbers.append({"id": tweet["id"], "text": tweet["text"], "label": label})
    write_parquet(tmp_path / "names" / "train.parquet", TWEETS)
    write_parquet(tmp_path / "numbers" / "train.parquet", numbers)
    for folder in ("names", "numbers"):
        corpus = open_corpus(f"tweettopic:{tmp_path}/{folder}")
        assert list(corpus.records()) == TWEET_RECORDS
        assert corpus.label_descriptions == TOPICS
    file = [Record(r.id, r.text, r.labels) for r in TWEET_RECORDS]
    assert list(open_corpus(f"tweettopic:{tmp_path}/numbers/train.parquet").records()) == file


def test_the_topics_are_those_of_the_dataset() -> None:
    """The columns of the dataset's card number them so."""
    assert len(TOPICS) == 19
    assert list(TOPICS)[::3] == [
        "arts_&_culture",
        "diaries_&_daily_life",
        "film_tv_&_video",
        "gaming",
        "news_&_social_concern",
        "science_&_technology",
        "youth_&_student_life",
    ]
    assert by_number([1] + [0] * 17 + [1]) == ["arts_&_culture", "youth_&_student_life"]
    descriptions = list(TOPICS.values())
    assert len(set(descriptions)) == 19
    assert all(20 < len(text) < 120 and text.isprintable() for text in descriptions)


@pytest.mark.parametrize(
    ("labels", "fault"),
    [
        ({"label_name": ["Musik"]}, r"it has an unknown topic \(Musik\)"),
        ({"label": [1, 0]}, "its topics are no list of 19 zeros and ones"),
        ({"label": [2, *ZEROS[1:]]}, "its topics are no list of 19 zeros and ones"),
        ({"label": [[0]] * 19}, "its topics are no list of 19 zeros and ones"),
    ],
)
def test_odd_topics(tmp_path: Path, labels: dict[str, Any], fault: str) -> None:
    file = write_parquet(tmp_path / "x.parquet", [{"id": 1, "text": "a tweet"} | labels])
    with pytest.raises(InputError, match=rf"row 0.*: {fault}"):
        list(open_corpus(f"tweettopic:{file}").records())


def test_no_copy_of_tweettopic(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "x.parquet", [{"id": 1, "text": "a tweet"}])
    with pytest.raises(InputError, match="is no copy of TweetTopic: it has the columns 'id', 'text', expected"):
        open_corpus(f"tweettopic:{file}")


# --- enron ------------------------------------------------------------------------------------------------------------

HEADERS = "Message-ID: <1.JavaMail@x>\nDate: Mon, 1 Oct 2001 10:00:00\nFrom: ann@firm.com\nTo: ben@firm.com\n"
HEADERS += "Subject: gas\nMime-Version: 1.0\nContent-Type: text/plain; charset=us-ascii\nX-Folder: \\ann\\sent\n\n"
MAILS = {
    "plain": ("Ben,\n\nplease send the figures.\n\nAnn", "Ben,\n\nplease send the figures.\n\nAnn"),
    "windows lines": ("one\r\ntwo\r\n", "one\ntwo"),
    "original": ("Fine with me.\n\n-----Original Message-----\nFrom: Ben\nAre you coming?", "Fine with me."),
    "forwarded": (
        "See below.\n---------------------- Forwarded by Ann Lee/HOU/ECT on 10/01/2001 ------------------\n\nold text",
        "See below.",
    ),
    "only a forward": ("---------------------- Forwarded by Ann Lee/HOU/ECT on 10/01 -----------\n\nold text", ""),
    "begin forwarded": ("Note this.\n\nBegin forwarded message:\n\n> old", "Note this."),
    "quoted lines": ("Yes.\n> Shall we?\n> Ben\nAnd no.", "Yes.\nAnd no."),
    "wrote": ("I agree.\n\nOn Mon, Oct 1, 2001, Ben Hill wrote:\nold text", "I agree."),
    "wrote in two lines": ("I agree.\n\nOn Mon, Oct 1, 2001 at 10:00 AM,\nBen Hill wrote:\nold text", "I agree."),
    "a block of headers": (
        "Thanks!\n\nFrom: Ben Hill\nSent: Monday, October 1\nTo: Ann Lee\nSubject: RE: gas\n\nold text",
        "Thanks!",
    ),
    "headers before the body": (
        "Subject: gas\nFrom: ann@firm.com\nDate: Mon, 1 Oct 2001\nTo: ben@firm.com,\n\tcy@firm.com\n\nBody: Hello Ben",
        "Hello Ben",
    ),
    "headers, then a forward": (
        "From: a@b.com\nDate: today\nSubject: x\n\nMine.\n\nFrom: c\nDate: before\nTo: d\nSubject: y\n\nold",
        "Mine.",
    ),
    "lines of headers": ("Dear all,\nTo: everyone\ncc: the others\nwe meet at ten.", "Dear all,\nwe meet at ten."),
    "addresses": ("Write to ann.lee+x@mail.firm.com, or call.", "Write to , or call."),
    "not a marker": ("We met on the bridge.\nFrom here it is far.", "We met on the bridge.\nFrom here it is far."),
    "blank lines": ("a\n \n\n\nb", "a\n\nb"),
}


@pytest.mark.parametrize("case", MAILS)
def test_what_the_sender_wrote(case: str) -> None:
    text, own = MAILS[case]
    assert clean_mail(text) == own


@pytest.mark.parametrize(
    "text", ["x", "\n", " ", ">", "-", "@", "a@", "a@b.", "on ", "from: x\n", "From: x\nDate: y\n", "To:"]
)
def test_a_megabyte_of_anything_takes_no_long(text: str) -> None:
    started = time.perf_counter()
    clean_mail(text * (2**20 // len(text)))
    assert time.perf_counter() - started < 5


def test_bodies_of_mails() -> None:
    assert body_of((HEADERS + "Hello").encode()) == "Hello"
    assert body_of(HEADERS.encode() + b"caf\xe9 \x96 five") == "café – five"  # declared as ASCII, and is not
    utf8 = "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n"
    assert body_of((utf8 + "R3LDvMOfZQ==").encode()) == "Grüße"
    parts = (
        "Content-Type: multipart/mixed; boundary=cut\n\n--cut\nContent-Type: text/plain\n\nthe text\n"
        "--cut\nContent-Type: text/html\n\n<b>the text</b>\n"
        '--cut\nContent-Type: text/plain\nContent-Disposition: attachment; filename="a.txt"\n\nattached\n--cut--\n'
    )
    assert body_of(parts.encode()).strip() == "the text"


@pytest.mark.parametrize("charset", ["charset=none", 'charset="a\0b"', "charset*=a\0b''utf-8", "charset=hex"])
def test_charsets_of_mails_that_are_none(charset: str) -> None:
    assert body_of(f"Content-Type: text/plain; {charset}\n\n".encode() + b"caf\xe9") == "café"


def test_an_attachment_of_a_name_that_is_none() -> None:
    headers = b"Content-Type: text/plain\nContent-Disposition: attachment; filename*=a\0b''x\n\n"
    assert body_of(headers + b"attached") == ""


@pytest.mark.parametrize(
    ("charset", "encoding", "body", "text"),
    [
        ("us-ascii", "7bit", "café – five", "café – five"),
        ("iso-8859-1", "8bit", "café – five", "café – five"),
        ("iso-8859-1", None, "café – five", "café – five"),
        ("iso-8859-1", "Quoted-Printable", "caf=E9", "café"),
        ("iso-8859-2", "base64", "s/M=", "łó"),
        ("us-ascii", "7bit", "caf\udce9", "café"),
        ("koi8-r", "8bit", "\udcc4\udcc1", "да"),
    ],
)
def test_bodies_of_mails_that_are_text_already(charset: str, encoding: str | None, body: str, text: str) -> None:
    headers = f"From: a\nContent-Type: text/plain; charset={charset}\n"
    headers += f"Content-Transfer-Encoding: {encoding}\n\n" if encoding else "\n"
    assert body_of(headers + body) == text


def test_enron_from_a_maildir(tmp_path: Path) -> None:
    for name, body in {"ben-h/sent/1.": "Hello Ann", "ann-l/sent/2.": "Hi Ben", "ann-l/inbox/1.": "> quoted"}.items():
        file = tmp_path / "maildir" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(HEADERS + body)
    tally = Tally()
    records = list(open_corpus(f"enron:{tmp_path}/maildir").records(tally))
    assert records == [Record("ann-l/sent/2.", "Hi Ben"), Record("ben-h/sent/1.", "Hello Ann")]
    assert (tally.seen, tally.bad) == (3, 1)
    assert "nothing of the sender's own is left of the mail (the first: the file ann-l/inbox/1.)" in tally.summary()


def test_enron_from_a_maildir_of_names_that_are_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "maildir").mkdir()
    for name in (b"caf\xe8.", b"caf\xe9."):
        (tmp_path / "maildir" / os.fsdecode(name)).write_text(HEADERS + "Hi")
    ids = [record.id for record in open_corpus(f"enron:{tmp_path}/maildir").records()]
    assert ids == [r"caf\xe8.", r"caf\xe9."]


def test_enron_with_half_a_character(tmp_path: Path) -> None:
    lines = [json.dumps({"file": str(i), "message": HEADERS + text}) + "\n" for i, text in enumerate(["\ud800", "Hi"])]
    (tmp_path / "x.jsonl").write_text("".join(lines))
    with pytest.raises(InputError, match=r"x\.jsonl: line 1: the text holds half a character"):
        list(open_corpus(f"enron:{tmp_path}/x.jsonl").records())
    corpus = open_corpus(f"enron:{tmp_path}/x.jsonl", on_bad_rows="skip")
    assert list(corpus.records()) == [Record("1", "Hi")]


def test_enron_from_a_csv_of_whole_mails(tmp_path: Path) -> None:
    rows = [["ann/1.", HEADERS + "Hi Ben\nFrom: x\nbye"], ["ann/2.", HEADERS + "> quoted"]]
    write_csv(tmp_path / "emails.csv.gz", "file,message", *rows)
    assert list(open_corpus(f"enron:{tmp_path}/emails.csv.gz").records()) == [Record("ann/1.", "Hi Ben\nbye")]


def test_enron_from_a_dataset_of_bodies(tmp_path: Path) -> None:
    rows = [{"text": "Subject: a\nBody: Hi Ben\n-----Original Message-----\nold", "n": 1}, {"text": "fine", "n": 2}]
    write_parquet(tmp_path / "set" / "train.parquet", rows)
    wanted = [Record("train-0", "Hi Ben", (), "train"), Record("train-1", "fine", (), "train")]
    assert list(open_corpus(f"enron:{tmp_path}/set").records()) == wanted
    file = write_parquet(tmp_path / "x.parquet", [{"subject": "a", "content": "one"}])
    assert list(open_corpus(f"enron:{file}").records()) == [Record("0", "one")]
    assert list(open_corpus(f"enron:{file}::subject").records()) == [Record("0", "a")]


@pytest.mark.parametrize(
    "uri", ["nq:{}/x.parquet", "tweettopic:{}/x.parquet", "enron:{}/x.parquet", "enron:{}/maildir"]
)
def test_a_column_that_is_not_there(tmp_path: Path, uri: str) -> None:
    write_parquet(tmp_path / "x.parquet", [{"id": 1, "text": "a text", "label_name": []}])
    (tmp_path / "maildir").mkdir()
    (tmp_path / "maildir" / "1.").write_text(HEADERS + "a text")
    assert [record.text for record in open_corpus(f"{uri}::text".format(tmp_path)).records()] == ["a text"]
    with pytest.raises(InputError, match=r"there is no column 'txt'; it has .*did you mean 'text'"):
        open_corpus(f"{uri}::txt".format(tmp_path))


def test_enron_with_nothing_in_it(tmp_path: Path) -> None:
    (tmp_path / "maildir").mkdir()
    with pytest.raises(InputError, match="there is no file in it"):
        open_corpus(f"enron:{tmp_path}/maildir")
    with pytest.raises(InputError, match="there is no such file"):
        open_corpus(f"enron:{tmp_path}/mails.csv")


# --- mimic ------------------------------------------------------------------------------------------------------------


def mimic_paper(folder: Path) -> None:
    write_csv(folder / "SUBJECT_ID_to_NOTES_1b.csv", "SUBJECT_ID,TEXT", ["3", "Seen for a cough."], ["4", "Well."])
    write_csv(folder / "SUBJECT_ID_to_NOTES_1a.csv", "SUBJECT_ID,TEXT", ["3", "another version"])
    write_csv(folder / "SUBJECT_ID_to_MedCAT.csv", "SUBJECT_ID,CODE", ["3", "C0010200"], ["3", "C0015967"])
    write_csv(folder / "MedCAT_Descriptions.csv", "CODE,DESCRIPTION", ["C0010200", "Coughing"], ["C0015967", "Fever"])


def mimic_iii(folder: Path) -> None:
    notes = "ROW_ID,SUBJECT_ID,HADM_ID,CATEGORY,ISERROR,TEXT"
    write_csv(
        folder / "NOTEEVENTS.csv.gz",
        notes,
        ["1", "3", "145.0", "Nursing", "", 'Slept "well",\nno pain.'],
        ["2", "3", "145", "Nursing", "1", "wrong patient"],
        ["3", "4", "", "Report", "", "No stay."],
    )
    codes = [["9", "3", "145", "1", "4019"], ["9", "3", "145", "2", "486"], ["9", "3", "145", "3", "4019"]]
    write_csv(folder / "DIAGNOSES_ICD.csv.gz", "ROW_ID,SUBJECT_ID,HADM_ID,SEQ_NUM,ICD9_CODE", *codes)
    titles = [["1", "4019", "Hypertension NOS", "Unspecified essential hypertension"], ["2", "486", "P", "Pneumonia"]]
    write_csv(folder / "D_ICD_DIAGNOSES.csv.gz", "ROW_ID,ICD9_CODE,SHORT_TITLE,LONG_TITLE", *titles)


def mimic_iv(folder: Path) -> None:
    note = folder / "mimic-iv-note" / "note" / "discharge.csv.gz"
    write_csv(note, "note_id,subject_id,hadm_id,text", ["1-DS-1", "1", "7", "Went home."])
    codes = [["1", "7", "1", "4019", "9"], ["1", "7", "2", "I10", "10"]]
    write_csv(
        folder / "mimiciv" / "hosp" / "diagnoses_icd.csv.gz", "subject_id,hadm_id,seq_num,icd_code,icd_version", *codes
    )
    titles = [["4019", "9", "Hypertension, old"], ["I10", "10", "Hypertension, new"]]
    write_csv(folder / "mimiciv" / "hosp" / "d_icd_diagnoses.csv.gz", "icd_code,icd_version,long_title", *titles)


def test_mimic_as_the_paper_has_it(tmp_path: Path) -> None:
    mimic_paper(tmp_path)
    corpus = open_corpus(f"mimic:{tmp_path}")
    assert list(corpus.records()) == [Record("0", "Seen for a cough.", ("C0010200", "C0015967")), Record("1", "Well.")]
    assert corpus.label_descriptions == {"C0010200": "Coughing", "C0015967": "Fever"}


def test_mimic_iii(tmp_path: Path) -> None:
    mimic_iii(tmp_path)
    corpus, tally = open_corpus(f"mimic:{tmp_path}"), Tally()
    assert list(corpus.records(tally)) == [
        Record("1", 'Slept "well",\nno pain.', ("icd9:4019", "icd9:486")),
        Record("3", "No stay."),
    ]
    assert tally.faults == {"the note is marked as an error": 1}
    assert corpus.label_descriptions["icd9:4019"] == "Unspecified essential hypertension"


def test_mimic_iv(tmp_path: Path) -> None:
    mimic_iv(tmp_path)
    corpus = open_corpus(f"mimic:{tmp_path}")
    assert list(corpus.records()) == [Record("1-DS-1", "Went home.", ("icd9:4019", "icd10:I10"))]
    assert corpus.label_descriptions == {"icd9:4019": "Hypertension, old", "icd10:I10": "Hypertension, new"}


def test_mimic_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"PhysioNet grants access per person .*as in mimic:FOLDER"):
        open_corpus("mimic")
    with pytest.raises(InputError, match="there is no such folder"):
        open_corpus(f"mimic:{tmp_path}/nothing")
    with pytest.raises(InputError, match=r"holds no notes of MIMIC .*SUBJECT_ID_to_NOTES_1b\.csv"):
        open_corpus(f"mimic:{tmp_path}")
    mimic_iii(tmp_path)
    (tmp_path / "DIAGNOSES_ICD.csv.gz").unlink()
    with pytest.raises(InputError, match=r"holds the notes of MIMIC-III .*but no DIAGNOSES_ICD\.csv"):
        open_corpus(f"mimic:{tmp_path}")


def test_mimic_with_other_columns(tmp_path: Path) -> None:
    mimic_paper(tmp_path)
    write_csv(tmp_path / "MedCAT_Descriptions.csv", "CODE,NAME", ["C0010200", "Coughing"])
    with pytest.raises(
        InputError, match=r"MedCAT_Descriptions\.csv: there is no column 'description'; it has 'code', 'name'"
    ):
        open_corpus(f"mimic:{tmp_path}")
    (tmp_path / "MedCAT_Descriptions.csv").write_text("CODE,DESCRIPTION\nC1,a\nC2\n")
    with pytest.raises(InputError, match=r"MedCAT_Descriptions\.csv: line 3: it has another number of fields"):
        open_corpus(f"mimic:{tmp_path}")


# --- all of them ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name, corpus in CORPORA.items() if corpus.dataset])
def test_a_named_corpus_that_cannot_be_reached(name: str) -> None:
    with pytest.raises(InputError, match=rf"`hf download {CORPORA[name].dataset} .*as in {name}:\./") as caught:
        open_corpus(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("setting", [{"config": "en"}, {"revision": "main"}, {"stream": True}])
def test_settings_of_the_hub_are_not_for_files(tmp_path: Path, setting: dict[str, Any]) -> None:
    (tmp_path / "x.txt").write_text("text\n")
    (tmp_path / "maildir").mkdir()
    (tmp_path / "maildir" / "1.").write_text(HEADERS + "Hi")
    mimic_iv(tmp_path)
    for uri in ("{}/x.txt", "nq:{}/x.txt", "enron:{}/maildir", "mimic:{}"):
        with pytest.raises(
            InputError, match="is a local copy; config, revision and stream are for datasets of the hub"
        ):
            open_corpus(uri.format(tmp_path), **setting)

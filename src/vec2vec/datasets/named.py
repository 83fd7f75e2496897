"""The corpora that the paper and the field use, by name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vec2vec.datasets.base import TextSource, check_column
from vec2vec.datasets.files import open_file
from vec2vec.datasets.hub import HubDataset, refuse_hub_settings
from vec2vec.errors import InputError

TABLES = (".parquet", ".jsonl", ".json", ".csv", ".arrow", ".gz", ".zst")


@dataclass(frozen=True)
class NamedCorpus:
    """A corpus that is known by name.

    Attributes
    ----------
    name, summary : for a list
    dataset : its name on the hub; None where only a local copy will do
    config, split : those that are read from the hub by default; a split of None is all of them
    """

    name: str
    summary: str
    dataset: str | None = None
    config: str | None = None
    split: str | None = None


CORPORA: dict[str, NamedCorpus] = {
    corpus.name: corpus
    for corpus in (
        NamedCorpus("nq", "Natural Questions: 5.3 million passages of Wikipedia", "jxm/nq_corpus_dpr", split="train"),
        NamedCorpus(
            "tweettopic",
            "tweets with one or more of 19 topics, which have descriptions (--config es, ja, gr: other languages)",
            "cardiffnlp/tweet_topic_multilingual",
            config="en",
        ),
        NamedCorpus(
            "enron", "Enron e-mail: the sender's own text (also from a maildir or CSV)", "rishi-jha/filtered_enron"
        ),
        NamedCorpus("mimic", "clinical notes with diseases: MIMIC-III, MIMIC-IV, or the paper's version of MIMIC-III"),
    )
}


def open_named(
    name: str,
    path: str | None,
    *,
    column: str | None = None,
    config: str | None = None,
    split: str | None = None,
    revision: str | None = None,
    stream: bool = False,
) -> tuple[TextSource, Mapping[str, str]]:
    """A corpus by name: its texts, and the descriptions of its labels.

    Parameters
    ----------
    name : one of `CORPORA`
    path : of a local copy, a file or folder; None for the hub
    column : of the texts in a copy of `enron`
    config, split, revision, stream : as in `vec2vec.datasets.open_corpus`
    """
    if name == "mimic":
        from vec2vec.datasets.mimic import ACCESS, Mimic

        if path is None:
            raise InputError(ACCESS)
        refuse_hub_settings(path, config, revision, stream)
        mimic = Mimic(Path(path).expanduser())
        return mimic, mimic.label_descriptions
    source = _open(CORPORA[name], path, config, split, revision, stream)
    if name == "tweettopic":
        from vec2vec.datasets.tweettopic import TOPICS, TweetTopic

        return TweetTopic(source), TOPICS
    if name == "enron":
        from vec2vec.datasets.enron import Maildir, Mails

        if not isinstance(source, Maildir):
            return Mails(source, column), {}
        if column is not None:
            check_column(source.name, column, source.text_names)
    return source, {}


def _open(
    corpus: NamedCorpus, path: str | None, config: str | None, split: str | None, revision: str | None, stream: bool
) -> TextSource:
    if path is None:
        assert corpus.dataset is not None
        return HubDataset(
            corpus.dataset,
            config=config or corpus.config,
            split=split or corpus.split,
            revision=revision,
            stream=stream,
            scheme=corpus.name,
        )
    place = Path(path).expanduser()
    if not place.is_dir():
        refuse_hub_settings(path, config, revision, stream)
        return open_file(place)
    if corpus.name == "enron" and not _holds_tables(place):
        from vec2vec.datasets.enron import Maildir

        refuse_hub_settings(path, config, revision, stream)
        return Maildir(place)
    return HubDataset(str(place.resolve()), config=config, split=split, stream=stream, scheme=corpus.name)


def _holds_tables(folder: Path) -> bool:
    """Whether the folder, or one in it, holds a file of a dataset; a folder of mails does not."""
    with os.scandir(folder) as entries:
        places = [folder, *(Path(entry.path) for entry in entries if entry.is_dir())]
    return any(file.suffix.lower() in TABLES for place in places for file in place.iterdir() if file.is_file())

"""The known encoder, and what texts are recovered with."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vec2vec.audit.inputs import Reference, Truth
from vec2vec.audit.inversion.entities import NameFinder, spacy_names
from vec2vec.audit.inversion.inverter import Inverter
from vec2vec.audit.inversion.judge import EndpointJudge
from vec2vec.audit.inversion.lm import LanguageModel
from vec2vec.audit.inversion.published import PREFIX, PublishedInverter
from vec2vec.audit.inversion.section import Tools
from vec2vec.audit.inversion.training import TrainingStep, check_training, train_inverter
from vec2vec.audit.inversion.vocabulary import cut_as_seen
from vec2vec.audit.settings import AuditSettings
from vec2vec.encoders import Encoder, encode
from vec2vec.encoders.base import require
from vec2vec.encoders.embedding import embed_named
from vec2vec.encoders.inputs import OnBadRows
from vec2vec.errors import ConfigError, InputError, Vec2VecWarning
from vec2vec.vectors import Float32, Int64

Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Known:
    """The known encoder: to embed with, or just its vectors, where texts need not be embedded.

    Attributes
    ----------
    name : in the report
    width : of its vectors
    encoder : None where only vectors are at hand
    cache : keep the vectors of texts
    """

    name: str
    width: int
    encoder: Encoder | None = None
    cache: bool = True

    def embed(
        self, texts: Sequence[str], what: str, numbers: Sequence[int] | None = None, on_bad_rows: OnBadRows = "error"
    ) -> tuple[Float32, Int64]:
        """The vectors (k, width) float32 of the texts that have one, and which they are (k,).

        Parameters
        ----------
        what : errors and warnings call what they were taken from
        numbers : of their rows in it; their positions if None
        on_bad_rows : "error" raises for one that has no vector, "skip" warns of such
        """
        if self.encoder is None:
            raise InputError(f"{what}: has texts to embed, and no encoder is at hand: give one, or their vectors")
        return embed_named(texts, self.encoder, name=what, numbers=numbers, on_bad_rows=on_bad_rows, cache=self.cache)

    def embed_descriptions(self, descriptions: Mapping[str, str], what: str) -> Float32:
        """(n, width) float32: the vectors of the descriptions of labels; InputError names a label that has none."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Vec2VecWarning)
            vectors, found = self.embed(list(descriptions.values()), what, on_bad_rows="skip")
        for i, label in enumerate(descriptions):
            if i not in found:
                raise InputError(
                    f"{what}: the description of the label '{label}' has no token that the encoder knows; reword it"
                )
        return vectors

    def embed_again(self, texts: Sequence[str]) -> Float32:
        """Like `embed`, without the cache, for hypotheses that nobody will ask for again. A blank text is zero."""
        if self.encoder is None:
            raise InputError("an inversion needs the known encoder itself")
        out = np.zeros((len(texts), self.width), np.float32)
        filled = [i for i, text in enumerate(texts) if text.strip()]
        if filled:
            out[filled] = encode(self.encoder, [texts[i] for i in filled])
        return out


def _now_and_then(say: Say) -> Callable[[TrainingStep], None]:
    """A line a minute on the training of an inverter."""
    last = 0.0

    def show(step: TrainingStep) -> None:
        nonlocal last
        if step.seconds - last >= 60:
            last = step.seconds
            say(f"step {step.step:,}, {step.part:.0%} of the time, loss {step.loss:.2f}")

    return show


@dataclass(frozen=True)
class Words:
    """How texts are recovered: see `audit`."""

    inverter: str | os.PathLike[str] | Inverter | None
    lm: str | None
    names: str | None
    judge: str | None

    def refuse_unused(self, settings: AuditSettings) -> None:
        """Raises ConfigError for what is given and would not be used."""
        without = self.inverter is None or self.inverter == "none"
        for name, value in (("lm", self.lm), ("names", self.names), ("judge", self.judge)):
            if value is not None and without:
                raise ConfigError(f"{name} (--{name}) serves to recover texts, and none are: choose an inverter")
        if self.lm is not None and (self.inverter == "nearest" or self._is_published):
            raise ConfigError(f"lm (--lm) rewrites what a decoder wrote, and {self.inverter} has none")
        if self.lm is not None and settings.rounds == 0:
            raise ConfigError("lm (--lm) serves to correct what a decoder wrote: with rounds 0 nothing is corrected")
        minutes = settings.inverter_minutes
        if self.inverter != "train" and minutes != AuditSettings.model_fields["inverter_minutes"].default:
            raise ConfigError(
                f"inverter_minutes (--minutes) is {minutes:g}, and no inverter is trained: choose inverter 'train'"
            )

    def check(self, known: Known, reference: Reference, truth: Truth | None) -> bool:
        """Whether texts are asked for; raises InputError where they cannot be had: before the work, not after it."""
        if self.inverter is None or self.inverter == "none":
            return False
        if known.encoder is None or reference.texts is None:
            raise InputError("to recover texts, give the known encoder and a reference of texts, or leave it (none)")
        if truth is not None and truth.texts is not None:
            require("sacrebleu.metrics", "inversion", "a measure of texts")
            cut_as_seen(known.encoder, ())  # as the true texts will be: it may need a tokenizer
        _, _, judge = self._helpers  # they are loaded here
        unused = "names" if self.names is not None else "judge" if self.judge is not None else None
        if unused is not None and (truth is None or truth.texts is None):
            raise ConfigError(
                f"{unused} (--{unused}) serves to compare with the true texts: give a truth (--truth) that has texts"
            )
        if judge is not None:
            judge.check()
        if self.inverter == "train":
            check_training(known.encoder, reference.texts)
        elif (published := self._published) is not None:
            published.check(known.embed_again, reference.texts)
        elif self.inverter != "nearest":
            self._load().check_encoder(known.encoder.identity.to_dict())
        return True

    def tools(self, known: Known, reference: Reference, vectors: Float32, settings: AuditSettings, say: Say) -> Tools:
        """What an inversion works with; an inverter is trained here where one is asked for."""
        assert known.encoder is not None
        assert reference.texts is not None
        proposer, names, judge = self._helpers
        inverter = None
        if self.inverter == "train":
            minutes = settings.inverter_minutes
            say(f"training an inverter on the reference, {minutes:g} minutes")
            inverter = train_inverter(
                reference.texts,
                vectors,
                known.encoder,
                minutes=minutes,
                seed=settings.seed,
                progress=_now_and_then(say),
            )
        elif self.inverter != "nearest" and self._published is None:
            inverter = self._load()
        return Tools(
            reference=vectors,
            texts=reference.texts,
            embed=known.embed_again,
            encoder=known.encoder,
            inverter=inverter,
            published=self._published,
            proposer=proposer,
            names=names,
            names_by="a rule of capitals" if self.names is None else f"the spaCy model {self.names}",
            judge=judge,
            judged_by="a rule" if self.judge is None else f"the endpoint {self.judge}",
            say=say,
        )

    @cached_property
    def _published(self) -> PublishedInverter | None:
        if not self._is_published:
            return None
        return PublishedInverter(str(self.inverter).removeprefix(PREFIX))

    @property
    def _is_published(self) -> bool:
        return isinstance(self.inverter, str) and self.inverter.startswith(PREFIX)

    @cached_property
    def _helpers(self) -> tuple[LanguageModel | None, NameFinder | None, EndpointJudge | None]:
        return (
            None if self.lm is None else LanguageModel(self.lm),
            None if self.names is None else spacy_names(self.names),
            None if self.judge is None else EndpointJudge(self.judge),
        )

    def _load(self) -> Inverter:
        if isinstance(self.inverter, Inverter):
            return self.inverter
        assert self.inverter is not None
        return Inverter.from_pretrained(self.inverter)

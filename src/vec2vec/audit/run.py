"""The audit from end to end: reference -> known vectors -> translator -> verdict -> what the leak tells."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vec2vec import __version__
from vec2vec.align import fit, limited_threads
from vec2vec.align.base import Progress
from vec2vec.audit.attributes import Attributes, Views, check_labels, read_attributes, train_probe, zero_shot
from vec2vec.audit.inputs import (
    LabelSet,
    Leak,
    Reference,
    Truth,
    check_known,
    draw_leak,
    open_leak,
    read_labels,
    read_reference,
    read_truth,
)
from vec2vec.audit.inversion.entities import spacy_names
from vec2vec.audit.inversion.inverter import Inverter
from vec2vec.audit.inversion.judge import EndpointJudge
from vec2vec.audit.inversion.lm import LanguageModel
from vec2vec.audit.inversion.section import Inversion, Tools, invert
from vec2vec.audit.inversion.training import train_inverter
from vec2vec.audit.result import Audit, Picture, TranslationScores
from vec2vec.audit.settings import AuditSettings, make_audit_settings
from vec2vec.encoders import Encoder, embed, encode, get_encoder
from vec2vec.errors import DimensionError, InputError
from vec2vec.stores.base import listed
from vec2vec.translator import Translator
from vec2vec.vectors import Float32, OnBadRows
from vec2vec.verdict import Verdict

if TYPE_CHECKING:
    from vec2vec.stores.sampling import RowSource

Say = Callable[[str], None]
FAR = 0.5  # of the radius: a leak whose mean lies further from that of the translator's space is another kind of vector


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

    def embed(self, texts: Sequence[str], what: str) -> Float32:
        """(n, width) float32: the vectors of texts."""
        if self.encoder is None:
            raise InputError(f"{what}: has texts to embed, and no encoder is at hand: give one, or their vectors")
        return embed(list(texts), self.encoder, cache=self.cache)

    def embed_again(self, texts: Sequence[str]) -> Float32:
        """Like `embed`, without the cache, for hypotheses that nobody will ask for again. A blank text is zero."""
        if self.encoder is None:
            raise InputError("an inversion needs the known encoder itself")
        out = np.zeros((len(texts), self.width), np.float32)
        filled = [i for i, text in enumerate(texts) if text.strip()]
        if filled:
            out[filled] = encode(self.encoder, [texts[i] for i in filled])
        return out


def audit(
    leak: npt.ArrayLike | str | os.PathLike[str],
    encoder: str | Encoder | None,
    reference: str | os.PathLike[str] | Sequence[str] | Reference,
    *,
    scope: str,
    labels: str | os.PathLike[str] | Mapping[str, str] | LabelSet | None = None,
    truth: str | os.PathLike[str] | Truth | None = None,
    translator: str | os.PathLike[str] | Translator | None = None,
    method: Mapping[str, Any] | None = None,
    inverter: str | os.PathLike[str] | Inverter | None = None,
    lm: str | None = None,
    names: str | None = None,
    judge: str | None = None,
    source_space: str | None = None,
    target_space: str | None = None,
    on_bad_rows: OnBadRows = "error",
    cache: bool = True,
    threads: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    say: Say | None = None,
    **settings: Any,
) -> Audit:
    """What a leaked set of vectors would tell somebody who knows neither its texts nor its model.

    Nothing leaves this machine, unless `encoder` is an endpoint. Use it on vectors that are yours, or that you are
    authorised to test.

    Parameters
    ----------
    leak : (n, d) array or a file of vectors (see `vec2vec.stores`) of an unknown encoder. Other columns are not read.
    encoder : the known one (see `vec2vec.encoders.get_encoder`); None where vectors are given for all texts
    reference : public texts of the same kind and language: a corpus, a sequence, or a `Reference`. With labels, a probe
        is trained on them.
    scope : what is audited, and on whose authority; it stands in the report
    labels : for the zero-shot reading of attributes, see `vec2vec.audit.inputs.read_labels`
    truth : for measuring only: texts, labels or both, row-aligned with the leak
    translator : a fitted one, from the leak's space to the known one; None fits one
    method : how to fit: settings of `vec2vec.fit`, its method among them
    inverter : for texts: an `Inverter`, its folder, "train" (on the reference, `inverter_minutes` long), "nearest" (the
        closest reference texts alone), or "none" or None: no texts
    lm : a causal language model of transformers that rewrites hypotheses in the decoder's place
    names : a spaCy model that finds names; None takes a rule
    judge : an OpenAI-compatible endpoint, URL::MODEL, that says whether a text is revealing. The true texts are sent
        there. None takes a rule.
    source_space, target_space : of the translator's spaces, where its first and second are not meant
    on_bad_rows : "error" or "skip", of the leak and of the reference
    cache : keep the vectors of texts (`vec2vec.encoders.cache`)
    threads : CPU threads, while this runs
    progress : called with the steps of the fit
    say : called with a line at each stage
    **settings : see `AuditSettings`

    Returns
    -------
    Audit. Where the verdict is "not aligned" it holds no figures: nothing can be concluded.

    Raises
    ------
    InputError : a leak, reference, truth or labels that cannot be used, see there; a blank scope
    DimensionError : the translator's spaces have not the widths of the leak and of the encoder
    ConfigError : an unknown setting
    """
    if not scope.strip():
        raise InputError("an audit needs its scope: what is audited, and on whose authority")
    checked = make_audit_settings(settings)
    words = Words(inverter, lm, names, judge)
    run = _Run(checked, say or (lambda line: None), progress, on_bad_rows, cache, threads, dict(method or {}), words)
    with limited_threads(threads):
        return run.whole(leak, encoder, reference, scope, labels, truth, translator, (source_space, target_space))


@dataclass(frozen=True)
class Words:
    """How texts are recovered: see `audit`."""

    inverter: str | os.PathLike[str] | Inverter | None
    lm: str | None
    names: str | None
    judge: str | None

    def check(self, known: Known, reference: Reference) -> bool:
        """Whether texts are asked for; raises InputError where they cannot be had: before the work, not after it."""
        if self.inverter is None or self.inverter == "none":
            return False
        if known.encoder is None or reference.texts is None:
            raise InputError("to recover texts, give the known encoder and a reference of texts, or leave it (none)")
        if self.inverter not in ("train", "nearest"):
            self._load().check_encoder(known.encoder.identity.to_dict())
        return True

    def tools(self, known: Known, reference: Reference, vectors: Float32, run: _Run) -> Tools:
        """What an inversion works with; an inverter is trained here where one is asked for."""
        assert known.encoder is not None
        assert reference.texts is not None
        inverter = None
        if self.inverter == "train":
            minutes = run.settings.inverter_minutes
            run.say(f"training an inverter on the reference, {minutes:g} minutes")
            inverter = train_inverter(reference.texts, vectors, known.encoder, minutes=minutes, seed=run.settings.seed)
        elif self.inverter != "nearest":
            inverter = self._load()
        return Tools(
            reference=vectors,
            texts=reference.texts,
            embed=known.embed_again,
            encoder=known.encoder,
            inverter=inverter,
            proposer=None if self.lm is None else LanguageModel(self.lm),
            names=None if self.names is None else spacy_names(self.names),
            names_by="a rule of capitals" if self.names is None else f"the spaCy model {self.names}",
            judge=None if self.judge is None else EndpointJudge(self.judge),
            judged_by="a rule" if self.judge is None else f"the endpoint {self.judge}",
            say=run.say,
        )

    def _load(self) -> Inverter:
        if isinstance(self.inverter, Inverter):
            return self.inverter
        assert self.inverter is not None
        return Inverter.from_pretrained(self.inverter)


@dataclass
class _Run:
    settings: AuditSettings
    say: Say
    progress: Callable[[Progress], None] | None
    on_bad_rows: OnBadRows
    cache: bool
    threads: int | None
    method: dict[str, Any]
    words: Words

    def whole(
        self,
        leak: Any,
        encoder: str | Encoder | None,
        reference: Any,
        scope: str,
        labels: Any,
        truth: Any,
        translator: Any,
        spaces: tuple[str | None, str | None],
    ) -> Audit:
        started, settings = time.perf_counter(), self.settings
        source = open_leak(leak)
        label_set = None if labels is None else read_labels(labels)
        whole_truth = None if truth is None else read_truth(truth, rows=source.rows, leak=source.uri)
        if label_set is not None and whole_truth is not None and whole_truth.labels is not None:
            check_labels(label_set, whole_truth.labels)
        drawn = draw_leak(source, settings.leak_rows, settings.seed, self.on_bad_rows)
        texts = read_reference(
            reference, rows=settings.reference_rows, seed=settings.seed, on_bad_rows=self.on_bad_rows
        )
        found = None if translator is None else _load(translator)
        known = self._known(encoder, texts, found, spaces)
        if found is not None:
            spaces = _check_widths(found, spaces, drawn, known)
        self.say(f"embedding {len(texts):,} reference texts with {known.name}" if texts.vectors is None else "reading")
        tools = self.words.check(known, texts)
        vectors = self._vectors(known, texts)
        given = found is not None
        if found is None:
            found, spaces = self._fit(leak, source, vectors, known)
        verdict = found.verdict or _not_judged()
        notes = list(_notes(drawn, found, spaces, verdict, given))
        base: dict[str, Any] = {
            "scope": scope.strip(),
            "leak": drawn,
            "known": known.name,
            "known_width": known.width,
            "reference_rows": len(vectors),
            "reference_name": texts.name,
            "verdict": verdict,
            "translator": found,
            "fitted": not given,
            "settings": settings,
            "notes": tuple(notes),
            "method": self._method(known, found),
        }
        if verdict.label == "not aligned":
            return Audit(**base, seconds=time.perf_counter() - started)
        own = None if whole_truth is None else whole_truth.take(drawn.rows)
        native = self._native(known, own)
        translated = found.translate(drawn.vectors, source=spaces[0], target=spaces[1])
        views = Views.of(translated, drawn.vectors, native)
        self.say("reading attributes")
        attributes = self._attributes(known, texts, vectors, label_set, own, views, notes)
        inversion = None
        if tools:
            inversion = self._invert(self.words.tools(known, texts, vectors, self), drawn, translated, native, own)
        base["notes"] = tuple(notes)
        return Audit(
            **base,
            attributes=attributes,
            inversion=inversion,
            translation=None if native is None else TranslationScores.of(translated, native, settings),
            picture=Picture.draw(found, spaces, drawn.vectors, vectors, own, settings),
            seconds=time.perf_counter() - started,
        )

    def _known(
        self,
        encoder: str | Encoder | None,
        reference: Reference,
        translator: Translator | None,
        spaces: tuple[str | None, str | None],
    ) -> Known:
        if encoder is None:
            if reference.vectors is None:
                raise InputError(f"{reference.name}: has no vectors, and no encoder is given to embed its texts with")
            name = "known" if translator is None else translator.direction(*spaces)[1]
            return Known(name, int(reference.vectors.shape[1]))
        made = get_encoder(encoder, threads=self.threads) if isinstance(encoder, str) else encoder
        return Known(made.identity.encoder, made.width, made, self.cache)

    def _vectors(self, known: Known, reference: Reference) -> Float32:
        if reference.vectors is not None:
            return check_known(reference.vectors, known.width, reference.name)
        assert reference.texts is not None
        return known.embed(reference.texts, reference.name)

    def _fit(
        self, leak: Any, source: RowSource, vectors: Float32, known: Known
    ) -> tuple[Translator, tuple[str | None, str | None]]:
        self.say(f"fitting a translator from {source.uri} to {known.name}, without pairs")
        names = ("leak", known.name if known.name != "leak" else "known")
        found = fit(
            leak,
            vectors,
            seed=self.settings.seed,
            rows=self.settings.fit_rows,
            source_name=names[0],
            target_name=names[1],
            on_bad_rows=self.on_bad_rows,
            progress=self.progress,
            **self.method,
        )
        self.say(found.verdict.sentence)
        return found.translator, names

    def _native(self, known: Known, truth: Truth | None) -> Float32 | None:
        if truth is None or (truth.vectors is None and truth.texts is None):
            return None
        if truth.vectors is not None:
            return check_known(truth.vectors, known.width, truth.name)
        if known.encoder is None:
            return None
        self.say(f"embedding {len(truth):,} true texts, for the ceiling")
        assert truth.texts is not None
        return known.embed(truth.texts, truth.name)

    def _attributes(
        self,
        known: Known,
        reference: Reference,
        vectors: Float32,
        labels: LabelSet | None,
        truth: Truth | None,
        views: Views,
        notes: list[str],
    ) -> tuple[Attributes, ...]:
        own = None if truth is None else truth.labels
        options: dict[str, Any] = {"settings": self.settings}
        found = []
        if labels is not None:
            described = labels.vectors
            if described is None:
                described = known.embed(list(labels.descriptions.values()), labels.name)
            reader = zero_shot(check_known(described, known.width, f"the descriptions of {labels.name}"))
            found.append(
                read_attributes(reader, labels.names, views, own, kind="zero-shot", task=labels.name, **options)
            )
        if reference.labels is None:
            return tuple(found)
        names = None if labels is None else labels.names
        try:
            probe = train_probe(vectors, reference.labels, names, self.settings)
            task = "labels of the reference"
            found.append(read_attributes(probe, probe.names, views, own, kind="few-shot", task=task, **options))
        except InputError as error:
            notes.append(f"no probe was trained: {error}")
        return tuple(found)

    def _invert(
        self, tools: Tools, leak: Leak, translated: Float32, native: Float32 | None, truth: Truth | None
    ) -> Inversion:
        rng = np.random.default_rng(self.settings.seed)
        rows = np.sort(rng.choice(len(leak), min(self.settings.invert_rows, len(leak)), replace=False))
        truths = None if truth is None or truth.texts is None else [truth.texts[i] for i in rows]
        return invert(
            tools,
            leak.rows[rows],
            translated[rows],
            native=None if native is None else native[rows],
            truths=truths,
            settings=self.settings,
        )

    def _method(self, known: Known, translator: Translator) -> dict[str, Any]:
        identity = None if known.encoder is None else known.encoder.identity.to_dict()
        return {
            "vec2vec": __version__,
            "settings": self.settings.model_dump(mode="json"),
            "encoder": identity,
            "fit": translator.record,
        }


def _load(translator: str | os.PathLike[str] | Translator) -> Translator:
    return translator if isinstance(translator, Translator) else Translator.from_pretrained(translator)


def _check_widths(
    translator: Translator, spaces: tuple[str | None, str | None], leak: Leak, known: Known
) -> tuple[str, str]:
    source, target = translator.direction(*spaces)
    for space, width, what in ((source, leak.width, f"the leak {leak.name}"), (target, known.width, known.name)):
        due = translator.width(space)
        if width != due:
            raise DimensionError(
                f"{what}: has width {width}, and the translator's space '{space}' {due}; it goes from '{source}' to "
                f"'{target}': is it another encoder, or the other direction?"
            )
    return source, target


def _not_judged() -> Verdict:
    sentence = "The translator carries no verdict: whether it is any good is not known."
    return Verdict("uncertain", float("nan"), (0.0, 1.0), {}, sentence)


def _notes(
    leak: Leak, translator: Translator, spaces: tuple[str | None, str | None], verdict: Verdict, given: bool
) -> list[str]:
    """What a reader of the report has to know."""
    notes = []
    if leak.unread:
        notes.append(f"the leak has other columns ({listed(leak.unread)}): they were not read, only the vectors were")
    if leak.bad:
        notes.append(f"{len(leak.bad):,} rows of the leak are no usable vectors and were left out")
    if verdict.label == "uncertain":
        notes.append("the verdict is uncertain: what follows may understate what leaks, or mean nothing")
    if given:
        notes.append("the verdict is that of the given translator, on the vectors that it was fitted on")
        space = translator.space(translator.direction(*spaces)[0]).preprocessor
        away = float(np.linalg.norm(leak.vectors.mean(0) - space.mean)) / space.radius
        if away > FAR:
            notes.append(
                f"the leak's mean lies {away:.1f} radii from the mean that the translator was fitted on: these are "
                "other texts, or vectors of another encoder; expect worse translations than the verdict says"
            )
    return notes

"""The audit from end to end: reference -> known vectors -> translator -> verdict -> what the leak tells."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vec2vec import __version__
from vec2vec.align import find_device, fit, limited_threads
from vec2vec.align.base import Progress, choose_method, make_config
from vec2vec.audit.attributes import Attributes, Reading, Views, check_labels, read_attributes, train_probe, zero_shot
from vec2vec.audit.defences import Defence, DefenceResult, choose_defences, search_recall
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
    usable_known,
)
from vec2vec.audit.inversion.inverter import Inverter
from vec2vec.audit.inversion.measures import TextMeasures
from vec2vec.audit.inversion.section import Inversion, Tools, invert, print_nothing
from vec2vec.audit.known import Known, Say, Words
from vec2vec.audit.result import Audit, Picture, TranslationScores
from vec2vec.audit.settings import AuditSettings, make_audit_settings
from vec2vec.encoders import Encoder, get_encoder, is_endpoint
from vec2vec.errors import ConfigError, DimensionError, InputError, Vec2VecError, Vec2VecWarning
from vec2vec.stores.base import listed
from vec2vec.translator import Translator
from vec2vec.vectors import Float32, Int64, OnBadRows
from vec2vec.verdict import Verdict

if TYPE_CHECKING:
    from vec2vec.stores.sampling import RowSource

OF_ONE_FIT = ("checkpoint", "checkpoint_every", "resume", "tracker", "log_folder")  # each with a folder of its own
FAR = 0.5  # of the radius: a leak whose mean lies further from that of the translator's space is another kind of vector
GIVEN_TO_THE_FIT = {
    "source": "leak",
    "target": "reference",
    "seed": "seed",
    "rows": "fit_rows",
    "on_bad_rows": "on_bad_rows",
    "progress": "progress",
    "source_name": "",
    "target_name": "",
}  # what is no setting of it: argument of `fit` -> that of `audit` that it comes from


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
    defences: str | Sequence[str] = "none",
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

    Nothing leaves this machine, unless `encoder` or `judge` is an endpoint: the latter is sent the true texts. Use it
    on vectors that are yours, or that you are authorised to test.

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
    method : how to fit: settings of `vec2vec.fit`, its method among them; defences are attacked with the same ones, but
        for those of `OF_ONE_FIT`
    inverter : for texts: an `Inverter`, its folder, "train" (on the reference, `inverter_minutes` long), "nearest" (the
        closest reference texts alone), "vec2text:NAME" (a published one, see `vec2vec.audit.inversion.published`), or
        "none" or None: no texts
    lm : a causal language model of transformers that rewrites hypotheses in the decoder's place
    names : a spaCy model that finds names; None takes a rule
    judge : an OpenAI-compatible endpoint, URL::MODEL, that says whether a text is revealing. The true texts are sent
        there. None takes a rule.
    defences : "all", "none", or names of `vec2vec.audit.defences.DEFENCES`; each costs a fit
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
    ConfigError : an unknown setting; in `method`, what `fit` refuses, or the audit gives it itself, or pairs beside
        defences; settings of a fit beside a translator, or spaces without one; what serves to recover texts where none
        are
    """
    if not scope.strip():
        raise InputError("an audit needs its scope: what is audited, and on whose authority")
    for key in sorted((method or {}).keys() & GIVEN_TO_THE_FIT.keys()):
        given = GIVEN_TO_THE_FIT[key]
        raise ConfigError(f"{key} is not a setting of the fit of an audit{given and f': use the {given} of the audit'}")
    run = _Run(
        make_audit_settings(settings),
        say or print_nothing,
        progress,
        on_bad_rows,
        cache,
        threads,
        dict(method or {}),
        Words(inverter, lm, names, judge),
        choose_defences(defences),
    )
    if translator is not None and (run.settings.fit_rows is not None or (run.method and not run.defences)):
        raise ConfigError("a translator is given: rows and settings of a fit (--rows, --set-fit) serve to fit one only")
    if translator is None and (source_space is not None or target_space is not None):
        raise ConfigError("no translator is given: spaces (--from, --to) are those of a given one (--translator)")
    if run.defences and run.method.get("pairs") is not None:
        raise ConfigError(
            "the pairs (--set-fit pairs=…) are of the leak as it is, and say nothing of a defended one: leave out "
            "either them or the defences"
        )
    if translator is None or run.defences:
        _check_fit(run.method)
    run.words.refuse_unused(run.settings)
    with limited_threads(threads):
        return run.whole(leak, encoder, reference, scope, labels, truth, translator, (source_space, target_space))


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
    defences: list[Defence]

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
        drawn = draw_leak(source, settings.leak_rows, settings.seed, self.on_bad_rows)
        own = None if whole_truth is None else whole_truth.take(drawn.rows)
        if label_set is not None and own is not None and own.labels is not None:
            check_labels(label_set.name, label_set.names, own.labels, settings)
        texts = read_reference(
            reference, rows=settings.reference_rows, seed=settings.seed, on_bad_rows=self.on_bad_rows
        )
        found = None if translator is None else _load(translator)
        known = self._known(encoder, texts, found, spaces)
        if found is not None:
            spaces = _check_widths(found, spaces, drawn, known)
        self.say(f"embedding {len(texts):,} reference texts with {known.name}" if texts.vectors is None else "reading")
        tools = self.words.check(known, texts, own)
        vectors, texts = self._vectors(known, texts)
        native, own, drawn = self._native(known, own, drawn)
        readers, untrained = self._readers(known, texts, vectors, label_set, own)
        given = found is not None
        if found is None:
            found, spaces = self._fit(leak, source, vectors, known)
        verdict = found.verdict or _not_judged()
        away = _distance(drawn, found, spaces) if given else 0.0
        notes = _notes(drawn, verdict, given, away)
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
            "unlike": away > FAR,
            "settings": settings,
            "notes": tuple(notes),
            "method": self._method(known, found),
        }
        if verdict.label == "not aligned":
            return Audit(**base, seconds=time.perf_counter() - started)
        notes += untrained
        translated = found.translate(drawn.vectors, source=spaces[0], target=spaces[1])
        views = Views.of(translated, drawn.vectors, native)
        self.say("reading attributes")
        attributes = self._attributes(readers, own, views)
        made = self.words.tools(known, texts, vectors, self.settings, self.say) if tools else None
        inversion = None if made is None else self._invert(made, drawn, translated, native, own)
        defences = self._defences(readers, vectors, drawn, own, native, made, notes)
        if made is not None and made.judge is not None:
            notes += made.judge.notes()
        base["notes"] = tuple(notes)
        return Audit(
            **base,
            attributes=attributes,
            inversion=inversion,
            defences=defences,
            translation=None
            if native is None or len(native) < 2
            else TranslationScores.of(translated, native, settings),
            picture=Picture.draw(found, spaces, drawn.vectors, vectors, settings),
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
        if isinstance(encoder, str):
            here = {} if self.threads is None or is_endpoint(encoder) else {"threads": self.threads}
            made = get_encoder(encoder, **here)
        else:
            made = encoder
        return Known(made.identity.encoder, made.width, made, self.cache)

    def _vectors(self, known: Known, reference: Reference) -> tuple[Float32, Reference]:
        """The vectors of the reference, and what it is without the texts that have none."""
        if reference.vectors is not None and self.on_bad_rows == "error":
            return check_known(reference.vectors, known.width, reference.name), reference
        if reference.vectors is not None:
            return usable_known(reference, known.width)
        assert reference.texts is not None
        vectors, rows = self._embed(known, reference.texts, reference)
        return vectors, reference.take(rows)

    def _embed(self, known: Known, texts: Sequence[str], of: Reference | Truth) -> tuple[Float32, Int64]:
        numbers = None if of.numbers is None else of.numbers.tolist()
        return known.embed(texts, of.name, numbers, "error" if self.on_bad_rows == "error" else "skip")

    def _fit(
        self, leak: Any, source: RowSource, vectors: Float32, known: Known
    ) -> tuple[Translator, tuple[str | None, str | None]]:
        pairs = "without pairs" if self.method.get("pairs") is None else "with known pairs"
        self.say(f"fitting a translator from {source.uri} to {known.name}, {pairs}")
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

    def _native(self, known: Known, truth: Truth | None, leak: Leak) -> tuple[Float32 | None, Truth | None, Leak]:
        """The native vectors of the truth, and truth and leak without the rows whose texts have none."""
        if truth is not None and truth.vectors is not None:
            return check_known(truth.vectors, known.width, truth.name), truth, leak
        if truth is None or truth.texts is None or known.encoder is None:
            return None, truth, leak
        self.say(f"embedding {len(truth):,} true texts, for the ceiling")
        native, rows = self._embed(known, truth.texts, truth)
        return native, truth.take(rows), leak.take(rows)

    def _readers(
        self, known: Known, reference: Reference, vectors: Float32, labels: LabelSet | None, truth: Truth | None
    ) -> tuple[list[Reading], list[str]]:
        """The readers of attributes: by the descriptions of labels, and a probe where the reference has labels; notes.

        Raises InputError where one of them shares no label with the truth.
        """
        found: list[Reading] = []
        notes: list[str] = []
        if labels is not None:
            described = labels.vectors
            if described is None:
                described = known.embed_descriptions(labels.descriptions, labels.name)
            reader = zero_shot(check_known(described, known.width, f"the descriptions of {labels.name}"))
            found.append(Reading("zero-shot", labels.name, labels.names, reader))
        if reference.labels is None:
            if not found and truth is not None and truth.labels is not None:
                notes.append("the truth has labels, and nothing reads them: give labels, or a reference that has some")
            return found, notes
        try:
            probe = train_probe(vectors, reference.labels, None if labels is None else labels.names, self.settings)
            found.append(Reading("few-shot", "labels of the reference", probe.names, probe))
        except InputError as error:
            notes.append(f"no probe was trained: {error}")
        if truth is not None and truth.labels is not None:
            for one in found:
                check_labels(one.task, one.names, truth.labels, self.settings)
        return found, notes

    def _attributes(self, readers: Sequence[Reading], truth: Truth | None, views: Views) -> tuple[Attributes, ...]:
        own = None if truth is None else truth.labels
        return tuple(read_attributes(one, views, own, self.settings) for one in readers)

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

    def _defences(
        self,
        readers: Sequence[Reading],
        vectors: Float32,
        leak: Leak,
        truth: Truth | None,
        native: Float32 | None,
        tools: Tools | None,
        notes: list[str],
    ) -> tuple[DefenceResult, ...]:
        """The attack on each protected leak, of at most `defence_rows` rows; what cannot be tried is noted.

        The reader that tells most of the first, which is not defended, is that of the others, too: they are compared.
        """
        settings = self.settings
        if not self.defences:
            return ()
        rng = np.random.default_rng([settings.seed, 3])
        chosen = np.sort(rng.permutation(len(leak))[: settings.defence_rows])
        x = leak.vectors[chosen]
        own = None if truth is None else truth.take(chosen)
        seen = None if native is None else native[chosen]
        found = []
        for i, defence in enumerate(self.defences):
            self.say(f"defence {i + 1} of {len(self.defences)}: {defence.title}")
            try:
                rng = np.random.default_rng([settings.seed, 4, i])
                found.append(self._attack(defence, rng, readers, vectors, x, own, seen, tools))
                readers = [one for one in readers if one.title == found[0].reader]
            except Vec2VecError as error:
                notes.append(f"{defence.title}: could not be tried: {error}")
        return tuple(found)

    def _attack(
        self,
        defence: Defence,
        rng: np.random.Generator,
        readers: Sequence[Reading],
        vectors: Float32,
        x: Float32,
        truth: Truth | None,
        native: Float32 | None,
        tools: Tools | None,
    ) -> DefenceResult:
        """The attack on one protected leak, by the reader that tells most."""
        settings = self.settings
        protected = defence.protect(x, rng)
        method = {key: value for key, value in self.method.items() if key not in OF_ONE_FIT}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Vec2VecWarning)  # of few rows and constant columns: they are meant
            fitted = fit(
                protected.stored,
                vectors,
                seed=settings.seed,
                rows=settings.defence_rows,
                progress=self.progress,
                **method,
            )
        rows = protected.rows
        views = Views.of(
            fitted.translator.translate(protected.stored), protected.stored, None if native is None else native[rows]
        )
        mine = None if truth is None else truth.take(rows)
        attributes = self._attributes(readers, mine, views)
        measured = [one for one in attributes if np.isfinite(one.telling)]
        best = max(measured, key=lambda one: one.telling, default=None)
        recovered = None
        if tools is not None and mine is not None and mine.texts is not None:
            recovered = self._invert_few(tools, views, mine.texts)
        return DefenceResult(
            defence.name,
            defence.title,
            defence.family,
            len(rows),
            fitted.verdict.label,
            search_recall(x, protected, resamples=settings.resamples, seed=settings.seed),
            top1=None if views.native is None else TranslationScores.of(views.translated, views.native, settings).top1,
            attributes=None if best is None or best.translated is None else best.translated.top1,
            reader=None if best is None else best.title,
            lift=float("nan") if best is None else best.telling,
            token_f1=None if recovered is None else recovered.token_f1,
            revealing=None if recovered is None else recovered.revealing,
        )

    def _invert_few(self, tools: Tools, views: Views, texts: Sequence[str]) -> TextMeasures | None:
        """Some rows decoded, without correction, which would cost too much for each defence."""
        rng = np.random.default_rng([self.settings.seed, 6])
        rows = np.sort(rng.permutation(len(texts))[: self.settings.defence_invert_rows])
        found = invert(
            tools,
            rows,
            views.translated[rows],
            native=None,
            truths=[texts[i] for i in rows],
            settings=self.settings.model_copy(update={"rounds": 0}),
            floor=False,
        ).find("translated")
        return None if found is None else found.measures

    def _method(self, known: Known, translator: Translator) -> dict[str, Any]:
        identity = None if known.encoder is None else known.encoder.identity.to_dict()
        return {
            "vec2vec": __version__,
            "settings": self.settings.model_dump(mode="json"),
            "encoder": identity,
            "fit": translator.record,
        }


def _check_fit(given: Mapping[str, Any]) -> None:
    """Raises ConfigError for settings that `fit` would refuse: before the work, not after it."""
    name, method = choose_method(given.get("method"), pairs=given.get("pairs") is not None)
    if "device" in given:
        find_device(given["device"])
    config = {key: value for key, value in given.items() if key not in ("method", "pairs", "threads", "device")}
    make_config(method.load()[0], config, method=name)


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


def _distance(leak: Leak, translator: Translator, spaces: tuple[str | None, str | None]) -> float:
    """Of the leak's mean from that of the vectors that the translator was fitted on, in radii of these."""
    space = translator.space(translator.direction(*spaces)[0]).preprocessor
    return float(np.linalg.norm(leak.vectors.mean(0) - space.mean)) / space.radius


def _notes(leak: Leak, verdict: Verdict, given: bool, away: float) -> list[str]:
    """What a reader of the report has to know; `away` as of `_distance`."""
    notes = []
    if leak.unread:
        notes.append(f"the leak has other columns ({listed(leak.unread)}): they were not read, only the vectors were")
    if leak.bad:
        notes.append(f"{len(leak.bad):,} rows of the leak are no usable vectors and were left out")
    if verdict.label == "uncertain":
        notes.append("the verdict is uncertain: what follows may understate what leaks, or mean nothing")
    if given:
        notes.append("the verdict is that of the given translator, on the vectors that it was fitted on")
    if away > FAR:
        notes.append(
            f"the leak's mean lies {away:.1f} radii from the mean that the translator was fitted on: these are other "
            "texts, or vectors of another encoder; expect worse translations than the verdict says"
        )
    return notes

"""The packaged sample as an audit: USE's vectors leaked, MiniLM known, and the domain of a text as what is read.

The sample has no texts. So the descriptions of its domains come with their vectors, embedded beforehand by MiniLM
(`benchmarks/make_sample_labels.py`), and words are not recovered.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import numpy as np

from vec2vec.audit.inputs import LabelSet, Reference, Truth
from vec2vec.data import load_sample

LABELS_FILE = "sample_labels.json"
SCOPE = "the packaged sample: public texts, embedded for this demonstration"


def sample_labels() -> LabelSet:
    """The sample's domains with descriptions, and the descriptions' vectors."""
    tree = json.loads(files("vec2vec.data").joinpath(LABELS_FILE).read_text(encoding="utf8"))
    vectors = np.asarray(tree["vectors"], np.float32)
    return LabelSet(tree["descriptions"], "domains of the sample", vectors)


def sample_audit_inputs() -> dict[str, Any]:
    """What `vec2vec.audit.audit` takes beside a translator: leak, reference, labels, truth, scope.

    The leak is the 2,000 held-out texts by USE, of which the truth is known: labels, and MiniLM's vectors for the
    ceiling. The reference is MiniLM's 8,000 vectors of other texts.
    """
    sample = load_sample()

    def labels(domains: np.ndarray) -> tuple[tuple[str, ...], ...]:
        return tuple((sample.domain_names[i],) for i in domains)

    return {
        "leak": sample.target_eval,
        "reference": Reference(sample.source, labels=labels(sample.source_domains), name=sample.source_name),
        "labels": sample_labels(),
        "truth": Truth(labels=labels(sample.eval_domains), vectors=sample.source_eval),
        "scope": SCOPE,
    }

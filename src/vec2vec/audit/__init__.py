"""What a leaked vector database tells: attributes and words, read from vectors alone, and what would help."""

from __future__ import annotations

from vec2vec.audit.attributes import Attributes
from vec2vec.audit.inputs import LabelSet, Leak, Reference, Truth, read_labels
from vec2vec.audit.result import Audit
from vec2vec.audit.run import audit
from vec2vec.audit.settings import AuditSettings

__all__ = ["Attributes", "Audit", "AuditSettings", "LabelSet", "Leak", "Reference", "Truth", "audit", "read_labels"]

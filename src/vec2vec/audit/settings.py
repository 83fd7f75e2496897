"""The settings of an audit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from vec2vec.settings import make_settings


class AuditSettings(BaseModel):
    """How much an audit does, and how. The seed decides every draw."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    seed: int = Field(default=0, ge=0)
    fit_rows: int | None = Field(default=None, ge=2, description="Rows a side that the translator is fitted on.")
    leak_rows: int = Field(default=10_000, ge=20, description="Rows of the leak that attributes are read from.")
    reference_rows: int = Field(default=65_536, ge=20, description="Reference texts that are used, drawn at random.")
    resamples: int = Field(default=300, ge=100, description="Of the bootstrap behind every interval.")
    candidates: int | None = Field(
        default=None, ge=2, description="Rank a row's label among so many drawn labels; None: among all."
    )
    probe_rows: int = Field(default=10_000, ge=20, description="Labelled reference texts that a probe is trained on.")
    probe_labels: int = Field(default=100, ge=2, description="Labels that a probe knows at most: the most frequent.")
    probe_least: int = Field(default=10, ge=2, description="Reference texts that a label needs for a probe.")
    invert_rows: int = Field(default=200, ge=1, description="Rows of the leak that are turned into text.")
    inverter_minutes: float = Field(default=20.0, gt=0, description="For training an inverter where none is given.")
    closeness: float = Field(
        default=0.5, gt=0, le=1, description="Cosine that translated vectors are thought to have with native ones."
    )
    beam: int = Field(default=4, ge=1, description="Hypotheses that a search keeps.")
    rounds: int = Field(default=8, ge=0, description="Of correction: re-embed, keep and mutate; 0: decode only.")
    proposals: int = Field(default=24, ge=1, description="Mutations of a vector's hypotheses in a round.")
    examples: int = Field(default=12, ge=0, description="Recovered texts that the report shows.")
    defence_rows: int = Field(default=8_000, ge=100, description="Rows a side that an attack on a defence sees.")
    defence_invert_rows: int = Field(default=50, ge=1, description="Rows inverted for each defence.")
    picture_rows: int = Field(default=600, ge=10, description="Vectors of each space in the picture.")


def make_audit_settings(settings: Mapping[str, Any]) -> AuditSettings:
    """The settings, checked; ConfigError for an unknown one (the message names the nearest known) or a bad value."""
    return make_settings(AuditSettings, settings, owner="an audit")

"""Text from vectors of the known encoder: nearest texts, a trained decoder, and correction by embedding again."""

from __future__ import annotations

from vec2vec.audit.inversion.inverter import Hypothesis, Inverter
from vec2vec.audit.inversion.training import InverterSettings, TrainingStep, train_inverter

__all__ = ["Hypothesis", "Inverter", "InverterSettings", "TrainingStep", "train_inverter"]

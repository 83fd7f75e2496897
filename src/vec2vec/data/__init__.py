"""The packaged sample: real vectors of two encoders, unpaired for fitting, with held-out pairs for scoring. No text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import as_file, files

import numpy as np

SAMPLE_FILE = "sample.safetensors"
VANISHING = 1e-30  # a vector below is quantised to zero: float32 has no accurate steps so small


@dataclass(frozen=True)
class Sample:
    """Vectors of ``all-MiniLM-L6-v2`` (source) and ``universal-sentence-encoder-lite`` (target).

    ``source`` and ``target`` are embeddings of different texts: no row of one belongs to a row of the other. Row i of
    ``source_eval`` and row i of ``target_eval`` embed the same text, which stands in neither of the other two: they are
    the truth, for scoring only. A ``..._domains`` array holds, for each row, an index into ``domain_names``.
    """

    source: np.ndarray  # (8000, 384) float32
    target: np.ndarray  # (8000, 512) float32
    source_eval: np.ndarray  # (2000, 384) float32
    target_eval: np.ndarray  # (2000, 512) float32
    source_domains: np.ndarray  # (8000,) uint8
    target_domains: np.ndarray  # (8000,) uint8
    eval_domains: np.ndarray  # (2000,) uint8
    domain_names: tuple[str, ...]
    source_name: str
    target_name: str


def quantise(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Round vectors to int8, each in steps of its own scale.

    Parameters
    ----------
    x : (n, d) float array

    Returns
    -------
    codes : (n, d) int8, between -127 and 127
    scale : (n, 1) float32, such that ``codes * scale`` is x to within half a scale
    """
    x = np.asarray(x, dtype=np.float32)
    largest = np.abs(x).max(axis=1, keepdims=True)
    scale = np.where(largest > VANISHING, largest, 1.0).astype(np.float32) / np.float32(127)
    return np.rint(x / scale).astype(np.int8), scale


def dequantise(codes: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Undo `quantise`: (n, d) int8 and (n, 1) float32 to (n, d) float32."""
    return np.asarray(codes.astype(np.float32) * scale, dtype=np.float32)


def load_sample() -> Sample:
    """Load the packaged sample (9 MB on disk, 36 MB as float32).

    The vectors are stored as int8 with one scale per vector (`quantise`). Against the float16 vectors they were made
    from, the cosine is 0.99998 on average and 0.99992 at worst.
    """
    from safetensors import safe_open

    with as_file(files(__package__) / SAMPLE_FILE) as path, safe_open(path, framework="numpy") as stored:
        about = json.loads(stored.metadata()["sample"])
        arrays = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118 - not a mapping
    sides = ("source", "target", "source_eval", "target_eval")
    return Sample(
        **{side: dequantise(arrays[side], arrays[f"{side}_scale"]) for side in sides},
        **{f"{name}_domains": arrays[f"{name}_domains"] for name in ("source", "target", "eval")},
        domain_names=tuple(about["domain_names"]),
        source_name=about["source_name"],
        target_name=about["target_name"],
    )

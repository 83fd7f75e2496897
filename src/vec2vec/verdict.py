"""What a fit says about itself without labels: whether the two spaces were aligned, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

Label = Literal["aligned", "uncertain", "not aligned"]
LABELS: tuple[Label, ...] = get_args(Label)


@dataclass(frozen=True)
class Verdict:
    """The label-free judgement of a translator.

    Attributes
    ----------
    label : "aligned", "uncertain" or "not aligned"
    expected_top1 : expected top-1 among 4,096 native vectors, 0 to 1; NaN where the fit was not judged
    interval : the lower and upper end of the interval of that expectation
    evidence : the scores behind it, by name
    sentence : the verdict in words, one sentence
    """

    label: Label
    expected_top1: float
    interval: tuple[float, float]
    evidence: dict[str, float] = field(default_factory=dict)
    sentence: str = ""

    def __post_init__(self) -> None:
        if self.label not in LABELS:
            raise ValueError(f"the label of a verdict is {self.label!r}; it can be {', '.join(map(repr, LABELS))}")

    def to_dict(self) -> dict[str, Any]:
        """As dictionaries, lists, strings and numbers. Numbers may be NaN."""
        return asdict(self) | {"interval": list(self.interval)}

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Verdict:
        """The verdict that `to_dict` gave; None stands for NaN, as in JSON.

        Raises
        ------
        KeyError, TypeError, ValueError : `tree` is not what `to_dict` gives
        """
        low, high = tree["interval"]
        return cls(
            label=tree["label"],
            expected_top1=_number(tree["expected_top1"]),
            interval=(_number(low), _number(high)),
            evidence={str(name): _number(value) for name, value in tree["evidence"].items()},
            sentence=str(tree["sentence"]),
        )


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)

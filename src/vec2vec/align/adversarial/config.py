"""The settings of ``method="vec2vec"``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from vec2vec.align.adversarial.losses import Adversarial
from vec2vec.align.base import FitConfig
from vec2vec.networks import MOST_WIDTH, LatentCritics, Norm, Shortcut

# What differs where nothing is known at the start. Without matching, a training ends in a map that looks
# right to critics and is wrong (benchmarks/tried.md); `PAPER` has the weights of the paper and its public code.
FROM_NOTHING: dict[str, Any] = {
    "width": 64,
    "latent": 64,
    "adapter_depth": 2,
    "backbone_depth": 2,
    "critic_width": 96,
    "critic_depth": 4,
    "kind": "relativistic",
    "adversarial": 0.1,
    "latent_adversarial": 0.1,
    "latent_critics": "each",
    "reconstruction": 1.0,
    "cycle": 2.0,
    "vsp_across": 0.1,
    "matching": 2.0,
    "stay": 0.0,
    "matching_rows": 1024,
    "matching_temperature": 0.08,
    "search_temperature": 0.12,
    "anchors": 8,
    "anchors_share": 3.0,
    "heat": 2.0,
    "r1": 0.3,
    "r1_every": 2,
    "noise": 0.3,
    "steps": 500,
    "batch": 256,
    "rate": 1e-3,
    "shortcut_rate": 0.03,
    "critic_rate": 1e-3,
    "check_every": 100,
    "patience": 3,
    "restarts": 2,
}
PAPER: dict[str, Any] = {
    "kind": "least-squares",
    "adversarial": 1.0,
    "latent_adversarial": 1.0,
    "cycle": 10.0,
    "vsp": 1.0,
    "vsp_across": 10.0,
    "matching": 0.0,
    "anchors": 0,
    "relations": 0,
    "r1": 0.0,
    "noise": 0.0,
    "rate": 2e-4,
}


class Vec2VecConfig(FitConfig):
    """Settings of ``method="vec2vec"``. Where ``init="random"``, other defaults hold: `FROM_NOTHING`, or with
    ``preset="paper"`` the losses of `PAPER`.

    Attributes
    ----------
    init : "sinkhorn", the linear translator that ``method="sinkhorn"`` finds, improved; "random", the paper's setting
    preset : "paper", with ``init="random"``: the losses of the paper, and nothing else; "own"
    latent : width of the latent; None is that of the linear start, or else `width`
    width, adapter_depth, backbone_depth, norm, shortcut : see `vec2vec.networks.NetworkConfig`
    critic_width, critic_depth, critic_norm : of the discriminators
    latent_critics : one for each space, a shared one, or none
    kind : of the adversarial loss
    adversarial, latent_adversarial, reconstruction, cycle, vsp, vsp_across, matching, stay : weights of the losses;
        `vsp` is that of reconstructions, `vsp_across` of translations, `matching` of soft transport targets, `stay` of
        the translations of a linear start, where there is one
    interpolation : where the network that counts lies, with a linear start: on the way from its weights (0) to the
        trained ones (1)
    matching_rows, matching_temperature, search_temperature, balancing : native rows that are matched in a step; the
        temperatures of the transport and of the search that follows it, in standard deviations of their cosines;
        Sinkhorn iterations
    r1, r1_every : weight of the R1 penalty on the critics, and the steps from one to the next
    relations : quantiles of a row's similarities to others of its space, which the critics are shown beside it; 0 is
        none, as in the paper
    anchors : first guesses by clusters; the best, refined as by method="sinkhorn" in half of the rows, says at first
        what is matched without a linear start; 0 matches by relations in their place
    anchors_share, heat : of the steps, in which matching goes from there to translations (with 2 it comes half way);
        and by how much its temperatures are higher at first
    smoothing, noise : of the labels; standard deviation of what is added to all that a critic sees (of unit rows)
    ema : the averaged weights' decay, which are then those that count; 0 is none
    steps, batch : of the training; rows of each space in a step, over all processes
    shortcut_rate : of the linear shortcuts out of the latent, and where nothing is known at the start of those into it,
        in root mean squares of each; none with preset="paper", where all goes by `rate`
    rate, critic_rate, beta1, beta2, clip : of Adam, and the greatest norm of a gradient; 0 clips nothing
    warmup, decay : steps in which the rates grow from zero; whether they then fall to zero, as a cosine
    restarts : trainings from different seeds, side by side
    patience : checks, with that of the start, after which the worse half of the restarts is stopped, check by check,
        until two are left
    check_every, held_rows : steps between two label-free checks, and the rows of a side held back for them
    precision : "float32", or "bfloat16" where products can be that coarse
    checkpoint, checkpoint_every, resume : a folder for the state, the steps between saves, and whether to go on from it
    tracker, log_folder : "tensorboard" or "wandb" through accelerate, and where the former's files go
    """

    init: Literal["sinkhorn", "random"] = "sinkhorn"
    preset: Literal["own", "paper"] = "own"
    latent: int | None = Field(default=None, ge=1, le=MOST_WIDTH)
    width: int = Field(default=512, ge=1, le=MOST_WIDTH)
    adapter_depth: int = Field(default=2, ge=1, le=64)
    backbone_depth: int = Field(default=2, ge=1, le=64)
    norm: Norm = "layer"
    shortcut: Shortcut = "linear"
    critic_width: int = Field(default=512, ge=1)
    critic_depth: int = Field(default=3, ge=1, le=64)
    critic_norm: Norm = "layer"
    latent_critics: LatentCritics = "none"
    kind: Adversarial = "least-squares"
    adversarial: float = Field(default=0.0, ge=0.0)
    latent_adversarial: float = Field(default=0.0, ge=0.0)
    reconstruction: float = Field(default=0.3, ge=0.0)
    cycle: float = Field(default=0.3, ge=0.0)
    vsp: float = Field(default=0.0, ge=0.0)
    vsp_across: float = Field(default=0.0, ge=0.0)
    matching: float = Field(default=1.0, ge=0.0)
    stay: float = Field(default=0.5, ge=0.0)
    interpolation: float = Field(default=0.5, ge=0.0, le=1.0)
    matching_rows: int = Field(default=4096, ge=2)
    matching_temperature: float = Field(default=0.2, gt=0.0)
    search_temperature: float = Field(default=0.25, gt=0.0)
    balancing: int = Field(default=15, ge=1)
    r1: float = Field(default=0.0, ge=0.0)
    r1_every: int = Field(default=4, ge=1)
    relations: int = Field(default=0, ge=0)
    anchors: int = Field(default=0, ge=0)
    anchors_share: float = Field(default=0.5, ge=0.0)
    heat: float = Field(default=1.0, ge=1.0)
    smoothing: float = Field(default=0.0, ge=0.0, lt=0.5)
    noise: float = Field(default=0.0, ge=0.0)
    ema: float = Field(default=0.0, ge=0.0, lt=1.0)
    steps: int = Field(default=1000, ge=1)
    batch: int = Field(default=1024, ge=2)
    rate: float = Field(default=1e-4, gt=0.0)
    shortcut_rate: float = Field(default=0.04, gt=0.0)
    critic_rate: float = Field(default=1e-4, gt=0.0)
    beta1: float = Field(default=0.5, ge=0.0, lt=1.0)
    beta2: float = Field(default=0.999, ge=0.0, lt=1.0)
    clip: float = Field(default=10.0, ge=0.0)
    warmup: int = Field(default=20, ge=0)
    decay: bool = True
    restarts: int = Field(default=1, ge=1)
    patience: int = Field(default=4, ge=1)
    check_every: int = Field(default=100, ge=1)
    held_rows: int = Field(default=2048, ge=8)
    precision: Literal["float32", "bfloat16"] = "float32"
    checkpoint: Path | None = None
    checkpoint_every: int = Field(default=200, ge=1)
    resume: bool = False
    tracker: Literal["tensorboard", "wandb"] | None = None
    log_folder: Path = Path("runs")

    @property
    def judges(self) -> bool:
        """See `FitConfig.judges`: from nothing, the best two of different halves do, if there are two."""
        return self.init == "sinkhorn" or self.restarts > 1

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_init(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("init") != "random":
            return given
        return FROM_NOTHING | (PAPER if given.get("preset") == "paper" else {}) | given

    @model_validator(mode="after")
    def _fits_together(self) -> Vec2VecConfig:
        if self.init == "sinkhorn" and self.preset == "paper":
            raise ValueError("the paper begins from nothing: preset=paper needs init=random")
        if self.init == "sinkhorn" and self.shortcut != "linear":
            raise ValueError("a warm start needs shortcut=linear (or init=random)")
        if self.init == "sinkhorn" and self.latent is not None:
            raise ValueError("latent is that of the linear start (or init=random)")
        if self.init == "random" and self.matching and not (self.anchors or self.relations):
            raise ValueError("matching needs something to begin by: init=sinkhorn, anchors or relations")
        if self.restarts > 1 and "batch" in (self.norm, self.critic_norm):
            raise ValueError("restarts are trained together, which norm=batch cannot: choose layer or none")
        if self.latent_adversarial and self.latent_critics == "none":
            raise ValueError("latent_adversarial needs latent_critics=each or shared")
        if self.resume and self.checkpoint is None:
            raise ValueError("resume needs checkpoint=FOLDER")
        return self

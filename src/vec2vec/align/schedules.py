"""What the fast fitter does, and how much of it: its settings, its schedules, and what they cost."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from pydantic import Field

from vec2vec.align.base import FitConfig
from vec2vec.align.rounds import Schedule, Side

GUESS_WORK, CUMULANT_WORK, SHARPENING_WORK = 20.0, 60.0, 15.0  # of any size, as `Schedule.work` counts
TRIAL_SHARE = 0.1  # of a round's cost, of one in the strongest axes alone
KIN_SHARE, KIN_EFFORT = 0.7, 2  # the same, in the axes that kin are bred in; of the search for their start
REFLECTION_SHARE = 0.4  # the same, along the axes that reflections are compared in
FINALISTS = 16  # reflections, the best, that are refined further
FURTHER_EFFORT = 3  # of the searches by cumulants in a further attempt
FIRST_STEP, FAR_STEP = 0.6, 3.0  # of the first round on all rows; the same, of a map that is far from its fixed point
CONTESTANTS, CONTEST_CALLS = 6, 4  # candidates, at most; for guesses, at most, while there are fewer

Temperature = Annotated[float, Field(gt=0.0)]


class RefinementConfig(FitConfig):
    """Settings of what leads from a start to a map, wherever the start is from.

    Attributes
    ----------
    whitening : exponent of the partial whitening that the refinement ends with, 0 (none) to 0.5 (full)
    axes : principal axes of a space that take part, at most
    temperature : of the transport, first to last within a half, in standard deviations of the similarities
    balancing : Sinkhorn iterations of a round
    early_axes, early_rounds, early_rows : the refinement of a start; in all axes where pairs are known
    early_draws : as many such refinements, each from other random values where the start says nothing; the mean of the
        most alike goes on
    half_rounds, half_rows : the refinement within a half that follows
    bags : further divisions into halves, at most, while their maps are not consistent; either half gives one map
    kept_axes : the strongest, of which such a map starts with what is known; of the others it starts with nothing
    rounds, round_rows : the refinement on all rows; more rounds of fewer rows where a side has few (`Schedule.within`)
    sharpening : steps by which, at last, the map of either direction is adapted to a plain search; 0 for none
    """

    whitening: float = Field(default=0.2, ge=0.0, le=0.5)
    axes: int = Field(default=512, ge=2)
    temperature: tuple[Temperature, Temperature] = (0.25, 0.1)
    balancing: int = Field(default=8, ge=1)
    early_axes: int = Field(default=128, ge=2)
    early_rounds: int = Field(default=30, ge=1)
    early_rows: int = Field(default=1_000, ge=16)
    early_draws: int = Field(default=6, ge=1)
    half_rounds: int = Field(default=24, ge=1)
    half_rows: int = Field(default=2_500, ge=16)
    bags: int = Field(default=3, ge=0)
    kept_axes: int = Field(default=30, ge=2)
    rounds: int = Field(default=30, ge=1)
    round_rows: int = Field(default=6_000, ge=16)
    sharpening: int = Field(default=60, ge=0)


class SinkhornConfig(RefinementConfig):
    """Settings of ``method="sinkhorn"``: those of the refinement, and of the search for a start from nothing.

    Attributes
    ----------
    search_axes : the strongest axes, in which the search takes place, at most
    attempts : at either half, at most, while the best candidates of the two are not consistent
    guesses : first guesses of an attempt
    contest_whitenings : exponents of the geometries in which there are as many further guesses, where witnesses differ
    cumulant_axes : the strongest, along which cumulants are matched (`vec2vec.align.cumulants`)
    cumulant_whitenings : exponents of the axes' whitening there, of a guess each: encoders that differ more agree along
        the strongest axes only, unwhitened; corpora that differ agree on the weaker ones, too
    cumulant_starts, cumulant_generations : of that search
    generations, children : of further attempts; a child is the mean of two candidates, refined
    clusters : of the first guesses, one number after the other
    starts, cluster_rows : of a first guess
    trial_rounds, trial_rows : the refinement of a candidate; rows of the source, twice as many of the target
    kin, kin_rounds : where that of the best one got stuck: refinements of it in the early axes, of early rows
    kin_generations : as many mean maps of two of these, each refined in half of the rounds
    reflections : where witnesses differ, reflections of what they lead to, one after the other, at most
    reflection_axes : the strongest, in which these are compared
    """

    search_axes: int = Field(default=64, ge=2)
    attempts: int = Field(default=2, ge=1)
    guesses: int = Field(default=8, ge=1)
    contest_whitenings: tuple[Annotated[float, Field(ge=0.0, le=0.5)], ...] = (0.2, 0.35)
    cumulant_axes: int = Field(default=12, ge=2)
    cumulant_whitenings: tuple[Annotated[float, Field(ge=0.0, le=0.5)], ...] = (0.0, 0.2)
    cumulant_starts: int = Field(default=1000, ge=1)
    cumulant_generations: int = Field(default=30, ge=0)
    generations: int = Field(default=5, ge=0)
    children: int = Field(default=12, ge=2)
    clusters: tuple[Annotated[int, Field(ge=4)], ...] = Field(default=(20, 40, 80, 160), min_length=1)
    starts: int = Field(default=24, ge=1)
    cluster_rows: int = Field(default=6_000, ge=64)
    trial_rounds: int = Field(default=25, ge=1)
    trial_rows: int = Field(default=700, ge=16)
    kin: int = Field(default=8, ge=2)
    kin_rounds: int = Field(default=60, ge=2)
    kin_generations: int = Field(default=6, ge=0)
    reflections: int = Field(default=3, ge=0)
    reflection_axes: int = Field(default=24, ge=2)


def trial_schedule(config: SinkhornConfig) -> Schedule:
    """The refinement of a first guess that shows what it is good for."""
    hot = config.temperature[0]
    return Schedule(config.trial_rounds, config.trial_rows, (hot, hot), (0.0, 0.0), (1.2, 1.2), config.balancing)


def kin_schedules(config: SinkhornConfig) -> list[Schedule]:
    """The refinement of the first kin, and of every generation of their children."""
    early, rounds = half_schedules(config)[0], config.kin_rounds
    return [replace(early, rounds=rounds), *[replace(early, rounds=rounds // 2)] * config.kin_generations]


def reflection_schedules(config: SinkhornConfig) -> tuple[Schedule, Schedule]:
    """The refinement of every reflection of a map, and of the best of these."""
    hot, white = config.temperature[0], config.whitening
    longer = Schedule(15, 600, (hot, hot), (white, white), (1.2, 1.0), config.balancing)
    return replace(longer, rounds=8, rows=400), longer


def half_schedules(config: RefinementConfig) -> tuple[Schedule, Schedule]:
    """The refinement of a rough start."""
    hot, cold = config.temperature
    warm, ramp = (hot + cold) / 2, (0.0, config.whitening)
    return (
        Schedule(config.early_rounds, config.early_rows, (hot, warm), (0.0, 0.0), (1.2, 1.0), config.balancing),
        Schedule(config.half_rounds, config.half_rows, (warm, cold), ramp, (1.0, 0.5), config.balancing),
    )


def final_schedule(config: RefinementConfig, x: Side, y: Side, far: bool = False) -> Schedule:
    """The refinement on all rows: a step that shrinks, so that the last maps are averaged.

    Transport at this temperature holds a map back: what is far gets nearer by a small part of the way in each round.
    So it then begins with steps beyond a round's own solution.
    """
    hot = config.temperature[0]
    fixed, step = (config.whitening, config.whitening), (FAR_STEP if far else FIRST_STEP, 0.15)
    all_rows = Schedule(config.rounds, config.round_rows, (hot, 0.8 * hot), fixed, step, config.balancing)
    return all_rows.within(x, y)


def witness_work(x: Side, y: Side, config: SinkhornConfig) -> float:
    """What the first attempt at one half costs, as `Schedule.work` counts."""
    guesses = config.guesses * (GUESS_WORK + trial_work(x, y, config))
    return len(config.cumulant_whitenings) * CUMULANT_WORK + guesses + half_work(x, y, config)


def further_work(x: Side, y: Side, config: SinkhornConfig) -> float:
    """What a further attempt at one half costs, as `Schedule.work` counts."""
    candidates = config.guesses + config.generations * config.children
    by_cumulants = len(config.cumulant_whitenings) * FURTHER_EFFORT * CUMULANT_WORK
    return by_cumulants + config.guesses * GUESS_WORK + candidates * trial_work(x, y, config)


def contest_work(x: Side, y: Side, config: SinkhornConfig) -> float:
    """What `Search.contest` costs, as `Schedule.work` counts."""
    guesses = len(config.contest_whitenings) * config.guesses * (GUESS_WORK + trial_work(x, y, config))
    return guesses + (CONTESTANTS - 1) * early_work(x, y, config)


def trial_work(x: Side, y: Side, config: SinkhornConfig) -> float:
    """What the refinement of a candidate costs, as `Schedule.work` counts."""
    trial = trial_schedule(config)
    return TRIAL_SHARE * trial.rounds * trial.work(x, y)


def kin_work(x: Side, y: Side, config: SinkhornConfig) -> float:
    """What `Search.bred_witness` costs, but for the refinement at its end, as `Schedule.work` counts."""
    rounds = config.kin_rounds * (1.0 + config.kin_generations / 2)
    a_round = KIN_SHARE * half_schedules(config)[0].work(x, y)
    return KIN_EFFORT * CUMULANT_WORK + config.kin * rounds * a_round


def reflections_work(x: Side, y: Side, config: SinkhornConfig) -> float:
    """What a step of `vec2vec.align.reflections` costs, as `Schedule.work` counts."""
    brief, longer = reflection_schedules(config)
    rounds = config.cumulant_axes**2 * brief.rounds * brief.work(x, y) + FINALISTS * longer.rounds * longer.work(x, y)
    return REFLECTION_SHARE * rounds


def half_work(x: Side, y: Side, config: RefinementConfig) -> float:
    """What `refine_half` costs, as `Schedule.work` counts."""
    return early_work(x, y, config) + late_work(x, y, config)


def early_work(x: Side, y: Side, config: RefinementConfig) -> float:
    """What `early_maps` costs, as `Schedule.work` counts."""
    early = half_schedules(config)[0]
    return config.early_draws * early.rounds * early.work(x, y)


def late_work(x: Side, y: Side, config: RefinementConfig) -> float:
    """What `late_map` costs, as `Schedule.work` counts."""
    late = half_schedules(config)[1]
    return late.rounds * late.work(x, y)


def bag_work(x: Side, y: Side, config: RefinementConfig) -> float:
    """What the first two maps of `bag` cost, as `Schedule.work` counts."""
    return 2 * half_work(x, y, config) if config.bags else 0.0


def final_work(x: Side, y: Side, config: RefinementConfig) -> float:
    """What the refinement on all rows costs, as `Schedule.work` counts."""
    final = final_schedule(config, x, y)
    return final.rounds * final.work(x, y)


def weaker_work(x: Side, y: Side, axes: int, config: RefinementConfig) -> float:
    """What it costs to go on in weaker axes from a map in so many, as `Schedule.work` counts; nothing if it has all."""
    return final_work(x, y, config) if axes < max(x.width, y.width) else 0.0


def sharpening_work(config: RefinementConfig) -> float:
    """What sharpening both directions costs, as `Schedule.work` counts."""
    return 2 * config.sharpening * SHARPENING_WORK

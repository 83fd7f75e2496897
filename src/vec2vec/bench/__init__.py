"""The benchmark: methods, data, sizes and seeds from a TOML file, over a grid that resumes, into tables and figures."""

from __future__ import annotations

from vec2vec.bench.config import BenchConfig, load_config, shipped_configs
from vec2vec.bench.grid import Cell, Grid, make_grid
from vec2vec.bench.report import write_report
from vec2vec.bench.runner import Bench, BenchProgress

__all__ = [
    "Bench",
    "BenchConfig",
    "BenchProgress",
    "Cell",
    "Grid",
    "load_config",
    "make_grid",
    "shipped_configs",
    "write_report",
]

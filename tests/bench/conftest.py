from bench_data import data

__all__ = ["data"]

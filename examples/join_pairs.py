"""Make a file of known pairs from the vectors of the same texts by two encoders.

``python examples/join_pairs.py source.parquet target.parquet pairs.npz`` joins them by row, after a check that the ids
agree, for ``vec2vec fit --pairs pairs.npz``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from vec2vec.stores import read_vectors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("source", "target", "out"):
        parser.add_argument(name, type=Path)
    args = parser.parse_args()
    ids = [pq.read_table(path, columns=["id"]) for path in (args.source, args.target)]
    if not ids[0].equals(ids[1]):
        parser.error(f"{args.source} and {args.target} are not of the same texts: their ids differ")
    np.savez(args.out, source=read_vectors(args.source), target=read_vectors(args.target))
    print(f"{ids[0].num_rows:,} pairs written to {args.out}")


if __name__ == "__main__":
    main()

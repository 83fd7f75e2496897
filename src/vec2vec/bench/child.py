"""A process for one cell, or one step of the preparation: ``python -m vec2vec.bench.child``, its job on stdin.

Its memory is its own, and if it crashes nothing else does. It ends when the process that started it is gone.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

EVERY = 0.5  # seconds between two looks at the parent


def main() -> int:
    """Do the job; the result goes to the file that the job names, an error in one line to stderr."""
    job = json.load(sys.stdin)
    parent = job["parent"]
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()

    from vec2vec.bench.config import parse_config
    from vec2vec.bench.places import Places
    from vec2vec.errors import Vec2VecError
    from vec2vec.stores import atomic_file

    places = Places(parse_config(job["config"], "the configuration"), job["inputs"], Path(job["out"]))
    try:
        if job["job"] != "cell":
            from vec2vec.bench.prepare import perform_step

            perform_step(places, job["step"])
            return 0
        from threadpoolctl import threadpool_limits

        from vec2vec.bench.grid import Cell
        from vec2vec.bench.work import perform

        with threadpool_limits(job["threads"]):
            result = perform(places, Cell.from_dict(job["cell"]), job["threads"])
        with atomic_file(Path(job["result"]), force=True) as stream:
            stream.write(json.dumps(result).encode())
    except Vec2VecError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2
    return 0


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(EVERY)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())

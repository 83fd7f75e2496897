"""The report: one page of HTML, and the same as JSON and Markdown."""

from __future__ import annotations

import json
import os
from pathlib import Path

from vec2vec.audit.report.charts import plotly_script
from vec2vec.audit.report.grade import Grade, grade
from vec2vec.audit.report.markdown import markdown
from vec2vec.audit.report.page import page
from vec2vec.audit.result import Audit
from vec2vec.errors import OutputError
from vec2vec.stores import check_output
from vec2vec.stores.atomic import atomic_files, check_parent, writing

HTML, JSON, MARKDOWN = "report.html", "report.json", "report.md"

__all__ = ["Grade", "check_folder", "check_report", "grade", "markdown", "page", "write_report"]


def check_report() -> None:
    """Raises MissingExtraError where a report could not be written: before the work, not after it."""
    plotly_script()


def check_folder(out: Path, *, force: bool) -> None:
    """Raises OutputError where a report could not be put into the folder `out`: before the work, not after it."""
    with writing(out):
        if not out.exists():
            check_parent(out)
        elif not out.is_dir():
            raise OutputError(f"{out}: is a file; a report needs a folder")
        else:
            for name in (HTML, JSON, MARKDOWN):
                check_output(out / name, force=force)


def write_report(
    found: Audit, folder: str | os.PathLike[str], *, reveal: bool = False, force: bool = False
) -> tuple[Path, ...]:
    """Write report.html, report.json and report.md into a folder, which is made if need be.

    Parameters
    ----------
    reveal : show recovered and true texts; otherwise they are masked
    force : replace reports that are there

    Raises
    ------
    OutputError : one of them exists, or cannot be written; nothing is written then
    MissingExtraError : plotly is not installed
    """
    out = Path(folder)
    check_folder(out, force=force)
    given = grade(found)
    tree = found.to_dict(reveal=reveal) | {
        "grade": {"level": given.level, "sentence": given.sentence, "reasons": [list(one) for one in given.reasons]}
    }
    contents = {
        HTML: page(found, reveal=reveal),
        JSON: json.dumps(tree, indent=2, ensure_ascii=False, allow_nan=False) + "\n",
        MARKDOWN: markdown(found, reveal=reveal),
    }
    with writing(out):
        out.mkdir(exist_ok=True)
    with atomic_files([out / name for name in contents], force=force) as files:
        for file, content in zip(files, contents.values(), strict=True):
            with writing(file.path):
                file.stream.write(content.encode("utf8", errors="replace"))
    return tuple(file.path for file in files)

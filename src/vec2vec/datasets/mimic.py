"""MIMIC: clinical notes with the diseases of the patient or the stay, from a local copy of its CSV files.

Access is granted per person, so there is nothing to download by name. Three layouts are known, each file plain or .gz,
anywhere in the folder:

- the pseudo re-identified MIMIC-III that the paper uses: SUBJECT_ID_to_NOTES_1b.csv (or _1a, _original),
  SUBJECT_ID_to_MedCAT.csv, MedCAT_Descriptions.csv; diseases by patient;
- MIMIC-III: NOTEEVENTS.csv, DIAGNOSES_ICD.csv, D_ICD_DIAGNOSES.csv; diseases by stay;
- MIMIC-IV: discharge.csv or radiology.csv, diagnoses_icd.csv, d_icd_diagnoses.csv; diseases by stay.

The paper parts the patients. A split by texts (`vec2vec corpus --split-unpaired`) may put two notes of one patient on
different sides.

A label is a code, such as "C0020538", "icd9:4019" or "icd10:I10", its description the title that the copy gives.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vec2vec.datasets.base import Fault, Row, check_column
from vec2vec.datasets.files import Csv
from vec2vec.errors import InputError

ACCESS = (
    "mimic: there is no copy to download: PhysioNet grants access per person (complete the required training and sign "
    "the data use agreement there); name the folder of your own copy, as in mimic:FOLDER"
)
IN_ERROR = Fault("the note is marked as an error", usual=True)


@dataclass(frozen=True)
class Layout:
    """The files of a layout, in whatever case, and their columns, in lower case.

    Attributes
    ----------
    notes : file names, the first one found is read
    diagnoses, titles : file names
    key : the column that joins notes and diagnoses
    id : of a note; None where notes have none
    code, title : the columns of a disease's code and description
    version : ICD version, or the column that holds it; None for other codes
    """

    name: str
    notes: tuple[str, ...]
    diagnoses: str
    titles: str
    key: str
    id: str | None
    code: str
    title: str
    version: str | None


LAYOUTS = (
    Layout(
        "pseudo re-identified MIMIC-III",
        ("SUBJECT_ID_to_NOTES_1b.csv", "SUBJECT_ID_to_NOTES_1a.csv", "SUBJECT_ID_to_NOTES_original.csv"),
        "SUBJECT_ID_to_MedCAT.csv",
        "MedCAT_Descriptions.csv",
        "subject_id",
        None,
        "code",
        "description",
        None,
    ),
    Layout(
        "MIMIC-III",
        ("NOTEEVENTS.csv",),
        "DIAGNOSES_ICD.csv",
        "D_ICD_DIAGNOSES.csv",
        "hadm_id",
        "row_id",
        "icd9_code",
        "long_title",
        "9",
    ),
    Layout(
        "MIMIC-IV",
        ("discharge.csv", "radiology.csv"),
        "diagnoses_icd.csv",
        "d_icd_diagnoses.csv",
        "hadm_id",
        "note_id",
        "icd_code",
        "long_title",
        "icd_version",
    ),
)


class Mimic:
    """A `TextSource` over a local copy. The diagnoses are held in memory, the notes are not.

    Raises
    ------
    InputError : the folder is missing, or holds none of the layouts, or a file lacks a column
    """

    text_names = ("text",)

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise InputError(f"{folder}: there is no such folder; it is to hold your copy of MIMIC")
        self.layout, notes, diagnoses, titles = _find(folder)
        self.name = str(notes)
        self.names = ("text", "labels") if self.layout.id is None else ("text", "id", "labels")
        self._notes = Table(notes)
        self.label_descriptions = self._read_titles(Table(titles))
        self._labels = self._read_diagnoses(Table(diagnoses))

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        layout = self.layout
        for row, values in self._notes.rows("text", layout.key, *([layout.id] if layout.id else [])):
            if row.fault:
                yield row
            elif values.get("iserror") == "1":
                yield row._replace(values={}, fault=IN_ERROR)
            else:
                held: dict[str, Any] = {
                    "text": values["text"],
                    "labels": self._labels.get(_key(values[layout.key]), ()),
                }
                yield row._replace(values=held if layout.id is None else held | {"id": values[layout.id]})

    def _read_titles(self, table: Table) -> dict[str, str]:
        titles = {}
        for row, values in table.rows(self.layout.code, self.layout.title, *self._version_column()):
            _refuse(table, row)
            titles[self._label(values)] = values[self.layout.title]
        return titles

    def _read_diagnoses(self, table: Table) -> dict[str, tuple[str, ...]]:
        labels: dict[str, tuple[str, ...]] = {}
        for row, values in table.rows(self.layout.key, self.layout.code, *self._version_column()):
            _refuse(table, row)
            key, label = _key(values[self.layout.key]), sys.intern(self._label(values))
            held = labels.get(key, ())
            if values[self.layout.code] and label not in held:
                labels[key] = (*held, label)
        return labels

    def _version_column(self) -> list[str]:
        version = self.layout.version
        return [version] if version is not None and not version.isdigit() else []

    def _label(self, values: Mapping[str, str]) -> str:
        code, version = values[self.layout.code].strip(), self.layout.version
        return code if version is None else f"icd{values.get(version, version)}:{code}"


class Table:
    """A CSV file, its columns in lower case."""

    def __init__(self, path: Path) -> None:
        self.file = Csv(path)
        self.names = tuple(name.lower() for name in self.file.names)

    def rows(self, *needed: str) -> Iterator[tuple[Row, dict[str, str]]]:
        """Each row, and its values by column."""
        for name in needed:
            check_column(self.file.name, name, self.names)
        for row in self.file.rows(self.file.names):
            yield row, {name.lower(): value for name, value in row.values.items()}


def _find(folder: Path) -> tuple[Layout, Path, Path, Path]:
    """The layout of a copy, and its three files."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.csv*")):
        found.setdefault(path.name.lower().removesuffix(".gz"), path)
    for layout in LAYOUTS:
        notes = next((found[name.lower()] for name in layout.notes if name.lower() in found), None)
        if notes is None:
            continue
        missing = [name for name in (layout.diagnoses, layout.titles) if name.lower() not in found]
        if missing:
            raise InputError(
                f"{folder}: holds the notes of {layout.name} ({notes.name}), but no {' and no '.join(missing)}"
            )
        return layout, notes, found[layout.diagnoses.lower()], found[layout.titles.lower()]
    known = "; ".join(f"{layout.name}: {layout.notes[0]}" for layout in LAYOUTS)
    raise InputError(f"{folder}: holds no notes of MIMIC ({known}), plain or as .gz")


def _refuse(table: Table, row: Row) -> None:
    if row.fault:
        raise InputError(f"{table.file.name}: {row.where}: {row.fault}")


def _key(value: str) -> str:
    """An id as digits: a column with gaps that went through floats has "145834.0"."""
    return value.strip().removesuffix(".0")

"""Local files of texts: .jsonl, .csv, .tsv, .parquet and .txt, plain or as .gz, in bounded memory."""

from __future__ import annotations

import csv
import gzip
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

from vec2vec.datasets.base import Fault, Row, TextSource, check_column
from vec2vec.errors import InputError
from vec2vec.stores.base import check_input, check_repeated, reading, window_rows
from vec2vec.vectors import one_line, without_nanoseconds

SUFFIXES = (".jsonl", ".csv", ".tsv", ".parquet", ".txt")
TEXT = "text"  # the one column of a .txt
LOOK_AHEAD = 100  # records of a .jsonl that decide on its columns
MOST_LINE_BYTES = 64 * 2**20
BUFFER_BYTES = 2**20
MOST_BATCH_ROWS = 4096
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
NOT_UTF8 = "it is not UTF-8"


def suffix_of(path: Path) -> str:
    """The suffix that tells the format, without .gz."""
    inner = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return inner.suffix.lower()


def open_file(path: Path) -> TextSource:
    """The texts in a file.

    Raises
    ------
    InputError : a file that is missing, empty, unreadable, damaged, or of an unknown suffix
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file in it, or, if it is that of a dataset, hf:{path}")
    check_input(path)
    suffix = suffix_of(path)
    if suffix not in SUFFIXES:
        what = f"the suffix '{suffix}' is unknown" if suffix else "there is no suffix"
        raise InputError(f"{path}: {what}; texts are read from {', '.join(SUFFIXES)}, each also as .gz")
    kinds: dict[str, Any] = {".jsonl": JsonLines, ".csv": Csv, ".tsv": Csv, ".parquet": Parquet, ".txt": Lines}
    source: TextSource = kinds[suffix](path)
    return source


class Lines:
    """A line a text."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)
        self.names = self.text_names = (TEXT,)

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        for number, line in read_lines(self.path):
            text, fault = decode(line.rstrip(b"\r\n"))
            yield Row(number - 1, f"line {number}", {} if fault else {TEXT: text}, fault)


class JsonLines:
    """A JSON object a line. Blank lines are no rows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)
        texts: dict[str, bool] = {}  # by column, whether it has held a string
        for row in islice(self.rows(()), LOOK_AHEAD):
            for name, value in row.values.items():
                texts[name] = texts.get(name, False) or isinstance(value, str)
        if not texts:
            example = '{"id": 1, "text": "Good morning"}'
            raise InputError(f"{path}: holds no JSON object; each line is one, as in {example}")
        self.names = tuple(texts)
        self.text_names = tuple(name for name, held in texts.items() if held)

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        number = 0
        for line_number, line in read_lines(self.path):
            if line.isspace():
                continue
            value, fault = parse_json(line)
            yield Row(number, f"line {line_number}", value, fault)
            number += 1


class Csv:
    """Comma-separated values (.tsv: tabs), the columns named in the first line. Blank lines are no rows.

    A field may hold line breaks between quotes. Broken quoting ends the reading with an error under any setting, since
    nothing says where the next row starts.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)
        self.delimiter = "\t" if suffix_of(path) == ".tsv" else ","
        header = next(self._parsed(), None)
        if header is None:
            raise InputError(f"{path}: is empty: it has no line with the names of the columns")
        _, names, fault = header
        repeated = sorted({name for name in names if names.count(name) > 1})
        if fault or repeated:
            raise InputError(f"{path}: line 1: {fault or f'several columns are named {repeated[0]!r}'}")
        self.names = self.text_names = tuple(names)

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        parsed = self._parsed()
        next(parsed, None)
        for number, (line_number, fields, fault) in enumerate(parsed):
            if fault is None and len(fields) != len(self.names):
                fault = Fault("it has another number of fields", f"{len(fields)}, the first line has {len(self.names)}")
            values = {} if fault else dict(zip(self.names, fields, strict=True))
            yield Row(number, f"line {line_number}", values, fault)

    def _parsed(self) -> Iterator[tuple[int, list[str], Fault | None]]:
        """Number of the first line, the fields, and what is wrong with their bytes."""
        faults: list[Fault] = []

        def texts() -> Iterator[str]:
            for _, line in read_lines(self.path):
                text, fault = decode(line)
                if fault:
                    faults.append(fault)
                yield text

        reader = csv.reader(texts(), delimiter=self.delimiter, strict=True)
        while True:
            line_number = reader.line_num + 1
            limit = csv.field_size_limit(MOST_LINE_BYTES)  # of the whole process: 128 KB, too few for a long text
            try:
                fields = next(reader, None)
            except csv.Error as error:
                raise InputError(f"{self.path}: line {line_number}: is broken CSV ({one_line(error)})") from error
            finally:
                csv.field_size_limit(limit)
            if fields is None:
                return
            if fields:
                yield line_number, fields, faults[0] if faults else None
            faults.clear()


class Parquet:
    """A table; only the columns asked for are read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)
        with _parquet(path) as file:
            schema = file.schema_arrow
            rows = max(file.metadata.num_rows, 1)
            groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
            self._batch_rows = window_rows(sum(group.total_byte_size for group in groups) // rows, MOST_BATCH_ROWS)
        self.names = tuple(schema.names)
        check_repeated(path, self.names)
        self.text_names = tuple(field.name for field in schema if is_text(field.type))

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        for column in columns:
            check_column(self.name, column, self.names)
        number = 0
        with _parquet(self.path) as file:
            for batch in file.iter_batches(self._batch_rows, columns=list(columns)):
                cells = [cells_of(batch.column(name)) for name in columns]
                for row in zip(*cells, strict=True):
                    fault = next((cell for cell in row if isinstance(cell, Fault)), None)
                    values = {} if fault else dict(zip(columns, row, strict=True))
                    yield Row(number, f"row {number} (counted from 0)", values, fault)
                    number += 1


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Line number from 1, and the line with its end; without a byte-order mark.

    Raises
    ------
    InputError : UTF-16, a line of more than 64 MiB, a truncated or damaged .gz
    """
    number = 0
    with _opened(path) as stream:
        try:
            while line := stream.readline(MOST_LINE_BYTES + 1):
                number += 1
                if number == 1:
                    if line.startswith((b"\xff\xfe", b"\xfe\xff")):
                        raise InputError(f"{path}: is UTF-16; convert it to UTF-8")
                    line = line.removeprefix(BYTE_ORDER_MARK)
                if len(line) > MOST_LINE_BYTES:
                    raise InputError(
                        f"{path}: line {number} is longer than {MOST_LINE_BYTES // 2**20} MiB; a line is to be one text"
                    )
                yield number, line
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(
                f"{path}: is no whole .gz: it breaks off after line {number} ({one_line(error)})"
            ) from error


def decode(line: bytes) -> tuple[str, Fault | None]:
    """The line as text; with the fault, and half characters where it is not UTF-8."""
    try:
        return line.decode(), None
    except UnicodeDecodeError as error:
        detail = f"byte {error.start}, counted from 0, is 0x{line[error.start]:02x}"
        return line.decode(errors="surrogateescape"), Fault(NOT_UTF8, detail)


def parse_json(line: bytes) -> tuple[dict[str, Any], Fault | None]:
    """The object on a line; empty, with the fault, if there is none."""
    text, fault = decode(line)
    if fault:
        return {}, fault
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return {}, Fault("it is not JSON", one_line(error))
    if not isinstance(value, dict):
        return {}, Fault("it is no JSON object")
    return value, None


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, unpacked if it is a .gz."""
    with reading(path), open(path, "rb", buffering=BUFFER_BYTES) as raw:
        if path.suffix.lower() != ".gz":
            yield raw
            return
        with gzip.open(raw) as stream:
            yield cast(BinaryIO, stream)


@contextmanager
def _parquet(path: Path) -> Iterator[Any]:
    """The open file; a .gz is unpacked into a temporary file, since parquet is read from its end."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with _seekable(path) as stream:
        try:
            with reading(path), pq.ParquetFile(stream, pre_buffer=False, buffer_size=BUFFER_BYTES) as file:
                yield file
        except pa.ArrowException as error:
            raise InputError(f"{path}: is no parquet file, or a damaged one ({one_line(error)})") from error


@contextmanager
def _seekable(path: Path) -> Iterator[Any]:
    if path.suffix.lower() != ".gz":
        import pyarrow as pa

        with reading(path), pa.OSFile(os.fsencode(path)) as file:  # by name, pyarrow finds only what is UTF-8
            yield file
        return
    with tempfile.TemporaryFile() as whole:
        with _opened(path) as stream:
            try:
                shutil.copyfileobj(stream, whole, BUFFER_BYTES)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise InputError(f"{path}: is no whole .gz ({one_line(error)})") from error
        whole.seek(0)
        yield whole


def is_text(kind: Any) -> bool:
    """Whether a type of pyarrow is that of strings."""
    import pyarrow as pa

    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(value) or pa.types.is_large_string(value) or pa.types.is_string_view(value))


def cells_of(column: Any) -> list[Any]:
    """The values of a column; a Fault in place of one that Python cannot hold, such as a string that is not UTF-8."""
    column = without_nanoseconds(column)
    try:
        values: list[Any] = column.to_pylist()
        return values
    except (ValueError, OverflowError):
        return [_cell(value) for value in column]


def _cell(value: Any) -> Any:
    try:
        return value.as_py()
    except UnicodeDecodeError as error:
        return Fault(NOT_UTF8, one_line(error))
    except (ValueError, OverflowError) as error:
        return Fault("a value cannot be read", one_line(error))

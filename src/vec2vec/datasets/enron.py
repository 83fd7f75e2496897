"""Enron e-mail: what the sender wrote, without headers, forwarded and quoted parts, and addresses.

The paper's preparation (its public repository, `process_for_inversion.py`) cuts a mail where a forwarded or original
message starts, and takes out header lines, a "Body:" marker and addresses; it then keeps 32 whitespace tokens, which is
`--max-tokens 32 --tokenizer whitespace` here. Quoted lines go, too, as they are other people's text.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

from vec2vec.datasets.base import Fault, Row, TextSource, choose_text, text_fault
from vec2vec.errors import InputError
from vec2vec.stores.base import reading

NOTHING_LEFT = Fault("nothing of the sender's own is left of the mail", usual=True)
RAW = "message"  # the column of a whole mail, headers and all
ENCODINGS = ("quoted-printable", "base64", "x-uuencode", "uuencode", "uue", "x-uue")  # the others encode nothing

# Where someone else's mail starts: "-----Original Message-----", "---- Forwarded by A B on …", "On …, A B wrote:". The
# patterns are bounded within a line, so that a megabyte of one character takes no longer than one of prose.
_MARKER = re.compile(
    r"^[> \t]*-{2,}[ \t]*(?:original message|forwarded (?:message|by)|begin forwarded)"
    r"|^[> \t]*begin forwarded message:"
    r"|^[> \t]*on\b[^\n]{4,160}(?:\n[^\n]{1,80})?\bwrote:[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
# or a block of headers in the midst of the text, as Outlook writes it
_BLOCK = re.compile(
    r"^[ \t]*from:[^\n]*\n(?:[^\n]*\n){0,3}?[ \t]*(?:sent|date):[^\n]*\n(?:[^\n]*\n){0,6}?[ \t]*subject:",
    re.IGNORECASE | re.MULTILINE,
)
_FIELD = (
    r"[ \t]*(?:to|cc|bcc|subject|from|date|sent|message-id|mime-version|content-type|content-transfer-encoding"
    r"|x-[\w-]+)[ \t]*:[^\n]*"
)
_HEADER = re.compile(rf"^{_FIELD}(?:\n|\Z)", re.IGNORECASE | re.MULTILINE)
_LEADING = re.compile(rf"\A(?:\n*{_FIELD}(?:\n[ \t]+\S[^\n]*)*(?:\n|\Z))+", re.IGNORECASE)
_BODY = re.compile(r"\bbody:\s*", re.IGNORECASE)
_QUOTED = re.compile(r"^[ \t]*>[^\n]*(?:\n|\Z)", re.MULTILINE)
_ADDRESS = re.compile(r"(?<![\w.%+-])[\w.%+-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
_BLANKS = re.compile(r"\n[ \t]*(?:\n[ \t]*)+")


def clean_mail(text: str) -> str:
    """What the sender wrote; "" if nothing is left.

    Parameters
    ----------
    text : a mail, or its body; header lines may stand at its beginning
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _LEADING.sub("", text)
    ends = [match.start() for match in (_MARKER.search(text), _BLOCK.search(text)) if match is not None]
    text = text[: min(ends)] if ends else text
    text = _BODY.sub("", _HEADER.sub("", text), count=1)
    text = _ADDRESS.sub("", _QUOTED.sub("", text))
    return _BLANKS.sub("\n\n", text).strip()


def body_of(raw: bytes | str) -> str:
    """The plain text of a mail, without its headers.

    Bytes that its declared charset does not have are read as Windows-1252, that of most mail programs of that time.

    Parameters
    ----------
    raw : as it was sent; or as text, in which only base64 and quoted-printable are still to be decoded
    """
    decoded = isinstance(raw, str)
    message = message_from_bytes(raw.encode(errors="surrogateescape") if isinstance(raw, str) else raw)
    parts = [part for part in message.walk() if _is_text(part)]
    return "\n".join(_decoded(part, decoded) for part in parts)


class Mails:
    """A `TextSource` over one that holds mails: whole ones in a column `message`, or bodies in another."""

    names = ("text", "id")
    text_names = ("text",)

    def __init__(self, inner: TextSource, column: str | None = None) -> None:
        self.inner = inner
        self.name = inner.name
        raw = RAW if column is None and RAW in inner.names and "text" not in inner.names else None
        self._column = raw or choose_text(inner.name, column, inner)
        self._id = next((name for name in ("file", "id", "message_id", "message-id") if name in inner.names), None)

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        wanted = [name for name in (self._column, self._id) if name is not None]
        for row in self.inner.rows(wanted):
            yield row if row.fault else self._cleaned(row)

    def _cleaned(self, row: Row) -> Row:
        text = row.values.get(self._column)
        number = str(row.number) if row.split is None else f"{row.split}-{row.number}"
        name = number if self._id is None else row.values.get(self._id)
        if not isinstance(text, str):
            return row._replace(values={"text": text, "id": name})
        if self._column == RAW:
            try:
                text = body_of(text)
            except UnicodeEncodeError:
                return row._replace(values={}, fault=text_fault(text))
        return as_row(row, clean_mail(text), name)


class Maildir:
    """A `TextSource` over a folder of mails, one a file, such as the `maildir` that the corpus is published as.

    A mail's id is its path in the folder; bytes of it that are not UTF-8 are written as in `caf\\xe9`.
    """

    names = ("text", "id")
    text_names = ("text",)

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = str(folder)
        if next(self._files(), None) is None:
            raise InputError(f"{folder}: there is no file in it")

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        for number, path in enumerate(self._files()):
            name = os.fsencode(path.relative_to(self.folder).as_posix()).decode(errors="backslashreplace")
            with reading(path):
                raw = path.read_bytes()
            yield as_row(Row(number, f"the file {name}", {}), clean_mail(body_of(raw)), name)

    def _files(self) -> Iterator[Path]:
        """All files in a fixed order, hidden ones aside."""
        for folder, folders, files in os.walk(self.folder, followlinks=False):
            folders.sort()
            yield from (Path(folder, name) for name in sorted(files) if not name.startswith("."))


def as_row(row: Row, text: str, name: Any) -> Row:
    """The row of a cleaned mail."""
    if not text:
        return row._replace(values={}, fault=NOTHING_LEFT)
    return row._replace(values={"text": text, "id": name})


def _is_text(part: Message) -> bool:
    """Whether a part is text, and no attachment."""
    try:
        return part.get_content_type() == "text/plain" and not part.get_filename()
    except ValueError:  # of a file name with a NUL in its charset
        return False


def _decoded(part: Message, decoded: bool) -> str:
    """The text of a part; what is `decoded` already and stands as it is, is UTF-8, whatever charset is declared."""
    payload = part.get_payload(decode=True)
    if not isinstance(payload, bytes):
        return ""
    if decoded and str(part["content-transfer-encoding"]).strip().lower() not in ENCODINGS:
        with suppress(UnicodeDecodeError):
            return payload.decode()
    try:
        return payload.decode(part.get_content_charset() or "utf-8")
    except (ValueError, LookupError):  # of bytes that are not of the charset, of a charset that is none
        return payload.decode("cp1252", errors="replace")

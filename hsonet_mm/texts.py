"""Text of unknown encoding: files of editors and spreadsheets, and names that a terminal cannot display."""

import codecs
import csv
import io

from hsonet_mm.errors import UserError

__all__ = ['counted', 'decode_text', 'printable', 'read_rows', 'require_utf8', 'threshold_text']

_MARKS = ((codecs.BOM_UTF8, 'utf-8-sig'), (codecs.BOM_UTF16_LE, 'utf-16'), (codecs.BOM_UTF16_BE, 'utf-16'))


def counted(number: int, noun: str) -> str:
    """A number of things: ``1 pair``, ``2,000 pairs``."""
    return f'{number:,} {noun}' + ('' if number == 1 else 's')


def threshold_text(threshold: float) -> str:
    """A threshold with three digits; more where three would say 1."""
    text = f'{threshold:.3g}'
    return text if float(text) < 1 else f'{threshold:g}'


def decode_text(data: bytes) -> str:
    """Decode a text as UTF-8, by its byte order mark, or as Windows-1252.

    A text without mark whose every other byte is zero, as "Unicode text" of some programs, is UTF-16.

    Raises:
        UnicodeDecodeError: if it is none of these.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding)
    for encoding, zeros in (('utf-16-le', data[1::2]), ('utf-16-be', data[::2])):
        if zeros and zeros.count(0) > len(zeros) // 2:
            return data.decode(encoding)
    try:
        return data.decode('utf-8')
    except UnicodeDecodeError:
        return data.decode('cp1252')


def read_rows(data: bytes) -> list[tuple[int, list[str]]]:
    """Rows of a table that an editor or a spreadsheet wrote, with their line numbers; empty ones are left out.

    Commas, semicolons or tabs separate the columns, whichever the first row has most of; what stands around a cell is
    stripped.

    Raises:
        UnicodeDecodeError: if it is not text.
        csv.Error: if it is not a table.
    """
    text = decode_text(data)
    first = _first_line(text)
    if first.strip().lower().startswith('sep='):  # a line for Excel alone
        text = text[text.index(first) + len(first) :]
        first = _first_line(text)
    separator = max(',;\t', key=first.count)
    table = csv.reader(io.StringIO(text, newline=''), delimiter=separator, skipinitialspace=True)
    rows = [(table.line_num, [cell.strip() for cell in row]) for row in table]
    return [(number, row) for number, row in rows if any(row)]


def _first_line(text: str) -> str:
    return next((line for line in text.splitlines() if line.strip()), '')


def printable(text: str) -> str:
    """The same text with escapes where a file name contains bytes that are not UTF-8."""
    return text.encode('utf-8', 'backslashreplace').decode()


def require_utf8(path: object) -> None:
    """Raise an error for a name that is not UTF-8, because GDAL can neither open nor write it."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UserError(
            f'the name of {printable(str(path))} is not UTF-8: rename it, or set PYTHONUTF8=1 where the language '
            'settings of the system are of another encoding'
        ) from None

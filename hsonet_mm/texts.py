"""Text of unknown origin: files that editors and spreadsheets wrote, and names that a terminal cannot show."""

import codecs

from hsonet_mm.errors import UserError

__all__ = ['counted', 'decode_text', 'printable', 'require_utf8']

_MARKS = ((codecs.BOM_UTF8, 'utf-8-sig'), (codecs.BOM_UTF16_LE, 'utf-16'), (codecs.BOM_UTF16_BE, 'utf-16'))


def counted(number: int, noun: str) -> str:
    """A number of things: ``1 pair``, ``2,000 pairs``."""
    return f'{number:,} {noun}' + ('' if number == 1 else 's')


def decode_text(data: bytes) -> str:
    """Decode a text as UTF-8, as what its byte order mark says, or as Windows' Western code page.

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


def printable(text: str) -> str:
    """The same text with escapes where a file name contains bytes that are not UTF-8."""
    return text.encode('utf-8', 'backslashreplace').decode()


def require_utf8(path: object) -> None:
    """Refuse a name that is not UTF-8, which GDAL neither opens nor writes."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UserError(
            f'the name of {printable(str(path))} is not UTF-8: rename it, or set PYTHONUTF8=1 where the language '
            'settings of the system are of another encoding'
        ) from None

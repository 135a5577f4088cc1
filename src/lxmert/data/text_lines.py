"""Lists in text files, one item a line."""

from pathlib import Path

from lxmert.errors import DataError


def read_lines(path: str | Path, what: str) -> list[str]:
    """Read the lines of a UTF-8 file, with or without a byte order mark.

    Args:
        path: the file.
        what: what it is, for the error.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the {what} cannot be read ({error})") from error

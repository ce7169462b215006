"""SQL identifiers as stored by PostgreSQL in a UTF-8 database."""

_MAX_BYTES = 63
_ASCII_LOWER = str.maketrans({chr(n): chr(n + 32) for n in range(ord("A"), ord("Z") + 1)})


def fold(name: str) -> str:
    """Fold an unquoted name as the server does: only ASCII letters become lower case."""
    return name.translate(_ASCII_LOWER)


def truncate(name: str) -> str:
    """Truncate a name as the server does: to at most 63 bytes, without splitting a character."""
    return name.encode()[:_MAX_BYTES].decode(errors="ignore")


def unquote(part: str) -> str:
    """Remove the double quotes of a part of a name, if there are any."""
    return part[1:-1].replace('""', '"') if part.startswith('"') else part


def stored(part: str) -> str:
    """Return a part of an SQL name as stored: folded unless quoted, then truncated."""
    return truncate(unquote(part) if part.startswith('"') else fold(part))

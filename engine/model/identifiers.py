"""SQL identifiers as PostgreSQL stores them, in a database in UTF-8."""

_MAX_BYTES = 63
_ASCII_LOWER = str.maketrans({chr(n): chr(n + 32) for n in range(ord("A"), ord("Z") + 1)})


def fold(name: str) -> str:
    """An unquoted name as the server folds it: only ASCII letters become lower case."""
    return name.translate(_ASCII_LOWER)


def truncate(name: str) -> str:
    """A name as the server stores it, cut to 63 bytes at a whole character."""
    return name.encode()[:_MAX_BYTES].decode(errors="ignore")


def unquote(part: str) -> str:
    """A part of a name without its double quotes, if it has any."""
    return part[1:-1].replace('""', '"') if part.startswith('"') else part


def stored(part: str) -> str:
    """A part of a name in SQL as the server stores it: folded unless it is quoted, then cut."""
    return truncate(unquote(part) if part.startswith('"') else fold(part))

"""Partition values in directory names, as Hive and Spark write them: `region=A%3AB`.

Both escape characters that are not allowed in paths as `%` and two hexadecimal digits, and write
null and the empty text as a reserved name.
"""

from urllib.parse import unquote

NULL = "__HIVE_DEFAULT_PARTITION__"


def unescape(text: str) -> str | None:
    """The value after the `=` of a directory name; None for a null.

    Escapes that are not UTF-8 also result in None: writers disagree on them, so the value counts as
    unknown.
    """
    if text == NULL:
        return None
    if "%" not in text:
        return text
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return None

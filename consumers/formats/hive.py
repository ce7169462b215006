"""Partition values in the names of directories, as Hive and Spark write them: `region=A%3AB`.

Both escape characters that a path cannot hold as `%` and two hexadecimal digits, and write a null
(as well as an empty text) as a name of its own.
"""

from urllib.parse import unquote

NULL = "__HIVE_DEFAULT_PARTITION__"


def unescape(text: str) -> str | None:
    """The value that a directory's name holds after its `=`; None for a null.

    Also None where the escapes are not UTF-8: writers disagree on such a value, so it counts as
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

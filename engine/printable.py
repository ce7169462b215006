"""Text from outside, made safe for a terminal.

Keys, errors, names and payloads are written by others. A control character among them could move
the cursor, rename the window or write to the clipboard; a bidirectional control could show a text
in another order than it has.
"""

import json
import re

_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)
"""Controls but newline and tab, bidirectional and invisible formatting, and lone surrogates."""
_C0_PICTURES = 0x2400
_DELETE, _DELETE_PICTURE = "\x7f", "\u2421"
_REPLACEMENT = "\ufffd"


def printable(text: str) -> str:
    """The text with a visible character in place of each one that could act on a terminal."""
    return _UNSAFE.sub(_picture, text)


def printable_json(document: str) -> str:
    """JSON of the same value, with such characters escaped; they only occur within its strings."""
    return _UNSAFE.sub(lambda found: json.dumps(found[0])[1:-1], document)


def indented(text: str) -> str:
    """Printable text whose further lines cannot pass for log entries of their own."""
    return printable(text).replace("\n", "\n    ")


def _picture(found: re.Match[str]) -> str:
    character = found[0]
    if character < " ":
        return chr(_C0_PICTURES + ord(character))
    return _DELETE_PICTURE if character == _DELETE else _REPLACEMENT

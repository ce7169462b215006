"""Make untrusted text safe for a terminal.

Keys, errors, names and payloads come from outside. A control character could move the cursor,
rename the window or write to the clipboard; a bidirectional control could reorder the displayed
text.
"""

import json
import re

UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)
"""Controls except newline and tab, bidirectional and invisible formatting, lone surrogates."""
_C0_PICTURES = 0x2400
_DELETE, _DELETE_PICTURE = "\x7f", "\u2421"
_REPLACEMENT = "\ufffd"


def printable(text: str) -> str:
    """Replace each character that could act on a terminal by a visible one."""
    return UNSAFE.sub(_picture, text)


def printable_json(document: str) -> str:
    """Escape the same characters in JSON, where they can only occur within strings."""
    return UNSAFE.sub(lambda unsafe: json.dumps(unsafe[0])[1:-1], document)


def indented(text: str) -> str:
    """Make text printable, with further lines indented: none can pass for a log entry."""
    return printable(text).replace("\n", "\n    ")


def _picture(unsafe: re.Match[str]) -> str:
    character = unsafe[0]
    if character < " ":
        return chr(_C0_PICTURES + ord(character))
    return _DELETE_PICTURE if character == _DELETE else _REPLACEMENT

"""Text that every store and transport accepts: valid UTF-8 without NUL."""

_NUL = "\0"
_REPLACEMENT = "\N{SYMBOL FOR NULL}"


def storable(text: str) -> str:
    """Return the text with NUL and lone surrogates replaced."""
    return text.replace(_NUL, _REPLACEMENT).encode(errors="replace").decode()


def is_storable(text: str) -> bool:
    """Return whether the text has no NUL and no lone surrogate."""
    return storable(text) == text

"""Text that every store and transport accepts: valid UTF-8 without NUL."""

_NUL = "\0"
_NOTE_BYTES = 80
_REPLACEMENT = "\N{SYMBOL FOR NULL}"


def storable(text: str) -> str:
    """Return the text with NUL and lone surrogates replaced."""
    return text.replace(_NUL, _REPLACEMENT).encode(errors="replace").decode()


def bounded_tail(text: str, most_bytes: int, omitted: int = 0) -> str:
    """Return the text as stored; of a longer text the end, after a line with the omitted bytes.

    ``omitted`` is the number of bytes that preceded the text.
    """
    encoded = storable(text).encode()
    if not omitted and len(encoded) <= most_bytes:
        return encoded.decode()
    kept = encoded[-(most_bytes - _NOTE_BYTES) :]
    note = f"[{omitted + len(encoded) - len(kept):,} earlier bytes are omitted]\n"
    return note + kept.decode(errors="ignore")


def is_storable(text: str) -> bool:
    """Return whether the text has no NUL and no lone surrogate."""
    return storable(text) == text

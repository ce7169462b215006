"""Entity tags, so that polling an unchanged resource transfers nothing."""

from hashlib import sha256


def etag_of(body: bytes) -> str:
    """Return the entity tag of a body."""
    return f'"{sha256(body).hexdigest()[:32]}"'


def is_known(etag: str, if_none_match: str | None) -> bool:
    """Return whether the header If-None-Match has the tag; the comparison is the weak one."""
    if not if_none_match:
        return False
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return "*" in tags or etag in tags

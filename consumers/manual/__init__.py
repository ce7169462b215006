"""The manual way in: a person or a program says what is stale."""

from consumers.manual.request import Requested, invalidate

__all__ = ["Requested", "invalidate"]

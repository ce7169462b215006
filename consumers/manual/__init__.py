"""Manual invalidations, requested by a person or a program."""

from consumers.manual.request import Requested, invalidate

__all__ = ["Requested", "invalidate"]

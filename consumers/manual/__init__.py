"""Manual invalidations, requested by a person or a program."""

from consumers.manual.request import Request, Requested, invalidate, invalidate_all

__all__ = ["Request", "Requested", "invalidate", "invalidate_all"]

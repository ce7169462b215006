"""The error of a query whose lineage cannot be derived."""


class Unresolved(Exception):
    """The lineage of a query is not known; the text gives the reason."""

"""The error for a query without derivable lineage."""


class Unresolved(Exception):
    """The lineage of a query cannot be derived; the message gives the reason.

    ``line`` is that of the problem in the SQL, counted from 1; None if unknown.
    """

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


class NotAQuery(Unresolved):
    """The text is not a single query, so that it cannot run either."""

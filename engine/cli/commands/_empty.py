"""Output shared by commands that list what is deployed, if nothing is."""

from rich.text import Text

from engine.cli.global_options import GlobalOptions
from engine.cli.runtime.session import database_name


def nothing_deployed(options: GlobalOptions) -> Text:
    """Name the database: an embedded one depends on the directory of the command."""
    name = database_name(options)
    return Text(f"Nothing is deployed yet in {name}: knockon deploy FILE", "yellow")

"""The command line `knockon`: an adapter over the service, and the processes."""

import sys
import traceback

from engine.errors import KnockonError


def main() -> None:
    """Run the command; exit with 0 on success, 1 on failure, 2 on wrong arguments."""
    from engine.cli.app import app

    try:
        app(prog_name="knockon")
    except KnockonError as error:
        from engine.cli.render.console import print_error

        print_error(str(error))
        sys.exit(1)
    except Exception as error:
        from engine.cli.render.console import errors
        from engine.secrets import redacted

        # Unlike Python's own traceback, without secrets and without control characters.
        errors().print(redacted("".join(traceback.format_exception(error))), end="")
        sys.exit(1)

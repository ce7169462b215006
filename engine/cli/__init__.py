"""The command line: `knockon`, the roof that alone sees engine and consumers."""

import sys
import traceback

from engine.errors import KnockonError


def main() -> None:
    """Run the command that the arguments name; 0 done, 1 failed, 2 wrongly called."""
    from engine.cli.app import app

    try:
        app(prog_name="knockon")
    except KnockonError as error:
        from engine.cli.output import complain

        complain(str(error))
        sys.exit(1)
    except Exception as error:
        from engine.cli.output import errors
        from engine.secrets import redacted

        # As Python would print it, but for control characters in the messages.
        errors().print(redacted("".join(traceback.format_exception(error))), end="")
        sys.exit(1)

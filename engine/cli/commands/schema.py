"""`knockon schema`."""

import sys

import typer

from engine.cli.call import Call, command
from engine.cli.output import to_json
from engine.model.dag import json_schema

app = typer.Typer(add_completion=False)


@app.command()
@command
def schema(call: Call) -> None:
    """Print the JSON Schema of DAG files, for completion and checks in an editor."""
    sys.stdout.write(to_json(json_schema()))

"""`knockon schema`."""

import sys

import typer

from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import to_json
from engine.model.dag import json_schema

app = typer.Typer(add_completion=False)


@app.command()
@command
def schema(options: GlobalOptions) -> None:
    """Print the JSON Schema of DAG files, for completion and validation in an editor."""
    sys.stdout.write(to_json(json_schema()))

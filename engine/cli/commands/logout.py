"""`knockon logout`."""

import typer
from rich.text import Text

from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.runtime.remote import address_of
from engine.cli.runtime.session import load_settings
from engine.client.stored_keys import remove_key

app = typer.Typer(add_completion=False)


@app.command()
@command
def logout(options: GlobalOptions) -> None:
    """Remove the stored key for a server; the key itself stays valid until it is revoked."""
    address = address_of(load_settings(options))
    is_removed = remove_key(address)
    text = f"the key for {address} is {'removed' if is_removed else 'not stored'}"
    show(options, {"removed": is_removed}, lambda _: Text(text), soft_wrap=True)

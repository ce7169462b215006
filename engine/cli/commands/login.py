"""`knockon login`."""

import asyncio
import sys
from getpass import getpass

import typer
from rich.text import Text

from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.runtime.remote import address_of, open_server
from engine.cli.runtime.session import load_settings
from engine.client.stored_keys import store_key
from engine.errors import InvalidInput
from engine.service.responses import Me
from engine.settings import Settings

app = typer.Typer(add_completion=False)


@app.command()
@command
def login(options: GlobalOptions) -> None:
    """Store the key for a server: knockon login --server https://knockon.example.com.

    The key is asked for, or read from standard input, checked at the server, and stored in a file
    that only you can read: knockon/keys.json below $XDG_CONFIG_HOME, by default ~/.config.
    """
    settings = load_settings(options)
    address = address_of(settings)
    key = _read_key()
    me = asyncio.run(_checked(settings, key))
    file = store_key(address, key)
    text = f"the key of {me.user} ({me.role} of org {me.org}) for {address} is stored in {file}"
    show(options, me, lambda _: Text(text), soft_wrap=True)


def _read_key() -> str:
    """Return the key, which a terminal does not show. Raises InvalidInput."""
    try:
        text = getpass("Key: ") if sys.stdin.isatty() else sys.stdin.readline()
    except EOFError:
        text = ""
    if not text.strip():
        raise InvalidInput("there is no key: enter one, or pass it on standard input")
    return text.strip()


async def _checked(settings: Settings, key: str) -> Me:
    async with open_server(settings, key) as server:
        return await server.me.get()

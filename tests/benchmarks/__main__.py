"""``python -m tests.benchmarks [figure…]``: measure and print a table for each figure."""

import asyncio
import sys

import structlog
from rich.console import Console
from rich.live import Live

from tests.benchmarks import (
    fan_out,
    formats,
    growth,
    http_service,
    ingestion,
    large_lineage,
    latency,
    mapping_sets,
    neighbourhoods,
    streaming,
    throughput,
)
from tests.benchmarks.figure import table
from tests.benchmarks.server import Server, server

MODULES = {
    module.__name__.rpartition(".")[2]: module
    for module in (
        mapping_sets,
        fan_out,
        large_lineage,
        neighbourhoods,
        latency,
        throughput,
        ingestion,
        http_service,
        formats,
        streaming,
        growth,
    )
}


async def main(names: list[str], server: Server) -> None:
    for name in names or MODULES:
        found = table()
        with Live(found, console=Console(), auto_refresh=False) as live:
            async for figure in MODULES[name].figures(server):
                found.add_row(*figure.cells())
                live.refresh()


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    with server() as running:
        asyncio.run(main(sys.argv[1:], running))

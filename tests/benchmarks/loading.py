"""A fresh process that loads a lineage and prints ``[seconds, megabytes]``."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from time import perf_counter

import networkx as nx
import psutil

from engine.store.database import Connection, Database
from engine.store.lineage import load_lineage
from engine.store.orgs import org_id


async def load(conn: Connection) -> object:
    """Load all the state for planning."""
    return await load_lineage(conn, await org_id(conn, "default"))


async def load_bare(conn: Connection) -> object:
    """Load only the edges between jobs, as a networkx graph."""
    query = """
        SELECT p.id AS producer, j.id AS reader
        FROM jobs j CROSS JOIN LATERAL unnest(j.input_datasets) AS i (name)
        JOIN datasets d ON d.name = i.name
        JOIN jobs p ON p.name = d.producer_job_name"""
    graph = nx.DiGraph()
    cursor = await conn.execute(query.encode())
    graph.add_edges_from([(row["producer"], row["reader"]) for row in await cursor.fetchall()])
    return graph


async def measured(
    url: str, work: Callable[[Connection], Awaitable[object]]
) -> tuple[float, float]:
    """Seconds, and growth of resident memory in megabytes while the result is alive."""
    async with await Database.open(url) as database, database.connection() as conn:
        process = psutil.Process()
        before, start = process.memory_info().rss, perf_counter()
        held = await work(conn)
        seconds = perf_counter() - start
        grown = process.memory_info().rss - before
        del held
    return seconds, grown / 1e6


if __name__ == "__main__":
    name, url = sys.argv[1:]
    seconds, megabytes = asyncio.run(measured(url, {"knockon": load, "networkx": load_bare}[name]))
    print(f"[{seconds}, {megabytes}]")

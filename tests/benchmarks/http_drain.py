"""A worker process over HTTP: ``python -m tests.benchmarks.http_drain HOST PORT KEY BATCH LANES``.

Each lane claims a batch of tasks, and completes each with a request of its own. Prints the seconds
and the number of completed tasks, as JSON.
"""

import asyncio
import json
import sys
from time import perf_counter
from typing import Any

import uvloop

from tests.benchmarks.http_load import HttpClient


async def _drain(host: str, port: int, key: str, batch: int, lanes: int) -> None:
    clients = [await HttpClient.connect(host, port) for _ in range(lanes)]
    start = perf_counter()
    completed = sum(await asyncio.gather(*(_lane(client, key, batch) for client in clients)))
    print(json.dumps({"seconds": perf_counter() - start, "completed": completed}))


async def _lane(client: HttpClient, key: str, batch: int) -> int:
    """Run batches until nothing is queued; return the number of completed tasks."""
    wanted = {"worker": "bench", "runtimes": ["local"], "limit": batch, "wait": 0}
    completed = 0
    while tasks := (await client.post("/tasks/claim", key, wanted))[1]["tasks"]:
        for task in tasks:
            body = {"outputs": [_output(task)]}
            status, answer = await client.post(f"/tasks/{task['id']}/complete", task["token"], body)
            assert status == 200, answer
        completed += len(tasks)
    return completed


def _output(task: dict[str, Any]) -> dict[str, Any]:
    return {
        "dataset": task["outputs"][0]["dataset"],
        "partition": task["partitions"][0],
        "fingerprint": task["token"],
    }


if __name__ == "__main__":
    _, host, port, key, batch, lanes = sys.argv
    uvloop.run(_drain(host, int(port), key, int(batch), int(lanes)))

"""A FastAPI app that inserts one row: ``python -m tests.benchmarks.bare_service URL PORT``."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import asyncpg
import uvicorn
from fastapi import FastAPI, Request
from pydantic import BaseModel

_INSERT = "INSERT INTO bench_posts (id, dataset, partitions) VALUES ($1, $2, $3)"


class Change(BaseModel):
    """The body of a request, as Knockon's."""

    dataset: str
    partitions: list[str] | None = None


class Created(BaseModel):
    """The body of a response."""

    id: UUID


@asynccontextmanager
async def _pool(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(sys.argv[1], min_size=10, max_size=10) as pool:
        await pool.execute(
            "CREATE TABLE IF NOT EXISTS bench_posts"
            " (id uuid PRIMARY KEY, dataset text, partitions text[])"
        )
        app.state.pool = pool
        yield


app = FastAPI(lifespan=_pool)


@app.post("/api/v1/invalidations", status_code=201)
async def create(request: Request, body: Change) -> Created:
    """Insert a row."""
    id_ = uuid4()
    await request.app.state.pool.execute(_INSERT, id_, body.dataset, body.partitions)
    return Created(id=id_)


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[2]), loop="uvloop", http="httptools", log_level="error")

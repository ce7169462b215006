"""Apache Kafka in one process, broker and controller combined (KRaft), with its log on disk.

Two listeners: plain text, and TLS with client certificates and SASL.
"""

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Self

from engine.embedded.broker import Broker, answers, free_port
from engine.embedded.child_process import ChildProcess
from tests.support.apache_kafka.certificates import Certificates, made_certificates
from tests.support.apache_kafka.jars import cached_jars
from tests.support.apache_kafka.jvm import Jvm
from tests.support.apache_kafka.storage import PASSWORD, USER, formatted

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
SECURITY = {
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL",
    "listener.name.secure.ssl.client.auth": "required",
    "listener.name.secure.plain.sasl.jaas.config": f'{_PLAIN} user_{USER}="{PASSWORD}";',
    "listener.name.secure.scram-sha-512.sasl.jaas.config": _SCRAM,
    "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
    "ssl.keystore.type": "PEM",
    "ssl.truststore.type": "PEM",
}
"""Settings of a listener SECURE beside the plain-text one; the caller adds the files."""

SINGLE_NODE = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",
    "message.max.bytes": "20000000",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "500",
    "log.cleaner.dedupe.buffer.size": "2097152",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "background.threads": "2",
}
"""Settings of one small broker that the tests need wherever it runs; the listeners are to be added.

`message.max.bytes` and `group.min.session.timeout.ms` are below or above Kafka's defaults because
the tests send messages of 20 MB and let sessions expire within a second.
"""


class SecureBroker(Broker):
    """Broker with a second listener behind TLS with client certificates and SASL.

    `secure_servers` is the address of the second listener (SASL_SSL, PLAIN or SCRAM-SHA-512). USER
    logs in with PASSWORD and the client's `certificates`.
    """

    secure_servers: str
    certificates: Certificates


class ApacheKafka(SecureBroker):
    """Broker in `directory` on free loopback ports; ends with this process at the latest.

    Raises ServiceUnavailable, naming the missing part, if Java is absent or the jars are
    unreachable.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._jvm = Jvm(cached_jars())
        self._child: ChildProcess | None = None
        self.certificates = made_certificates(directory)
        self._listeners = {name: free_port() for name in ("PLAINTEXT", "SECURE", "CONTROLLER")}
        self.secure_servers = f"127.0.0.1:{self._listeners['SECURE']}"
        super().__init__(f"127.0.0.1:{self._listeners['PLAINTEXT']}")

    def start(self) -> Self:
        """Start the broker on its existing log, if any, and return when it accepts connections."""
        settings = self._write_settings()
        if not self._data.exists():
            shutil.copytree(formatted(self._jvm), self._data)
        argv = self._jvm.serving("kafka.Kafka", str(settings))
        self._child = ChildProcess(argv, stop_signal="TERM", log=self._log)
        self._wait(self._child)
        return self

    def stop(self) -> None:
        """Stop the broker; a later start finds all of its data."""
        if self._child is not None:
            self._child.stop(_STOP_SECONDS)
            self._child = None
            self._jvm.keep_recorded()

    def kill(self) -> None:
        """End the broker by SIGKILL, like a machine failure; the next start recovers the log."""
        if self._child is not None:
            self._signal(signal.SIGKILL)
        self.stop()
        while self.answers:  # the shell that it was attached to ends first
            time.sleep(0.05)

    def freeze(self) -> None:
        """Stop responding to all clients, with connections left open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _signal(self, number: signal.Signals) -> None:
        assert self._child is not None, "it does not run"
        os.killpg(self._child._shell.pid, number)

    @property
    def answers(self) -> bool:
        """Check that the broker accepts connections."""
        return answers(self._listeners["PLAINTEXT"])

    @property
    def _data(self) -> Path:
        return self._directory / "data"

    @property
    def _log(self) -> Path:
        return self._directory / "server.log"

    def _write_settings(self) -> Path:
        addresses = {name: f"127.0.0.1:{port}" for name, port in self._listeners.items()}
        settings = (
            SINGLE_NODE
            | SECURITY
            | {
                "listeners": ",".join(f"{name}://{where}" for name, where in addresses.items()),
                "controller.quorum.voters": f"1@{addresses['CONTROLLER']}",
                "log.dirs": str(self._data),
                "ssl.keystore.location": str(self.certificates.server),
                "ssl.truststore.location": str(self.certificates.authority),
            }
        )
        file = self._directory / "server.properties"
        file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        return file

    def _wait(self, child: ChildProcess) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self.answers:
            if not child.running or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"Kafka did not start:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.05)

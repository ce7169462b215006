"""Apache Kafka in a container, from the image in the compose file."""

import time
from pathlib import Path
from typing import Self

from testcontainers.core.container import DockerContainer

from engine.embedded.broker import answers, free_port
from tests.support.apache_kafka.broker import SECURITY, SINGLE_NODE, SecureBroker
from tests.support.apache_kafka.certificates import made_certificates
from tests.support.apache_kafka.storage import PASSWORD, USER
from tests.support.compose import image_of

_START_SECONDS = 90.0
_SECRETS = "/etc/kafka/secrets"
_DATA = "/var/lib/kafka/data"


class ContainerKafka(SecureBroker):
    """Broker with the same port numbers in the container and on the host.

    An advertised address is therefore valid on both sides.
    """

    def __init__(self, directory: Path) -> None:
        self._plain, self._secure = free_port(), free_port()
        super().__init__(f"127.0.0.1:{self._plain}")
        self.secure_servers = f"127.0.0.1:{self._secure}"
        self.certificates = made_certificates(directory)
        self._container = self._configured()

    def __enter__(self) -> Self:
        self._container.start()
        try:
            self._wait()
            self._create_user()
        except BaseException:
            self._container.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._container.stop()

    def _configured(self) -> DockerContainer:
        container = DockerContainer(image_of("kafka"))
        for name, value in self._settings().items():
            container.with_env(_variable(name), value)
        for port in (self._plain, self._secure):
            container.with_bind_ports(port, port)
        for file in (self.certificates.authority, self.certificates.server):
            container.with_copy_into_container(file.read_bytes(), f"{_SECRETS}/{file.name}")
        return container

    def _settings(self) -> dict[str, str]:
        controller = free_port()
        return {
            **SINGLE_NODE,
            **SECURITY,
            "listeners": f"PLAINTEXT://:{self._plain},SECURE://:{self._secure}"
            f",CONTROLLER://:{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap_servers}"
            f",SECURE://{self.secure_servers}",
            "controller.quorum.voters": f"1@localhost:{controller}",
            "log.dirs": _DATA,
            "ssl.keystore.location": f"{_SECRETS}/{self.certificates.server.name}",
            "ssl.truststore.location": f"{_SECRETS}/{self.certificates.authority.name}",
        }

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not answers(self._plain):
            self._container.reload()
            if self._container.status != "running" or time.monotonic() > deadline:
                log = b"".join(self._container.get_logs()).decode(errors="replace")
                raise RuntimeError(f"Kafka did not start:\n{log[-2000:]}")
            time.sleep(0.1)

    def _create_user(self) -> None:
        """Create the SCRAM user; the image formats its storage without users."""
        done = self._container.exec(
            [
                "/opt/kafka/bin/kafka-configs.sh",
                *("--bootstrap-server", self.bootstrap_servers, "--alter"),
                *("--entity-type", "users", "--entity-name", USER),
                *("--add-config", f"SCRAM-SHA-512=[password={PASSWORD}]"),
            ]
        )
        if done.exit_code != 0:
            raise RuntimeError(f"the user could not be created: {done.output!r}")


def _variable(name: str) -> str:
    """The environment variable of a broker property: ___ is a dash, __ is _, _ is a dot."""
    escaped = name.replace("_", "__").replace("-", "___").replace(".", "_")
    return f"KAFKA_{escaped.upper()}"

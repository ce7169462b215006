"""The formatted storage directory of a new broker, with one SCRAM user."""

from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from engine.embedded.postgres import locked
from tests.support.apache_kafka.jvm import Jvm

USER, PASSWORD = "knockon", "correct horse"
_SCRAM = f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"
_SETTINGS = """
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:1
listeners=CONTROLLER://127.0.0.1:1,PLAINTEXT://127.0.0.1:2
"""


def formatted(jvm: Jvm) -> Path:
    """A formatted directory to copy, created beside the jars on first use."""
    storage = jvm.jars / f"storage-{sha256(_SCRAM.encode()).hexdigest()[:8]}"
    with locked(storage):
        if not storage.exists():
            _format(jvm, storage)
    return storage


def _format(jvm: Jvm, storage: Path) -> None:
    with TemporaryDirectory(dir=storage.parent) as made:
        data, settings = Path(made) / "data", Path(made) / "server.properties"
        settings.write_text(f"{_SETTINGS}log.dirs={data}\n")
        said = ["--cluster-id", "knockon", "--config", str(settings), "--add-scram", _SCRAM]
        jvm.run("kafka.tools.StorageTool", "format", *said)
        data.rename(storage)

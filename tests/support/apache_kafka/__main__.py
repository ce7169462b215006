"""``python -m tests.support.apache_kafka``: fetch and prepare the broker without a time limit.

With ``pin``, rewrite jars.sha256 from the dependencies in pom.xml.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from engine.errors import ServiceUnavailable
from tests.support.apache_kafka.broker import ApacheKafka
from tests.support.apache_kafka.jars import CHECKSUMS, cached_jars, checksums, fetch

_SECONDS = 900


def pin() -> None:
    with TemporaryDirectory() as jars:
        fetch(Path(jars), _SECONDS)
        CHECKSUMS.write_text(checksums(Path(jars)))


if __name__ == "__main__":
    if "pin" in sys.argv:
        pin()
    try:
        cached_jars(_SECONDS)
        with TemporaryDirectory() as directory, ApacheKafka(Path(directory)) as broker:
            print(f"Apache Kafka answers on {broker.bootstrap_servers}")
    except ServiceUnavailable as error:
        print(f"without Apache Kafka, so its tests skip: {error}")

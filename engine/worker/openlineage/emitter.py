"""The emitter: events go out in a thread of their own, so that no task waits for them.

Nothing that goes wrong here goes any further: what cannot be sent is counted, and warned of.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from queue import Empty, Full, Queue
from threading import Event, Thread
from time import monotonic

import msgspec
import structlog
from tenacity import (
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_when_event_set,
    wait_random_exponential,
)

from engine.errors import ServiceUnavailable
from engine.monitor.metrics import OPENLINEAGE_EVENTS
from engine.settings import Settings
from engine.worker.openlineage.events import openlineage_event
from engine.worker.openlineage.run_event import Emit, RunEvent, discard
from engine.worker.openlineage.sinks import Sink, sink_at

_log = structlog.get_logger(__name__)
_MOST_WAITING = 1_000
_FLUSH_SECONDS = 5.0
_LONGEST_WAIT_SECONDS = 30.0


@asynccontextmanager
async def event_emitter(settings: Settings) -> AsyncIterator[Emit]:
    """Have what is told sent to where the settings say, and at the end what is still waiting.

    Raises InvalidInput where that is no place to send to.
    """
    if settings.openlineage_url is None:
        yield discard
        return
    sink = sink_at(settings.openlineage_url, settings.openlineage_api_key)
    emitter = Emitter(sink, settings.lineage_namespace)
    try:
        yield emitter.emit
    finally:
        await asyncio.to_thread(emitter.close)


class Emitter:
    """Sends events in their order, each again and again until the sink has taken or refused it.

    At most ``most_waiting`` wait; while there are as many, new ones are dropped.
    """

    def __init__(self, sink: Sink, namespace: str, most_waiting: int = _MOST_WAITING) -> None:
        self._sink = sink
        self._namespace = namespace
        self._waiting: Queue[RunEvent | None] = Queue(most_waiting)
        self._closing = Event()
        self._is_losing = False
        self._patiently = Retrying(
            retry=retry_if_exception_type(ServiceUnavailable),
            wait=wait_random_exponential(multiplier=0.5, max=_LONGEST_WAIT_SECONDS),
            sleep=sleep_using_event(self._closing),
            stop=stop_when_event_set(self._closing),
            reraise=True,
        )
        self._thread = Thread(target=self._run, daemon=True, name="knockon-openlineage")
        self._thread.start()

    def emit(self, event: RunEvent) -> None:
        """See `Emit`."""
        try:
            self._waiting.put_nowait(event)
        except Full:
            self._lose("too many events wait to be sent")

    def close(self, seconds: float = _FLUSH_SECONDS) -> None:
        """Send what waits, as far as it goes without a failure, for at most so long."""
        end = monotonic() + seconds
        self._closing.set()
        with suppress(Full):
            self._waiting.put(None, timeout=seconds)
        self._thread.join(max(end - monotonic(), 0))
        if self._thread.is_alive():
            _log.warning("events were not sent before the end", waiting=self._waiting.qsize())

    def _run(self) -> None:
        while (event := self._waiting.get()) is not None:
            try:
                self._send(event)
            except ServiceUnavailable as error:  # and the end has come
                self._lose(str(error))
                self._lose_all()
                break
            except Exception as error:
                self._lose(str(error))
        self._sink.close()

    def _send(self, event: RunEvent) -> None:
        body = msgspec.json.encode(openlineage_event(event, self._namespace))
        self._patiently(self._sink.write, body)
        self._is_losing = False
        OPENLINEAGE_EVENTS.labels("sent").inc()

    def _lose(self, why: str) -> None:
        """Count a lost event; the first of many in a row is warned of."""
        OPENLINEAGE_EVENTS.labels("dropped").inc()
        if not self._is_losing:
            _log.warning("events of OpenLineage are lost", why=why)
        self._is_losing = True

    def _lose_all(self) -> None:
        with suppress(Empty):
            while True:
                if self._waiting.get_nowait() is not None:
                    self._lose("the worker stops")

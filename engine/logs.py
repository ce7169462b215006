"""Logging: structlog and the standard library through one handler, to stderr."""

import logging
import sys
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from engine.log_repeats import HoldBackRepeats
from engine.printable import indented
from engine.secrets import redacted
from engine.settings import Settings

_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def configure_logs(settings: Settings) -> None:
    """Send every log line of this process to stderr, in the configured format and level."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()  # stderr: stdout carries the output of commands
    handler.setFormatter(_formatter(settings.log_format))
    handler.addFilter(HoldBackRepeats())
    logging.basicConfig(handlers=[handler], level=settings.log_level.upper(), force=True)
    for name in ("psycopg", "aiokafka"):
        # Their warnings about an outage or a failed statement repeat Knockon's own.
        logging.getLogger(name).setLevel(logging.ERROR)


def _formatter(log_format: str) -> logging.Formatter:
    last: list[Processor]
    if log_format == "json":
        last = [
            structlog.processors.format_exc_info,
            _redacted,
            structlog.processors.JSONRenderer(),
        ]
    else:
        last = [
            structlog.processors.format_exc_info,
            _redacted,
            _printable,
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                # The default formatter prints local variables, which may be long or secret.
                exception_formatter=structlog.dev.plain_traceback,
            ),
        ]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )


def _redacted(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {key: _without_secrets(value) for key, value in event.items()}


def _without_secrets(value: Any) -> Any:
    """Return the value itself, or its redacted text if the text contains a secret."""
    if isinstance(value, str):
        return redacted(value)
    text = str(value)
    return value if redacted(text) == text else redacted(text)


def _printable(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Convert all values to printable text, except for JSON, whose renderer escapes them."""
    return {
        indented(key): value if value is None else indented(str(value))
        for key, value in event.items()
    }

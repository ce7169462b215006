"""Notifications of an object store: an object came or went, in the partition that its key tells.

Sources: Amazon S3's event message structure 2.x (`Records`, which MinIO and others send as well),
where keys are URL-encoded, and its events for EventBridge (`detail`), where they are not.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import unquote_plus

import msgspec

from consumers.formats.binding import Binding, Place
from consumers.formats.confluent import Schemas
from consumers.formats.hive import unescape
from engine.errors import InvalidEvent
from engine.model.event import Reason, SourceEvent

_WITH_BUCKET = "s3://"
_WILD = re.compile(r"\{(?P<group>\w+)\}|(?P<deep>\*\*)|(?P<any>\*)")
_HIVE_GROUP = re.compile(r"(?:^|/)[^/{}*=]+=\{(\w+)\}(?=/|$)")
_CREATED = re.compile(r"(s3:)?ObjectCreated:|Object Created$")
# What leaves an object's content as it was.
_IDLE = re.compile(
    r"(s3:)?(TestEvent|Object(Tagging|Acl|Restore|Accessed)|LifecycleTransition|Replication"
    r"|IntelligentTiering)|Object (Tags|ACL|Restore|Storage|Access)"
)
_HIDDEN = re.compile(r"(^|/)[_.][^/=]*(/|$)|/$")
_OFF_PATTERN = "an object below the pattern's beginning does not fit the rest of it"


class _Bucket(msgspec.Struct, frozen=True):
    name: str = ""


class _Object(msgspec.Struct, frozen=True):
    key: str
    sequencer: str = ""


class _Where(msgspec.Struct, frozen=True):
    object: _Object
    bucket: _Bucket = _Bucket()


class _Record(msgspec.Struct, frozen=True, rename={"name": "eventName"}):
    name: str
    s3: _Where


class _Message(
    msgspec.Struct,
    frozen=True,
    rename={"test": "Event", "records": "Records", "name": "detail-type"},
):
    test: str | None = None
    records: list[_Record] | None = None
    name: str | None = None
    detail: _Where | None = None


class _Change(NamedTuple):
    name: str
    bucket: str
    key: str
    sequencer: str


_decoder = msgspec.json.Decoder(_Message)


class ObjectStore:
    """The format of a topic of notifications; the binding's pattern says which objects count.

    A name in braces is a field of the record that a key is, `*` is any text without a slash and
    `**` any text; a pattern that ends with a slash is about all below it. A field that is all of a
    directory's name behind `name=` is escaped as Hive does it.
    """

    def __init__(self, binding: Binding, schemas: Schemas | None = None) -> None:
        pattern = binding.source.pattern or ""
        self._binding = binding
        self._place = binding.placer({})
        self._with_bucket = pattern.startswith(_WITH_BUCKET)
        self._prefix = _prefix(pattern)
        self._pattern = _compiled(pattern)
        self._escaped = frozenset(_HIVE_GROUP.findall(pattern))

    def __call__(
        self, value: bytes | None, headers: Mapping[str, str], dataset: str | None
    ) -> list[SourceEvent]:
        """See `Format`; objects of one partition are one event."""
        if value is None:
            raise InvalidEvent("null value: send a notification of an object store")
        return list(dict.fromkeys(self._events(_newest(_changes(value)))))

    def _events(self, changes: Iterator[_Change]) -> Iterator[SourceEvent]:
        for change in changes:
            there = None if _IDLE.match(change.name) else self._placed(change)
            if there is not None:
                reason: Reason = "arrival" if _CREATED.match(change.name) else "change"
                yield self._binding.event(there, reason=reason)

    def _placed(self, change: _Change) -> Place | None:
        """The partition of an object; None for one of others, or that readers pass over."""
        whole = f"{_WITH_BUCKET}{change.bucket}/" if self._with_bucket else ""
        path = whole + change.key
        if not path.startswith(self._prefix):
            return None
        if _HIDDEN.search(path[len(self._prefix) :]):
            return None
        found = self._pattern.match(path)
        if found is None:
            return Place(None, _OFF_PATTERN)
        row: dict[str, str | None] = found.groupdict()
        row |= {field: unescape(found[field]) for field in self._escaped}
        return self._place(self._binding.cells(row))


def _prefix(pattern: str) -> str:
    """The directory that all objects of the pattern lie below."""
    found = _WILD.search(pattern)
    literal = pattern[: found.start()] if found else pattern
    return literal[: literal.rfind("/") + 1]


def _compiled(pattern: str) -> re.Pattern[str]:
    parts, at = [], 0
    for found in _WILD.finditer(pattern):
        parts.append(re.escape(pattern[at : found.start()]))
        group = found["group"]
        parts.append(f"(?P<{group}>[^/]+)" if group else ".*" if found["deep"] else "[^/]*")
        at = found.end()
    end = "" if pattern.endswith("/") else r"\Z"
    return re.compile("".join(parts) + re.escape(pattern[at:]) + end, re.DOTALL)


def _changes(value: bytes) -> Iterator[_Change]:
    try:
        message = _decoder.decode(value)
    except (ValueError, RecursionError) as error:
        raise InvalidEvent(f"not a notification of an object store: {error}") from error
    if message.records is not None:
        return (
            _change(each.name, each.s3, unquote_plus(each.s3.object.key))
            for each in message.records
        )
    if message.name is not None and message.detail is not None:
        return iter([_change(message.name, message.detail, message.detail.object.key)])
    if message.test is not None:
        return iter(())
    raise InvalidEvent(
        "not a notification of an object store: it has neither `Records` nor `detail`; send what "
        "S3 says to a queue or to EventBridge as it is, not wrapped in anything else"
    )


def _change(name: str, where: _Where, key: str) -> _Change:
    return _Change(name, where.bucket.name, key, where.object.sequencer)


def _newest(changes: Iterator[_Change]) -> Iterator[_Change]:
    """The changes but those of an object of which a later one has been seen.

    Sequencers compare as texts, the shorter one filled up with zeros; some stores have none.
    """
    seen: dict[tuple[str, str], str] = {}
    for change in changes:
        which = change.bucket, change.key
        last, now = seen.get(which, ""), change.sequencer
        width = max(len(last), len(now))
        if not now or now.ljust(width, "0") >= last.ljust(width, "0"):
            seen[which] = now
            yield change

from dataclasses import replace

import pytest

from consumers.kafka.position import Position
from consumers.kafka.start_offset import Log, StartOffset, start_offset
from engine.model.event import Advance

LOG = Log("kafka/changes/0", start=5, end=9, topic_id="now")
WITHOUT_TOPIC_ID = replace(LOG, topic_id=None)


@pytest.mark.parametrize("offset", [5, 7, 9])
@pytest.mark.parametrize(
    ("log", "stored"),
    [
        (LOG, "{}@now"),
        (WITHOUT_TOPIC_ID, "{}@now"),
        (WITHOUT_TOPIC_ID, "{}@before"),
        (WITHOUT_TOPIC_ID, "{}"),
    ],
)
def test_a_position_within_the_log_is_kept_unless_the_topic_id_differs(log, stored, offset):
    text = stored.format(offset)
    assert start_offset(log, text, "earliest") == StartOffset(Position.from_text(text))


def test_a_position_without_a_topic_id_gets_it():
    advance = Advance(stream=LOG.stream, before="7", after="7@now")
    assert start_offset(LOG, "7", "earliest") == StartOffset(Position(7, "now"), advance)


@pytest.mark.parametrize("log", [LOG, WITHOUT_TOPIC_ID])
@pytest.mark.parametrize(("start", "offset"), [("earliest", 5), ("latest", 9)])
def test_without_a_position_the_configured_start_is_stored(log, start, offset):
    position = Position(offset, log.topic_id)
    advance = Advance(stream=LOG.stream, before=None, after=position.to_text())

    assert start_offset(log, None, start) == StartOffset(position, advance)


@pytest.mark.parametrize(
    ("stored", "lost", "complaint"),
    [
        ("2", "2..4", "the broker deleted offsets 2 to 4"),
        ("4@now", "4..4", "the broker deleted offsets 4 to 4"),
        ("10", "10..", "offset 10 was next, but the log ends at 9"),
        ("10@now", "10..", "offset 10 was next, but the log ends at 9"),
        ("2@before", "2..", "id before, but the topic was recreated and now has id now"),
        ("7@before", "7..", "id before, but the topic was recreated and now has id now"),
        (
            "10@before",
            "10..",
            "id before, but the topic was recreated and now has id now",
        ),
    ],
)
@pytest.mark.parametrize("start", ["earliest", "latest"])
def test_a_position_outside_the_log_is_a_loss_and_reading_continues(start, stored, lost, complaint):
    start_at = start_offset(LOG, stored, start)

    assert start_at.position == Position(5, "now")
    assert start_at.advance == Advance(stream=LOG.stream, before=stored, after="5@now")
    assert start_at.loss is not None
    assert (start_at.loss.stream, start_at.loss.position) == (LOG.stream, lost)
    assert complaint in start_at.loss.error


@pytest.mark.parametrize("text", ["0", "1234", "1234@uF3c5Wz9QXuIw3rflRDAnw"])
def test_positions_read_back_from_text(text):
    assert Position.from_text(text).to_text() == text

import pytest

from consumers.kafka.placement import Log, Place, place
from engine.model.event import Advance

LOG = Log("kafka/changes/0", start=5, end=9)


@pytest.mark.parametrize("stored", ["5", "7", "9"])
def test_a_position_within_the_log_stays(stored):
    assert place(LOG, stored, "earliest") == Place(int(stored))


@pytest.mark.parametrize(("start", "offset"), [("earliest", 5), ("latest", 9)])
def test_without_a_position_the_setting_decides_and_is_stored(start, offset):
    advance = Advance(stream=LOG.stream, before=None, after=str(offset))

    assert place(LOG, None, start) == Place(offset, advance)


@pytest.mark.parametrize(
    ("stored", "lost", "complaint"),
    [
        ("2", "2..4", "the broker deleted offsets 2 to 4"),
        ("4", "4..4", "the broker deleted offsets 4 to 4"),
        ("10", "10..", "offset 10 was next, but the log ends at 9"),
    ],
)
@pytest.mark.parametrize("start", ["earliest", "latest"])
def test_a_position_outside_the_log_is_a_loss_and_the_rest_is_read(start, stored, lost, complaint):
    found = place(LOG, stored, start)

    assert found.offset == 5
    assert found.advance == Advance(stream=LOG.stream, before=stored, after="5")
    assert found.loss is not None
    assert (found.loss.stream, found.loss.position) == (LOG.stream, lost)
    assert complaint in found.loss.error

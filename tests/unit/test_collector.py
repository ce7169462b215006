import gc

from engine.collector import paused_collector


def test_the_collector_rests_meanwhile_and_is_left_as_it_was_found():
    with paused_collector():
        with paused_collector():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()

import gc

from engine.gc_pause import gc_paused


def test_the_collector_rests_meanwhile_and_is_left_as_it_was_found():
    with gc_paused():
        with gc_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()

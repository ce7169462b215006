import gc

from engine.garbage_collection import gc_paused


def test_the_collector_is_disabled_meanwhile_and_restored():
    with gc_paused():
        with gc_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()

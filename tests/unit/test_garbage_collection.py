import gc

from engine.garbage_collection import gc_paused, tune_gc


def test_the_collector_is_disabled_meanwhile_and_restored():
    with gc_paused():
        with gc_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_the_objects_of_the_start_are_never_searched():
    before = gc.get_threshold()
    try:
        gc.set_threshold(700)  # a test of a command may have called tune_gc in this process
        tune_gc()
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold()[0] > 700
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)

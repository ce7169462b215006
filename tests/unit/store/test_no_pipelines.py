"""No pipelines: a process frozen after one would hold its locks for good."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MODULES = [*ROOT.glob("engine/**/*.py"), *ROOT.glob("consumers/**/*.py")]


@pytest.mark.parametrize("call", [".pipeline(", ".executemany("])
def test_no_transaction_uses_a_pipeline(call: str) -> None:
    """See `engine.store.session` for the reason."""
    assert len(MODULES) > 300
    assert [path for path in MODULES if call in path.read_text()] == []

"""Data written as YAML is read back unchanged."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from engine.model.plainyaml import read_yaml
from engine.model.plainyaml_writer import write_yaml

_CONFUSING = ["", "~", "null", "true", "no", "08", "-1", "1e5", "1.", ".5", "1_0", "=", "<<", "- a"]
_texts = st.one_of(
    st.sampled_from(_CONFUSING),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200),
    st.lists(st.text("a #:'\"\t", max_size=20)).map("\n".join),
)
_numbers = st.one_of(
    st.integers(-(1 << 63), (1 << 63) - 1), st.floats(allow_nan=False, allow_infinity=False)
)
_values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), _numbers, _texts),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(_texts, inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.dictionaries(_texts, _values, max_size=4))
def test_the_reader_returns_what_was_written(content: dict[str, Any]) -> None:
    assert read_yaml(write_yaml(content), "f.yaml")[0] == content

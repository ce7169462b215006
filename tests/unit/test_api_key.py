"""Keys: their form, and the comparison with stored hashes."""

from engine.model.api_key import ApiKey


def test_a_key_is_parsed_and_compared_by_hash() -> None:
    key = ApiKey.generate()
    assert ApiKey.parse(key.text) == key
    assert key.text.startswith(f"kn_{key.prefix}_")
    assert key.has_hash(key.hash)
    assert not ApiKey.generate().has_hash(key.hash)


def test_the_secret_appears_in_no_representation() -> None:
    key = ApiKey.generate()
    assert key.text not in repr(key)


def test_other_texts_are_no_keys() -> None:
    text = ApiKey.generate().text
    for other in ("", "kn_", text[:-1], text + "a", text + "\n", text.upper(), f" {text}", "kn__"):
        assert ApiKey.parse(other) is None

"""Signatures of webhooks, with the example of Standard Webhooks."""

from base64 import b64encode

import pytest

from consumers.http.signatures import TOLERANCE_SECONDS, keys_of, verify
from engine.errors import Forbidden, InvalidInput
from tests.support.http_messages import SECRET, signature

BODY = b'{"test": 2432232314}'
SENT = 1614265330
HEADERS = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": str(SENT),
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}


def check(body: bytes = BODY, now: float = SENT, secret: str = SECRET, **changes: str) -> None:
    changed = {f"webhook-{name}": text for name, text in changes.items()}
    verify(keys_of(secret), {**HEADERS, **changed}, body, now)


def test_the_example_of_the_specification_is_accepted() -> None:
    check()
    check(secret=SECRET.removeprefix("whsec_"))


def test_one_of_several_signatures_suffices() -> None:
    right = HEADERS["webhook-signature"]
    check(signature=f"v1,{'A' * 43}= v1a,{right[3:]} {right}")


def test_one_of_two_secrets_suffices_during_a_rotation() -> None:
    other = "whsec_" + b64encode(b"another").decode()
    check(secret=f"{other} {SECRET}")
    check(secret=f"{SECRET} {other}")
    with pytest.raises(Forbidden, match="no signature"):
        check(secret=other)


@pytest.mark.parametrize(
    ("body", "changes"),
    [
        (BODY + b" ", {}),
        (BODY, {"id": "msg_other"}),
        (BODY, {"timestamp": str(SENT + 1)}),
        (BODY, {"signature": "v1,"}),
        (BODY, {"signature": "v1"}),
        (BODY, {"signature": "v1,é"}),
        (BODY, {"signature": "v1,\udcff"}),
        (BODY, {"signature": "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="}),
        (BODY, {"signature": "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="}),
    ],
)
def test_a_wrong_signature_is_refused(body: bytes, changes: dict[str, str]) -> None:
    with pytest.raises(Forbidden, match="no signature in webhook-signature is right"):
        check(body, **changes)


@pytest.mark.parametrize("missing", HEADERS)
def test_an_unsigned_request_is_refused(missing: str) -> None:
    headers = {name: text for name, text in HEADERS.items() if name != missing}
    with pytest.raises(Forbidden, match="is not signed"):
        verify(keys_of(SECRET), headers, BODY, SENT)


@pytest.mark.parametrize("now", [SENT - TOLERANCE_SECONDS, SENT + TOLERANCE_SECONDS])
def test_clocks_may_differ_by_the_tolerance(now: float) -> None:
    check(now=now)


@pytest.mark.parametrize(
    ("now", "message"),
    [
        (SENT - TOLERANCE_SECONDS - 1, "301 seconds in the future"),
        (SENT + TOLERANCE_SECONDS + 1, "301 seconds in the past"),
    ],
)
def test_an_old_or_early_request_is_refused(now: float, message: str) -> None:
    with pytest.raises(Forbidden, match=message):
        check(now=now)


@pytest.mark.parametrize("timestamp", ["", "x", "-1", "1.5", "१२", "9" * 5000, "²"])
def test_a_malformed_time_is_refused(timestamp: str) -> None:
    content = b"%b.%b.%b" % (HEADERS["webhook-id"].encode(), timestamp.encode(), BODY)
    with pytest.raises(Forbidden):
        check(timestamp=timestamp, signature=signature(content))


@pytest.mark.parametrize("secret", ["", " ", "whsec_", "whsec_!", "whsec_é", "whsec_abc"])
def test_a_malformed_secret_is_reported_without_its_text(secret: str) -> None:
    with pytest.raises(
        InvalidInput, match=r"the signing secret is (empty|not base64): set"
    ) as error:
        keys_of(secret)
    assert "abc" not in str(error.value)

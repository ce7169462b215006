"""Endpoints: the deployed configuration of the messages posted to one name."""

from collections.abc import Sequence
from dataclasses import dataclass

from consumers.formats.reading import Reader
from consumers.http.message import HttpMessage, HttpRequest
from consumers.http.signatures import keys_of, verify
from consumers.http.split import is_binary, split
from engine.errors import Forbidden, InvalidInput, ServiceUnavailable
from engine.secrets import resolve


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The reader of an endpoint, as of the deploy that ``epoch`` counts."""

    name: str
    epoch: int
    format: str
    reader: Reader
    signing_secret: str | None = None

    def messages(self, request: HttpRequest, now: float) -> list[HttpMessage]:
        """Verify and divide a request, received at ``now`` in seconds since 1970.

        Raises Forbidden for a missing or wrong signature, InvalidInput for a request that cannot be
        signed or has too many messages, and ServiceUnavailable without a valid secret.
        """
        if self.signing_secret is not None:
            if is_binary(self.format, request.headers):
                raise InvalidInput(
                    "the signature does not cover the attributes of a CloudEvent in headers: send "
                    "the event as application/cloudevents+json"
                )
            verify(self._keys(self.signing_secret), request.headers, request.body, now)
        return split(self.format, request)

    def unsigned(self, messages: Sequence[HttpMessage]) -> Sequence[HttpMessage]:
        """Return messages without a signature. Raises Forbidden if the endpoint requires one."""
        if self.signing_secret is not None:
            raise Forbidden(f"endpoint {self.name!r} requires signatures: sign the request")
        return messages

    def _keys(self, reference: str) -> list[bytes]:
        try:
            return keys_of(str(resolve(reference)))
        except InvalidInput as error:  # the sender is to try again once it is configured
            raise ServiceUnavailable(f"endpoint {self.name!r} cannot verify: {error}") from error

"""The page of the HTTP API, from `engine.http`."""

from engine.http.endpoints import PREFIX, endpoints
from engine.http.resource import Endpoint
from tests.documentation.markdown import GENERATED, code, table

_INTRODUCTION = """
# HTTP API

`knockon serve` and `knockon up` serve this API: see [Serve the HTTP API](../how-to/serve-http.md).
The service describes requests and responses, with examples, in an OpenAPI document at
`{prefix}/openapi.json`, which needs no key. All paths below begin with `{prefix}`.

A request carries a [key](../how-to/manage-users-and-keys.md#keys), `Authorization: Bearer kn_…`, a
[token](../how-to/log-in-with-oidc.md) of the identity provider or the cookie of a
[session](#sessions-in-a-browser). The table lists the role of the user, and the scopes of the key,
one of which is needed. The role "task" is that of a [claimed task](#workers): the request carries
its token, and no key. An id is given in full or by its last characters; an id of another org is
unknown. Routes without a role need no key.

"""

_CONVENTIONS = """
## Lists

`?limit=` is the size of a page, from 1 to 1000, and by default 50. `next` of the response is the
cursor of the next page, or null on the last one:

    GET {prefix}/tasks?limit=100
    GET {prefix}/tasks?limit=100&cursor=MDE5NDFm…

Rows added or removed meanwhile do not move the pages. There are no totals. `/stale` and `/audit`
list up to `limit` items and have no further pages.

## Conditional requests

Responses to GET have an `ETag`. A request with the tag in `If-None-Match` gets the status 304
without a body if the resource is unchanged.

## Repeated requests

A POST to `/invalidations` with an `Idempotency-Key` has an effect once: the response to the first
request has status 201, and that to a repeated one 200, with the same ids. Another body under the
same key gets 409. Other actions state the result to reach (a task is canceled, a plan is applied)
and can be repeated.

## Events

`/events/stream` sends events as server-sent events, from now on, or after the position in
`Last-Event-ID` (or `?after=`) without a gap. A comment every 15 seconds shows that the connection
is alive. The stream ends when the service stops or the key is revoked: connect again. A position
whose following events were removed after their retention period gets 410 `position_expired`, with
the position to continue after; read the current state first. Positions count the events of the org
only. `?kind=` selects kinds.

## Messages of other systems

`/sources/{endpoint}` and `/lineage` read the body and the headers as received, see [Ingest
messages over HTTP](../how-to/ingest-over-http.md). These two paths also accept the key as the
password of basic credentials, with any user name.

## Workers

`/tasks/claim` responds with up to `limit` tasks, each with its inputs, outputs and `token`. If
none is queued, the request waits up to `wait` seconds, at most 30, and responds as soon as a task
is claimed. The token is sent with the reports on the task, `Authorization: Bearer kt_…`, and
permits nothing else. It ends with the lease: 409 `lease_lost` means that the run is to stop, and
that its result is not recorded. A `complete` repeated after a lost response gets 409 as well,
because the task has ended.

## Sessions in a browser

`GET /login?org=…&redirect_to=/path` sends the browser to the identity provider. After the login,
the browser has the cookie of a session, and is at the path, which must be one of the service. The
session permits what the role of the user permits. It ends after
`KNOCKON_SESSION_IDLE_SECONDS` without a request, after `KNOCKON_SESSION_SECONDS` in any case, with
`POST /logout`, or with the user. `DELETE /sessions` logs the user out everywhere.

A request with the cookie that changes anything needs the header `Origin` or `Sec-Fetch-Site` of a
page at `KNOCKON_PUBLIC_URL`, which browsers add; otherwise it gets 403. With `Authorization`, the
cookie is ignored.

## Errors

An error is a problem (RFC 9457), `application/problem+json`, with `type`, `title`, `status`,
`detail`, and for invalid fields `errors`, each with a `location`. `type` is
`urn:knockon:problem:<code>`, with a code of [Errors](errors.md) or one of these:

| code | status | meaning |
|---|---|---|
| `malformed_request` | 400 | The request cannot be read. |
| `repeated_header` | 400 | A header that may occur once is repeated, or the body has two lengths. |
| `login_failed` | 400 | The browser has not begun the login, or the provider has refused it. |
| `malformed_json` | 400 | The body is not JSON in UTF-8. |
| `too_deep` | 400 | The body is nested more than 32 levels deep. |
| `unknown_path` | 404 | There is no such path. |
| `login_not_configured` | 404 | The service has no identity provider or public address. |
| `method_not_allowed` | 405 | The path has other methods: see `Allow`. |
| `too_slow` | 408 | The request did not arrive within 10 seconds (head) or 30 seconds (body). |
| `too_large` | 413 | The body has more bytes than `KNOCKON_HTTP_BODY_BYTES`. |
| `unsupported_encoding` | 415 | The body is compressed. |
| `too_many_requests` | 429 | Over one of the limits below. |
| `internal_error` | 500 | An unexpected error, described in the log of the service. |

A key permits `KNOCKON_HTTP_RATE` requests per second, 20 streams and 200 waiting claims; an org 20
deploys, plans and audits at once; an address ten requests per second without a valid key.

Codes of [Errors](errors.md) have the status 404 (`unknown_name`), 401 (`unauthenticated`), 403
(`forbidden`), 409 (`idempotency_conflict`, `lease_lost`, `position_lost`, `schema_in_use`), 410
(`position_expired`), 503 (`service_unavailable`, `outdated_code`; repeat after `Retry-After`), and
otherwise 422.
"""


def page() -> str:
    """The page of the HTTP API."""
    heads = ["method", "path", "operation", "role", "scopes", "meaning"]
    rows = [_row(each) for each in endpoints()]
    texts = (each.replace("{prefix}", PREFIX) for each in (_INTRODUCTION, _CONVENTIONS))
    return GENERATED + table(heads, rows).join(texts)


def _row(endpoint: Endpoint) -> list[str]:
    granting = () if endpoint.is_public else sorted(endpoint.scopes)
    scopes = ", ".join(code(scope) for scope in granting)
    role = "" if endpoint.is_public else "task" if endpoint.requires_task else code(endpoint.role)
    return [
        endpoint.method,
        code(endpoint.path),
        code(endpoint.name),
        role,
        scopes,
        endpoint.summary,
    ]

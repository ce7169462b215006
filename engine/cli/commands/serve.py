"""`knockon serve`."""

import typer
import uvloop

from engine.cli.global_options import GlobalOptions, command
from engine.cli.runtime.http import Listen, http_service
from engine.cli.runtime.monitor import Monitor
from engine.cli.runtime.services import serve as run_services
from engine.cli.runtime.session import Session, run
from engine.model.presence import ALL_ORGS

app = typer.Typer(add_completion=False)


@app.command()
@command
def serve(options: GlobalOptions, listen: Listen = None, monitor: Monitor = None) -> None:
    """Serve the HTTP API for all orgs.

    Callers are identified by keys: see 'knockon keys'. The service uses HTTP without TLS: put a
    reverse proxy before it unless it listens on loopback. SIGINT or SIGTERM finishes the requests
    in progress.
    """

    async def work(session: Session) -> None:
        async with http_service(session) as http:
            await run_services(session, http.run)

    # The keys of callers name their orgs.
    run(
        options,
        work,
        role="service",
        serves_all_orgs=True,
        loop_factory=uvloop.new_event_loop,
        org=ALL_ORGS,
        monitor_address=monitor,
        http_address=listen,
    )

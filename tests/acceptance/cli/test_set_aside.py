"""An invalidation that cannot be planned, from the command line."""

import psycopg

from tests.acceptance.cli.conftest import Knockon


def test_it_is_shown_and_replayed(shop: Knockon, database_url: str) -> None:
    shop("invalidate", "orders", "-p", "2026-02-03")
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("UPDATE data_invalidations SET partition_key = 'no day'")
        with shop.running("engine", until="engine is up") as engine:
            engine.wait_for("invalidation set aside")
            shop("invalidate", "orders", "-p", "2026-02-04")
            engine.wait_for("planned")
        (row,) = shop("status", "--json").json["set_aside"]
        assert "'no day' is not a day" in row["error"]
        text = shop("status").out
        assert text.startswith("at work")
        assert "knockon invalidations replay" in text
        assert "cannot be planned" in shop("invalidations", "--set-aside").out
        conn.execute("UPDATE data_invalidations SET partition_key = '2026-02-03'")
        id_ = row["id"][-8:]
        assert "1 invalidation to be planned again" in shop("invalidations", "replay", id_).out
        assert shop("status", "--json").json["open_invalidations"] == 1
        assert "0 invalidations" in shop("invalidations", "replay", "--all").out

"""What was said: a plan's columns count only as far as what they hang on really came out new."""

from engine.api.explain_partition import explain_partition
from engine.flow.approve import approve
from engine.flow.fail import fail
from engine.model.task import Output
from engine.store.database import Database
from engine.store.orgs import set_setting
from tests.support.worlds import World, job, source

DAY = "2013-02-13"


def _apart(name: str, over: str, *more: str, partitions_per_task: int = 1) -> dict[str, object]:
    """A job that says of one input which columns it makes of which, and of others nothing."""
    columns = {column: [f"{over}.{column}"] for column in ("x", "y")}
    scaling = {"partitions_per_task": partitions_per_task}
    return job(name, over, *more, columns=columns, scaling=scaling)


def _reader(name: str, *reads: str) -> dict[str, object]:
    """A job that reads only these columns, ``dataset.column``, each for one of its own."""
    inputs = dict.fromkeys(read.split(".")[0] for read in reads)
    return job(name, *inputs, columns={read.replace(".", "_"): [read] for read in reads})


async def _run(world: World, **fingerprints: str) -> list[str]:
    """Run all there is; the jobs that ran."""
    return sorted(name.partition("[")[0] for name in await world.run(**fingerprints))


async def _over_two(database: Database) -> World:
    """`b` reads `a` by column and `c` whole, and tells one fingerprint; run once."""
    readers = _reader("xs", "b.x"), _reader("ys", "b.y")
    world = await World.made(database, source("a"), job("c", "a"), _apart("b", "a", "c"), *readers)
    await world.changed("a", DAY)
    assert await _run(world, b="1", c="1") == ["b", "c", "xs", "ys"]
    return world


async def test_an_input_that_came_out_as_it_was_says_nothing(database: Database) -> None:
    world = await _over_two(database)
    await world.changed("a", DAY, columns=("x",))
    assert await _run(world, b="2", c="1") == ["b", "c", "xs"]
    assert (await world.tasks("ys"))["skipped"] == [f"ys[{DAY}]"]
    async with world.conn() as conn:
        assert not (await explain_partition(conn, world.scene, "ys", DAY)).stale


async def test_an_input_that_came_out_new_says_all_that_it_shapes(database: Database) -> None:
    world = await _over_two(database)
    await world.changed("a", DAY, columns=("x",))
    assert await _run(world, b="2", c="2") == ["b", "c", "xs", "ys"]


async def test_what_a_run_took_in_unsaid_counts_once_it_is_said(database: Database) -> None:
    world = await _over_two(database)
    await world.changed("a", DAY, columns=("x",))
    await _run(world, b="2", c="1")
    await world.changed("a", DAY, columns=("y",))
    assert await _run(world, b="2", c="1") == ["b", "c", "ys"]


async def test_what_was_said_goes_on_through_jobs_that_tell_no_columns(database: Database) -> None:
    jobs = job("c", "a"), _apart("m", "a"), _apart("b", "m", "c"), _reader("ys", "b.y")
    world = await World.made(database, source("a"), *jobs)
    await world.changed("a", DAY)
    await _run(world, c="1")
    await world.changed("a", DAY, columns=("x",))
    assert await _run(world, c="1") == ["b", "c", "m"]


async def test_what_is_made_anew_may_be_new_in_every_column(database: Database) -> None:
    world = await _over_two(database)
    await world.change("b", DAY)
    await world.changed("a", DAY, columns=("x",))
    assert await _run(world, b="2", c="1") == ["b", "c", "xs", "ys"]


async def test_a_row_that_came_is_new_in_what_no_column_shapes(database: Database) -> None:
    """`d` counts the rows of `b`, whose columns have all moved when one comes."""
    counts = job("d", "b", columns={"x": ["b.x"], "n": []})
    world = await World.made(database, source("a"), _apart("b", "a"), counts, _reader("ns", "d.n"))
    for version in "12":
        await world.changed("a", DAY)
        (b,) = await world.claim()
        await world.complete(b, Output("b", DAY, column_fingerprints=dict.fromkeys("xy", version)))
        assert await _run(world, d=version) == ["d", "ns"]


async def test_each_partition_of_a_block_goes_by_what_it_reads_itself(database: Database) -> None:
    other = "2013-02-14"
    jobs = job("c", "a"), _apart("b", "a", "c", partitions_per_task=30), _reader("ys", "b.y")
    world = await World.made(database, source("a"), *jobs)
    await world.changed("a", DAY, other)
    await _run(world, c="1")
    await world.change("a", DAY, columns=("x",))
    await world.changed("a", other, columns=("y",))
    await _run(world, c="1")
    assert (await world.tasks("ys"))["skipped"] == [f"ys[{DAY}]"]


async def test_what_was_skipped_has_said_nothing_for_itself(database: Database) -> None:
    """`d` has taken in what nobody had said; when it is said, `d` is skipped, and `e` reads it."""
    world = await _deep(database)
    await world.change("f", DAY, columns=("s",))
    await world.changed("a", DAY, columns=("y",))
    assert await _run(world, b="2", d="2") == ["b", "e", "g"]


async def test_what_came_out_as_it_was_may_have_been_taken_in_before(database: Database) -> None:
    """What `b` took in unsaid is said when `b` runs in vain, and so `d` says it of itself."""
    d, h = _reader("d", "b.y", "f.s"), _reader("h", "d.b_y")
    world = await _changed_in_x(database, d, h)
    assert await _run(world, b="2") == ["b"]
    await world.change("f", DAY, columns=("s",))
    await world.changed("a", DAY, columns=("y",))
    assert await _run(world, b="2") == ["b", "d", "h"]


async def test_what_was_read_unsaid_is_said_of_what_was_made_of_it(database: Database) -> None:
    """`t` has read it before it was said, for a reason of its own, and is run for that again."""
    t, d = _reader("t", "b.y", "f.s"), _reader("d", "t.b_y")
    world = await _changed_in_x(database, t, d)
    assert await _run(world, b="2") == ["b"]
    await world.changed("f", DAY, columns=("s",))
    assert await _run(world, t="2") == ["t"]
    await world.change("f", DAY, columns=("s",))
    await world.changed("a", DAY, columns=("y",))
    assert await _run(world, b="2", t="2") == ["b", "d", "t"]


async def test_so_it_is_where_what_it_was_read_of_is_skipped(database: Database) -> None:
    world = await _deep(database)
    await world.changed("f", DAY, columns=("s",))
    assert await _run(world, e="2") == ["e"]
    await world.change("f", DAY, columns=("s",))
    await world.changed("a", DAY, columns=("y",))
    assert await _run(world, b="2", e="2") == ["b", "e", "g"]


async def test_what_is_planned_while_a_run_goes_on_is_said_by_the_next(database: Database) -> None:
    world = await _tainted(database)
    (b,) = await world.claim()
    await world.finish(b, "2")
    (d,) = await world.claim()
    await world.changed("a", DAY, columns=("y",))
    await world.changed("f", DAY, columns=("s",))
    await world.finish(d, "2")
    assert await _run(world, b="2", d="3") == ["b", "d", "dy"]


async def test_a_plan_that_was_held_has_said_nothing_yet(database: Database) -> None:
    world = await _tainted(database)
    await _run(world, b="1", d="1")
    await _limit(world, 2)
    await world.change("a", DAY, columns=("y",))
    held = await world.plan()
    assert held
    assert held.held_by
    await world.changed("a", DAY, columns=("x",))
    assert await _run(world, b="2", d="2") == ["b", "d"]
    await _limit(world, None)
    async with world.conn() as conn:
        await approve(conn, world.scene, held.plan_id)
    await world.changed("f", DAY, columns=("s",))
    assert await _run(world, b="2", d="3") == ["b", "d", "dy"]


async def test_what_other_hands_have_rewritten_is_new_in_every_column(database: Database) -> None:
    world = await _over_two(database)
    await world.changed("b", DAY, reason="rewritten")
    assert await _run(world) == ["xs", "ys"]
    await world.changed("a", DAY, columns=("x",))
    assert await _run(world, b="2", c="1") == ["b", "c", "xs", "ys"]


async def test_a_successor_knows_what_was_skipped_in_front(database: Database) -> None:
    world = await _deep(database)
    await world.change("f", DAY, columns=("s",))
    await world.changed("a", DAY, columns=("y",))
    (b,) = await world.claim()
    await world.finish(b, "2")
    (first,) = await world.claim()
    await world.changed("f", DAY, columns=("s",))
    async with world.conn() as conn:
        await fail(conn, world.scene, first, "it broke")
    waits = "SELECT datasets FROM task_dependencies WHERE task_id = %s AND datasets <> '{}'"
    assert await world.rows(waits, (await world.task(f"e[{DAY}]", "queued"))["id"])
    assert await _run(world, b="2", d="2") == ["e", "g"]


async def _changed_in_x(database: Database, *jobs: dict[str, object]) -> World:
    """`b` of `a` by column, and these jobs; all has run, and then `a.x` has changed."""
    world = await World.made(database, source("a"), source("f"), _apart("b", "a"), *jobs)
    await world.change("f", DAY)
    await world.changed("a", DAY)
    await _run(world, b="1", d="1")
    await world.changed("a", DAY, columns=("x",))
    return world


async def _deep(database: Database) -> World:
    """`d` of `b`, `e` of `d` and `f`, `g` of what `e` makes of `d`; `a.x` was new in `b`, `d`."""
    e, g = _reader("e", "d.y", "f.s"), _reader("g", "e.d_y")
    world = await _changed_in_x(database, _apart("d", "b"), e, g)
    assert await _run(world, b="2", d="2") == ["b", "d"]
    return world


async def _tainted(database: Database) -> World:
    """`d` makes a column each of two of `b`'s and one of `f`'s; `a.x` has changed, not yet run."""
    d = job("d", "b", "f", columns={"x": ["b.x"], "y": ["b.y"], "z": ["f.s"]})
    return await _changed_in_x(database, d, _reader("dy", "d.y"))


async def _limit(world: World, limit: int | None) -> None:
    async with world.conn() as conn:
        await set_setting(conn, world.scene.org_id, "blast_radius", limit)

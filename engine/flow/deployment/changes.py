"""Changes made by a deploy: its DAG files, compiled among each other, and the DAGs that follow."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from engine.flow.deployment.current_versions import (
    CurrentVersion,
    compile_among,
    followers,
    load_current_versions,
    load_user_defined,
)
from engine.flow.deployment.sql_code import with_sql_code
from engine.flow.execution.write_permission import find_conflicts
from engine.flow.shared.org_context import OrgContext
from engine.lineage.compiled import CompiledDag
from engine.lineage.diff import DagDiff, diff
from engine.lineage.growth import repartitioned
from engine.model.dag import DagFile
from engine.store.database import Connection


@dataclass(frozen=True, slots=True)
class Change:
    """A DAG file to be deployed, and the version that it replaces.

    A DAG that follows (``is_given`` False) is deployed again without a change of its file, because
    its SQL now reads other columns of the given DAGs, or their datasets have other bounds.
    """

    dag: DagFile
    compiled: CompiledDag
    previous: CurrentVersion | None
    diff: DagDiff
    is_given: bool

    @property
    def before(self) -> CompiledDag | None:
        """Return the content of the version that is replaced."""
        return self.previous.compiled if self.previous else None

    @property
    def is_empty(self) -> bool:
        """Return True if the current version stays: the content is the same, nothing is rebuilt."""
        return _is_same(self.before, self.compiled) and not self.diff.regenerated


async def find_changes(conn: Connection, org: OrgContext, dags: Sequence[DagFile]) -> list[Change]:
    """Compile DAG files and the DAGs that follow, and compare all with their current versions.

    Must run in a transaction. Raises InvalidDag.
    """
    current = await load_current_versions(conn, org.id)
    defined = await load_user_defined(conn)
    given = [await with_sql_code(conn, current, dags, dag) for dag in dags]
    compiled = compile_among(current, given, defined)
    for dag in given:
        await _check_tables(conn, org, dag, compiled[dag.dag])
    all_dags = given
    while following := [*followers(current, compiled, defined)]:
        all_dags = [*all_dags, *following]
        coded = [await with_sql_code(conn, current, all_dags, dag) for dag in following]
        all_dags = [*all_dags[: -len(coded)], *coded]
        compiled = compile_among(current, all_dags, defined)
    diffs = _diffs(current, compiled)
    names = {dag.dag for dag in given}
    return [
        Change(
            dag, compiled[dag.dag], current.get(dag.dag), diffs[dag.dag], is_given=dag.dag in names
        )
        for dag in all_dags
    ]


async def _check_tables(
    conn: Connection, org: OrgContext, dag: DagFile, compiled: CompiledDag
) -> None:
    if problems := await find_conflicts(conn, org.id, dag, compiled):
        raise dag.source_map.error(problems)


def _diffs(
    current: Mapping[str, CurrentVersion], compiled: Mapping[str, CompiledDag]
) -> dict[str, DagDiff]:
    """Compare DAGs with their current versions; those that change together count as one DAG.

    DAGs may read each other in both directions, hence the loop.
    """
    before = {name: current[name].compiled if name in current else None for name in compiled}
    diffs = {name: diff(before[name], each) for name, each in compiled.items()}
    if len(compiled) == 1:
        return diffs
    grids = {name: repartitioned(before[name], each) for name, each in compiled.items()}
    while True:
        again = {
            name: diff(before[name], each, _elsewhere(name, before[name], each, diffs, grids))
            for name, each in compiled.items()
        }
        if again == diffs:
            return diffs
        diffs = again


def _elsewhere(
    name: str,
    before: CompiledDag | None,
    now: CompiledDag,
    diffs: Mapping[str, DagDiff],
    repartitioned: Mapping[str, Collection[str]],
) -> DagDiff:
    """Return the differences of the other DAGs that require new dataset versions in a DAG.

    A DAG with the same content keeps its outputs, which are planned like those of DAGs that are not
    deployed, unless an input is repartitioned.
    """
    is_same = _is_same(before, now)
    others = [other for other in diffs if other != name]
    return DagDiff(
        regenerated={
            dataset: columns
            for other in others
            for dataset, columns in diffs[other].regenerated.items()
            if not is_same or dataset in repartitioned[other]
        },
        shrunk=frozenset(
            dataset for other in others if not is_same for dataset in diffs[other].shrunk
        ),
    )


def _is_same(before: CompiledDag | None, now: CompiledDag) -> bool:
    return before is not None and before.content_hash == now.content_hash

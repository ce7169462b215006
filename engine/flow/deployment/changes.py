"""Changes made by a deploy: its DAG files, compiled among each other, and the DAGs that follow."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from engine.errors import InvalidDag
from engine.flow.deployment.current_versions import (
    CurrentVersion,
    compile_among,
    compile_each,
    followers,
    load_current_versions,
    load_user_defined,
)
from engine.flow.deployment.sql_code import with_sql_code
from engine.flow.execution.write_permission import find_conflicts
from engine.flow.shared.org_context import OrgContext
from engine.lineage.compiled import CompiledDag
from engine.lineage.diff import DagDiff, diff
from engine.lineage.sql import UserDefined
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
        """Return True if the content is the same, so that the current version stays."""
        return _is_same(self.before, self.compiled)


async def find_changes(conn: Connection, org: OrgContext, dags: Sequence[DagFile]) -> list[Change]:
    """Compile DAG files and the DAGs that follow, and compare all with their current versions.

    Must run in a transaction. Raises InvalidDag.
    """
    current = await load_current_versions(conn, org.id)
    defined = await load_user_defined(conn)
    given = [await with_sql_code(conn, current, dags, dag) for dag in dags]
    compiled = compile_among(current, given, defined)
    following = await _following(conn, current, given, compiled, defined)
    all_dags = [*given, *following]
    if following:
        compiled = compile_among(current, all_dags, defined)
    await _check_tables(conn, org, given, compiled)
    diffs = _diffs(current, compiled)
    names = {dag.dag for dag in given}
    return [
        Change(
            dag, compiled[dag.dag], current.get(dag.dag), diffs[dag.dag], is_given=dag.dag in names
        )
        for dag in all_dags
    ]


async def _following(
    conn: Connection,
    current: Mapping[str, CurrentVersion],
    given: Sequence[DagFile],
    compiled: dict[str, CompiledDag],
    defined: UserDefined,
) -> list[DagFile]:
    """Return the DAGs that follow; one that does not compile beside the others is left out."""
    following: dict[str, DagFile] = {}
    left_out: set[str] = set()
    while found := [
        dag for dag in followers(current, compiled, defined) if dag.dag not in left_out
    ]:
        for dag in found:
            together = [*given, *following.values(), dag]
            following[dag.dag] = await with_sql_code(conn, current, together, dag)
        compiled, errors = compile_each(current, [*given, *following.values()], defined)
        left_out |= errors.keys()
        following = {name: dag for name, dag in following.items() if name not in errors}
    return [*following.values()]


async def _check_tables(
    conn: Connection,
    org: OrgContext,
    dags: Sequence[DagFile],
    compiled: Mapping[str, CompiledDag],
) -> None:
    errors = [
        dag.source_map.error(problems)
        for dag in dags
        if (problems := await find_conflicts(conn, org.id, dag, compiled))
    ]
    if errors:
        raise InvalidDag("\n".join(map(str, errors)))


def _diffs(
    current: Mapping[str, CurrentVersion], compiled: Mapping[str, CompiledDag]
) -> dict[str, DagDiff]:
    """Compare DAGs with their current versions; those that change together count as one DAG.

    A DAG with the same content keeps its outputs, which are planned like those of DAGs that are not
    deployed. DAGs may read each other in both directions, hence the loop.
    """
    before = {name: current[name].compiled if name in current else None for name in compiled}
    changed = {name: each for name, each in compiled.items() if not _is_same(before[name], each)}
    diffs = {name: diff(before[name], each) for name, each in compiled.items()}
    while len(changed) > 1:
        again = diffs | {
            name: diff(before[name], each, _of_others(diffs, changed.keys() - {name}))
            for name, each in changed.items()
        }
        if again == diffs:
            break
        diffs = again
    return diffs


def _of_others(diffs: Mapping[str, DagDiff], others: Collection[str]) -> DagDiff:
    """Return the differences of other DAGs that require new dataset versions in a DAG."""
    return DagDiff(
        regenerated={
            dataset: columns
            for other in others
            for dataset, columns in diffs[other].regenerated.items()
        },
        shrunk=frozenset(dataset for other in others for dataset in diffs[other].shrunk),
    )


def _is_same(before: CompiledDag | None, now: CompiledDag) -> bool:
    return before is not None and before.content_hash == now.content_hash

"""Compilation of several DAG files that may read each other."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import msgspec
import networkx as nx

from engine.errors import InvalidDag
from engine.lineage.catalog import CatalogEntry, DagContext, outputs
from engine.lineage.compile import compile_dag
from engine.lineage.compiled import CompiledDag
from engine.lineage.self_read import datasets_of_others
from engine.lineage.sql import NOTHING_DEFINED, UserDefined
from engine.model.dag import DagFile, JobSpec
from engine.model.states import Activation

_Readers = Mapping[str, Collection[str]]
"""The DAGs that read each DAG."""


def compile_together(
    dags: Sequence[DagFile],
    others: Iterable[CompiledDag],
    user_defined: UserDefined = NOTHING_DEFINED,
) -> tuple[dict[str, CompiledDag], dict[str, InvalidDag]]:
    """Compile DAG files among each other and other DAGs; return results and errors, by name.

    Files follow those that they read, as far as possible. A file is compiled again if one that it
    reads turns out to have other columns, which are derived from SQL.
    """
    datasets = {compiled.name: tuple(entries_of(compiled)) for compiled in others}
    datasets |= {dag.dag: tuple(_declared(dag)) for dag in dags}
    by_name, readers = {dag.dag: dag for dag in dags}, _readers(dags)
    compiled: dict[str, CompiledDag] = {}
    errors: dict[str, InvalidDag] = {}
    waiting = dict.fromkeys(_readers_last(readers))
    while waiting:
        name = next(iter(waiting))
        del waiting[name]
        try:
            result = compile_beside(by_name[name], datasets, user_defined)
        except InvalidDag as error:
            errors[name] = error
            continue
        compiled[name], entries = result, tuple(entries_of(result))
        errors.pop(name, None)
        if entries != datasets[name]:
            datasets[name] = entries
            waiting |= dict.fromkeys(readers[name])
    return {name: compiled[name] for name in by_name if name in compiled}, errors


def compile_beside(
    dag: DagFile, datasets: Mapping[str, Iterable[CatalogEntry]], user_defined: UserDefined
) -> CompiledDag:
    """Compile a file beside the datasets of other DAGs, by DAG. Raises InvalidDag."""
    others = (entries for name, entries in datasets.items() if name != dag.dag)
    catalog = {entry.name: entry for entries in others for entry in entries}
    return compile_dag(dag, catalog, user_defined)


def entries_of(dag: CompiledDag) -> Iterator[CatalogEntry]:
    """Yield the datasets that a DAG offers to others."""
    jobs = {job.name: job for job in dag.jobs}
    inputs = {
        job.name: tuple((input_.dataset, input_.mapping) for input_ in job.inputs)
        for job in dag.jobs
    }
    for dataset in dag.datasets:
        job = jobs[dataset.job]
        source = job.source or {}
        yield CatalogEntry(
            name=dataset.name,
            dag_name=dag.name,
            job_name=dataset.job,
            partitioning=dataset.partitioning,
            columns=dataset.columns,
            inputs=inputs[dataset.job],
            storage=dataset.storage,
            is_source=job.activation == Activation.SOURCE,
            captured_table=str(source["table"]) if source.get("kind") == "postgres" else None,
        )


def _declared(dag: DagFile) -> Iterator[CatalogEntry]:
    """Yield the datasets of a file that is not compiled yet; columns of SQL are unknown."""
    readable = DagContext.of(dag, {}).readable
    for _, job, output in outputs(dag):
        if output.dataset in readable:
            spec = readable[output.dataset].space.to_spec()
            yield CatalogEntry(
                name=output.dataset,
                dag_name=dag.dag,
                job_name=job.name,
                partitioning=msgspec.json.encode(spec).decode(),
                columns=output.column_names,
                inputs=tuple((name, None) for name in datasets_of_others(job)),
                storage=output.storage,
                is_source=job.activation == Activation.SOURCE,
                captured_table=_captured_table(job),
            )


def _captured_table(job: JobSpec) -> str | None:
    return job.source.table if job.source is not None and job.source.kind == "postgres" else None


def _readers(dags: Sequence[DagFile]) -> _Readers:
    producers = {output.dataset: dag.dag for dag in dags for _, _, output in outputs(dag)}
    readers: dict[str, set[str]] = {dag.dag: set() for dag in dags}
    for dag in dags:
        read = {name for job in dag.jobs for name in datasets_of_others(job)}
        for name in read & producers.keys():
            readers[producers[name]].add(dag.dag)
    return {name: sorted(names - {name}) for name, names in readers.items()}


def _readers_last(readers: _Readers) -> Iterator[str]:
    """Yield the DAGs before their readers; those that read each other in any order."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(readers)
    graph.add_edges_from((name, reader) for name, names in readers.items() for reader in names)
    components = nx.condensation(graph)
    for component in nx.topological_sort(components):
        yield from sorted(components.nodes[component]["members"])

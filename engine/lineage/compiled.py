"""A DAG file with all references resolved, from which the rows of a DAG version are written."""

from typing import Any

import msgspec

from engine.model.job import Appearance, Appears, Awaited, WaitFor
from engine.model.states import Activation, ExecutionStrategy, UpdateStrategy


class CompiledInput(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of ``jobs.inputs``; ``mapping`` is written in full and never null.

    ``preserved_columns`` maps columns of the input to the columns that carry them unchanged in
    every output of the job. ``ignores_failure``: a failed task of the input blocks no task.
    """

    dataset: str
    alias: str
    mapping: Any
    wait_for: WaitFor = Awaited.ANY
    cursor: dict[str, str] | None = None
    preserved_columns: dict[str, tuple[str, ...]] | None = msgspec.field(
        default=None, name="passes"
    )
    ignores_failure: bool = False


class CompiledJob(msgspec.Struct, frozen=True, kw_only=True):
    """A row of ``jobs``, without its identifiers. Durations are in seconds.

    ``accepts_reported_lineage`` lists the outputs that accept column lineage reported by runs.
    ``code`` are the hashes of code outside the DAG file; None: the code is not checked.
    """

    name: str
    description: str
    activation: Activation
    runtime: str
    operator: str
    source: dict[str, Any] | None
    execution_strategy: ExecutionStrategy
    update_strategy: UpdateStrategy
    unique_key: tuple[str, ...]
    inputs: tuple[CompiledInput, ...]
    outputs: tuple[str, ...]
    config: dict[str, Any]
    config_hash: str
    scaling: dict[str, int]
    timeout_seconds: int | None
    heartbeat_timeout_seconds: int | None
    max_attempts: int
    idle_timeout: str | None
    accepts_reported_lineage: tuple[str, ...] = ()
    version: str | None = None
    code: dict[str, str] | None = None
    appears: Appears = Appearance.START

    @property
    def input_datasets(self) -> tuple[str, ...]:
        """The names of the input datasets in order, without duplicates."""
        return tuple(dict.fromkeys(job_input.dataset for job_input in self.inputs))

    @property
    def waits_for_inputs(self) -> bool:
        """True if any input can delay a first run."""
        return any(job_input.wait_for != Awaited.ANY for job_input in self.inputs)


class CompiledDataset(msgspec.Struct, frozen=True, kw_only=True):
    """A row of ``datasets`` and of ``dataset_versions``, without their identifiers.

    ``partitioning`` is JSON text, equal for equal spaces. ``columns`` is None if given neither by
    the file nor by the SQL; ``schema_hash`` is None if the file declares no columns.
    """

    name: str
    job: str
    index: int
    storage: dict[str, Any]
    read_roles: tuple[str, ...]
    partitioning: str
    columns: tuple[str, ...] | None
    schema_hash: str | None
    config_hash: str
    debounce: dict[str, int] | None = None
    """Seconds: ``quiet`` after the last invalidation, ``at_most`` after the first."""


class CompiledNote(msgspec.Struct, frozen=True, kw_only=True):
    """A notice, not an error: lineage of a dataset that could not be derived, with the reason.

    ``position`` is that in the file, as ``file:line``; None if unknown.
    """

    job: str
    dataset: str
    text: str
    position: str | None = None

    def __str__(self) -> str:
        where = f"{self.position}: " if self.position else ""
        return f"{where}{self.dataset}: {self.text}"


class CompiledColumn(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """A row of ``column_lineage``; ``*`` stands for every column, of the output or the input.

    An empty input column means that the lineage is known and no column is read.
    """

    job: str
    output_dataset: str
    output_column: str
    input_dataset: str
    input_column: str


class CompiledDag(msgspec.Struct, frozen=True, kw_only=True):
    """The complete content of a DAG version; jobs and datasets are in file order.

    ``file`` is the content of the source file as JSON text, empty if there is no file.
    """

    name: str
    description: str
    file: str
    content_hash: str
    jobs: tuple[CompiledJob, ...]
    datasets: tuple[CompiledDataset, ...]
    columns: tuple[CompiledColumn, ...]
    notes: tuple[CompiledNote, ...] = ()

    @property
    def sources(self) -> list[CompiledDataset]:
        """The datasets of source jobs."""
        jobs = {job.name for job in self.jobs if job.activation == Activation.SOURCE}
        return [dataset for dataset in self.datasets if dataset.job in jobs]

    def to_json(self) -> bytes:
        """Encode as JSON for ``dag_versions.content``."""
        return msgspec.json.encode(self)

    @staticmethod
    def from_json(content: bytes | str) -> "CompiledDag":
        """Decode the output of `to_json`; raises msgspec.ValidationError for any other content."""
        return msgspec.json.decode(content, type=CompiledDag)

    @staticmethod
    def from_data(content: Any) -> "CompiledDag":
        """Convert JSON already parsed by a database driver."""
        return msgspec.convert(content, CompiledDag)

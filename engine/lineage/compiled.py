"""A DAG file with everything resolved: what the rows of a DAG version are written from."""

from typing import Any

import msgspec

from engine.model.job import Activation, ExecutionStrategy, UpdateStrategy, WaitFor


class CompiledInput(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of ``jobs.inputs``; ``mapping`` is said in full and never null.

    ``passes`` goes from the input's columns to those that carry them in every output of the job.
    """

    dataset: str
    alias: str
    mapping: Any
    wait_for: WaitFor = "any"
    cursor: dict[str, str] | None = None
    passes: dict[str, tuple[str, ...]] | None = None


class CompiledJob(msgspec.Struct, frozen=True, kw_only=True):
    """A row of ``jobs``, without its identifiers. Durations are in seconds.

    ``accepts_reported_lineage`` lists the outputs that accept column lineage reported by runs.
    ``code`` are the hashes of code outside the DAG file; None: it is not checked.
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

    @property
    def input_datasets(self) -> tuple[str, ...]:
        """The names of what it reads, each once, in order."""
        return tuple(dict.fromkeys(each.dataset for each in self.inputs))

    @property
    def holds(self) -> bool:
        """Whether any input may hold a first run back."""
        return any(each.wait_for != "any" for each in self.inputs)


class CompiledDataset(msgspec.Struct, frozen=True, kw_only=True):
    """A row of ``datasets`` and of ``dataset_versions``, without their identifiers.

    ``partitioning`` is JSON text, equal for equal spaces. ``columns`` is None where neither the
    file nor the SQL names them, ``schema_hash`` where the file does not.
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


class CompiledNote(msgspec.Struct, frozen=True, kw_only=True):
    """What could not be told of a dataset, and why; nothing is wrong with it."""

    job: str
    dataset: str
    text: str


class CompiledColumn(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """A row of ``column_lineage``; ``*`` stands for every column, of the output or the input.

    An empty input column says that the lineage is known, and that no column is read.
    """

    job: str
    output_dataset: str
    output_column: str
    input_dataset: str
    input_column: str


class CompiledDag(msgspec.Struct, frozen=True, kw_only=True):
    """All that a DAG version holds; jobs and datasets are in the order of the file.

    ``file`` is the content of the file that it was compiled from, as JSON text; empty: of none.
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
        """The datasets that nobody here makes."""
        jobs = {job.name for job in self.jobs if job.activation == "source"}
        return [dataset for dataset in self.datasets if dataset.job in jobs]

    def to_json(self) -> bytes:
        """The JSON that ``dag_versions.content`` keeps."""
        return msgspec.json.encode(self)

    @staticmethod
    def from_json(content: bytes | str) -> "CompiledDag":
        """Read back what `to_json` wrote; raises msgspec.ValidationError for anything else."""
        return msgspec.json.decode(content, type=CompiledDag)

    @staticmethod
    def from_data(content: Any) -> "CompiledDag":
        """The same from JSON that a database driver has parsed already."""
        return msgspec.convert(content, CompiledDag)

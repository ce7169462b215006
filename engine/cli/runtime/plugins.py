"""Operators and runtimes named by a DAG file that are not installed in this environment."""

from collections.abc import Iterator
from dataclasses import dataclass

from engine.lineage.compiled import CompiledDag, CompiledJob, CompiledNote
from engine.model.source_positions import did_you_mean
from engine.model.states import Activation
from engine.worker.operators import installed_operators
from engine.worker.runtimes import installed_runtimes

_EXTERNAL = "external"


@dataclass(frozen=True)
class MissingPlugin:
    """An operator or a runtime that workers must have installed; `name` may be misspelt."""

    job: CompiledJob
    kind: str
    name: str
    suggestion: str

    @property
    def problem(self) -> str | None:
        """Error message for a name similar to an installed one."""
        if not self.suggestion:
            return None
        return f"job {self.job.name!r}: there is no {self.kind} {self.name!r}{self.suggestion}"

    @property
    def note(self) -> CompiledNote:
        """Note for a plug-in that may be installed elsewhere."""
        text = f"{self.kind} {self.name!r} is not installed here: its workers need the plug-in"
        return CompiledNote(job=self.job.name, dataset=self.job.outputs[0], text=text)


def missing_plugins(dag: CompiledDag) -> Iterator[MissingPlugin]:
    """Yield the missing plug-ins of all jobs that workers of Knockon run."""
    runtimes, operators = installed_runtimes().keys(), installed_operators()
    for job in dag.jobs:
        if job.activation == Activation.SOURCE or job.runtime == _EXTERNAL:
            continue
        for kind, name, known in (
            ("runtime", job.runtime, {*runtimes, _EXTERNAL}),
            ("operator", job.operator, operators),
        ):
            if name not in known:
                yield MissingPlugin(job, kind, name, did_you_mean(name, known))

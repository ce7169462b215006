"""`knockon lineage`."""

from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text
from rich.tree import Tree

from engine.cli.commands._empty import nothing_deployed
from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.render.elements import mapping_text
from engine.cli.runtime.session import run
from engine.service.queries.lineage import Direction, LineageNode, lineage_tree
from engine.wording import some

app = typer.Typer(add_completion=False)


@app.command()
@command
def lineage(
    options: GlobalOptions,
    dataset: Annotated[
        str | None,
        typer.Argument(help="Dataset to start from; default: all sources.", metavar="DATASET"),
    ] = None,
    columns: Annotated[bool, typer.Option("--columns", "-c", help="Show column lineage.")] = False,
    up: Annotated[
        bool, typer.Option("--up/--down", help="Direction: upstream or downstream.")
    ] = False,
) -> None:
    """Show the lineage of datasets."""
    direction: Direction = "up" if up else "down"
    roots = run(
        options,
        lambda session: lineage_tree(session.caller(), session.service, dataset, direction),
    )
    show(options, roots, lambda view: _report(view, columns) if view else nothing_deployed(options))


def _report(roots: tuple[LineageNode, ...], columns: bool) -> RenderableType:
    trees = [Tree(_text(root)) for root in roots]
    for tree, root in zip(trees, roots, strict=True):
        _add_neighbors(tree, root, columns)
    return Group(*trees)


def _add_neighbors(tree: Tree, node: LineageNode, columns: bool) -> None:
    for neighbor in node.next:
        branch = tree.add(_text(neighbor))
        if columns:
            _add_columns(branch, neighbor)
        _add_neighbors(branch, neighbor, columns)


def _text(node: LineageNode) -> Text:
    text = Text.assemble((node.dataset, "bold cyan" if node.is_source else "bold"))
    if node.partitioning:
        text.append(f"  {node.partitioning}", "dim")
    mapping = mapping_text(node.mapping)
    text.append(mapping and f"  {mapping}", "magenta")
    return text.append("  …", "dim") if node.again else text


def _add_columns(branch: Tree, node: LineageNode) -> None:
    if node.columns is None:
        branch.add(Text("columns unknown: any change counts", "yellow"))
        return
    if not node.columns:
        branch.add(Text("no column: only added or removed rows count", "dim"))
    for source, outputs in sorted(node.columns.items()):
        names = "all columns" if outputs == ("*",) else some(outputs, 8)
        branch.add(Text.assemble((source, "cyan"), f" → {names}"))

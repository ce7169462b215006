"""Links and anchors of the Markdown pages, by the rules of the site's generator."""

import re
from collections import Counter
from collections.abc import Iterator
from os.path import normpath
from pathlib import Path

_FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`[^`\n]*(?:\n[^`\n]+)*`")
_LINK = re.compile(r"\[[^\]\[]*(?:\[[^\]]*\][^\]\[]*)*\]\(([^)\s]+)\)")
_REFERENCE = re.compile(r"\]\[[^\]]*\]|^\[[^\]]+\]:", re.MULTILINE)
_HEADING = re.compile(r"^#+ +(.+?) *#*$", re.MULTILINE)


def problems(root: Path, pages: list[Path]) -> list[str]:
    """Problems of the links of ``pages``, each with its page and link."""
    return [
        f"{page.relative_to(root)}: {problem}" for page in pages for problem in _of_page(root, page)
    ]


def targets(page: Path) -> set[Path]:
    """Local files to which a page links."""
    found = (link.partition("#")[0] for link in _links(page))
    return {_resolved(page, path) for path in found if path}


def anchors(page: Path) -> set[str]:
    """Anchors of the headings of a page; a repeated heading gets a number."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in _HEADING.findall(_FENCE.sub("", page.read_text("utf-8"))):
        anchor = _slug(heading)
        found.add(f"{anchor}_{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return found


def _of_page(root: Path, page: Path) -> Iterator[str]:
    if _REFERENCE.search(_prose(page)):
        yield "has a reference-style link: write it inline"
    for link in _links(page):
        path, _, anchor = link.partition("#")
        target = _resolved(page, path) if path else page
        if not target.is_file():
            yield f"{link}: no such file"
        elif _is_within(page, root / "docs") and not _is_within(target, root / "docs"):
            yield f"{link}: is not part of the site"
        elif anchor and anchor not in anchors(target):
            yield f"{link}: no such heading in {target.name}"


def _links(page: Path) -> list[str]:
    return [link for link in _LINK.findall(_prose(page)) if "://" not in link]


def _prose(page: Path) -> str:
    return _CODE.sub("", _FENCE.sub("", page.read_text("utf-8")))


def _resolved(page: Path, path: str) -> Path:
    return Path(normpath(page.parent / path))


def _is_within(path: Path, directory: Path) -> bool:
    return directory in path.parents


def _slug(heading: str) -> str:
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", text).strip().lower())

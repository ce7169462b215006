"""Write the reference pages generated from the code: `make reference`."""

from tests.documentation.pages import PAGES, ROOT

for path, render in PAGES.items():
    (ROOT / path).write_text(render(), "utf-8")

"""Data Docs: Great Expectations' page for every table, and one page over all rules.

The pages are Great Expectations' own rendering in a frame of ours: theirs loads style sheets and
scripts from the network, shows an empty page without them, and prints the time of the run.
"""

from collections.abc import Mapping
from itertools import count
from typing import Any

from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
from great_expectations.render.view.view import DefaultJinjaPageView
from jinja2 import BaseLoader, ChoiceLoader, PackageLoader

from longtail.validation.expectations import Judgement

INDEX = "index.html"


def data_docs(judgement: Judgement, statistics: Mapping[str, Any]) -> dict[str, str]:
    """Return the pages by file name: static HTML without scripts, links to the network or times."""
    pages = {
        f"{table}.html": _table_page(table, result) for table, result in judgement.results.items()
    }
    index = _view().env.get_template("index.html")
    pages[INDEX] = index.render(outcomes=judgement.outcomes, statistics=statistics)
    return pages


def _table_page(table: str, result: Any) -> str:
    result.meta = {"great_expectations_version": result.meta["great_expectations_version"]}
    document = ValidationResultsPageRenderer(run_info_at_end=True).render(result)
    document.sections = document.sections[:-1]  # the run: no name, no time
    view: Any = _view()
    page: str = view.render(document, template="table.html", index=INDEX, table=table)
    return page


def _view() -> DefaultJinjaPageView:
    view = DefaultJinjaPageView()
    loaders: list[BaseLoader] = [PackageLoader("longtail.validation", "templates")]
    loaders += [view.env.loader] if view.env.loader else []
    view.env.loader = ChoiceLoader(loaders)
    numbers = count(1)
    view.env.filters["generate_html_element_uuid"] = lambda prefix="": f"{prefix}{next(numbers)}"
    return view

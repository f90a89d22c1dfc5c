"""Data Docs: Great Expectations' page for every table, and one page over all rules.

The pages are Great Expectations' own rendering in a frame of ours: theirs loads style sheets and
scripts from the network, shows an empty page without them, and prints the time of the run.
"""

from collections.abc import Mapping
from html import escape
from itertools import count
from typing import Any

from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
from great_expectations.render.view.view import DefaultJinjaPageView
from jinja2 import ChoiceLoader, PackageLoader

from longtail.validation.expectations import Judgement, Outcome

INDEX = "index.html"


def data_docs(judgement: Judgement, statistics: Mapping[str, Any]) -> dict[str, str]:
    """Return the pages by file name: static HTML without scripts, links to the network or times."""
    view = _view()
    pages = {
        f"{table}.html": _table_page(view, table, result)
        for table, result in judgement.results.items()
    }
    index = view.env.get_template("index.html")
    pages[INDEX] = index.render(
        outcomes=sorted(judgement.outcomes, key=_urgency), statistics=statistics
    )
    return pages


def _urgency(outcome: Outcome) -> int:
    """Errors first, then warnings, then what could not be judged, then what is right."""
    if outcome.passed is False:
        return 0 if outcome.level == "error" else 1
    return 2 if outcome.passed is None else 3


def _table_page(view: Any, table: str, result: Any) -> str:
    result.meta = {"great_expectations_version": result.meta["great_expectations_version"]}
    for entry in result.results:
        entry.result = _escaped(entry.result)
    document = ValidationResultsPageRenderer(run_info_at_end=True).render(result)
    # Without the run, which has no name or time here, and a heading that links to a page of theirs.
    document.sections = document.sections[:-1]
    document.sections[0].content_blocks = document.sections[0].content_blocks[1:]
    page: str = view.render(document, template="table.html", index=INDEX, table=table)
    return page


def _escaped(value: Any) -> Any:
    """Every text in `value` as HTML text: GX prints unexpected values, so names, as markup."""
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, dict):
        return {key: _escaped(inner) for key, inner in value.items()}
    return [_escaped(inner) for inner in value] if isinstance(value, list | tuple) else value


def _view() -> Any:
    view: Any = DefaultJinjaPageView()
    ours = PackageLoader("longtail.validation", "templates")
    view.env.loader = ChoiceLoader([ours, view.env.loader])
    numbers = count(1)
    view.env.filters["generate_html_element_uuid"] = lambda prefix="": f"{prefix}{next(numbers)}"
    return view

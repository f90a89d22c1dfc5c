"""The templates of all pages; a name that a template is not given is an error."""

import re

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from longtail.report.table import interval_in_percent, percent, percent_with_interval


def environment(*, escape: bool) -> Environment:
    """Return what renders the templates; HTML is escaped, Markdown is not."""
    made = Environment(
        loader=PackageLoader("longtail.report", "templates"),
        autoescape=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "percent": percent,
        "interval": interval_in_percent,
        "with_interval": percent_with_interval,
        "markup": Markup,
        "md": _markdown,
    }
    return made


def _markdown(text: str) -> str:
    """Escape what Markdown and the HTML in it would take for markup, and keep it on one line."""
    return re.sub(r"([\\`*_{}\[\]<>|&~$])", r"\\\1", " ".join(str(text).split()))

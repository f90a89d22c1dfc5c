"""What every section has in common, and errors that name the key, the value and the bound."""

import difflib
import re
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from longtail.errors import LongtailError

Share = Annotated[float, Field(ge=0.0, lt=1.0)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1)]
S = TypeVar("S", bound="Section")


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values do not change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def parse(model: type[S], values: dict[str, Any], *, where: str) -> S:
    """Build a section from plain values; all problems in one error, each with its path."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [_explain(model, problem) for problem in error.errors()]
        raise LongtailError(f"{where}:\n  " + "\n  ".join(lines)) from None


def _explain(model: type[Section], problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = _fields_beside(model, problem["loc"])
        return f"unknown key `{place}`{nearest(str(problem['loc'][-1]), known)}"
    if problem["type"] == "union_tag_invalid":
        place = f"{place}.{problem['ctx']['discriminator'].strip(chr(39))}"
        return _no_such_choice(place, problem["ctx"]["tag"], problem["ctx"]["expected_tags"])
    if problem["type"] == "literal_error":
        return _no_such_choice(place, problem["input"], problem["ctx"]["expected"])
    return f"`{place}` is {problem['input']!r}: {problem['msg']}"


def _no_such_choice(place: str, value: Any, choices: str) -> str:
    known = re.findall(r"'([^']*)'", choices)
    return f"`{place}` cannot be {value!r}{nearest(str(value), known)}"


def _fields_beside(model: type[Section], location: tuple[int | str, ...]) -> list[str]:
    """Names of the fields that stand where `location` points; union tags are steps in it too."""
    candidates: list[type[Section]] = [model]
    for part in location[:-1]:
        deeper = [
            inner
            for candidate in candidates
            if part in candidate.model_fields
            for inner in _sections_in(candidate.model_fields[str(part)].annotation)
        ]
        tagged = [c for c in candidates if _tag(c) == part]
        candidates = deeper or tagged or candidates
    return sorted({name for candidate in candidates for name in candidate.model_fields})


def _sections_in(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [s for argument in get_args(annotation) for s in _sections_in(argument)]


def _tag(section: type[Section]) -> str | None:
    tag = section.model_fields.get("kind") or section.model_fields.get("name")
    return next(iter(get_args(tag.annotation)), None) if tag else None


def nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean `{close[0]}`?" if close else f"; known: {', '.join(known)}"

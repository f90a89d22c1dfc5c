"""What every section has in common, and errors that name the key, the value and the bound."""

import difflib
import re
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from longtail.errors import LongtailError

Share = Annotated[float, Field(ge=0.0, lt=1.0)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0.0)]
NotNegative = Annotated[float, Field(ge=0.0)]
S = TypeVar("S", bound="Section")


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values are finite and do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def require_plain(what: str, name: str) -> None:
    """Refuse a name of the user's own that MLflow would refuse once all is computed.

    Raises:
        ValueError: it has other than letters, digits, spaces and `_-.`.
    """
    if re.search(r"[^\w\-. ]", name):
        raise ValueError(f"{what} cannot be called {name}: use letters, digits, spaces and _ - .")


def refuse_unused(section: Section, *keys: str, where: str) -> None:
    """Refuse keys that have no meaning `where`, unless they have their defaults.

    Raises:
        ValueError: one has another value.
    """
    for key in keys:
        value, default = getattr(section, key), type(section).model_fields[key].default
        if value != default:
            raise ValueError(
                f"{key}: {value} has no meaning {where}; leave it out, or set its default, "
                f"{'null' if default is None else default}"
            )


def parse(model: type[S], values: dict[str, Any], *, where: str) -> S:
    """Build a section from plain values; all problems in one error, each with its path."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        by_place: dict[str, list[Any]] = {}
        for problem in error.errors():
            by_place.setdefault(_place(values, problem), []).append(problem)
        lines = [
            _explain(model, place, problem)
            for place, problems in by_place.items()
            for problem in _meant(problems)
        ]
        raise LongtailError(f"{where}:\n  " + "\n  ".join(lines)) from None


def _place(values: Any, problem: Any) -> str:
    """Path of a problem as the file has it: the tags and alternatives of a union are no keys."""
    parts = []
    for part in problem["loc"]:
        keys = values if isinstance(values, dict) else range(_length(values))
        if part in keys:
            values = values[part]
            parts.append(str(part))
    if problem["type"] == "missing":
        parts.append(str(problem["loc"][-1]))
    return ".".join(parts)


def _length(values: Any) -> int:
    return len(values) if isinstance(values, list | tuple) else 0


def _meant(problems: list[Any]) -> list[Any]:
    """Of what alternatives say of one value, what was meant: a word is compared with words."""
    words = [problem for problem in problems if problem["type"] == "literal_error"]
    others = [problem for problem in problems if problem["type"] != "literal_error"]
    is_word = isinstance(problems[0]["input"], str)
    return (words or others) if is_word else (others or words)


def _explain(model: type[Section], place: str, problem: Any) -> str:
    kind, value, context = problem["type"], problem["input"], problem.get("ctx", {})
    if kind == "extra_forbidden":
        known = _fields_beside(model, problem["loc"])
        return f"unknown key `{place}`{nearest(str(problem['loc'][-1]), known)}"
    if kind == "union_tag_invalid":
        place = f"{place}.{context['discriminator'].strip(chr(39))}"
        return _no_such_choice(place, context["tag"], context["expected_tags"])
    if kind == "union_tag_not_found":
        tag = context["discriminator"].strip(chr(39))
        known = [str(_tag(section)) for section in _sections_at(model, problem["loc"])]
        return f"`{place}.{tag}` is missing; known: {', '.join(known)}"
    if kind == "literal_error":
        return _no_such_choice(place, value, context["expected"])
    if kind == "missing":
        return f"`{place}` is missing"
    said = problem["msg"].removeprefix("Value error, ")
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        said = "must be a mapping, as `{key: value}`"
    if isinstance(value, dict):  # it says which of its keys are wrong
        return f"`{place}`: {said}" if place else said
    return f"`{place}` is {value!r}: {said}" if place else f"{value!r}: {said}"


def _no_such_choice(place: str, value: Any, choices: str) -> str:
    known = re.findall(r"'([^']*)'", choices)
    return f"`{place}` cannot be {value!r}{nearest(str(value), known)}"


def _fields_beside(model: type[Section], location: tuple[int | str, ...]) -> list[str]:
    """Names of the fields that stand where `location` points."""
    return sorted({n for s in _sections_at(model, location[:-1]) for n in s.model_fields})


def _sections_at(model: type[Section], location: tuple[int | str, ...]) -> list[type[Section]]:
    """Sections that may stand where `location` points; union tags are steps in it too."""
    candidates: list[type[Section]] = [model]
    for part in location:
        deeper = [
            inner
            for candidate in candidates
            if part in candidate.model_fields
            for inner in _sections_in(candidate.model_fields[str(part)].annotation)
        ]
        tagged = [c for c in candidates if _tag(c) == part]
        candidates = deeper or tagged or candidates
    return candidates


def _sections_in(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [s for argument in get_args(annotation) for s in _sections_in(argument)]


def _tag(section: type[Section]) -> str | None:
    tag = section.model_fields.get("kind") or section.model_fields.get("name")
    return next(iter(get_args(tag.annotation)), None) if tag else None


def nearest(name: str, known: list[str]) -> str:
    """Return the end of an error's sentence: the closest of the known names, else all of them."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean `{close[0]}`?" if close else f"; known: {', '.join(known)}"

"""The published description of KFP's API (Swagger 2.0), by which requests and answers are checked.

The description is not part of this repository. It is read from the file that KFP_API_DESCRIPTION
names, or from beside the clone; without it nothing is checked, and a test says so.
"""

import copy
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jsonschema import Draft4Validator

BESIDE = Path(__file__).parents[3] / "shared" / "schemas" / "kfp_v2beta1.swagger.json"


def find_description() -> "Description | None":
    path = Path(os.environ.get("KFP_API_DESCRIPTION", BESIDE))
    return Description(json.loads(path.read_text())) if path.is_file() else None


class Description:
    """Says what is wrong with a request or an answer; nothing that is not described is right."""

    def __init__(self, content: dict[str, Any]) -> None:
        self._definitions = _strict(copy.deepcopy(content["definitions"]))
        self._routes = [(_pattern(path), entry) for path, entry in content["paths"].items()]

    def wrong_with_request(
        self, method: str, path: str, query: Mapping[str, str], body: Any, form: set[str]
    ) -> list[str]:
        """Return complaints; `body` is parsed JSON or None, `form` names multipart fields."""
        operation = self._operation(method, path)
        if operation is None:
            return [f"{method} {path} is not described"]
        known = {(p["in"], p["name"]): p for p in operation.get("parameters", ())}
        given = {("query", name) for name in query} | {("formData", name) for name in form}
        if body is not None:
            given |= {key for key in known if key[0] == "body"} or {("body", "body")}
        required = {key for key, p in known.items() if p.get("required") and key[0] != "path"}
        complaints = [
            f"{method} {path}: unknown {where} {name}" for where, name in given - set(known)
        ]
        complaints += [f"{method} {path}: needs {where} {name}" for where, name in required - given]
        for (where, name), parameter in known.items():
            if where == "body" and body is not None:
                complaints += self._violations(body, parameter["schema"])
            if where == "query" and name in query and parameter["type"] == "integer":
                complaints += [] if query[name].isdigit() else [f"{name}={query[name]}: no number"]
        return complaints

    def wrong_with_answer(self, method: str, path: str, body: Any) -> list[str]:
        """Return complaints about a body of status 200."""
        operation = self._operation(method, path)
        if operation is None:
            return [f"{method} {path} is not described"]
        return list(self._violations(body, operation["responses"]["200"]["schema"]))

    def _operation(self, method: str, path: str) -> dict[str, Any] | None:
        # `upload` would also be a pipeline's id: the path with the fewest variables is meant.
        found = [
            (pattern.groups, entry[method.lower()])
            for pattern, entry in self._routes
            if method.lower() in entry and pattern.fullmatch(path)
        ]
        return min(found, key=lambda pair: pair[0])[1] if found else None

    def _violations(self, value: Any, schema: dict[str, Any]) -> Iterator[str]:
        whole = {**_strict(copy.deepcopy(schema)), "definitions": self._definitions}
        for error in Draft4Validator(whole).iter_errors(value):
            yield f"{'.'.join(map(str, error.absolute_path))}: {error.message}"


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{[^}]*\\\}", "([^/:]+)", re.escape(path)))


def _strict(schema: Any) -> Any:
    """Refuse fields that are not described, and allow both forms that protobuf has for int64."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        schema.setdefault("additionalProperties", False)
    if schema.get("format") == "int64":
        schema["type"] = ["string", "integer"]
    return {key: _strict(value) for key, value in schema.items()}

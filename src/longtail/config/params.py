"""The parameter file: which model each of its sections is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from longtail.config.ingest import IngestConfig
from longtail.config.promotion import EvaluateConfig, GateConfig, RegisterConfig, ReportConfig
from longtail.config.represent import RepresentConfig
from longtail.config.resources import ResourcesConfig
from longtail.config.search import SearchConfig
from longtail.config.section import S, Section, nearest, parse
from longtail.config.split import SplitConfig, ValidateConfig
from longtail.config.stage2 import ClassifyConfig, EmbedConfig, TauNormConfig
from longtail.errors import LongtailError
from longtail.files import whole_file

FLOW: dict[str, type[Section]] = {
    "ingest": IngestConfig,
    "split": SplitConfig,
    "validate": ValidateConfig,
    "represent": RepresentConfig,
    "embed": EmbedConfig,
    "classify": ClassifyConfig,
    "tau_norm": TauNormConfig,
    "evaluate": EvaluateConfig,
    "gate": GateConfig,
    "report": ReportConfig,
    "register": RegisterConfig,
}
# Stage 1 and what follows from it; the steps before make and check its data.
LEARNING = ("represent", "embed", "classify", "tau_norm", "evaluate")
SECTIONS: dict[str, type[Section]] = {
    **FLOW,
    "search": SearchConfig,
    "resources": ResourcesConfig,
}


class _Loader(yaml.SafeLoader):
    """Refuses a key that is given twice in a mapping, of which YAML would take the later one."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        # Here and not in construct_mapping, where merged keys (<<) may have joined a mapping's own.
        node = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            name = (key.tag, str(key.value))
            if name in seen and key.tag != "tag:yaml.org,2002:merge":
                problem = f"`{key.value}` is given twice; keep one of them"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(name)
        return node


def parse_content(content: dict[str, Any], *, where: str) -> dict[str, Section]:
    """Return all sections of a flow from plain values; a missing one means all defaults."""
    sections = {name: _section(content, name, model, where=where) for name, model in FLOW.items()}
    _refuse_combinations(where, content)
    return sections


def load_flow(params: Path) -> dict[str, Section]:
    """Read all sections of the flow from a parameter file; a missing one means all defaults."""
    return parse_content(read_params(params), where=str(params))


def load_section(params: Path, name: str, model: type[S]) -> S:
    """Read one section of a parameter file; a missing section means all defaults."""
    content = read_params(params)
    section = _section(content, name, model, where=str(params))
    if name in ("represent", "classify", "tau_norm"):
        _refuse_combinations(str(params), content)
    return section


def read_params(
    params: Path, *, fix: str = "give the parameter file with --params"
) -> dict[str, Any]:
    """Read a parameter file as plain values; unknown sections and repeated keys are refused."""
    content = read_mapping(params, fix=fix)
    for unknown in sorted(str(name) for name in content if name not in SECTIONS):
        raise LongtailError(
            f"{params}: unknown section `{unknown}`{nearest(unknown, list(SECTIONS))}"
        )
    for name, section in content.items():
        if section is not None and not isinstance(section, dict):
            raise LongtailError(
                f"{params}: section `{name}` must be a mapping, as `{{seed: 1}}`, "
                f"but is {repr(section)[:60]}"
            )
    return content


def read_mapping(file: Path, *, fix: str) -> dict[str, Any]:
    """Read YAML of sections; an empty file has none.

    Raises:
        LongtailError: it does not exist (`fix` says what to do), is no YAML, no mapping, or names a
            key twice.
    """
    if not file.is_file():
        raise LongtailError(f"{file} does not exist; {fix}")
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), _Loader) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise LongtailError(f"{file} is not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise LongtailError(
            f"{file} must be a mapping of sections, as `split: {{seed: 1}}`, "
            f"but is {repr(content)[:60]}"
        )
    return content


def set_parameters(params: Path, values: Mapping[str, Any]) -> None:
    """Write dotted parameters into a parameter file; all else stays as it is, comments too."""
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1_000_000  # long lines stay whole
    yaml.representer.add_representer(
        type(None), lambda writer, _: writer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    content = yaml.load(params.read_text(encoding="utf-8")) or CommentedMap()
    for dotted, value in values.items():
        section, key = dotted.split(".")
        if content.get(section) is None:
            content[section] = CommentedMap()
        content[section][key] = value
    with whole_file(params) as partial, partial.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)


def _section(content: Mapping[str, Any], name: str, model: type[S], *, where: str) -> S:
    return parse(model, content.get(name) or {}, where=f"{where}, section `{name}`")


def _refuse_combinations(params: str, content: dict[str, Any]) -> None:
    """Refuse methods of one section that those of another do not allow."""
    represent = _section(content, "represent", RepresentConfig, where=params)
    classify = _section(content, "classify", ClassifyConfig, where=params)
    tau_norm = _section(content, "tau_norm", TauNormConfig, where=params)
    cosine = represent.head_kind == "cosine"
    if classify.method == "logit_adjustment" and not represent.keeps_prior:
        raise LongtailError(
            f"{params}: classify.method: logit_adjustment takes out the prior, which only plain "
            "cross-entropy on images as they come leaves in, but represent has "
            f"{' and '.join(represent.departures)}; leave that out, or use another method"
        )
    if classify.method == "ncm" and "stage2" in (tau_norm.apply_to or ()):
        raise LongtailError(
            f"{params}: tau_norm.apply_to names stage2, but classify.method: ncm has class means, "
            "no rows to normalise; leave stage2 out, or use another method"
        )
    if cosine and classify.method in ("lws", "max_norm", "logit_adjustment"):
        raise LongtailError(
            f"{params}: classify.method: {classify.method} needs a linear stage-1 head, but "
            "represent has a cosine head; use crt, bwlm, ncm or sweep, or head: linear"
        )
    if cosine and ("stage1" in (tau_norm.apply_to or ()) or tau_norm.stage1_tau is not None):
        raise LongtailError(
            f"{params}: tau_norm.apply_to or stage1_tau names stage1, but the rows of its cosine "
            "head have no length of their own; leave stage1 out, or use a linear head"
        )

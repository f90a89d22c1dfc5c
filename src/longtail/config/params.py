"""The parameter file: which model each of its sections is."""

from pathlib import Path

import yaml

from longtail.config.ingest import IngestConfig
from longtail.config.promotion import EvaluateConfig, GateConfig, RegisterConfig
from longtail.config.section import S, Section, nearest, parse
from longtail.config.split import SplitConfig, ValidateConfig
from longtail.config.training import ClassifyConfig, EmbedConfig, RepresentConfig, TauNormConfig
from longtail.errors import LongtailError

SECTIONS: dict[str, type[Section]] = {
    "ingest": IngestConfig,
    "split": SplitConfig,
    "validate": ValidateConfig,
    "represent": RepresentConfig,
    "embed": EmbedConfig,
    "classify": ClassifyConfig,
    "tau_norm": TauNormConfig,
    "evaluate": EvaluateConfig,
    "gate": GateConfig,
    "register": RegisterConfig,
}


def load_section(params: Path, name: str, model: type[S]) -> S:
    """Read one section of a parameter file; a missing section means all defaults."""
    if not params.is_file():
        raise LongtailError(f"{params} does not exist; give the parameter file with --params")
    try:
        content = yaml.safe_load(params.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise LongtailError(f"{params} is not valid YAML: {error}") from None
    for unknown in sorted(set(content) - set(SECTIONS)):
        raise LongtailError(
            f"{params}: unknown section `{unknown}`{nearest(unknown, list(SECTIONS))}"
        )
    return parse(model, content.get(name) or {}, where=f"{params}, section `{name}`")

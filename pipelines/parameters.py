"""A parameter file as the arguments of a pipeline."""

from pathlib import Path
from typing import Any

from longtail.config.params import load_flow, load_section
from longtail.config.resources import ResourcesConfig
from longtail.config.section import Section
from longtail.errors import LongtailError


def read_parameters(params: Path) -> dict[str, dict[str, Any]]:
    """Return all sections of the flow as plain values, defaults filled in.

    Raises:
        LongtailError: the file is missing or wrong.
    """
    return {name: plain(section) for name, section in load_flow(params).items()}


def read_resources(params: Path) -> ResourcesConfig:
    """Return the section `resources` of a parameter file.

    Raises:
        LongtailError: the file is missing or wrong.
    """
    return load_section(params, "resources", ResourcesConfig)


def plain(section: Section) -> dict[str, Any]:
    """Return a section as KFP can pass it on: KFP knows no null, so these are left out.

    Raises:
        LongtailError: a null stands for something else than the default.
    """
    values = section.model_dump(mode="json", exclude_none=True)
    if type(section).model_validate(values) != section:
        raise LongtailError(
            f"{section!r} cannot be passed to Kubeflow: null is not the default of one of its keys"
        )
    return values

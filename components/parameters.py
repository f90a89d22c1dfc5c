"""parameters: all sections together are checked before anything is computed."""

from kfp import dsl
from kfp.dsl import Artifact, Output

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def parameters(
    ingest: dict,
    split: dict,
    validate: dict,
    represent: dict,
    embed: dict,
    classify: dict,
    tau_norm: dict,
    evaluate: dict,
    gate: dict,
    report: dict,
    register: dict,
    code_rev: str,
    git_commit: str,
    provenance: Output[Artifact],
) -> None:
    """Refuse parameters that are wrong or do not fit together; write where the model comes from."""
    from pathlib import Path

    from components.running import recorded
    from longtail.config.params import parse_content
    from longtail.files import write_json

    given = {
        "ingest": ingest,
        "split": split,
        "validate": validate,
        "represent": represent,
        "embed": embed,
        "classify": classify,
        "tau_norm": tau_norm,
        "evaluate": evaluate,
        "gate": gate,
        "report": report,
        "register": register,
    }
    with recorded("parameters"):
        sections = parse_content(given, where="pipeline parameters")
        params = {name: section.model_dump(mode="json") for name, section in sections.items()}
        commit, _, changed = git_commit.partition("-")
        content = {"git_commit": commit or None, "git_dirty": bool(changed), "params": params}
        write_json(Path(provenance.path), content)
    provenance.metadata.update({"git_commit": git_commit or "unknown", "code_rev": code_rev})

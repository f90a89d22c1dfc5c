"""Which files of the package each step imports, directly or not.

`python -m tests.pipeline.code_dependencies` prints the lines that `dvc.yaml` lacks or has too many.
"""

from pathlib import Path

import grimp
import yaml

ROOT = Path(__file__).parents[2]


def dvc_stages() -> dict[str, dict]:
    return yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def imported_files(step: str) -> set[str]:
    """Files of the transitive imports of `longtail.steps.<step>`, itself included."""
    graph = grimp.build_graph("longtail", exclude_type_checking_imports=True, cache_dir=None)
    start = f"longtail.steps.{step}"
    return {_file(module) for module in {start, *graph.find_upstream_modules(start)}}


def named_files(stage: str) -> set[str]:
    """Modules of the package among the `deps` of a stage."""
    deps = dvc_stages()[stage].get("deps", [])
    return {dep for dep in deps if dep.startswith("src/") and dep.endswith(".py")}


def _file(module: str) -> str:
    path = "src/" + module.replace(".", "/")
    return f"{path}/__init__.py" if (ROOT / path).is_dir() else f"{path}.py"


if __name__ == "__main__":
    for stage in dvc_stages():
        imported, named = imported_files(stage), named_files(stage)
        for sign, files in (("+", imported - named), ("-", named - imported)):
            for file in sorted(files):
                print(f"{stage}: {sign} {file}")

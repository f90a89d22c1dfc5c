"""Which files of the package each step imports, directly or not, and what these load beside them.

`python -m tests.pipeline.code_dependencies` prints the lines that `dvc.yaml` lacks or has too many.
"""

from pathlib import Path

import grimp

from tests.pipeline.dvc_stages import STAGES

ROOT = Path(__file__).parents[2]


def imported_files(step: str) -> set[str]:
    """Files of the transitive imports of `longtail.steps.<step>` and of itself, and their data."""
    graph = grimp.build_graph("longtail", exclude_type_checking_imports=True, cache_dir=None)
    start = f"longtail.steps.{step}"
    files = {_file(module) for module in {start, *graph.find_upstream_modules(start)}}
    return files.union(*map(_data, files))


def named_files(stage: str) -> set[str]:
    """What of the package is among the `deps` of a stage."""
    return {dep for dep in STAGES[stage].get("deps", []) if dep.startswith("src/")}


def _file(module: str) -> str:
    path = "src/" + module.replace(".", "/")
    return f"{path}/__init__.py" if (ROOT / path).is_dir() else f"{path}.py"


def _data(file: str) -> set[str]:
    """Files and directories beside a module that are no code and that it names, as templates."""
    text = (ROOT / file).read_text()
    beside = (ROOT / file).parent.iterdir()
    data = (path for path in beside if path.suffix != ".py" and not (path / "__init__.py").exists())
    return {path.relative_to(ROOT).as_posix() for path in data if f'"{path.name}"' in text}


if __name__ == "__main__":
    for stage in STAGES:
        imported, named = imported_files(stage), named_files(stage)
        for sign, files in (("+", imported - named), ("-", named - imported)):
            for file in sorted(files):
                print(f"{stage}: {sign} {file}")

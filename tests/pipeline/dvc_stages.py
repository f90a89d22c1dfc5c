"""The stages of `dvc.yaml`, and which follow which."""

from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
STAGES: dict[str, dict] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def upstream(stage: str) -> set[str]:
    """Stages that `stage` follows, directly or not, by the paths of outputs and dependencies."""
    makers = {out: name for name, entry in STAGES.items() for out in entry["outs"]}
    direct = {
        maker
        for dep in STAGES[stage].get("deps", [])
        for out, maker in makers.items()
        if dep == out or dep.startswith(f"{out}/")
    }
    return direct.union(*(upstream(maker) for maker in direct))

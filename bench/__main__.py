"""Run the benchmarks and write `bench/results.json`; names on the command line run only those."""

import argparse
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from bench import gate, ingest, losses, repro, split, stage2, training
from longtail.files import write_json
from longtail.parallel import usable_cores

BENCHMARKS = {
    "training": training.run,
    "stage2": stage2.run,
    "losses": losses.run,
    "ingest": ingest.run,
    "split": split.run,
    "gate": gate.run,
    "repro": repro.run,
}
RESULTS = Path(__file__).with_name("results.json")


def main() -> None:
    """Print every number; write the file only if all benchmarks ran in this one go."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], help="default: all")
    names = parser.parse_args().names or list(BENCHMARKS)
    results = {}
    for name in names:
        started = time.perf_counter()
        results[name] = {key: float(f"{value:.4g}") for key, value in BENCHMARKS[name]().items()}
        print(f"{name} ({time.perf_counter() - started:.0f} s)")
        for key, value in results[name].items():
            print(f"  {key:<50} {value:>10g}")
    if set(names) == set(BENCHMARKS):
        write_json(RESULTS, {"machine": machine(), "results": results})


def machine() -> dict[str, Any]:
    """Describe what the numbers were measured on."""
    import torch

    return {
        "processor": _processor(),
        "cores": usable_cores(),
        "memory_gigabytes": round(psutil.virtual_memory().total / 1e9, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": version("torch"),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), "")


if __name__ == "__main__":
    main()

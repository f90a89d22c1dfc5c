"""The summary of a run, from what its steps noted."""

import json
import logging
import re
import urllib.error
import urllib.request
from datetime import datetime
from http.client import HTTPException
from typing import Any

from components import ALWAYS, STEPS

log = logging.getLogger(__name__)
Records = dict[str, dict[str, Any]]


def summarize(records: Records, *, run: str, state: str, error: str, now: datetime) -> Any:
    """Return the summary of a run as JSON-like values.

    `run`, `state` (SUCCEEDED, FAILED, ...), `error`, `minutes` since the first step began,
    `gpu_minutes`, `registration` (what the step register wrote, or null), `steps` (a list of
    `{step, what, minutes, gpu_minutes, peak_memory_bytes, peak_gpu_bytes, error}`, where `what` is
    ran, failed, ended (killed), cached or not reached), and `text`, all of it in one sentence.

    Args:
        records: what the steps noted, see `components.running`; none: only the state is known.
        error: what KFP says about a failure.
    """
    rows = [_row(step, records, succeeded=state == "SUCCEEDED") for step in STEPS]
    began = [datetime.fromisoformat(record["started"]) for record in records.values()]
    content = {
        "run": run,
        "state": state,
        "error": next((row["error"] for row in rows if row["error"]), error),
        "minutes": round((now - min(began)).total_seconds() / 60, 2) if began else None,
        "gpu_minutes": round(sum(row["gpu_minutes"] for row in rows), 2),
        "registration": records.get("register", {}).get("result"),
        "steps": rows if records else [],
    }
    return content | {"text": _text(content)}


def _row(step: str, records: Records, *, succeeded: bool) -> dict[str, Any]:
    record = records.get(step, {})
    minutes = record.get("seconds", 0.0) / 60
    return {
        "step": step,
        "what": _what(step, records, succeeded=succeeded),
        "minutes": round(minutes, 2),
        "gpu_minutes": round(minutes * record.get("gpus", 0), 2),
        "peak_memory_bytes": record.get("peak_memory_bytes"),
        "peak_gpu_bytes": record.get("peak_gpu_bytes"),
        "error": record.get("error", ""),
    }


def _what(step: str, records: Records, *, succeeded: bool) -> str:
    if step in records:
        if records[step]["finished"]:
            return "ran"
        return "failed" if "error" in records[step] else "ended"
    # A step found in the cache has no pod that could note anything, but later ones have.
    later = STEPS[STEPS.index(step) + 1 :]
    return "cached" if succeeded or any(name in records for name in later) else "not reached"


def _text(content: dict[str, Any]) -> str:
    parts = [f"longtail run {content['run']}: {content['state'].lower()}"]
    registered = content["registration"]
    if registered:
        version = registered["version"]
        as_what = "no version" if version == "none" else f"{registered['name']} version {version}"
        parts.append(f"verdict {registered['outcome']}, {as_what} ({registered['aliases']})")
    if content["error"]:
        parts.append(content["error"].splitlines()[0])
    if not content["steps"]:
        parts.append("no record of any step was found; check resources.state")
        return "; ".join(parts)
    whats = {row["step"]: row["what"] for row in content["steps"]}
    if all(what == "cached" for step, what in whats.items() if step not in ALWAYS):
        parts.append("nothing had changed, every step that can be was cached")
    else:
        counts = [f"{list(whats.values()).count(w)} {w}" for w in sorted(set(whats.values()))]
        parts.append("steps: " + ", ".join(counts))
    parts.append(f"{content['minutes']} minutes, {content['gpu_minutes']} GPU minutes")
    return "; ".join(parts)


def markdown(content: dict[str, Any]) -> str:
    """Return a summary as a page for people."""
    lines = [f"# {_literally(content['text'])}", ""]
    if content["error"]:
        # Indented, it is shown as it is, whatever it holds.
        lines += [*(f"    {line}" for line in content["error"].splitlines()), ""]
    if content["steps"]:
        lines += ["| step | | minutes | GPU minutes | peak memory |", "|---|---|---|---|---|"]
    for row in content["steps"]:
        numbers = f"{row['minutes']} | {row['gpu_minutes']} | {_gigabytes(row)}"
        lines.append(f"| {row['step']} | {row['what']} | {numbers} |")
    return "\n".join(lines) + "\n"


def _literally(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", text)


def _gigabytes(row: dict[str, Any]) -> str:
    peak = row["peak_memory_bytes"]
    return "" if peak is None else f"{peak / 1e9:.1f} GB"


def post(url: str, content: dict[str, Any]) -> None:
    """Send a summary as JSON; its `text` is what chat services show.

    A failure is a warning, which does not repeat the URL: with many services it is the password.
    """
    try:
        request = urllib.request.Request(
            url, data=json.dumps(content).encode(), headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30):
            pass
    except (OSError, ValueError, HTTPException) as error:
        status = f" {error.code}" if isinstance(error, urllib.error.HTTPError) else ""
        log.warning(
            "the webhook did not take the summary: %s%s; check the secret that gives "
            "LONGTAIL_WEBHOOK",
            type(error).__name__,
            status,
        )

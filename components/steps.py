"""Every component by its name."""

from components.champion import champion, incumbent
from components.classify import classify
from components.embed import embed
from components.evaluate import evaluate
from components.fingerprint import fingerprint
from components.gate import gate
from components.ingest import ingest
from components.parameters import parameters
from components.register import register
from components.report import report
from components.represent import represent
from components.split import split
from components.summary import summary
from components.tau_norm import tau_norm
from components.validate import validate

__all__ = [
    "champion",
    "classify",
    "embed",
    "evaluate",
    "fingerprint",
    "gate",
    "incumbent",
    "ingest",
    "parameters",
    "register",
    "report",
    "represent",
    "split",
    "summary",
    "tau_norm",
    "validate",
]

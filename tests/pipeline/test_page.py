"""The page of a thousand classes in a real browser, from a telephone to a desktop."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from longtail.artifacts import Report
from longtail.config.promotion import ReportConfig
from longtail.steps.report import report
from tests.steps.report_fixtures import write_run

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no chromium; apt-get install chromium to look at the page"
)
REPORT_WIDTH = "<script>parent.postMessage(document.documentElement.scrollWidth, '*')</script>"
FRAME = """<body><iframe src="page.html" width="{width}" height="900" frameborder="0"></iframe>
<script>onmessage = event => document.body.append("needs " + event.data + " pixels")</script>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("run")
    run = write_run(root, classes=1000, image_size=224)
    report(ReportConfig(published=["bwlm_ce_if100"]), **run.inputs, out=root / "out")
    return Report(root / "out").page.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [1440, 820, 390])
def test_the_page_fits_the_window_without_scrolling_sideways(
    page: str, width: int, tmp_path: Path
) -> None:
    (tmp_path / "page.html").write_text(page + REPORT_WIDTH, encoding="utf-8")
    (tmp_path / "frame.html").write_text(FRAME.format(width=width), encoding="utf-8")
    seen = re.search(r"needs (\d+) pixels", _open(tmp_path / "frame.html", tmp_path / "profile"))
    assert seen is not None
    assert int(seen[1]) == width


def test_a_page_of_1000_classes_is_small(page: str) -> None:
    assert len(page.encode()) < 5_000_000


def _open(file: Path, profile: Path) -> str:
    """Return the document after its scripts have run."""
    assert BROWSER is not None
    arguments = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--hide-scrollbars",
        "--disable-background-networking",
        f"--user-data-dir={profile}",
        "--window-size=1600,1000",
        "--virtual-time-budget=5000",
        "--dump-dom",
    ]
    done = subprocess.run(
        [BROWSER, *arguments, file.as_uri()], capture_output=True, text=True, timeout=120
    )
    return done.stdout

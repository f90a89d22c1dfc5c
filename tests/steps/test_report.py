"""The page and the model card: what they say, by another route, and how they say it."""

from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from longtail.artifacts import Champion, Evaluation, Report
from longtail.config.promotion import EvaluateConfig, ReportConfig
from longtail.errors import LongtailError
from longtail.files import file_digest, read_json
from longtail.report.table import variant_table
from longtail.steps.evaluate import evaluate
from longtail.steps.report import report
from tests.steps.evaluation_fixtures import make_flow
from tests.steps.report_fixtures import CHOSEN, Run, write_run, write_verdict

HOSTILE = '$^</text><script>alert("&")</script> | *x*'
NAMES = [*(f"class-{label}" for label in range(39)), HOSTILE]


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data + " "

    def all(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag in names]


def read(out: Path) -> Page:
    return Page(Report(out).page.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_run(tmp_path_factory.mktemp("run"), classes=40, names=NAMES)


@pytest.fixture(scope="module")
def out(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "out"
    report(ReportConfig(published=["bwlm_ce_if100"]), **run.inputs, out=out)
    return out


@pytest.fixture(scope="module")
def page(out: Path) -> Page:
    return read(out)


@pytest.fixture(scope="module")
def card(out: Path) -> str:
    return Report(out).card.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def answers(run: Run) -> pd.DataFrame:
    table = pd.read_parquet(run.evaluation.predictions)
    table["right"] = table["label"] == table[f"{CHOSEN}_prediction"]
    table["champion"] = table["label"] == table["stage1_prediction"]
    classes = read_json(run.evaluation.report)["classes"]
    table["group"] = [classes[label]["group"] for label in table["label"]]
    return table


def test_the_verdict_and_its_reasons_come_first(page: Page) -> None:
    assert page.text.index("Hold") < page.text.index("The variants side by side")
    assert "1 of 3 checks could not be decided: many against the champion." in page.text
    assert "the reason of many against the champion" in page.text
    assert "-1.8 [-3.1, -0.4]" in page.text  # value and interval of that check


def test_the_comparison_with_the_champion_counts_images(
    page: Page, card: str, answers: pd.DataFrame
) -> None:
    few = answers[answers["group"] == "few"]
    ours, theirs = few["right"].mean(), few["champion"].mean()
    start = page.text.index("Against the champion")
    table = page.text[start : page.text.index("Best and worst classes")]
    assert f"few {100 * ours:.1f} {100 * theirs:.1f} {100 * (ours - theirs):+.1f} [" in table
    (row,) = [line for line in card.splitlines() if line.startswith("| few | ") and "[" in line]
    assert f"| few | {100 * ours:.1f} | {100 * theirs:.1f} | {100 * (ours - theirs):.1f} " in row
    repaired, broken = (few["right"] & ~few["champion"]), (few["champion"] & ~few["right"])
    assert f"] {repaired.sum()} {broken.sum()}" in table


def test_the_worst_classes_are_shown_with_their_mistakes(page: Page, answers: pd.DataFrame) -> None:
    accuracy = answers.groupby("label")["right"].mean()
    worst = accuracy.index[accuracy == accuracy.min()].max()  # of equals the rarest comes first
    start = page.text.index("Least accurate")
    assert page.text[start:].startswith(f"Least accurate {NAMES[worst]} {100 * accuracy.min():.1f}")
    alts = [image["alt"] or "" for image in page.all("img")]
    own = answers[(answers["label"] == worst) & ~answers["right"]]
    surest = own.sort_values(f"{CHOSEN}_confidence").iloc[-1]
    called = NAMES[surest[f"{CHOSEN}_prediction"]]
    assert any(
        alt.startswith(f"Test image of {NAMES[worst]}, called {called} with") for alt in alts
    )


def test_what_is_confused_is_counted(page: Page, answers: pd.DataFrame) -> None:
    wrong = answers[~answers["right"]]
    pairs = wrong.groupby(["label", f"{CHOSEN}_prediction"]).size()
    text = page.text[page.text.index("Confused most") :]
    most = int(pairs.max())
    true, called = pairs.index[pairs == most][0]
    assert text.index(f"{NAMES[true]} n") < text.index(f"{NAMES[called]} n")
    assert f"{most} {100 * most / 20:.1f}" in text


def test_super_classes_are_counted_too(page: Page, answers: pd.DataFrame) -> None:
    right = (answers["label"] // 2 == answers[f"{CHOSEN}_prediction"] // 2).mean()
    text = page.text[page.text.index("Super-classes") :]
    assert f"Stage 1 + tau {100 * right:.1f} " in text


def test_the_variants_stand_side_by_side(run: Run, page: Page, card: str) -> None:
    content = read_json(run.evaluation.report)
    for row in variant_table(content):
        assert row.cells[0] in page.text
        assert row.cells[0].replace("[", r"\[").replace("]", r"\]") in card
    assert "38.32" in page.text  # the published row that was asked for


def test_data_costs_and_provenance_are_there(page: Page) -> None:
    assert "exact duplicates : 5 broke it (warning)" in page.text
    assert "near duplicates : not judged" in page.text
    assert "1.7 h" in page.text and "1.9 GiB" in page.text
    assert "25 M" in page.text and "4.23 G" in page.text and "8.46 G FLOPs" in page.text
    assert "mlflow:***@db" in page.text and "opensesame" not in page.text
    assert "c0ffee" in page.text and "8" * 64 in page.text and "model_name: made-up" in page.text


def test_what_is_unknown_is_said_to_be(run: Run, tmp_path: Path) -> None:
    digest = file_digest(run.evaluation.predictions)
    checks = [("few accuracy", False, 0.1, [0.05, 0.2], 0.3)]
    write_verdict(tmp_path / "gate", outcome="reject", digest=digest, champion=None, checks=checks)
    missing = {name: tmp_path / "nothing" for name in ("costs", "champion")}
    inputs = run.inputs | missing | {"gate": tmp_path / "gate"}
    report(ReportConfig(license="Apache-2.0"), **inputs, out=tmp_path / "out")
    text = read(tmp_path / "out").text
    assert "Reject 1 of 1 checks failed: few accuracy." in text
    assert "There was no champion to judge it against." in text
    assert "No costs were recorded" in text
    card = MarkdownIt().render(Report(tmp_path / "out").card.read_text(encoding="utf-8"))
    assert "reject" in card and "Licence: Apache-2.0" in card
    assert "not stated (report.intended_use)" in card


def test_a_champion_on_other_images_is_not_compared(run: Run, tmp_path: Path) -> None:
    (tmp_path / "champion").mkdir()
    other = pd.read_parquet(run.evaluation.predictions).iloc[1:]
    other.to_parquet(Champion(tmp_path / "champion").predictions)
    report(ReportConfig(), **run.inputs | {"champion": tmp_path / "champion"}, out=tmp_path / "out")
    assert "was evaluated on other test images" in read(tmp_path / "out").text


def test_names_from_the_data_are_text_and_not_markup(page: Page, card: str) -> None:
    assert HOSTILE in page.text
    assert not page.all("script")
    rendered = Page(MarkdownIt("commonmark", {"html": True}).enable("table").render(card))
    assert HOSTILE in rendered.text
    assert not rendered.all("script", "em")


def test_the_page_needs_nothing_from_elsewhere(page: Page, out: Path) -> None:
    names = ("src", "href", "xlink:href", "data", "action")
    links = [tag[name] or "" for _, tag in page.tags for name in names if name in tag]
    assert links
    assert all(link.startswith(("#", "data:image/")) for link in links)
    text = Report(out).page.read_text(encoding="utf-8")
    assert "@import" not in text and "url(http" not in text
    assert not page.all("script", "link", "iframe")


def test_the_page_speaks_to_screen_readers_and_keyboards(page: Page) -> None:
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("main")) == len(page.all("h1")) == len(page.all("nav")) == 1
    assert all(cell.get("scope") for cell in page.all("th"))
    assert all(image.get("alt") for image in page.all("img"))
    pictures = page.all("svg")
    named = [p for p in pictures if p.get("role") == "img" and p.get("aria-label")]
    assert len(pictures) - len(named) == len([p for p in pictures if p.get("aria-hidden")]) == 1
    scrolling = [tag for tag in page.all("div") if tag.get("class") == "scroll"]
    assert all(
        t["tabindex"] == "0" and t["role"] == "region" and t["aria-label"] for t in scrolling
    )
    levels = [int(tag[1]) for tag, _ in page.tags if tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_links_within_the_page_lead_somewhere(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert all((link["href"] or "").lstrip("#") in ids for link in page.all("a"))


def test_the_same_inputs_make_the_same_bytes(run: Run, out: Path, tmp_path: Path) -> None:
    report(ReportConfig(published=["bwlm_ce_if100"]), **run.inputs, out=tmp_path / "again")
    assert contents(tmp_path / "again") == contents(out)


def contents(root: Path) -> dict[str, bytes]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def test_a_verdict_on_other_predictions_is_refused(run: Run, tmp_path: Path) -> None:
    write_verdict(tmp_path / "gate", outcome="hold", digest="0" * 64, champion=None, checks=[])
    with pytest.raises(LongtailError, match="judges other predictions"):
        report(ReportConfig(), **run.inputs | {"gate": tmp_path / "gate"}, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_published_numbers_are_asked_for_by_key(run: Run, tmp_path: Path) -> None:
    with pytest.raises(LongtailError, match=r"report.published: .* the key 'bwlm'"):
        report(ReportConfig(published=["bwlm"]), **run.inputs, out=tmp_path / "out")


def test_a_real_evaluation_with_an_empty_group_and_a_variant_that_does_not_apply(
    run: Run, tmp_path: Path
) -> None:
    flow = make_flow(
        tmp_path, train=[120, 60, 50, 25], test=[9, 9, 3, 0], group_names=("many", "medium", "few")
    )
    evaluate(EvaluateConfig(), **flow.inputs, out=tmp_path / "evaluation")
    models = {name: flow.inputs[name] for name in ("representation", "classifier", "tau_norm")}
    inputs: dict[str, Any] = run.inputs | models | {"split": flow.inputs["profile"].parent}
    inputs |= {"evaluation": tmp_path / "evaluation", "gate": tmp_path / "gate"}
    digest = file_digest(Evaluation(tmp_path / "evaluation").predictions)
    write_verdict(tmp_path / "gate", outcome="hold", digest=digest, champion=None, checks=[])
    report(ReportConfig(), **inputs | {"champion": tmp_path / "none"}, out=tmp_path / "out")
    text = read(tmp_path / "out").text
    assert "not applicable: rows of ncm are class means" in text
    assert "No class is in the group few" in text
    assert "no test images" in text

"""One self-contained HTML page, and the model card: no network, no scripts, pictures inside."""

from typing import Any

import yaml

from longtail.errors import masked
from longtail.report import sections, words
from longtail.report.environment import environment
from longtail.report.examples import LOSSLESS_SIDE
from longtail.report.gallery import Drawing
from longtail.report.material import Material
from longtail.report.ranking import class_order
from longtail.report.table import (
    TITLES,
    applicable,
    table_columns,
    variant_table,
)
from longtail.report.versus import Versus

LISTED_CLASSES = 1000  # beyond, the list of all classes stays in report.json
MORE_METRICS = {
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro F1",
    "weighted_f1": "Weighted F1",
    "mcc": "MCC",
    "cohen_kappa": "Cohen's kappa",
    "top5_accuracy": "Top-5",
}
CONTENTS = {
    "verdict": "Verdict",
    "variants": "Variants",
    "champion": "Champion",
    "classes": "Classes",
    "confusion": "Confusion",
    "calibration": "Calibration",
    "training": "Training",
    "data": "Data",
    "cost": "Cost",
    "provenance": "Provenance",
}
HTML, MARKDOWN = "page.html", "model_card.md"


def render_page(material: Material, drawings: list[Drawing], against: Versus | None) -> str:
    """Return the page as HTML."""
    listed = class_order(material.classes)[:LISTED_CLASSES]
    return (
        environment(escape=True)
        .get_template(HTML)
        .render(
            _context(material, against),
            pictures={drawing.name: drawing for drawing in drawings},
            pairs=sections.confused_pairs(material),
            confused_groups=sections.group_confusion(material),
            listed=listed,
            contents=CONTENTS,
            small=material.representation["image_size"] <= LOSSLESS_SIDE,
            super_metrics=("accuracy", "macro_f1", "consistency"),
            parameters=masked(
                yaml.safe_dump(material.provenance["params"], sort_keys=False, width=1000)
            ),
        )
    )


def render_card(material: Material, against: Versus | None) -> str:
    """Return the model card as Markdown."""
    return environment(escape=False).get_template(MARKDOWN).render(_context(material, against))


def _context(material: Material, against: Versus | None) -> dict[str, Any]:
    report = material.report
    name = material.provenance["params"]["register"]["model_name"]
    return {
        "title": material.words["title"] or name,
        "sentence": words.group_sentence(report),
        "material": material,
        "report": report,
        "profile": material.profile,
        "representation": material.representation,
        "classifier": material.classifier,
        "verdict": material.verdict,
        "against": against,
        "statistics": material.validation["statistics"],
        "rules": material.validation["rules"],
        "findings": sections.findings(material.validation),
        "provenance": material.provenance,
        "costs": material.costs,
        "cost_total": sections.cost_total(material.costs),
        "told": material.words,
        "published": material.published,
        "titles": TITLES,
        "columns": table_columns(report),
        "rows": variant_table(report),
        "measured": applicable(report),
        "chosen": report["variants"][report["chosen"]],
        "stage1": report["variants"]["stage1"],
        "more_metrics": MORE_METRICS,
        "groups": sections.group_rows(report),
        "cards": sections.class_cards(material),
        "words": words,
    }

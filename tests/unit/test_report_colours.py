"""Colours of the report: apart for every kind of colour vision, text readable on its ground."""

import itertools
import re
from importlib.resources import files

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from longtail.report.style import GROUP_COLORS, VARIANT_STYLE

# Machado, Oliveira, Fernandes (IEEE TVCG 2009), severity 1.0, on linear RGB.
DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TEXT = {  # colour of text -> what it stands on
    "ink": ("paper", "card", "mark", "warn"),
    "soft": ("paper", "card", "mark", "warn"),
    "accent": ("paper", "card", "mark"),
    "promote": ("card", "promote-back"),
    "hold": ("card", "hold-back"),
    "reject": ("card", "reject-back"),
}


def linear(color: str) -> np.ndarray:
    value = np.array(to_rgb(color))
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE 1976 L*a*b* of linear RGB, D65."""
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    xyz = to_xyz @ np.clip(rgb, 0, 1) / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
@pytest.mark.parametrize(
    "colors",
    [[style["color"] for style in VARIANT_STYLE.values()], GROUP_COLORS[:3]],
    ids=["variants", "groups"],
)
def test_colours_stay_apart(colors: list[str], deficiency: str) -> None:
    seen = [lab(np.array(DEFICIENCIES[deficiency]) @ linear(color)) for color in colors]
    distances = [np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)]
    assert min(distances) > 15  # about 2 are just noticeable side by side


def test_variants_differ_without_colour_too() -> None:
    shapes = [(style["marker"], style["linestyle"]) for style in VARIANT_STYLE.values()]
    assert len({marker for marker, _ in shapes}) == len(shapes)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_has_the_contrast_that_wcag_asks_for(theme: str) -> None:
    css = files("longtail.report").joinpath("templates/style.css").read_text(encoding="utf-8")
    light, dark, *_ = re.findall(r":root \{(.*?)\}", css, flags=re.DOTALL)
    colors = dict(re.findall(r"--([\w-]+): (#\w+)", light))
    colors |= dict(re.findall(r"--([\w-]+): (#\w+)", dark)) if theme == "dark" else {}

    def luminance(name: str) -> float:
        return float(linear(colors[name]) @ [0.2126, 0.7152, 0.0722])

    for text, grounds in TEXT.items():
        for ground in grounds:
            low, high = sorted((luminance(text), luminance(ground)))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (theme, text, ground)

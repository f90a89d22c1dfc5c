"""What a study file may not say, because a row of its report would carry a false name."""

import pytest

from longtail.config.section import parse
from longtail.config.split import GroupsConfig
from longtail.config.study import StudyConfig
from longtail.errors import LongtailError


def study(**content) -> StudyConfig:
    return parse(StudyConfig, {"base": "base.yaml", "axes": {}} | content, where="study.yaml")


GAMMA = {"one": {"represent.loss.gamma": 1}, "three": {"represent.loss.gamma": 3}}
FOCAL = {"focal": {"represent.loss": {"name": "focal"}}}


def test_an_axis_that_would_undo_an_earlier_one_is_refused_and_the_other_order_is_not():
    with pytest.raises(LongtailError, match=r"axis loss sets all of represent.loss.*name loss bef"):
        study(axes={"gamma": GAMMA, "loss": FOCAL})
    assert list(study(axes={"loss": FOCAL, "gamma": GAMMA}).axes) == ["loss", "gamma"]


@pytest.mark.parametrize(
    "content",
    [
        {"axes": {"seed": {"a": {"represent.seed": 1}, "b": {"represent.seed": 2}}}},
        {"set": {"classify.seed": 3}},
    ],
)
def test_seeds_are_named_as_seeds(content):
    with pytest.raises(LongtailError, match=r"seed is set by `seeds`"):
        study(**content)


def test_names_that_mlflow_would_refuse_after_all_is_computed_are_refused_before():
    with pytest.raises(LongtailError, match=r"an axis cannot be called head \(stage 2\)"):
        study(axes={"head (stage 2)": {"a": {}}})
    with pytest.raises(LongtailError, match="a group cannot be called <20: use letters"):
        parse(GroupsConfig, {"scheme": "edges", "edges": {"<20": 0}}, where="x")

"""How a wrong value of a parameter file is worded: its place in the file, the value, what to do."""

import pytest

from longtail.commands.models import register_config
from longtail.config.ingest import IngestConfig
from longtail.config.params import load_section, read_params
from longtail.config.promotion import RegisterConfig
from longtail.config.represent import RepresentConfig
from longtail.config.section import parse
from longtail.config.split import SplitConfig
from longtail.config.stage2 import TauNormConfig
from longtail.errors import LongtailError

ROOT = "`{key: value}`"


def said(model, values) -> list[str]:
    """Lines of the error below its heading."""
    with pytest.raises(LongtailError) as caught:
        parse(model, values, where="here")
    heading, *lines = str(caught.value).split("\n  ")
    assert heading == "here:"
    return lines


@pytest.mark.parametrize("text", ["- split\n", "3\n", "split\n", "2024-01-01\n"])
def test_a_parameter_file_that_is_no_mapping_is_refused(tmp_path, text):
    file = tmp_path / "params.yaml"
    file.write_text(text)
    with pytest.raises(LongtailError, match=r"params.yaml must be a mapping of sections"):
        load_section(file, "split", SplitConfig)


def test_a_parameter_file_that_is_no_text_is_refused(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_bytes(b"split: \xff\n")
    with pytest.raises(LongtailError, match="not valid YAML"):
        load_section(file, "split", SplitConfig)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("split: {}\ngate: {}\nsplit: {}\n", r"`split` is given twice(.|\n)*line 3,"),
        ("split:\n  seed: 1\n  'seed': 2\n", r"`seed` is given twice(.|\n)*line 3,"),
    ],
)
def test_a_key_that_is_given_twice_is_refused_with_its_line(tmp_path, text, said):
    file = tmp_path / "params.yaml"
    file.write_text(text)
    with pytest.raises(LongtailError, match=said):
        load_section(file, "split", SplitConfig)


def test_merged_keys_may_be_given_anew(tmp_path):
    """The gate's mapping merges one that is read before that one's own keys are looked at."""
    file = tmp_path / "params.yaml"
    file.write_text(
        "split: {test: &few {<<: {seed: 3, per_class: 5}, per_class: 7}}\n"
        "gate: {<<: *few, <<: {seed: 1}, per_class: 9}\n"
    )
    content = read_params(file)
    assert content["split"]["test"] == {"seed": 3, "per_class": 7}
    assert content["gate"]["per_class"] == 9


def test_a_key_that_is_no_word_is_an_unknown_section(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text("split: {}\n3: {}\ntrue: {}\n")
    with pytest.raises(LongtailError, match="unknown section `3`"):
        load_section(file, "split", SplitConfig)


@pytest.mark.parametrize("values", [3, [1], "cpu"])
def test_a_section_that_is_no_mapping_is_shown(values):
    assert said(RepresentConfig, values) == [f"{values!r}: must be a mapping, as {ROOT}"]


def test_what_does_not_fit_together_is_said_without_a_dump_of_the_section():
    assert said(RepresentConfig, {"epochs": 3}) == ["warmup_epochs 5 must be below epochs 3"]
    values = {"val": {}, "test": {"share": 0.1, "per_class": 3}}
    val, test = said(SplitConfig, values)
    assert val.startswith("`val`: val needs one of per_class (is None) and share (is None)")
    assert test == (
        "`test`: share: 0.1 has no meaning with distribution: balanced; leave it out, or set its "
        "default, null"
    )


@pytest.mark.parametrize("name", ["team/digits", "a:b", "kid's", "", " ", ".", "..", "a@b"])
def test_a_name_that_mlflow_refuses_is_refused_before_anything_is_trained(name, tmp_path):
    (line,) = said(RegisterConfig, {"model_name": name})
    assert line.startswith(f"`model_name` is {name!r}: ")
    (tmp_path / "params.yaml").write_text("{}")
    with pytest.raises(LongtailError, match=r"--model(.|\n)*`model_name`"):
        register_config(tmp_path / "params.yaml", name)


def test_an_experiment_has_a_name():
    (line,) = said(RegisterConfig, {"experiment": ""})
    assert line.startswith("`experiment` is ''")


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({}, "`source.kind` is missing; known: digits, torchvision, folder, parquet, listing, "),
        ({"kind": "fodler"}, "`source.kind` cannot be 'fodler'; did you mean `folder`?"),
        ({"kind": "folder"}, "`source.root` is missing"),
        ("digits", f"`source` is 'digits': must be a mapping, as {ROOT}"),
        (
            {"kind": "parquet", "root": "x", "files": {"trian": "*"}},
            "`source.files.trian` cannot be 'trian'; did you mean `train`?",
        ),
    ],
)
def test_a_wrong_source_is_named_as_the_file_has_it(values, line):
    (only,) = said(IngestConfig, {"source": values})
    assert only.startswith(line)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"frozen_groups": "al"}, "`frozen_groups` cannot be 'al'; did you mean `all`?"),
        ({"frozen_groups": -1}, "`frozen_groups` is -1: Input should be greater than or equal to"),
        ({"mean": [0.5, 0.5]}, "`mean.2` is missing"),
        ({"milestones": [[0.1, 3], [0.2, -1]]}, "`milestones.1.1` is -1: Input should be greater"),
        ({"loss": {"name": "focal", "gamma": "x"}}, "`loss.gamma` is 'x': Input should be a valid"),
        ({"loss": {"gamma": 1}}, "`loss.name` is missing; known: cross_entropy, focal"),
        ({"augment": {"scale": [2, 1]}}, "`augment.scale` is [2, 1]: the smaller scale comes"),
    ],
)
def test_a_wrong_stage_1_value_is_one_line_at_its_own_place(values, line):
    (only,) = said(RepresentConfig, values)
    assert only.startswith(line)


def test_every_wrong_value_has_its_line():
    lines = said(TauNormConfig, {"apply_to": ["stage3"], "steps": 1, "stepps": 2})
    assert [line.partition("; ")[0].partition(":")[0] for line in lines] == [
        "`steps` is 1",
        "`apply_to.0` cannot be 'stage3'",
        "unknown key `stepps`",
    ]

"""From a study file to checked cells; equal work has an equal key."""

import textwrap

import pytest

from longtail.config.study import VARIANTS
from longtail.errors import LongtailError
from longtail.study.grid import cells, matching, read_study
from longtail.study.tasks import INPUTS, tasks

BASE = "represent: {epochs: 4, warmup_epochs: 1, augment: {crop_padding: 2}}\n"


@pytest.fixture
def study(tmp_path):
    (tmp_path / "base.yaml").write_text(BASE)

    def write(text):
        path = tmp_path / "study.yaml"
        path.write_text("base: base.yaml\n" + textwrap.dedent(text))
        return read_study(path)

    return write


def test_the_grid_is_the_product_of_the_axes_and_seeds_in_the_order_of_the_file(study):
    config = study("""
        axes:
          factor: {IF 10: {split.imbalance_factor: 10}, IF 50: {split.imbalance_factor: 50}}
          loss: {ce: {}, bs: {represent.loss: balanced_softmax}}
        seeds: [3, 1]
    """)
    assert [cell.name for cell in cells(config)] == [
        f"IF {factor} / {loss}, seed {seed}"
        for factor in (10, 50)
        for loss in ("ce", "bs")
        for seed in (3, 1)
    ]
    last = cells(config)[-1].params
    assert last["split"].imbalance_factor == 50
    assert last["represent"].loss.name == "balanced_softmax"
    assert (last["represent"].seed, last["classify"].seed) == (1, 1)
    assert last["split"].seed == 0  # the same images for every seed


def test_cells_are_chosen_by_name_in_the_order_of_the_grid(study):
    config = study("""
        axes:
          factor: {IF 10: {split.imbalance_factor: 10}, IF 100: {split.imbalance_factor: 100}}
          loss: {ce: {}, "bs [a]": {represent.loss: balanced_softmax}}
        seeds: [0, 1]
    """)
    chosen = matching(cells(config), ["IF 100 / bs [a], seed 1", "*ce, seed 0", "IF 10 / ce*"])
    assert [cell.name for cell in chosen] == [
        "IF 10 / ce, seed 0",
        "IF 10 / ce, seed 1",
        "IF 100 / ce, seed 0",
        "IF 100 / bs [a], seed 1",
    ]
    assert matching(cells(config), []) == cells(config)
    with pytest.raises(LongtailError, match=r"no cell is called `IF 100 / ce`; `longtail study s"):
        matching(cells(config), ["*", "IF 100 / ce"])


def test_deep_parameters_are_set_beside_those_of_the_base_and_no_cell_sees_anothers(study):
    config = study("""
        axes: {mix: {without: {}, mixup: {represent.augment.mixup_alpha: 0.4}}}
    """)
    without, mixup = (cell.params["represent"].augment for cell in cells(config))
    assert (without.mixup_alpha, mixup.mixup_alpha) == (0.0, 0.4)
    assert without.crop_padding == mixup.crop_padding == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("axes: {a: {}}", "the axis a has no values"),
        ("axes: {a: {x: {represent.epochs: 2}}, b: {y: {represent.epochs: 3}}}", "a and b both"),
        ("axes: {a: {x: {}}}\nseeds: [1, 1]", "name one twice"),
        ("axes: {a: {x: {}}}\nvariants: [crt, stage1, crt]", "name one twice"),
        ("axes: {a: {x / y: {}, x: {}}, b: {z: {}, y / z: {}}}", "two rows .* `x / y / z`"),
        ("axes: {a: {x: {}, x / crt: {}}}", "two rows .* `x / crt`; give a value another name"),
        ("axes: {a: {x: {}}}\nreference: {a: z}", "no axis a has a value z"),
        ("axis: {a: {x: {}}}", "did you mean `axes`"),
        ("axes: {a: {x: {}, x: {classify.method: ncm}}}", "`x` is given twice"),
    ],
)
def test_a_study_file_that_says_nothing_sensible_is_refused(study, text, message):
    with pytest.raises(LongtailError, match=message):
        study(text)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epochs: 3", "`epochs` is no parameter of a section"),
        ("representation.epochs: 3", "`representation.epochs` is no parameter"),
        ("represent.epoch: 3", "cell x, seed 0, section `represent`.*\n.*did you mean `epochs`"),
        ("classify.method: logit_adjustment, represent.loss: seql", "takes out the prior"),
    ],
)
def test_a_wrong_cell_is_named_before_anything_runs(study, override, message):
    config = study(f"axes: {{a: {{x: {{{override}}}}}}}")
    with pytest.raises(LongtailError, match=message):
        cells(config)


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("represnt: {epochs: 3}", "base.yaml: unknown section `represnt`; did you mean"),
        ("represent: 5", "base.yaml: section `represent` must be a mapping"),
    ],
)
def test_a_base_is_read_as_strictly_as_a_parameter_file(study, tmp_path, base, message):
    config = study("axes: {}")
    (tmp_path / "base.yaml").write_text(base)
    with pytest.raises(LongtailError, match=message):
        cells(config)


def test_a_base_that_is_not_there_is_to_be_corrected_in_the_study(study, tmp_path):
    config = study("axes: {}")
    (tmp_path / "base.yaml").unlink()
    with pytest.raises(LongtailError, match=r"base.yaml does not exist; correct `base`"):
        cells(config)


def test_a_study_without_axes_has_one_row_that_a_published_number_can_stand_beside(study):
    config = study("axes: {}\npublished: {base: plain_ce_if100}")
    assert [cell.row for cell in cells(config)] == list(config.published)


def test_only_what_a_parameter_decides_gets_another_key(study, tmp_path):
    config = study("""
        axes: {stage2: {crt: {}, ncm: {classify.method: ncm}}}
        seeds: [0, 1]
    """)
    source = tmp_path / "source.json"
    source.write_text("{}")
    crt, other_seed, ncm, _ = (
        {step: task.out for step, task in tasks(c.params, source=source, store=tmp_path).items()}
        for c in cells(config)
    )
    same = {step for step in INPUTS if crt[step] == ncm[step]}
    assert same == {"ingest", "split", "validate", "represent", "embed"}
    assert {step for step in INPUTS if crt[step] == other_seed[step]} == {
        "ingest",
        "split",
        "validate",
    }


def test_another_source_has_other_keys_throughout(study, tmp_path):
    cell = cells(study("axes: {}"))[0]
    keys = []
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
        found = tasks(cell.params, source=tmp_path / name, store=tmp_path)
        keys.append({step: task.out for step, task in found.items()})
    assert not set(keys[0].values()) & set(keys[1].values())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("variants: [crf]", "no variant is called crf; did you mean `crt`"),
        ("published: {x: plain_ce}", "no published number has the key 'plain_ce'; did you mean"),
        ("published: {xx: plain_ce_if100}", "no row is called `xx`; did you mean `x`"),
        ("published: {x / stage1: plain_ce_if100}", "no row is called `x / stage1`; did you mean"),
    ],
)
def test_what_a_report_would_miss_is_refused_before_anything_runs(study, text, message):
    with pytest.raises(LongtailError, match=message):
        study(f"axes: {{a: {{x: {{}}}}}}\n{text}")


def test_the_variants_are_those_of_the_tables_and_the_sweep():
    from longtail.report.table import TITLES
    from longtail.steps.classify import SWEEP

    assert list(VARIANTS) == [*TITLES, *sorted(SWEEP, key=VARIANTS.index)]

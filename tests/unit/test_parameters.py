"""What a user is told about a wrong parameter file."""

from pathlib import Path

import pytest
import yaml

from longtail.config.params import SECTIONS, load_section
from longtail.config.represent import RepresentConfig
from longtail.config.section import parse
from longtail.config.stage2 import ClassifyConfig, TauNormConfig
from longtail.errors import LongtailError


def load(tmp_path: Path, text: str, name: str):
    (tmp_path / "params.yaml").write_text(text)
    return load_section(tmp_path / "params.yaml", name, SECTIONS[name])


def test_a_loss_is_a_name_or_a_section(tmp_path):
    by_name = load(tmp_path, "represent: {loss: focal}", "represent")
    section = load(tmp_path, "represent: {loss: {name: focal, gamma: 1}}", "represent")
    assert by_name.loss.settings() == {"gamma": 2.0}
    assert section.loss.settings() == {"gamma": 1.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("represent: {loss: ballanced_softmax}", "did you mean `balanced_softmax`"),
        ("represent: {loss: {name: focal, gama: 1}}", "did you mean `gamma`"),
        ("represent: {loss: {name: focal, gamma: -1}}", r"gamma` is -1"),
        ("represent: {sampler: class_balance}", "did you mean `class_balanced`"),
        ("represent: {backbon: x}", "did you mean `backbone`"),
        ("reprsent: {}", "did you mean `represent`"),
        ("represent: {epochs: 3, warmup_epochs: 3}", "warmup_epochs 3 must be below epochs 3"),
        ("represent: {loss: ldam, head: linear}", "margins are between cosines"),
        ("represent: {loss: sigmoid_focal, head: cosine}", "sigmoids need a bias"),
        ("represent: {unfreeze_every: 2}", "no meaning with frozen_groups: 0"),
        ("represent: {augment: {scale: [1.2, 0.8]}}", "smaller scale comes first"),
        ("represent: {augment: {auto: rnd-m9}}", "no policy is called rnd-m9"),
        ("represent: {augment: {auto: rand-w0}}", "no policy is called rand-w0"),
        ("represent: {augment: {auto: rand-m9.5}}", "no policy is called rand-m9.5"),
        ("represent: {augment: {auto: original-m9}}", "no policy is called original-m9"),
        ("represent: {deferred_sampler: review, deferred_start: 1.0}", "`deferred_start` is 1.0: "),
        (
            "represent: {reweighting: {scheme: inverse_frequency, start: 1.0}}",
            "`reweighting.start` is 1.0: .* less than 1",
        ),
        ("represent: {deferred_start: 0.5}", "deferred_start: 0.5 has no meaning without"),
        ("represent: {cosine_scale: 16}", "cosine_scale: 16.0 has no meaning with a linear head"),
        ("represent: {loss: ldam, cosine_scale: 16}", "ldam, which has loss.scale"),
        (
            "represent: {reweighting: {scheme: inverse_frequency, beta: 0.9}}",
            "beta: 0.9 has no meaning with scheme: inverse_frequency",
        ),
        ("represent: {mean: [123.7, 116.3, 103.5]}", r"`mean` is \[123.7, .*0..1 .* by 255"),
        ("represent: {std: [58.4, 57.1, 57.4]}", r"`std` is \[58.4, .*0..1 .* by 255"),
        ("represent: {mean: [-0.1, 0.5, 0.5]}", "`mean.0` is -0.1: .*greater than or equal to 0"),
        ("represent: {learning_rate: .inf}", "`learning_rate` is inf: .*finite"),
        ("represent: {sam_rho: .nan}", "`sam_rho` is nan: .*finite"),
        ("represent: {milestones: [[0.9, 0.1], [0.1, 0.01]]}", "in the order of their shares"),
    ],
)
def test_a_wrong_stage_1_parameter_is_explained(tmp_path, text, message):
    with pytest.raises(LongtailError, match=message):
        load(tmp_path, text, "represent")


@pytest.mark.parametrize(
    ("represent", "others", "message"),
    [
        ("{loss: balanced_softmax}", "classify: {method: logit_adjustment}", "takes out the prior"),
        ("{sampler: square_root}", "classify: {method: logit_adjustment}", "sampler: square_root"),
        (
            "{loss: {name: cross_entropy, smoothing: 0.1}}",
            "classify: {method: logit_adjustment}",
            "represent has loss.smoothing;",
        ),
        (
            "{reweighting: {scheme: inverse_frequency}, deferred_sampler: review}",
            "classify: {method: logit_adjustment}",
            "represent has deferred_sampler: review and reweighting: inverse_frequency;",
        ),
        (
            "{hierarchy: {class_weights: balanced}}",
            "classify: {method: logit_adjustment}",
            "represent has hierarchy.class_weights: balanced;",
        ),
        ("{}", "classify: {method: lws, loss: focal}", "focal is of crt and has no meaning"),
        ("{}", "classify: {adjustment_tau: 1.5}", "adjustment_tau: 1.5 has no meaning with"),
        ("{}", "classify: {method: ncm, sampler: review}", "sampler: review .*nothing; leave it"),
        ("{}", "classify: {method: logit_adjustment, sampler: review}", "review has no meaning"),
        ("{}", "classify: {bfs: {name: bfs, alpha: 1.0}}", "1.0.* is of bwlm .* method: crt;"),
        ("{}", "classify: {ncm_features: none}", "ncm_features: none has no .* default, cl2n"),
        ("{}", "classify: {method: lws, ncm_distance: cosine}", "ncm_distance: cosine has no"),
        ("{}", "tau_norm: {false_rejections: 0.2}", "has no meaning without reject_to"),
        ("{}", "tau_norm: {stage1_tau: 0.5, apply_to: [stage2]}", "without stage1 in apply_to"),
        ("{}", "classify: {method: ncm}\ntau_norm: {apply_to: [stage2]}", "no rows to normalise"),
        ("{loss: ldam}", "classify: {method: lws}", "needs a linear stage-1 head"),
        ("{loss: ldam}", "classify: {method: max_norm}", "needs a linear stage-1 head"),
        ("{head: cosine}", "tau_norm: {apply_to: [stage1]}", "no\nlength of their own"),
        ("{head: cosine}", "tau_norm: {stage1_tau: 0.5}", "no\nlength of their own"),
        ("{}", "classify: {loss: ldam}", "cosine head"),
    ],
)
def test_methods_that_cannot_go_together_are_refused_on_reading(
    tmp_path, represent, others, message
):
    for name in ("represent", "classify", "tau_norm"):
        with pytest.raises(LongtailError, match=message.replace("\n", r"\s")):
            load(tmp_path, f"represent: {represent}\n{others}\n", name)


def test_methods_that_can_go_together_are_read(tmp_path):
    text = "represent: {loss: ldam}\nclassify: {method: sweep}\ntau_norm: {apply_to: [stage2]}\n"
    assert isinstance(load(tmp_path, text, "represent"), RepresentConfig)
    assert isinstance(load(tmp_path, text, "classify"), ClassifyConfig)
    assert isinstance(load(tmp_path, text, "tau_norm"), TauNormConfig)


@pytest.mark.parametrize("method", ["crt", "ncm", "logit_adjustment", "sweep", "bwlm"])
def test_defaults_that_are_written_out_go_with_every_method(tmp_path, method):
    """As a pipeline that was compiled, and the parameters of a registered model, have them."""
    plain = load(tmp_path, f"classify: {{method: {method}}}", "classify")
    written = {"represent": RepresentConfig().model_dump(), "classify": plain.model_dump()}
    assert load(tmp_path, yaml.safe_dump(written, sort_keys=False), "classify") == plain


def test_parameters_of_a_sweep_are_those_of_its_methods(tmp_path):
    text = (
        "classify: {method: sweep, loss: focal, adjustment_tau: 1.0, sampler: square_root, "
        "ncm_features: none, bfs: {name: bfs, alpha: 1.0}}"
    )
    assert load(tmp_path, text, "classify").adjustment_tau == 1.0
    text = "tau_norm: {stage1_tau: 0.5, apply_to: [stage1]}"
    assert load(tmp_path, text, "tau_norm").stage1_tau == 0.5


@pytest.mark.parametrize("law", ["natural", "given"])
@pytest.mark.parametrize(
    "shape",
    ["imbalance_factor: 10", "max_per_class: 9", "lift_to_one: true", "class_order_seed: 0"],
)
def test_a_law_that_takes_the_classes_as_they_are_has_no_shape(tmp_path, law, shape):
    with pytest.raises(LongtailError, match=f"has no meaning with law: {law}; leave it out"):
        load(tmp_path, f"split: {{law: {law}, {shape}}}", "split")


def test_the_shape_of_one_law_is_not_taken_for_that_of_another(tmp_path):
    with pytest.raises(LongtailError, match=r"pareto_alpha: 3.0 has no meaning with law: exp"):
        load(tmp_path, "split: {law: exp, pareto_alpha: 3}", "split")


def test_a_gpu_section_that_says_one_thing_keeps_the_defaults_of_gpus(tmp_path):
    gpu = load(tmp_path, "resources: {gpu: {accelerators: 1}}", "resources").gpu
    assert (gpu.image, gpu.memory, gpu.timeout_minutes) == ("longtail:gpu", "8Gi", 1440)


@pytest.mark.parametrize(
    ("changes", "follows"),
    [
        ({"loss": {"name": "cross_entropy", "smoothing": 0.1}}, True),
        ({"loss": "focal"}, True),
        ({"loss": "seql"}, True),
        ({"loss": "sigmoid_focal"}, True),
        ({"loss": "label_aware_smoothing"}, False),
        ({"loss": "balanced_softmax"}, False),
        ({"loss": "focal", "sampler": "square_root"}, False),
        ({"deferred_sampler": "class_balanced"}, False),
        ({"reweighting": {"scheme": "inverse_frequency"}}, False),
        ({"hierarchy": {"class_weights": "balanced"}}, False),
    ],
    ids=str,
)
def test_stage_1_follows_the_counts_unless_it_balances(changes, follows):
    assert parse(RepresentConfig, changes, where="represent").follows_counts == follows

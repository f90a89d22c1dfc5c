"""Scoring a directory or bucket with a registered model."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from scipy.special import softmax

from longtail.artifacts import ANSWERS_SCHEMA
from longtail.config.ingest import S3Config
from longtail.errors import LongtailError
from longtail.steps.predict import Summary, predict
from tests.steps.ingest_fixtures import encode, picture, write_tree
from tests.steps.s3_server import BUCKET, S3Server
from tests.steps.served_fixtures import (
    CLASSES,
    COUNTS,
    FILES,
    SIZE,
    expected_logits,
    head,
    write_images,
    write_model,
)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"))


def run(model: Path, images: Path | str, out: Path, **options) -> Summary:
    settings = {"s3": S3Config(), "batch_size": 3, "top_k": 2} | options
    return predict(model, images=str(images), out=out, **settings)


def pixels() -> np.ndarray:
    return np.stack([np.asarray(picture(seed, side=SIZE)) for seed in range(len(FILES))])


def test_every_file_is_a_row_in_order_and_good_ones_have_what_the_network_says(
    model, images, tmp_path
):
    summary = run(model, images, tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.schema.equals(ANSWERS_SCHEMA)
    rows = table.to_pandas()
    assert rows["path"].tolist() == ["a/0.png", "a/1.png", "a/broken.png", *FILES[2:]]

    expected = softmax(expected_logits(pixels()).astype(float), axis=1)
    good = rows[rows["error"].isna()].reset_index()
    assert good["label"].tolist() == expected.argmax(axis=1).tolist()
    np.testing.assert_allclose(good["probability"], expected.max(axis=1), rtol=1e-4)
    assert good["class_name"].tolist() == [CLASSES[k] for k in expected.argmax(axis=1)]
    for row, probabilities in zip(good.itertuples(), expected, strict=True):
        best = np.argsort(-probabilities)[:2]
        assert [entry["label"] for entry in row.top_k] == best.tolist()
        found = [entry["probability"] for entry in row.top_k]
        np.testing.assert_allclose(found, probabilities[best], rtol=1e-4)
    groups = pd.Series(["many", "medium", "medium", "few"])[good["label"]]
    assert good["group"].tolist() == groups.tolist()
    assert summary.images == 5 and summary.groups == groups.value_counts().to_dict()


def test_a_bad_image_is_a_row_with_the_reason_and_nothing_else(model, images, tmp_path):
    assert run(model, images, tmp_path / "out.parquet").failed == 1
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    (bad,) = [row for row in rows if row["error"] is not None]
    assert bad["path"] == "a/broken.png" and "truncated" in bad["error"]
    assert {bad[key] for key in bad if key not in ("path", "error")} == {None}


def test_nothing_but_bad_images_is_still_an_answer(model, tmp_path):
    write_tree(tmp_path / "in", {"notes.txt": b"no image", "empty.png": b""})
    summary = run(model, tmp_path / "in", tmp_path / "out.parquet")
    assert summary.failed == summary.images == 2 and summary.groups == {}
    assert pd.read_parquet(tmp_path / "out.parquet")["error"].notna().all()


def test_other_sizes_are_resized_as_in_training_and_batches_do_not_matter(model, tmp_path):
    from longtail.imaging import decode

    wide = encode(picture(5, side=40).resize((60, 25)), "JPEG")
    write_tree(tmp_path / "in", {f"{n}.jpg": wide for n in range(5)})
    run(model, tmp_path / "in", tmp_path / "out.parquet", batch_size=2, top_k=99)
    rows = pd.read_parquet(tmp_path / "out.parquet")
    expected = softmax(expected_logits(decode(wide, size=SIZE)[None]).astype(float), axis=1)
    np.testing.assert_allclose(rows["probability"], 5 * [expected.max()], rtol=1e-4)
    assert [len(top) for top in rows["top_k"]] == 5 * [len(CLASSES)]


def test_the_same_images_give_the_same_file(model, images, tmp_path):
    for name in ("one.parquet", "two.parquet"):
        run(model, images, tmp_path / name)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.parquet", "two.parquet"]


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_a_given_prior_changes_predictions_by_bayes_rule(model, images, tmp_path, kind):
    target = np.array([0.0, 0.1, 0.1, 0.8])
    prior = tmp_path / f"prior.{kind}"
    if kind == "json":
        prior.write_text(json.dumps(dict(zip(CLASSES, (50 * target).tolist(), strict=True))))
    else:
        table = pd.DataFrame({"class": CLASSES, "probability": target}).sample(frac=1)
        table.to_csv(prior, index=False)
    summary = run(model, images, tmp_path / "out.parquet", prior=prior)
    rows = pd.read_parquet(tmp_path / "out.parquet").dropna(subset="label")
    weighted = softmax(expected_logits(pixels()).astype(float), axis=1) * target / COUNTS
    expected = weighted / weighted.sum(axis=1, keepdims=True)
    assert rows["label"].tolist() == expected.argmax(axis=1).tolist()
    np.testing.assert_allclose(rows["probability"], expected.max(axis=1), rtol=1e-4)
    assert summary.prior == pytest.approx(dict(zip(CLASSES, target, strict=True)))


def test_what_the_model_has_learnt_can_be_said_otherwise(model, images, tmp_path):
    target = dict(zip(CLASSES, COUNTS, strict=True))
    (tmp_path / "prior.json").write_text(json.dumps(target))
    run(model, images, tmp_path / "plain.parquet")
    options = {"prior": tmp_path / "prior.json"}
    run(model, images, tmp_path / "same.parquet", **options)
    run(model, images, tmp_path / "balanced.parquet", **options, trained_balanced=True)
    plain, same, balanced = (
        pd.read_parquet(tmp_path / f"{name}.parquet").dropna(subset="label")
        for name in ("plain", "same", "balanced")
    )
    np.testing.assert_allclose(same["probability"], plain["probability"])
    weighted = softmax(expected_logits(pixels()).astype(float), axis=1) * COUNTS
    expected = (weighted / weighted.sum(axis=1, keepdims=True)).max(axis=1)
    np.testing.assert_allclose(balanced["probability"], expected, rtol=1e-4)


def test_an_estimated_prior_is_kept_as_a_file_that_gives_the_same_predictions(
    model, images, tmp_path, caplog
):
    estimated = run(model, images, tmp_path / "out.parquet", estimate=True)
    assert "4 images of 4 classes: the estimated shares of rare classes" in caplog.text
    assert "the model was balanced" not in caplog.text
    prior = json.loads((tmp_path / "out.prior.json").read_text())
    assert estimated.prior == prior and sum(prior.values()) == pytest.approx(1)
    given = run(model, images, tmp_path / "again.parquet", prior=tmp_path / "out.prior.json")
    assert given.prior == pytest.approx(prior)
    one, two = (pd.read_parquet(tmp_path / name) for name in ("out.parquet", "again.parquet"))
    assert one["label"].equals(two["label"])
    np.testing.assert_allclose(one["probability"], two["probability"])


def test_an_estimate_from_a_balanced_model_comes_with_a_warning(model, images, tmp_path, caplog):
    run(model, images, tmp_path / "out.parquet", estimate=True, trained_balanced=True)
    assert "the model was balanced" in caplog.text


def test_both_levels_are_answered(tmp_path, images):
    above = head(2, seed=2)
    levels = {"super_classes": ["insect", "pet"], "super_of": [0, 0, 1, 1]}
    for name, own in (("own", above), ("sums", None)):
        write_model(tmp_path / name, above=own, **levels)
        run(tmp_path / name, images, tmp_path / f"{name}.parquet")
    probabilities = softmax(expected_logits(pixels()).astype(float), axis=1)
    by_head = softmax(expected_logits(pixels(), above).astype(float), axis=1)
    by_sums = np.stack([probabilities[:, :2].sum(axis=1), probabilities[:, 2:].sum(axis=1)], axis=1)
    for name, expected in (("own", by_head), ("sums", by_sums)):
        rows = pd.read_parquet(tmp_path / f"{name}.parquet").dropna(subset="label")
        assert rows["super_label"].tolist() == expected.argmax(axis=1).tolist()
        assert set(rows["super_name"]) <= {"insect", "pet"}
        np.testing.assert_allclose(rows["super_probability"], expected.max(axis=1), rtol=1e-4)
        agree = probabilities.argmax(axis=1) // 2 == expected.argmax(axis=1)
        assert rows["levels_agree"].tolist() == agree.tolist()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"ant": 1, "bee": 1, "cat": 1, "dgo": 1}', r"no class is called 'dgo'.*dog"),
        ('{"ant": 1, "bee": 1, "cat": 1}', r"lacks 1 of 4 classes: dog; give 0"),
        ('{"ant": 1, "ant": 1, "bee": 1, "cat": 1, "dog": 1}', "names a class twice"),
        ('{"ant": -1, "bee": 1, "cat": 1, "dog": 1}', "shares of classes are 0 or more"),
        ('{"ant": NaN, "bee": 1, "cat": 1, "dog": 1}', "shares of classes are 0 or more"),
        ('{"ant": "many", "bee": 1, "cat": 1, "dog": 1}', "cannot be read as class -> prob"),
        ("[1, 2]", "no JSON object"),
    ],
)
def test_a_prior_that_is_none_is_refused(model, images, tmp_path, content, reason):
    (tmp_path / "prior.json").write_text(content)
    with pytest.raises(LongtailError, match=reason):
        run(model, images, tmp_path / "out.parquet", prior=tmp_path / "prior.json")
    assert [path.name for path in tmp_path.iterdir()] == ["prior.json"]


def test_what_cannot_be_done_is_said(model, images, tmp_path):
    out = tmp_path / "out.parquet"
    with pytest.raises(LongtailError, match="is no directory"):
        run(model, images / "z.png", out)
    (tmp_path / "empty").mkdir()
    with pytest.raises(LongtailError, match="holds no files"):
        run(model, tmp_path / "empty", out)
    with pytest.raises(LongtailError, match="either given or estimated"):
        run(model, images, out, prior=tmp_path / "prior.json", estimate=True)
    write_tree(tmp_path / "bad", {"notes.txt": b"no image"})
    with pytest.raises(LongtailError, match="no image could be read"):
        run(model, tmp_path / "bad", out, estimate=True)
    assert not out.exists()


def test_a_model_that_rejects_has_no_prior_and_one_without_a_class_never_predicts_it(
    images, tmp_path
):
    rejecting = write_model(tmp_path / "rejecting", rejects=True)
    with pytest.raises(LongtailError, match="rejects uncertain images"):
        run(rejecting, images, tmp_path / "out.parquet", estimate=True)
    prior = [0.5, 0.3, 0.2, 0.0]
    partial = write_model(tmp_path / "partial", prior=prior, class_counts=[50, 30, 20, 0])
    (tmp_path / "prior.json").write_text(json.dumps(dict.fromkeys(CLASSES, 1)))
    with pytest.raises(LongtailError, match=r"without images of dog.*give them the share 0"):
        run(partial, images, tmp_path / "out.parquet", prior=tmp_path / "prior.json")


def test_a_bucket_is_read_like_a_directory(model, images, tmp_path, s3: S3Server):
    objects = {
        f"photos/{path.relative_to(images)}": path.read_bytes()
        for path in images.rglob("*")
        if path.is_file()
    }
    s3.put(objects)
    run(model, images, tmp_path / "local.parquet")
    config = S3Config(endpoint_url=s3.endpoint, region="us-east-1")
    run(model, f"s3://{BUCKET}/photos", tmp_path / "bucket.parquet", s3=config)
    local, bucket = (tmp_path / f"{name}.parquet" for name in ("local", "bucket"))
    assert local.read_bytes() == bucket.read_bytes()
    assert sorted(tmp_path.iterdir()) == [bucket, local]


def test_a_bucket_that_fails_leaves_no_table_and_is_not_fetched_again(
    model, images, tmp_path, s3: S3Server
):
    s3.put({f"{n}.png": encode(picture(n)) for n in range(6)})
    s3.fault = lambda request: 403 if request.path.endswith("5.png") else None
    config = S3Config(endpoint_url=s3.endpoint, region="us-east-1", concurrency=1)
    out = tmp_path / "out.parquet"
    with pytest.raises(LongtailError, match="rights of the credentials"):
        run(model, f"s3://{BUCKET}", out, s3=config)
    assert not out.exists()
    s3.fault = lambda request: None
    s3.requests.clear()
    assert run(model, f"s3://{BUCKET}", out, s3=config).failed == 0
    assert s3.objects_read == ["5.png"]

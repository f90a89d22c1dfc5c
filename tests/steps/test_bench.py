"""`make bench` writes artifacts for the steps that it measures: they must fit the steps."""

from bench import ingest, stage2


def test_the_steps_of_heads_run_on_what_the_benchmark_writes(monkeypatch):
    small = {"IMAGES": 200, "VAL": 100, "BATCH": 8, "MEASURED_BATCHES": 1, "EPOCHS": 1}
    for name, value in small.items():
        monkeypatch.setattr(stage2, name, value)
    monkeypatch.setattr(stage2, "IMAGENET_LT", (100, 64, 100))
    assert all(value > 0 for value in stage2.run().values())


def test_ingest_and_embed_run_on_what_the_benchmark_writes(monkeypatch):
    for name, value in {"CLASSES": 10, "COPIED": 40, "FEW": 120, "MANY": 240}.items():
        monkeypatch.setattr(ingest, name, value)
    numbers = ingest.run()
    assert numbers["images"] == 40 and all(value > 0 for value in numbers.values())

"""Tables of versions at the width of a terminal."""

from longtail.commands import model_tables


def test_numbers_and_verdicts_are_whole_at_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    groups = ["101 to 500", "51 to 100", "21 to 50", "11 to 20", "1 to 10"]
    accuracy = {"all": {"balanced_accuracy": 0.5}, **{g: {"accuracy": 0.123} for g in groups}}
    version = {
        "version": "12",
        "aliases": ["champion", "previous-champion"],
        "verdict": "promote",
        "accuracy": accuracy,
        "made": "2026-11-21T10:00:00",
    }
    model_tables.versions("photos", [version])
    line = next(line for line in capsys.readouterr().out.splitlines() if "promote" in line)
    assert line.split() == ["12", "champion", "promote", "50.0", *["12.3"] * 5, "2026-11-21"]

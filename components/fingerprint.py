"""fingerprint: what identifies the source, as a value."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def fingerprint(params: dict, code_rev: str) -> str:
    """Look at the source of the images; always runs.

    The result is a value and not an artifact, so that the same source gives `ingest` the same
    inputs, and its result is found in the cache.
    """
    import tempfile
    from pathlib import Path

    from components.running import recorded, section
    from longtail.steps.fingerprint import fingerprint as step

    with recorded("fingerprint"), tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "source.json"
        step(section("ingest", params), out=out)
        return out.read_text(encoding="utf-8")

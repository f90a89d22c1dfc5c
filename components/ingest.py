"""ingest: the source as shards of encoded images and a manifest."""

from kfp import dsl
from kfp.dsl import Dataset, Output

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def ingest(
    params: dict, source: str, image_store: str, code_rev: str, images: Output[Dataset]
) -> None:
    """Read the source into shards and a manifest; with an image store, the shards lie there."""
    import tempfile
    from pathlib import Path

    from components import about
    from components.running import recorded, section
    from longtail.steps.ingest import ingest as step

    with recorded("ingest"), tempfile.TemporaryDirectory() as scratch:
        fingerprint = Path(scratch) / "source.json"
        fingerprint.write_text(source, encoding="utf-8")
        whole = Path(scratch) / "images" if image_store else Path(images.path)
        step(section("ingest", params), source=fingerprint, out=whole)
        if image_store:
            from longtail.io.publishing import publish

            publish(whole, url=image_store, out=Path(images.path))
    images.metadata.update(about.images(Path(images.path)))

"""champion: what the registry holds now, looked at each time and fetched when it has changed."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Output

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def incumbent(params: dict, code_rev: str, evaluation: Input[Dataset]) -> str:
    """Look up the champion that the candidate has to beat; always runs.

    The result is a value and not an artifact, so that the same champion gives what follows the same
    inputs, and its results are found in the cache.
    """
    import tempfile
    from pathlib import Path

    from components.running import recorded, section
    from longtail.artifacts import Champion
    from longtail.steps.champion import champion as step

    with recorded("incumbent"), tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "champion"
        step(section("register", params), evaluation=Path(evaluation.path), out=out)
        return Champion(out).identity.read_text(encoding="utf-8")


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def champion(
    params: dict,
    identity: str,
    code_rev: str,
    evaluation: Input[Dataset],
    champion: Output[Dataset],
) -> None:
    """Fetch the predictions of the champion that `incumbent` found."""
    from pathlib import Path

    from components import about
    from components.running import recorded, section
    from longtail.artifacts import Champion
    from longtail.errors import LongtailError
    from longtail.steps.champion import champion as step

    out = Path(champion.path)
    with recorded("champion"):
        step(section("register", params), evaluation=Path(evaluation.path), out=out)
        if Champion(out).identity.read_text(encoding="utf-8") != identity:
            raise LongtailError(
                "the registry's champion changed while this run was looking at it; run it again"
            )
    champion.metadata.update(about.champion(out))

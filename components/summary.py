"""summary: what a run did, whether it succeeded or not."""

from kfp import dsl
from kfp.dsl import Markdown, Output

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def summary(status: dsl.PipelineTaskFinalStatus, summary: Output[Markdown]) -> None:
    """Write what ran, what was cached, how long it took and the verdict; post it to a webhook.

    The webhook is the variable LONGTAIL_WEBHOOK, so that a secret can hold it.
    """
    import os
    from datetime import UTC, datetime
    from pathlib import Path

    from components import running, summing

    content = summing.summarize(
        running.records(),
        run=running.run_id(),
        state=status.state,
        error=status.error_message or "",
        now=datetime.now(UTC),
    )
    running.keep(running.SUMMARY, content)
    Path(summary.path).write_text(summing.markdown(content), encoding="utf-8")
    if os.environ.get("LONGTAIL_WEBHOOK"):
        summing.post(os.environ["LONGTAIL_WEBHOOK"], content)
    print(content["text"])

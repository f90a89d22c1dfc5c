"""`longtail pin`: the split of a finished run becomes the split of this checkout."""

import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from longtail.commands.steps import DEFAULT_PARAMS, Params

IMAGES, SPLIT, STAGES = Path("data/images"), Path("data/split"), Path("dvc.yaml")

Pointer = Annotated[
    str, typer.Argument(help="split.dvc of a run: a file, an s3:// address, or only its md5.")
]
Remote = Annotated[
    str | None, typer.Option(help="DVC remote of the run, s3://...; default: the checkout's own.")
]
Endpoint = Annotated[
    str | None, typer.Option("--endpoint-url", help="S3 endpoint; default: AWS_ENDPOINT_URL.")
]


def pin(
    pointer: Pointer,
    remote: Remote = None,
    endpoint_url: Endpoint = None,
    params: Params = DEFAULT_PARAMS,
) -> None:
    """Use the split of a finished run here.

    Fetches it into data/split and freezes the stage: `dvc repro` then uses it and makes no other.
    """
    from longtail.files import read_json, whole_directory
    from longtail.io.versioning import check_belongs, pointed_md5, pull, run_dvc

    _check_checkout()
    if remote is None:
        remote, endpoint_url = default_remote(endpoint_url)
    text = read_pointer(pointer, endpoint_url)
    with tempfile.TemporaryDirectory() as directory:
        fetched = Path(directory) / "split"
        pull(text, remote=remote, out=fetched, endpoint_url=endpoint_url)
        check_belongs(fetched, images=IMAGES)
        changed = adopt_parameters(params, read_json(fetched / "profile.json")["requested"])
        with whole_directory(SPLIT) as partial:
            shutil.copytree(fetched, partial, dirs_exist_ok=True)
    run_dvc(Path(), "commit", "--force", "split")
    freeze(STAGES, "split")
    for name in changed:
        typer.echo(f"{params}: {name} is now that of the pinned split.")
    typer.echo(
        f"{SPLIT} is {pointed_md5(text)}, and `dvc repro` uses it. Commit {STAGES}, dvc.lock and "
        f"{params}, and `dvc push` for other clones. To let go of it, delete `frozen: true` from "
        f"{STAGES} and run `dvc repro --force --single-item split`."
    )


def read_pointer(pointer: str, endpoint_url: str | None) -> str:
    """Return the text of a pointer that is named by a file, by an address in S3 or by its md5."""
    from longtail.errors import LongtailError
    from longtail.io.versioning import pointed_md5

    if "://" in pointer:
        return _read_object(pointer, endpoint_url)
    if Path(pointer).is_file():
        return Path(pointer).read_text(encoding="utf-8")
    try:
        return pointed_md5(pointer)
    except LongtailError:
        raise LongtailError(
            f"{pointer} is neither a file nor an md5. Download the artifact `pointer` of the run's "
            "split step, or copy `split_md5` from the artifact's metadata"
        ) from None


def _read_object(address: str, endpoint_url: str | None) -> str:
    from longtail.config.ingest import S3Config
    from longtail.errors import LongtailError
    from longtail.imaging import BadImage
    from longtail.io.storage import open_storage

    # KFP writes minio:// where its store is the one that it was installed with.
    root, _, name = address.replace("minio://", "s3://", 1).rpartition("/")
    with tempfile.TemporaryDirectory() as cache:
        storage = open_storage(root, s3=S3Config(endpoint_url=endpoint_url), cache=Path(cache))
        try:
            return storage.read(name).decode()
        except BadImage as error:
            raise LongtailError(f"{address}: {error}. Copy the artifact's address anew") from None


def default_remote(endpoint_url: str | None) -> tuple[str, str | None]:
    """Return address and S3 endpoint of the checkout's default DVC remote."""
    from longtail.errors import LongtailError
    from longtail.io.versioning import run_dvc

    listed = run_dvc(Path(), "config", "--list").splitlines()
    options = dict(line.split("=", 1) for line in listed if "=" in line)
    name = options.get("core.remote")
    if name is None:
        raise LongtailError(
            "This checkout has no default DVC remote. Name the run's with --remote, or set it for "
            "all clones: dvc remote add --default store s3://bucket/prefix"
        )
    url = options[f"remote.{name}.url"]
    if "://" not in url:
        url = str(Path(".dvc") / url)  # DVC keeps local ones relative to its configuration
    return url, endpoint_url or options.get(f"remote.{name}.endpointurl")


def adopt_parameters(params: Path, requested: dict[str, Any]) -> list[str]:
    """Set section `split` to what the pinned split was made with; return what that changed.

    The parameters are logged with the model, so they have to tell the truth about its split.
    """
    from longtail.config.params import load_section, set_parameters
    from longtail.config.split import SplitConfig

    present = load_section(params, "split", SplitConfig).model_dump(mode="json")
    changed: dict[str, Any] = {f"split.{k}": v for k, v in requested.items() if present.get(k) != v}
    if changed:
        set_parameters(params, changed)
    return sorted(changed)


def freeze(stages: Path, stage: str) -> None:
    """Set `frozen: true` in `dvc.yaml`; all other lines stay (`dvc freeze` rewrites the file)."""
    from ruamel.yaml import YAML

    from longtail.files import whole_file

    text = stages.read_text(encoding="utf-8")
    content = YAML().load(text)["stages"][stage]
    if content.get("frozen"):
        return
    lines = text.splitlines(keepends=True)
    lines.insert(content.lc.line, f"{' ' * content.lc.col}frozen: true\n")
    with whole_file(stages) as partial:
        partial.write_text("".join(lines), encoding="utf-8")


def _check_checkout() -> None:
    from longtail.errors import LongtailError

    if not STAGES.is_file() or not Path(".dvc").is_dir():
        raise LongtailError(f"No {STAGES} and .dvc here; run `longtail pin` at the top of a clone")
    if not (IMAGES / "manifest.parquet").is_file():
        raise LongtailError(f"{IMAGES} is not here yet; run `dvc repro ingest` first")

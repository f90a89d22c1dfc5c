"""Podman for tests: a storage of its own, stand-ins for what cannot be pulled, built images.

Where these tests run no registry can be reached, and limits are lower than podman's defaults. So
the base image is a bare Debian with Python, made here, and settings come with every call. The
storage lies in a directory of the test's own: nobody's images are touched.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
STAND_INS = Path(__file__).parent / "stand_ins"
PROGRAMS = ("podman", "runc", "mmdebstrap", "catatonit")
PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"
BASE, POSTGRES, CPU = "localhost/base:test", "localhost/postgres:test", "localhost/longtail:test"
SETTINGS = """
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
FREE_GIGABYTES = 20


def why_not() -> str | None:
    """Return why containers cannot be run here, or None."""
    if os.getuid() != 0:
        return "only root can make the stand-in base image and run containers from it"
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        return f"{', '.join(missing)} not found; apt-get install {' '.join(missing)}"
    if shutil.disk_usage(tempfile.gettempdir()).free < FREE_GIGABYTES * 1e9:
        return f"building needs {FREE_GIGABYTES} GB in {tempfile.gettempdir()}"
    return None


class Podman:
    """Podman on its own storage below `directory`, which `close` removes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        settings = directory / "containers.conf"
        settings.write_text(SETTINGS)
        temporary = directory / "tmp"
        temporary.mkdir()
        self._environment = {
            **os.environ,
            "CONTAINERS_CONF": str(settings),
            "TMPDIR": str(temporary),  # build caches too
        }
        # Podman wants fewer than 50 characters here, and pytest's own directories may have more.
        self._runroot = Path(tempfile.mkdtemp(prefix="podman-", dir="/tmp"))
        self._command = ["podman", "--runroot", str(self._runroot)]
        for option in ("root", "tmpdir", "network-config-dir", "volumepath"):
            (directory / option).mkdir()
            self._command += [f"--{option}", str(directory / option)]

    def __call__(self, *arguments: str, input: str | None = None, check: bool = True) -> str:
        """Run one command; return its standard output. Raise with all it said if it fails."""
        done = subprocess.run(
            [*self._command, *arguments],
            input=input,
            capture_output=True,
            text=True,
            env=self._environment,
        )
        if check and done.returncode:
            raise RuntimeError(f"podman {' '.join(arguments)}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def logs(self, pod: str) -> str:
        """Return what the containers of a pod printed, errors too."""
        done = subprocess.run(
            [*self._command, "pod", "logs", pod],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environment,
        )
        return done.stdout

    def make_base(self) -> None:
        """Import a bare Debian with Python under the name `BASE`."""
        archive = self._directory / "base.tar"
        command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}"]
        subprocess.run([*command, "bookworm", str(archive)], check=True, capture_output=True)
        self("import", str(archive), BASE)
        archive.unlink()

    def build(
        self, context: Path, *, tag: str, options: list[str], args: Mapping[str, str]
    ) -> None:
        """Build from a Containerfile with the network and the certificates of this machine."""
        given = [part for item in args.items() for part in ("--build-arg", "=".join(item))]
        volumes = ["--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro"]
        cache = Path.home() / ".cache" / "uv"
        if cache.is_dir():
            volumes += ["--volume", f"{cache}:/uv-cache"]
            given += ["--build-arg", "UV_CACHE_DIR=/uv-cache"]
        # Without layers of single instructions, which nothing here would use again.
        fixed = ["--quiet", "--layers=false", "--pull=never", "--network=host", "--tag", tag]
        self("build", *fixed, *volumes, *given, *options, str(context))

    @contextmanager
    def service(self) -> Iterator[str]:
        """Serve Docker's API; yield its address for DOCKER_HOST."""
        socket = self._directory / "podman.sock"
        address = f"unix://{socket}"
        process = subprocess.Popen(
            [*self._command, "system", "service", "--time=0", address], env=self._environment
        )
        try:
            while not socket.exists():
                assert process.poll() is None, "podman system service has ended"
                time.sleep(0.1)
            yield address
        finally:
            process.terminate()
            process.wait()

    def close(self) -> None:
        """Remove containers, images and the directory."""
        self("pod", "rm", "--all", "--force", "--time=0", check=False)
        self("rm", "--all", "--force", "--time=0", check=False)
        self("system", "reset", "--force", check=False)
        subprocess.run(["umount", str(self._directory / "root" / "overlay")], capture_output=True)
        for directory in (self._directory, self._runroot):
            shutil.rmtree(directory, ignore_errors=True)


def build_image(podman: Podman, *, target: str, revision: str) -> str:
    """Build one target of the project's Containerfile on the stand-in base; return its name."""
    args = {"PYTHON": BASE, "REVISION": revision}
    podman.build(ROOT, tag=CPU, options=["--target", target], args=args)
    return CPU


def build_postgres(podman: Podman) -> str:
    """Build the stand-in for PostgreSQL's image; return its name."""
    file = ["--file", str(STAND_INS / "postgres.Containerfile")]
    podman.build(STAND_INS, tag=POSTGRES, options=file, args={"BASE": BASE})
    return POSTGRES

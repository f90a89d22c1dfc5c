"""A Ceph object gateway for tests: one monitor, one OSD in memory, one gateway, all on loopback."""

import json
import os
import shutil
import subprocess
import time
import uuid
from contextlib import ExitStack
from pathlib import Path

from tests.steps.local_servers import free_port, wait_until_it_answers

PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
ACCESS_KEY, SECRET_KEY = "TESTACCESS", "TESTSECRET"
_OSD_SECONDS = (5, 10, 20, 40)  # how long each start of it may take
_SETTINGS = """
[global]
fsid = {fsid}
mon host = [v1:127.0.0.1:{mon_port}]
mon initial members = a
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
ms bind ipv6 = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
mon allow pool size one = true
mon max pg per osd = 1000
mon data avail crit = 1
paxos propose interval = 0.05
osd crush chooseleaf type = 0
osd objectstore = memstore
memstore device bytes = 2147483648
run dir = {root}
admin socket = {root}/$name.asok
log file = {root}/$name.log
mon data = {root}/mon
osd data = {root}/osd
rgw data = {root}/rgw
setuser match path =
[client.rgw.a]
rgw frontends = beast endpoint=127.0.0.1:{s3_port}
"""


def missing_programs() -> list[str]:
    """Return which of Ceph's programs are not on the path."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


class Radosgw:
    """A gateway that lives until `stop`; `endpoint` is its address."""

    def __init__(self, root: Path) -> None:
        # Another process may take a port that was free just now, and a command that comes before
        # the monitor's first map is refused for its "wrong fsid".
        for tries_left in (2, 1, 0):
            try:
                self._bring_up(root / f"{tries_left}")
                return
            except RuntimeError:
                if not tries_left:
                    raise

    def _bring_up(self, root: Path) -> None:
        self._root = root
        self._daemons = ExitStack()
        for name in ("mon", "osd", "rgw"):
            (root / name).mkdir(parents=True)
        mon_port, s3_port = free_port(), free_port()
        self.endpoint = f"http://127.0.0.1:{s3_port}"
        self._settings = root / "ceph.conf"
        fsid = str(uuid.uuid4())
        self._settings.write_text(
            _SETTINGS.format(fsid=fsid, root=root, mon_port=mon_port, s3_port=s3_port)
        )
        try:
            self._start(fsid, f"[v1:127.0.0.1:{mon_port}]")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the daemons, the gateway first."""
        self._daemons.close()

    def _start(self, fsid: str, mon_address: str) -> None:
        monmap = str(self._root / "monmap")
        self._run("monmaptool", "--create", "--addv", "a", mon_address, "--fsid", fsid, monmap)
        self._run("ceph-mon", "-i", "a", "--mkfs", "--monmap", monmap)
        self._daemon("ceph-mon", "-i", "a")
        osd = str(uuid.uuid4())
        self._run("ceph", "--connect-timeout", "30", "osd", "new", osd)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._start_osd()
        gateway = self._daemon("radosgw", "-n", "client.rgw.a")
        wait_until_it_answers(self.endpoint, gateway, self._root / "radosgw.out", seconds=120)
        user = ["--uid", "test", "--display-name", "test"]
        keys = ["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY]
        self._run("radosgw-admin", "user", "create", *user, *keys)

    def _start_osd(self) -> None:
        """Start the OSD, again if on a busy machine it has missed the monitor's first map.

        Each start has twice the time of the one before: one that is only slow is not to be ended.
        """
        for seconds in _OSD_SECONDS:
            daemon = self._daemon("ceph-osd", "-i", "0")
            if self._osd_is_up_within(seconds):
                return
            daemon.kill()
            daemon.wait()
        raise RuntimeError(f"Ceph's OSD does not come up; logs are in {self._root}")

    def _osd_is_up_within(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if json.loads(self._run("ceph", "osd", "stat", "--format=json"))["num_up_osds"]:
                return True
            time.sleep(0.5)
        return False

    def _run(self, program: str, *arguments: str) -> str:
        command = [program, "-c", str(self._settings), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=_environment())
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done.stdout

    def _daemon(self, program: str, *arguments: str) -> "subprocess.Popen[bytes]":
        command = [program, "-f", "-c", str(self._settings), *arguments]
        with (self._root / f"{program}.out").open("wb") as output:
            daemon = subprocess.Popen(command, stdout=output, stderr=output, env=_environment())
        self._daemons.callback(daemon.wait)
        self._daemons.callback(daemon.kill)
        return daemon


def _environment() -> dict[str, str]:
    return {**os.environ, "CEPH_ARGS": ""}

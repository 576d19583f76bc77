"""A Slurm of one node on this machine, for as long as a test needs it."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")
PATIENCE = 120  # seconds until something that should happen counts as not happening
SETTINGS = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={controller}
SlurmdPort={daemon}
AuthType=auth/munge
AuthInfo=socket={directory}/munge/socket
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool
SlurmctldLogFile={directory}/controller.log
SlurmdLogFile={directory}/daemon.log
SlurmctldPidFile={directory}/controller.pid
SlurmdPidFile={directory}/daemon.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing_programs() -> list[str]:
    """What of Slurm is not installed; munged refuses to work for anyone but root or its own user."""
    path = os.environ["PATH"] + ":/usr/sbin"
    return [name for name in PROGRAMS if shutil.which(name, path=path) is None]


@contextmanager
def slurm(directory: Path) -> Iterator[None]:
    """Run Slurm's daemons, all of whose files lie in ``directory``, and set SLURM_CONF."""
    for name in ("munge", "state", "spool"):
        (directory / name).mkdir(parents=True, mode=0o700)
    (directory / "munge").chmod(0o711)
    key = directory / "munge" / "key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    host = socket.gethostname()
    ports = dict(zip(("controller", "daemon"), free_ports(2), strict=True))
    settings = directory / "slurm.conf"
    settings.write_text(SETTINGS.format(host=host, directory=directory, **ports), encoding="utf-8")
    environment = os.environ | {"SLURM_CONF": str(settings), "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    munge = [f"--{one}={directory}/munge/{one}" for one in ("socket", "pid-file", "log-file", "seed-file")]
    lines = (
        ["munged", "--foreground", "--force", "--num-threads=1", f"--key-file={key}", *munge],
        ["slurmctld", "-D"],
        ["slurmd", "-D", "-N", host],
    )
    with ExitStack() as stack:
        for line in lines:
            log = stack.enter_context((directory / f"{line[0]}.out").open("wb"))
            process = subprocess.Popen(line, env=environment, stdout=log, stderr=subprocess.STDOUT)
            stack.callback(end, process)
            if line[0] == "munged":
                wait_until((directory / "munge" / "socket").exists)
        os.environ["SLURM_CONF"] = str(settings)
        stack.callback(os.environ.pop, "SLURM_CONF")
        wait_until(lambda: "idle" in ask("sinfo", "--noheader", "--format=%T"))
        yield


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop a daemon and what it has started."""
    process.terminate()
    process.wait(PATIENCE)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens at."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


def ask(*line: str) -> str:
    """What a command prints; empty if it fails."""
    return subprocess.run(line, capture_output=True, text=True).stdout


def wait_until(happens: Callable[[], object], patience: float = PATIENCE) -> None:
    """Return once ``happens()`` is true."""
    end_of_patience = time.monotonic() + patience
    while not happens():
        assert time.monotonic() < end_of_patience
        time.sleep(0.2)

"""A Slurm on this machine, whose nodes are daemons of it, for as long as a test needs it."""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PATIENCE = 120  # seconds until something that should happen counts as not happening
# A job that goes back to the queue waits there for as long as credentials last.
SETTINGS = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={controller}
AuthType=auth/munge
AuthInfo=socket={directory}/munge/socket,cred_expire=10
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool-%n
SlurmctldLogFile={directory}/controller.log
SlurmdLogFile={directory}/%n.log
SlurmctldPidFile={directory}/controller.pid
SlurmdPidFile={directory}/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
{nodes}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1 RealMemory=4000"
NODES = ("node1", "node2")


@contextmanager
def slurm(directory: Path) -> Iterator[None]:
    """Run Slurm's daemons, all of whose files lie in ``directory``, and set SLURM_CONF."""
    for name in ("munge", "state", *(f"spool-{node}" for node in NODES)):
        (directory / name).mkdir(parents=True, mode=0o700)
    (directory / "munge").chmod(0o711)
    key = directory / "munge" / "key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    host = socket.gethostname()
    controller, *ports = free_ports(1 + len(NODES))
    nodes = "\n".join(
        NODE.format(name=name, host=host, port=port) for name, port in zip(NODES, ports, strict=True)
    )
    settings = directory / "slurm.conf"
    text = SETTINGS.format(host=host, directory=directory, controller=controller, nodes=nodes)
    settings.write_text(text, encoding="utf-8")
    environment = os.environ | {"SLURM_CONF": str(settings), "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    munge = [f"--{one}={directory}/munge/{one}" for one in ("socket", "pid-file", "log-file", "seed-file")]
    lines = (
        ["munged", "--foreground", "--force", "--num-threads=1", f"--key-file={key}", *munge],
        ["slurmctld", "-D"],
        *(["slurmd", "-D", "-N", name] for name in NODES),
    )
    with ExitStack() as stack:
        for number, line in enumerate(lines):
            log = stack.enter_context((directory / f"{number}-{line[0]}.out").open("wb"))
            process = subprocess.Popen(line, env=environment, stdout=log, stderr=subprocess.STDOUT)
            stack.callback(process.wait, PATIENCE)
            stack.callback(process.terminate)
            if line[0] == "munged":
                wait_until((directory / "munge" / "socket").exists)
        os.environ["SLURM_CONF"] = str(settings)
        stack.callback(os.environ.pop, "SLURM_CONF")
        wait_until(lambda: ask("sinfo", "--noheader", "--format=%D %T").split() == [str(len(NODES)), "idle"])
        yield


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

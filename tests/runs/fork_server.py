"""Processes with the packages from elsewhere imported: forks of a server, by way of a program "python".

Importing torch costs seconds, and every stage is a process of its own; so does the first chart of a process,
so that one process draws for all. The server imports no module of the project, which belongs to each copy of
it. It serves until its standard input ends.
"""

import atexit
import gc
import importlib
import json
import marshal
import multiprocessing.util
import os
import pickle
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
import weakref
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Client
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

import PIL.Image

PRELOADED = (
    *("torch", "torchvision.transforms.v2", "numpy.ma", "numpy.ctypeslib", "numpy.typing", "jinja2"),
    *("ruamel.yaml.mergevalue", "msgspec", "safetensors.torch"),
    *("scipy.linalg", "scipy.optimize", "scipy.special", "threadpoolctl"),
    *("psutil", "tqdm", "PIL.PngImagePlugin", "grimp", "filelock", "timm"),
    *("dvc.cli", "dvc.cli.parser", "dvc.commands.repro", "dvc.repo.reproduce", "dvc.repo.open_repo"),
    *("dvc.repo.index", "dvc.repo.graph", "dvc.repo.trie", "dvc.repo.metrics.diff", "dvc.repo.experiments"),
    *("dvc.stage.run", "dvc.data_cloud", "dvc.cachemgr", "dvc.dirs", "dvc.scm", "dvc.lock", "dvc.rwlock"),
    *("dvc.repo.artifacts", "dvc.repo.datasets", "dvc.repo.plots", "dvc.repo.stage", "hydra", "configobj"),
    *("dvc.utils.hydra", "dvc.utils.strictyaml", "dvc_data.fs", "dvc_data.hashfile.db.local", "dvc_render"),
    *("dvc_data.hashfile.status", "dulwich.ignore", "dulwich.index", "dulwich.worktree", "pyparsing"),
    *("fsspec.implementations.memory", "networkx", "pygit2"),
    *("dvc_s3", "aiobotocore.session"),
)
# The program: has the server run modules of the project and of DVC, and is Python for all else.
# A module of_dvc is one that a test has written, which needs DVC.
CLIENT = """#!{python} -IS
import sys

line = sys.argv[1:]
if line[:1] == ["-m"] and line[1].partition(".")[0] in ("stages", "der", "dvc", "of_dvc"):
    import _socket, array, marshal, os
    server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    server.connect("{address}")
    request = marshal.dumps([os.getcwd(), dict(os.environ), line[1:]])
    server.sendmsg([request], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
    sys.exit(int(server.recv(9)))
import os
os.execv("{python}", ["{python}", *line])
"""
# Calls functions of vl_convert for whoever connects, until its standard input ends.
DRAWER = """
import os, sys, threading, vl_convert
from multiprocessing.connection import Listener

threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
with Listener(sys.argv[1]) as listener:
    print("ready", flush=True)
    while True:
        with listener.accept() as connection:
            name, positional, named = connection.recv()
            connection.send(getattr(vl_convert, name)(*positional, **named))
"""
Running = dict[int, tuple[int, socket.socket]]  # a fork's pidfd -> its number, and who asked for it


def serve(directory: Path) -> list[str]:
    """Write the program and answer it; returns in each fork, with a module's name and its arguments."""
    for name in PRELOADED:
        with suppress(ModuleNotFoundError):  # as in an older version of a package
            importlib.import_module(name)
    PIL.Image.init()  # its plugins
    draw_elsewhere(str(directory / "drawer"))
    forget_ends()
    read_and_write_yaml_fast()
    gc.freeze()
    address, program = directory / "socket", directory / "python"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(address))
    listener.listen(64)
    program.write_text(CLIENT.format(python=sys.executable, address=address))
    program.chmod(0o755)
    print("ready", flush=True)
    running: Running = {}
    while True:
        asking = {connection: number for number, connection in running.values()}
        ready, _, _ = select.select([sys.stdin, listener, *running, *asking], [], [])
        if sys.stdin in ready:
            for number in asking.values():
                os.kill(number, signal.SIGKILL)
            os._exit(0)
        for connection in asking.keys() & set(ready):  # it says no more, so it has ended
            os.kill(asking[connection], signal.SIGKILL)
        for ended in running.keys() & set(ready):
            answer(ended, *running.pop(ended))
        if listener in ready:
            connection, _ = listener.accept()
            request, descriptors, _, _ = socket.recv_fds(connection, 2**20, 3)
            number = os.fork()
            if number == 0:
                for one in (listener, connection, *asking):
                    one.close()
                return become(request, descriptors)
            running[os.pidfd_open(number)] = number, connection
            for descriptor in descriptors:
                os.close(descriptor)


def draw_elsewhere(address: str) -> None:
    """Have one process draw the charts of all forks."""
    line = [sys.executable, "-c", DRAWER, address]
    drawer = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert drawer.stdout and drawer.stdout.readline()
    module: Any = ModuleType("vl_convert")
    for name in ("vegalite_to_png", "vegalite_to_svg"):
        setattr(module, name, partial(ask, address, name))
    module.drawer = drawer  # whose input must stay open
    sys.modules["vl_convert"] = module


def ask(address: str, name: str, *positional: object, **named: object) -> object:
    """Call a function of vl_convert in the process that draws."""
    with Client(address) as connection:
        connection.send((name, positional, named))
        return connection.recv()


def forget_ends() -> None:
    """Leave out what the imported modules do at the end of a process, which takes a twentieth of a second."""
    atexit._clear()
    weakref.finalize._registry.clear()  # type: ignore[attr-defined]
    weakref.finalize._registered_with_atexit = False  # type: ignore[attr-defined]
    atexit.register(multiprocessing.util._exit_function)


def read_and_write_yaml_fast() -> None:
    """Have DVC parse no text twice, and write dvc.lock as JSON, which is YAML, too: half of its seconds."""
    from dvc.utils import strictyaml
    from dvc.utils.serialize import _yaml

    usual, write, known = _yaml.parse_yaml, _yaml._dump, dict[str, bytes]()

    def parse(text: str, path: str, typ: str = "safe") -> object:
        if typ != "safe":  # for where an error is
            return usual(text, path, typ)
        if text not in known:
            known[text] = pickle.dumps(usual(text, path))
        return pickle.loads(known[text])

    def dump(data: object, stream: TextIO) -> None:
        if stream.name.endswith(".yaml"):  # which people read
            write(data, stream)
            return
        text = json.dumps(data) + "\n"
        known[text] = pickle.dumps(json.loads(text))
        stream.write(text)

    strictyaml.parse_yaml = _yaml.parse_yaml = _yaml.parse_yaml_for_update = parse
    _yaml._dump = dump


def answer(ended: int, number: int, connection: socket.socket) -> None:
    """Tell who asked for a fork how it has ended."""
    os.close(ended)
    code = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
    with suppress(OSError):
        connection.send(str(code if code >= 0 else 128 - code).encode())
    connection.close()


def become(request: bytes, descriptors: list[int]) -> list[str]:
    """Be the process that a client asks for."""
    directory, environment, line = marshal.loads(request)
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    paths = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:1] = [directory, *(os.path.abspath(path) for path in paths if path)]
    if any(Path(path, "sitecustomize.py").exists() for path in paths if path):  # as Python does at start
        importlib.import_module("sitecustomize")
    return list(line)


def run(module: str, *arguments: str) -> int:
    """Run a module as a program; returns its exit status."""
    sys.argv = ["-m", *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    status = run(*serve(Path(sys.argv[1])))
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # taking apart what was imported would cost a share of what importing does

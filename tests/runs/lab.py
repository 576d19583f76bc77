"""A tiny pipeline in a directory of its own, run as a user runs it: through the command line."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from PIL import Image

from der.pipeline.fingerprint import KEPT

REPOSITORY = Path(__file__).resolve().parent.parent.parent
CLASSES = ("ant", "bee", "cat", "dog")
CHAIN = 2  # steps, as many as the protocol has
IMAGES = 8  # per class, two of them held out
# `der` and `dvc` in a shell: of the copy and this environment.
PROGRAMS = 'der() { python -m der "$@"; }\ndvc() { python -m dvc "$@"; }\n'
RESULTS = (
    *("data/fingerprints", "data/raw", "data/tasks", "data/features", "data/checkpoints", "data/memory"),
    *("data/compressed", "metrics"),
)
PAGE = "metrics/report.html"
MEASURED = re.compile(rb"<!-- measured -->.*?<!-- /measured -->", re.DOTALL)
KINDS = ("SITE_CACHE", "GLOBAL_CONFIG", "SYSTEM_CONFIG")  # of DVC's folders outside the project
PHASES = ("base", "incremental", "incremental.classifier")
EDITS = {
    "dataset.source": "folder",
    "dataset.test_fraction": 0.25,
    "protocol.first_classes": 2,
    "protocol.later_classes": 2,
    "network.depth": 8,
    "memory.budget": 8,
    **{f"train.{phase}.epochs": 1 for phase in PHASES},
    **{f"train.{phase}.milestones": [] for phase in PHASES},
    **{f"train.{phase}.batch_size": 8 for phase in PHASES},
}

Digests = dict[str, str]  # path -> digest of the file's bytes


class Repro(NamedTuple):
    """What a `dvc repro` did, by the names of stages."""

    run: list[str]  # recomputed
    restored: list[str]  # taken from the cache


@dataclass(frozen=True)
class Pipeline:
    """A copy of the repository with tiny data."""

    root: Path
    forks: Path | None = None  # the program "python" of a fork server; None: the usual one

    @property
    def python(self) -> str:
        """The program that runs modules here, also those of stages under DVC."""
        return str(self.forks or sys.executable)

    def plain(self) -> "Pipeline":
        """The same, with usual processes: for what is killed or looked at while it runs."""
        return replace(self, forks=None)

    def command(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the copy; the first word "python" or "dvc" is that of this environment."""
        module = {"python": (), "dvc": ("-m", "dvc")}.get(words[0])
        line = words if module is None else (self.python, *module, *words[1:])
        return subprocess.run(
            line,
            cwd=self.root,
            env=self.environment() | environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=900,
        )

    def succeed(self, *words: str, **environment: str) -> str:
        """Run a command that must succeed; returns what it printed."""
        done = self.command(*words, **environment)
        assert done.returncode == 0, f"{' '.join(words)}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def with_dvc(self, text: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a program that imports DVC."""
        place = self.root.parent / "programs"
        place.mkdir(exist_ok=True)
        (place / "of_dvc.py").write_text(text, encoding="utf-8")
        return self.command("python", "-m", "of_dvc", *words, PYTHONPATH=str(place))

    def der(self, *words: str) -> str:
        """As ``succeed``, for the copy's command `der`."""
        return self.succeed("python", "-m", "der", *words, PYTHONPATH="src")

    def shell(self, lines: str) -> str:
        """As ``succeed``, for lines in a shell, as users paste them."""
        return self.succeed("sh", "-ec", PROGRAMS + lines, PYTHONPATH="src")

    def environment(self) -> dict[str, str]:
        """The caller's, without what would tie the copy to another repository or to the user's set-up."""
        inherited = {name: text for name, text in os.environ.items() if not name.startswith(("GIT_", "DVC_"))}
        inherited.pop("PYTHONPATH", None)
        beside = self.root.parent / f"{self.root.name}.dvc"
        programs = [str(Path(program).parent) for program in (self.python, sys.executable)]
        of_dvc = {f"DVC_{kind}_DIR": str(beside / kind) for kind in KINDS}
        names = {f"GIT_{who}_NAME": "Tests" for who in ("AUTHOR", "COMMITTER")}
        mails = {f"GIT_{who}_EMAIL": "tests@example.org" for who in ("AUTHOR", "COMMITTER")}
        return {
            **(inherited | of_dvc | names | mails),
            "PATH": os.pathsep.join([*programs, os.environ["PATH"]]),
            "DER_DEVICE": "cpu",
            "DER_SCRATCH": str(beside / "scratch"),
            "OMP_NUM_THREADS": "1",  # several pipelines run side by side
            "DVC_NO_ANALYTICS": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
        }

    def repro(self, *targets: str, **environment: str) -> Repro:
        """Run `dvc repro`, of all stages or of ``targets`` and what they need, which must succeed."""
        printed = self.succeed("dvc", "repro", *targets, **environment)
        return Repro(
            re.findall(r"^Running stage '(.+)':$", printed, re.MULTILINE),
            re.findall(r"^Stage '(.+)' is cached - skipping run", printed, re.MULTILINE),
        )

    def plan(self) -> list[str]:
        """The stages that `der plan` names."""
        return listed(self.der("plan"))

    def edit(self, **values: Any) -> None:
        """Change parameters; a key is a dotted path with two underscores for each dot."""
        set_parameters(self.root / "params.yaml", {key.replace("__", "."): values[key] for key in values})

    def chain(self, length: int) -> None:
        """Make chain.yaml hold ``length`` steps."""
        self.der("chain", str(length))

    def commit(self, message: str) -> None:
        """Commit everything to git."""
        self.succeed("git", "add", "--all")
        self.succeed("git", "commit", "--quiet", "--message", message)

    def rewrite(self, path: str, pattern: str, replacement: str) -> None:
        """Edit a file's text, where the pattern must be found."""
        text = (self.root / path).read_text(encoding="utf-8")
        changed, count = re.subn(pattern, replacement, text, count=1, flags=re.MULTILINE)
        assert count, pattern
        (self.root / path).write_text(changed, encoding="utf-8")

    def add_code(self, *paths: str, line: str = "assert True") -> None:
        """Add a line to modules: other code to a fingerprint, with the same results."""
        for path in paths:
            with (self.root / path).open("a", encoding="utf-8") as stream:
                stream.write(f"\n{line}\n")

    def results(self) -> Digests:
        """Every file that the stages left, as ``repeatable``."""
        return repeatable(self.root, RESULTS)

    def from_scratch(self) -> Digests:
        """The results of all stages, run anew without DVC on the same parameters, data and code."""
        fresh = replace(self, root=self.root.with_name("fresh"))
        shutil.rmtree(fresh.root, ignore_errors=True)
        shutil.copytree(self.root, fresh.root, ignore=shutil.ignore_patterns(".git", ".dvc", "dvc.lock"))
        for directory in RESULTS:
            shutil.rmtree(fresh.root / directory)
        fresh.succeed("python", "-m", "stages")
        return fresh.results()

    def copy_to(self, root: Path) -> "Pipeline":
        """The same state of affairs at another place: files, DVC's cache and lock, git's history.

        Training state stays behind; what code says goes along.
        """
        # Of hundreds of files, faster than shutil's; likewise, what had two links is two files.
        subprocess.run(["cp", "-Rp", self.root, root], check=True)
        copy = replace(self, root=root)
        if self.kept_code.exists():
            copy.kept_code.parent.mkdir(parents=True)
            shutil.copyfile(self.kept_code, copy.kept_code)
        return copy

    @property
    def kept_code(self) -> Path:
        """Where stages find what code says."""
        return Path(self.environment()["DER_SCRATCH"]) / KEPT


def listed(plan: str) -> list[str]:
    """The stages in the table of `der plan`."""
    return re.findall(r"^(\w+(?:@\d+)?) +(?:-|(?:about )?[\d.]+)$", plan, re.MULTILINE)


def make_pipeline(
    root: Path, forks: Path | None = None, edits: dict[str, Any] = EDITS, length: int = CHAIN
) -> Pipeline:
    """Copy the repository as git sees it, uncommitted work included, and give it tiny data."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        source, target = REPOSITORY / name, root / name
        if source.is_file() and not name.startswith(("tests/", "metrics/", "dvc.lock")):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    pipeline = Pipeline(root, forks)
    set_parameters(root / "params.yaml", edits)
    pipeline.chain(length)
    write_images(root / "data/images/train")
    pipeline.succeed("git", "init", "--quiet")
    pipeline.commit("The pipeline")
    return pipeline


def write_images(directory: Path, classes: Sequence[str] = CLASSES) -> None:
    """Noise, of another brightness for every class."""
    random = np.random.RandomState(0)
    for number, name in enumerate(classes):
        (directory / name).mkdir(parents=True)
        for index in range(IMAGES):
            pixels = 40 * number + random.randint(0, 100, (8, 8))
            Image.fromarray(pixels.astype(np.uint8)).save(directory / name / f"{index}.png")


def set_parameters(path: Path, values: dict[str, Any]) -> None:
    """Set parameters of a params.yaml by their dotted paths; they must be there already."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    for dotted, value in values.items():
        section = content
        *parents, last = dotted.split(".")
        for parent in parents:
            section = section[parent]
        assert last in section, dotted
        section[last] = value
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def digests(root: Path, names: Sequence[str] = (".",)) -> Digests:
    """Digests of the files below ``names``; not of compiled modules, nor of what git and DVC keep."""
    found = {}
    for file in sorted(file for name in names for file in (root / name).rglob("*")):
        parts = file.relative_to(root).parts
        if file.is_file() and "__pycache__" not in parts and parts[0] not in (".git", ".dvc"):
            found["/".join(parts)] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def repeatable(root: Path, names: Sequence[str] = (".",)) -> Digests:
    """As ``digests``; of the page, what is not measured on the machine or in git."""
    found = digests(root, names)
    if PAGE in found:
        kept = MEASURED.sub(b"", (root / PAGE).read_bytes())
        found[PAGE] = hashlib.sha256(kept).hexdigest()
    return found


def numbered(*stages: str) -> list[str]:
    """["T1", "B2", "E3"] as DVC names the stages, other names as they are."""
    names = {"T": "train_task", "B": "build_memory", "E": "evaluate", "C": "compress"}
    return [re.sub(r"^([TBEC])(\d+)$", lambda match: f"{names[match[1]]}@{match[2]}", one) for one in stages]


# What DVC itself makes of dvc.yaml: per stage its command and the paths and parameters it names.
GRAPH_SCRIPT = """
import json
from dvc.repo import Repo
from dvc.stage.utils import split_params_deps
graph = {}
for stage in Repo(".").index.stages:
    params, deps = split_params_deps(stage)
    paths = [[one.def_path for one in some] for some in (deps, stage.outs)]
    graph[stage.addressing] = stage.cmd, *paths, [name for entry in params for name in entry.params]
print(json.dumps(graph))
"""


class Stage(NamedTuple):
    """One stage of the resolved graph; paths as in dvc.yaml."""

    cmd: str
    deps: list[str]
    outs: list[str]
    params: list[str]

    @property
    def name(self) -> str:
        """The name of its script, without the step."""
        return self.cmd.split()[2].removeprefix("stages.")


def read_graph(pipeline: Pipeline) -> dict[str, Stage]:
    """The stages of a pipeline by name."""
    content = json.loads(pipeline.with_dvc(GRAPH_SCRIPT).stdout)
    return {name: Stage(*fields) for name, fields in content.items()}


def declares(declared: Sequence[str], path: str) -> bool:
    """Whether ``path`` is one of ``declared``, or lies in one."""
    return any(path == one or path.startswith(one + "/") for one in declared)

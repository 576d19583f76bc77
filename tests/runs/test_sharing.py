"""Finished steps through a remote: what a clone trains, and what it makes of a damaged remote.

The remotes are set up by the lines of docs/sharing.md, with their addresses replaced.
"""

import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from moto.server import ThreadedMotoServer

from tests.runs.lab import PAGE, Digests, Pipeline, Repro, numbered
from tests.runs.pages import blocks

SET_UP, PUSH, PULL, CREDENTIALS, WITHOUT_IMAGES, GO_ON = blocks("docs/sharing.md")
STAGE = "train_task@2"  # the page's example of a stage that DVC stops at
SECRETS = {"ID": "tests", "SECRET": "secret"}


def words(line: str) -> list[str]:
    return shlex.split(line, comments=True)


def set_up(pipeline: Pipeline, address: str, replacement: str) -> None:
    """Run the page's lines for the remote that has this address there."""
    for line in map(words, SET_UP.splitlines()):
        if line[:3] != ["dvc", "remote", "add"]:
            pipeline.succeed(*line)
        elif line[-1] == address:
            pipeline.succeed(*line[:-1], replacement)


def clone(pipeline: Pipeline, images: bool = True) -> Pipeline:
    """A clone as git makes it, in another folder and without DVC's cache, but with the same images."""
    root = pipeline.root.with_name("clone")
    pipeline.succeed("git", "clone", "--quiet", str(pipeline.root), str(root))
    if images:
        shutil.copytree(pipeline.root / "data/images", root / "data/images", dirs_exist_ok=True)
    return replace(pipeline, root=root)


def pull(pipeline: Pipeline, line: str = PULL) -> list[str]:
    """Run the page's line for clones; returns the stages that ran."""
    printed = pipeline.succeed(*words(line))
    return re.findall(r"^Running stage '(.+)':$", printed, re.MULTILINE)


class Folder:
    """A plain folder as the remote."""

    def __init__(self, root: Path, pipeline: Pipeline) -> None:
        self.root = root
        set_up(pipeline, "/folder/der", str(root))

    def authorise(self, pipeline: Pipeline) -> None:
        """Nobody asks."""

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()

    def write(self, name: str, content: bytes | None) -> None:
        """Put an object in place of that of the same name; None removes it."""
        (self.root / name).unlink()
        if content is not None:
            (self.root / name).write_bytes(content)


class Bucket:
    """A bucket of an S3 server as the remote."""

    def __init__(self, endpoint: str, name: str, pipeline: Pipeline) -> None:
        self.endpoint, self.name = endpoint, name
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id=SECRETS["ID"],
            aws_secret_access_key=SECRETS["SECRET"],
        )
        self.client.create_bucket(Bucket=name)
        set_up(pipeline, "s3://bucket/der", f"s3://{name}/der")

    def authorise(self, pipeline: Pipeline) -> None:
        """Run the page's lines for credentials."""
        for *line, value in map(words, CREDENTIALS.splitlines()):
            pipeline.succeed(*line, SECRETS.get(value, self.endpoint))

    def read(self, name: str) -> bytes:
        content: bytes = self.client.get_object(Bucket=self.name, Key=f"der/{name}")["Body"].read()
        return content

    def write(self, name: str, content: bytes | None) -> None:
        """Put an object in place of that of the same name; None removes it."""
        if content is None:
            self.client.delete_object(Bucket=self.name, Key=f"der/{name}")
        else:
            self.client.put_object(Bucket=self.name, Key=f"der/{name}", Body=content)


Remote = Folder | Bucket


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of an S3 server on this machine."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["S3", "folder"])
def remote(request: pytest.FixtureRequest, pipeline: Pipeline, tmp_path: Path) -> Remote:
    """A remote that has everything of ``pipeline``."""
    made: Remote
    if request.param == "S3":
        name = re.sub("[^a-z0-9]+", "-", f"tests{tmp_path}".lower())[-60:].strip("-")
        made = Bucket(request.getfixturevalue("s3"), name, pipeline)
    else:
        made = Folder(tmp_path / "remote", pipeline)
    made.authorise(pipeline)
    pipeline.succeed(*words(PUSH))
    return made


def object_name(digest: str) -> str:
    return f"files/md5/{digest[:2]}/{digest[2:]}"


def listing(pipeline: Pipeline, output: str) -> str:
    """The name of a remote's object for an output: a file, or the listing of a directory."""
    stages = yaml.safe_load((pipeline.root / "dvc.lock").read_text(encoding="utf-8"))["stages"].values()
    (digest,) = {out["md5"] for stage in stages for out in stage.get("outs", []) if out["path"] == output}
    return object_name(digest)


def member(pipeline: Pipeline, remote: Remote, output: str, name: str) -> str:
    """The name of a remote's object for a file in a directory."""
    files = yaml.safe_load(remote.read(listing(pipeline, output)))
    return object_name(next(file["md5"] for file in files if file["relpath"] == name))


def recorded_results(pipeline: Pipeline) -> Digests:
    """What DVC brings or stages leave, without the page, which is no output."""
    return {path: digest for path, digest in pipeline.results().items() if path != PAGE}


def damage(content: bytes) -> bytes:
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


def test_a_clone_trains_nothing(remote: Remote, pipeline: Pipeline) -> None:
    colleague = clone(pipeline)
    remote.authorise(colleague)
    assert pull(colleague) == []
    assert recorded_results(colleague) == recorded_results(pipeline)
    assert colleague.succeed("git", "status", "--porcelain") == ""
    assert colleague.repro() == Repro([], [])
    assert not (colleague.root / PAGE).exists()
    colleague.der("report")
    assert colleague.results() == pipeline.results()


@pytest.mark.parametrize("remote", ["folder"], indirect=True)
def test_a_clone_trains_from_the_first_step_that_an_edit_reaches(remote: Remote, pipeline: Pipeline) -> None:
    colleague = clone(pipeline, images=False)
    remote.authorise(colleague)
    colleague.edit(train__incremental__learning_rate=0.05)
    assert sorted(pull(colleague, WITHOUT_IMAGES)) == sorted(
        numbered("T2", "B2", "E2", "T3", "B3", "summarize", "report")
    )
    theirs, ours = colleague.results(), pipeline.results()
    same = [
        path for path in ours if path.startswith(("data/checkpoints/1/", "data/memory/1/", "data/tasks/"))
    ]
    assert same and all(theirs[path] == ours[path] for path in same)
    checkpoint = "data/checkpoints/2/extractor_2.safetensors"
    assert theirs[checkpoint] != ours[checkpoint]


@pytest.mark.parametrize("remote", ["S3"], indirect=True)
def test_changed_bytes_and_lost_results_are_computed_again(remote: Remote, pipeline: Pipeline) -> None:
    changed = member(pipeline, remote, "data/checkpoints/1", "extractor_1.safetensors")
    remote.write(changed, damage(remote.read(changed)))
    remote.write(listing(pipeline, "data/memory/2"), None)
    remote.write(listing(pipeline, "metrics/steps/1"), None)
    colleague = clone(pipeline)
    remote.authorise(colleague)
    assert pull(colleague) == numbered("T1", "B2", "E1")
    assert recorded_results(colleague) == recorded_results(pipeline)


def test_where_dvc_stops_one_stage_alone_is_computed(pipeline: Pipeline, tmp_path: Path) -> None:
    remote = Folder(tmp_path / "remote", pipeline)
    pipeline.succeed(*words(PUSH))
    lost = member(pipeline, remote, "data/checkpoints/1", "extractor_1.safetensors")
    unreadable = listing(pipeline, "data/memory/2")
    remote.write(lost, None)
    remote.write(unreadable, remote.read(unreadable)[:-9])
    colleague = clone(pipeline)
    force, again = map(words, GO_ON.splitlines())
    assert again == words(PULL) and STAGE in force
    for stage in numbered("T1", "B2"):
        stopped = colleague.command(*words(PULL))
        assert stopped.returncode != 0
        assert f"failed to reproduce '{stage}'" in stopped.stderr
        assert "Running stage" not in stopped.stdout
        assert f"Running stage '{stage}'" in colleague.succeed(
            *(stage if word == STAGE else word for word in force)
        )
    assert pull(colleague) == []
    assert recorded_results(colleague) == recorded_results(pipeline)


def test_lines_for_ssh(pipeline: Pipeline) -> None:
    set_up(pipeline, "ssh://user@host/folder/der", "ssh://user@host/folder/der")
    assert pipeline.succeed("dvc", "remote", "list").split()[:2] == ["shared", "ssh://user@host/folder/der"]

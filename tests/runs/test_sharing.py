"""Finished steps through a remote: what a clone trains, and what it makes of a damaged remote.

The remotes are set up by the lines of docs/sharing.md, with their addresses replaced.
"""

import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.runs.lab import PAGE, Digests, Pipeline, Repro, numbered
from tests.runs.pages import blocks

SET_UP, PUSH, PULL, CREDENTIALS, WITHOUT_IMAGES, GO_ON = blocks("docs/sharing.md")
STAGE = "train_task@2"  # the page's example of a stage that DVC stops at
SECRETS = {"ID": "tests", "SECRET": "secret"}
EXTRACTOR = ("data/checkpoints/1", "extractor_1.safetensors")


def words(line: str) -> list[str]:
    return shlex.split(line, comments=True)


def set_up(pipeline: Pipeline, address: str, replacement: str) -> None:
    """Run the page's lines for the remote that has this address there."""
    for line in map(words, SET_UP.splitlines()):
        if line[:3] != ["dvc", "remote", "add"]:
            pipeline.succeed(*line)
        elif line[-1] == address:
            pipeline.succeed(*line[:-1], replacement)


def authorise(pipeline: Pipeline, endpoint: str) -> None:
    """Run the page's lines for credentials."""
    for *line, value in map(words, CREDENTIALS.splitlines()):
        pipeline.succeed(*line, SECRETS.get(value, endpoint))


def clone(pipeline: Pipeline, name: str, images: bool = True) -> Pipeline:
    """A clone as git makes it, in another folder and without DVC's cache, but with the same images."""
    root = pipeline.root.with_name(name)
    pipeline.succeed("git", "clone", "--quiet", str(pipeline.root), str(root))
    if images:
        shutil.copytree(pipeline.root / "data/images", root / "data/images", dirs_exist_ok=True)
    return replace(pipeline, root=root)


def pull(pipeline: Pipeline, line: str = PULL) -> list[str]:
    """Run the page's line for clones; returns the stages that ran."""
    printed = pipeline.succeed(*words(line))
    return re.findall(r"^Running stage '(.+)':$", printed, re.MULTILINE)


def object_name(digest: str) -> str:
    return f"files/md5/{digest[:2]}/{digest[2:]}"


def listing(pipeline: Pipeline, output: str) -> str:
    """The name of a remote's object for an output: a file, or the listing of a directory."""
    stages = yaml.safe_load((pipeline.root / "dvc.lock").read_text(encoding="utf-8"))["stages"].values()
    (digest,) = {out["md5"] for stage in stages for out in stage.get("outs", []) if out["path"] == output}
    return object_name(digest)


def member(listed: bytes, name: str) -> str:
    """The name of a remote's object for a file, from the listing of its directory."""
    return object_name(next(file["md5"] for file in yaml.safe_load(listed) if file["relpath"] == name))


def recorded_results(pipeline: Pipeline) -> Digests:
    """What DVC brings or stages leave, without the page, which is no output."""
    return {path: digest for path, digest in pipeline.results().items() if path != PAGE}


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of an S3 server on this machine."""
    from moto.server import ThreadedMotoServer  # takes seconds to import

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.mark.torture  # a folder's test has the same promises
def test_a_bucket(s3: str, pipeline: Pipeline) -> None:
    import boto3

    keys = {"aws_access_key_id": SECRETS["ID"], "aws_secret_access_key": SECRETS["SECRET"]}
    bucket = boto3.resource("s3", endpoint_url=s3, region_name="us-east-1", **keys).Bucket("tests")
    bucket.create()
    set_up(pipeline, "s3://bucket/der", "s3://tests/der")
    authorise(pipeline, s3)
    pipeline.succeed(*words(PUSH))

    # Changed bytes and lost results are computed again.
    listed = bucket.Object(f"der/{listing(pipeline, EXTRACTOR[0])}").get()["Body"].read()
    changed = bucket.Object(f"der/{member(listed, EXTRACTOR[1])}")
    content = changed.get()["Body"].read()
    changed.put(Body=content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    for lost in ("data/memory/2", "metrics/steps/1"):
        bucket.Object(f"der/{listing(pipeline, lost)}").delete()
    colleague = clone(pipeline, "clone")
    authorise(colleague, s3)
    assert pull(colleague) == numbered("T1", "B2", "E1")
    assert recorded_results(colleague) == recorded_results(pipeline)
    assert colleague.succeed("git", "status", "--porcelain") == ""
    assert colleague.repro() == Repro([], [])
    assert not (colleague.root / PAGE).exists()
    colleague.der("report")
    assert colleague.results() == pipeline.results()


def test_a_folder(pipeline: Pipeline, tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    set_up(pipeline, "/folder/der", str(remote))
    pipeline.succeed(*words(PUSH))
    # A clone without images trains from the first step that an edit reaches.
    colleague = clone(pipeline, "clone", images=False)
    colleague.edit(train__incremental__learning_rate=0.05)
    assert sorted(pull(colleague, WITHOUT_IMAGES)) == sorted(
        numbered("T2", "B2", "E2", "C2", "summarize", "report")
    )
    theirs, ours = colleague.results(), pipeline.results()
    kept = ("data/checkpoints/1/", "data/memory/1/", "data/tasks/")
    assert all(theirs[path] == ours[path] for path in ours if path.startswith(kept))
    trained = "data/checkpoints/2/extractor_2.safetensors"
    assert theirs[trained] != ours[trained]

    # Where DVC stops, one stage alone is computed.
    (remote / member((remote / listing(pipeline, EXTRACTOR[0])).read_bytes(), EXTRACTOR[1])).unlink()
    unreadable = remote / listing(pipeline, "data/memory/2")
    content = unreadable.read_bytes()
    unreadable.unlink()
    unreadable.write_bytes(content[:-9])
    another = clone(pipeline, "another")
    force, again = map(words, GO_ON.splitlines())
    assert again == words(PULL) and STAGE in force
    for stage in numbered("T1", "B2"):
        stopped = another.command(*words(PULL))
        assert stopped.returncode != 0
        assert f"failed to reproduce '{stage}'" in stopped.stderr
        assert "Running stage" not in stopped.stdout
        alone = another.succeed(*(stage if word == STAGE else word for word in force))
        assert f"Running stage '{stage}'" in alone
    assert pull(another) == []
    assert recorded_results(another) == recorded_results(pipeline)


def test_lines_for_ssh(pipeline: Pipeline) -> None:
    set_up(pipeline, "ssh://user@host/folder/der", "ssh://user@host/folder/der")
    assert pipeline.succeed("dvc", "remote", "list").split()[:2] == ["shared", "ssh://user@host/folder/der"]

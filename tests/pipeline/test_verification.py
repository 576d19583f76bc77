"""Damage of results and of objects that are named by their hashes: found where it is, and nowhere else."""

import hashlib
import json
import os
from pathlib import Path

import pytest
import yaml

from der.core.sealed import MANIFEST, sealed_directory
from der.pipeline import paths, verification
from der.pipeline.objects import list_files
from der.pipeline.params import write_side
from der.pipeline.running_code import describe
from der.pipeline.steps import write_chain
from der.pipeline.verification import find_all_damage, find_damaged_results, repair

GRAPH = {
    "check": {"outs": [{"data/fingerprints": {"persist": True}}, {"data/input.json": {"persist": True}}]},
    "download": {"outs": ["data/raw"]},
    "split": {"outs": ["data/tasks"]},
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of a project in the current directory with sealed results, all of which are in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(verification, "find_cache", lambda: tmp_path / "cache")
    write_chain(1)
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": GRAPH}))
    for split in ("train", "test"):
        with sealed_directory(paths.RAW / split) as directory:
            (directory / "cat.npy").write_bytes(split.encode())
    write_side(224)
    paths.FINGERPRINTS.mkdir()
    paths.fingerprint("split").write_text(describe({"der": "0123"}))
    files = {path.relative_to(paths.RAW).as_posix(): path for path in paths.RAW.rglob("*") if path.is_file()}
    for path in files.values():
        put(tmp_path / "cache", path.read_bytes())
    put(tmp_path / "cache", list_files({name: md5(files[name].read_bytes()) for name in files}), ".dir")
    return tmp_path / "cache"


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def put(cache: Path, content: bytes, suffix: str = "") -> Path:
    path = cache / md5(content)[:2] / f"{md5(content)[2:]}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o444)
    return path


def spoil(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-2])


def test_a_listing_is_what_dvc_writes() -> None:
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    tree = Tree()
    hashes = {"b": "1" * 32, "a/ü.npy": "2" * 32, "a.npy": "3" * 32}
    for name, value in hashes.items():
        tree.add(tuple(name.split("/")), None, HashInfo("md5", value))
    assert list_files(hashes) == tree.as_bytes()


def test_nothing_is_found_where_nothing_is_damaged(cache: Path) -> None:
    (cache / "ab").mkdir(exist_ok=True)
    (cache / "ab" / "unfinished.tmp").write_bytes(b"of DVC's")
    (paths.RAW / "train.partial").mkdir()
    assert find_all_damage() == []


STRANGERS = (
    "data/raw/.DS_Store",
    "data/raw/train/.DS_Store",
    "data/tasks/notes/1/a.txt",
    "data/checkpoints/.DS_Store",
    "data/checkpoints/exports/network.onnx",
    "data/checkpoints/1_old/network.json",
    "data/memory/a.zip",
    "metrics/steps/7/metrics.json",  # past the chain's end
    "data/fingerprints/.DS_Store",
    "data/fingerprints/mine",
)


def test_what_no_stage_leaves_is_neither_judged_nor_removed() -> None:
    for path in map(Path, STRANGERS):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"of somebody")
    assert find_all_damage() == []
    spoil(paths.RAW / "test/cat.npy")
    spoil(paths.fingerprint("split"))
    assert len(list(repair(find_all_damage()))) == 2
    assert all(Path(path).read_bytes() == b"of somebody" for path in STRANGERS)


def test_the_side_of_images_is_made_again() -> None:
    paths.INPUT.write_bytes(paths.INPUT.read_bytes().replace(b"224", b"225"))
    (damage,) = find_all_damage()
    assert damage.sentence == "data/input.json: damaged, its bytes are not those that were written"
    assert list(repair([damage])) == [f"{damage.sentence}; removed"]
    assert not paths.INPUT.exists()


@pytest.mark.parametrize("suffix", ["", ".dir"])
def test_an_object_is_put_back_from_the_results(suffix: str, cache: Path) -> None:
    path = sorted(path for path in cache.glob("??/*") if path.suffix == suffix)[0]
    whole = path.read_bytes()
    spoil(path)
    (damage,) = find_all_damage()
    assert damage.sentence == f"{path.relative_to(Path.cwd())}: damaged, an object of DVC's cache"
    assert list(repair([damage])) == [f"{damage.sentence}; put back"]
    assert path.read_bytes() == whole and path.stat().st_mode & 0o777 == 0o444


def test_an_object_of_which_there_is_no_copy_is_removed(cache: Path) -> None:
    path = put(cache, b"of another experiment")
    spoil(path)
    (damage,) = find_all_damage()
    assert list(repair([damage])) == [f"{damage.sentence}; removed"]
    assert not path.exists() and find_all_damage() == []


@pytest.mark.parametrize("name", ["cat.npy", MANIFEST])
def test_a_damaged_result_goes_with_its_directory(name: str) -> None:
    spoil(paths.RAW / "test" / name)
    (damage,) = find_all_damage()
    assert damage.sentence.startswith(f"data/raw/test/{name}: ")
    assert list(repair([damage])) == [f"{damage.sentence}; removed data/raw/test"]
    assert [path.name for path in paths.RAW.iterdir()] == ["train"]


def test_an_object_is_put_back_before_its_copy_s_directory_goes(cache: Path) -> None:
    path = cache / md5(b"test")[:2] / md5(b"test")[2:]
    spoil(path)
    spoil(paths.RAW / "test" / MANIFEST)
    assert len(list(repair(find_all_damage()))) == 2
    assert path.read_bytes() == b"test" and not (paths.RAW / "test").exists()


def test_a_fingerprint_is_found_if_it_is_damaged_but_not_if_it_is_of_other_code() -> None:
    path = paths.fingerprint("split")
    path.write_text(describe({"der": "4567"}))
    assert list(find_damaged_results()) == []
    spoil(path)
    (damage,) = find_damaged_results()
    assert list(repair([damage])) == [f"{damage.sentence}; removed"]
    assert json.dumps([str(one) for one in paths.FINGERPRINTS.iterdir()]) == "[]"


@pytest.mark.parametrize("name", ["metrics/summary.json", "metrics/plots/a.csv"])
def test_what_is_not_sealed_is_compared_with_what_dvc_recorded(name: str) -> None:
    for path in ("metrics/summary.json", "metrics/plots/a.csv", "metrics/plots/b.png"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(path)
    Path("metrics/plots/.DS_Store").touch()
    plots = list_files({one: md5(f"metrics/plots/{one}".encode()) for one in ("a.csv", "b.png")})
    left = {
        "summarize": {
            "metrics/summary.json": md5(b"metrics/summary.json"),
            "metrics/plots": f"{md5(plots)}.dir",
        },
    }
    stages = {
        stage: {"outs": [{"path": path, "md5": value} for path, value in outputs.items()]}
        for stage, outputs in left.items()
    }
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": stages}))
    assert find_all_damage() == []
    spoil(Path(name))
    output = Path("metrics/plots") if "plots" in name else Path(name)
    (damage,) = find_all_damage()
    assert damage.sentence == f"{output}: other bytes than dvc.lock records of it"
    assert len(list(repair([damage]))) == 1
    assert not output.exists() and find_all_damage() == []


def test_what_is_no_file_where_the_cache_has_an_object(cache: Path) -> None:
    folder, pipe = (put(cache, content) for content in (b"one", b"two"))
    for path in (folder, pipe):
        path.unlink()
    folder.mkdir()
    os.mkfifo(pipe)
    assert {damage.remove for damage in find_all_damage()} == {folder, pipe}
    assert len(list(repair(find_all_damage()))) == 2
    assert find_all_damage() == [] and not folder.exists() and not pipe.exists()

"""DVC's objects and their names; damage of them and of results is found, and mended."""

import hashlib
from pathlib import Path

import pytest
import yaml

from der.core.files import MANIFEST, sealed_directory
from der.pipeline import dvc, project
from der.pipeline.dvc import Damage, find_all_damage, hash_output, holds, repair
from der.pipeline.project import write_chain

GRAPH = {
    "check": {"outs": [{"data/fingerprints": {"persist": True}}, {"data/input.json": {"persist": True}}]},
    "download": {"outs": ["data/raw"]},
    "summarize": {"metrics": ["metrics/summary.json"], "outs": ["metrics/plots"]},
}
STRANGERS = (
    "data/raw/.DS_Store",
    "data/raw/train/.DS_Store",
    "data/tasks/notes/1/a.txt",
    "data/checkpoints/1_old/network.json",
    "data/memory/a.zip",
    "metrics/plots/.DS_Store",
    "metrics/steps/7/metrics.json",  # past the chain's end
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of a project in the current directory with results, all of which are in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dvc, "find_cache", lambda: tmp_path / "cache")
    write_chain(1)
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": GRAPH}))
    for split in ("train", "test"):
        with sealed_directory(project.RAW / split) as directory:
            (directory / "cat.npy").write_bytes(split.encode())
    for name in ("metrics/summary.json", "metrics/plots/a.csv", "metrics/plots/b.png", "data/input.json"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(name)
    recorded = {"check": ["data/input.json"], "summarize": ["metrics/summary.json", "metrics/plots"]}
    stages = {
        stage: {"outs": [{"path": one, "md5": hash_output(Path(one))} for one in outs]}
        for stage, outs in recorded.items()
    }
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": stages}))
    for file in (path for path in project.RAW.rglob("*") if path.is_file()):
        put(tmp_path / "cache", file.read_bytes())
    put(tmp_path / "cache", listing_of(project.RAW), ".dir")
    return tmp_path / "cache"


def listing_of(directory: Path) -> bytes:
    """What DVC writes for a directory, by DVC."""
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    tree = Tree()
    for file in (path for path in directory.rglob("*") if path.is_file()):
        tree.add(file.relative_to(directory).parts, None, HashInfo("md5", md5(file.read_bytes())))
    return tree.as_bytes()


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


def only_damage() -> Damage:
    (damage,) = find_all_damage()
    return damage


def test_names_of_objects_are_dvc_s(cache: Path) -> None:
    (project.RAW / "ü").mkdir()
    (project.RAW / "ü/b.npy").write_bytes(b"one more")
    assert hash_output(project.RAW) == f"{md5(listing_of(project.RAW))}.dir"
    assert hash_output(project.RAW / "ü/b.npy") == md5(b"one more")
    assert holds(cache, project.RAW / "test/cat.npy") and not holds(cache, project.RAW)


def test_what_no_stage_leaves_is_neither_judged_nor_removed(cache: Path) -> None:
    for path in map(Path, STRANGERS):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"of somebody")
    (cache / "ab").mkdir(exist_ok=True)
    (cache / "ab" / "unfinished.tmp").write_bytes(b"of DVC's")
    assert list(find_all_damage()) == []
    spoil(project.RAW / "test/cat.npy")
    assert len(list(repair([only_damage()]))) == 1
    assert all(Path(path).read_bytes() == b"of somebody" for path in STRANGERS)


@pytest.mark.parametrize("suffix", ["", ".dir"])
def test_an_object_is_put_back_from_the_results(suffix: str, cache: Path) -> None:
    path = sorted(path for path in cache.glob("??/*") if path.suffix == suffix)[0]
    whole = path.read_bytes()
    spoil(path)
    damage = only_damage()
    assert damage.sentence == f"{path.relative_to(Path.cwd())}: damaged, an object of DVC's cache"
    assert list(repair([damage])) == [f"{damage.sentence}; put back"]
    assert path.read_bytes() == whole and path.stat().st_mode & 0o777 == 0o444


def test_an_object_of_which_there_is_no_copy_is_removed(cache: Path) -> None:
    path = put(cache, b"of another experiment")
    spoil(path)
    damage = only_damage()
    assert list(repair([damage])) == [f"{damage.sentence}; removed"]
    assert not path.exists() and list(find_all_damage()) == []


@pytest.mark.parametrize("name", ["cat.npy", MANIFEST])
def test_a_damaged_result_goes_with_its_directory(name: str, cache: Path) -> None:
    spoil(project.RAW / "test" / name)
    damage = only_damage()
    assert damage.sentence.startswith(f"data/raw/test/{name}: ")
    assert list(repair([damage])) == [f"{damage.sentence}; removed data/raw/test"]
    assert [path.name for path in project.RAW.iterdir()] == ["train"]


def test_an_object_is_put_back_before_its_copy_s_directory_goes(cache: Path) -> None:
    path = cache / md5(b"test")[:2] / md5(b"test")[2:]
    spoil(path)
    spoil(project.RAW / "test" / MANIFEST)
    assert len(list(repair(list(find_all_damage())))) == 2
    assert path.read_bytes() == b"test" and not (project.RAW / "test").exists()


@pytest.mark.parametrize("name", ["metrics/summary.json", "metrics/plots/a.csv", "data/input.json"])
def test_what_is_not_sealed_is_compared_with_what_dvc_recorded(name: str) -> None:
    spoil(Path(name))
    output = Path("metrics/plots") if "plots" in name else Path(name)
    damage = only_damage()
    assert damage.sentence == f"{output}: other bytes than dvc.lock records of it"
    assert len(list(repair([damage]))) == 1
    assert not output.exists() and list(find_all_damage()) == []

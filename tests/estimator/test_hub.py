"""A classifier goes to a hub and comes back, by huggingface_hub and a server that stands in for the hub's."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import der
from tests.estimator.tiny import noise, state_of, taught

pytestmark = pytest.mark.slow  # huggingface_hub takes a second to import

NAME = "someone/bees"
SHA = "0" * 40


class Hub(BaseHTTPRequestHandler):
    """Those requests of the hub's API that a push and a load make, for one repository without LFS."""

    files: dict[str, bytes]
    read: list[str]

    def answer(self, content: bytes, headers: dict[str, str] | None = None, status: int = 200) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def answer_json(self, values: Any) -> None:
        self.answer(json.dumps(values).encode(), {"Content-Type": "application/json"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        host = f"http://{self.headers['Host']}"
        if self.path == "/api/repos/create":
            self.answer_json({"url": f"{host}/{NAME}", "id": NAME})
        elif self.path == "/api/validate-yaml":
            self.answer_json({"errors": [], "warnings": []})
        elif self.path == f"/api/models/{NAME}/preupload/main":
            names = [one["path"] for one in json.loads(body)["files"]]
            how = {"uploadMode": "regular", "shouldIgnore": False}
            self.answer_json({"files": [{"path": name, **how} for name in names]})
        elif self.path == f"/api/models/{NAME}/commit/main":
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self.answer_json({"commitUrl": f"{host}/{NAME}/commit/{SHA}", "commitOid": SHA})
        else:
            self.answer(b"", status=404)

    def do_GET(self) -> None:
        found = re.fullmatch(f"/{NAME}/resolve/{SHA}/(.*)", self.path)
        if self.path.startswith(f"/api/models/{NAME}/revision/main") or self.path == f"/api/models/{NAME}":
            siblings = [{"rfilename": name} for name in self.files]
            self.answer_json({"id": NAME, "modelId": NAME, "sha": SHA, "siblings": siblings})
        elif self.path.startswith(f"/api/models/{NAME}/tree/"):
            entries = [
                {"type": "file", "path": name, "size": len(one), "oid": SHA}
                for name, one in self.files.items()
            ]
            self.answer_json(entries)
        elif found and found[1] in self.files:
            self.read.append(found[1])
            content = self.files[found[1]]
            tag = hashlib.sha1(content).hexdigest()
            self.answer(content, {"ETag": f'"{tag}"', "X-Repo-Commit": SHA})
        else:
            self.answer(b"", {"X-Error-Code": "EntryNotFound"}, status=404)

    do_HEAD = do_GET

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    """An empty hub, where huggingface_hub looks for one."""
    from huggingface_hub import constants

    class Own(Hub):
        files, read = {}, []

    server = ThreadingHTTPServer(("127.0.0.1", 0), Own)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    here = f"http://127.0.0.1:{server.server_port}"  # as HF_ENDPOINT, which is read at the first import, says
    monkeypatch.setattr(constants, "ENDPOINT", here)
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace("https://huggingface.co", here)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield Own
    server.shutdown()
    server.server_close()


def test_a_classifier_goes_to_a_hub_and_comes_back(hub: type[Hub]) -> None:
    model = taught(("bee", "ant"), ("wasp",))
    assert model.push_to_hub(NAME, private=True, commit_message="First").endswith(NAME)
    hub.files |= {"setup.py": b"1 / 0", "checkpoint/head.bin": b"stranger's"}
    loaded = der.load(f"hf:{NAME}", device="cpu")
    assert state_of(loaded) == state_of(model) and loaded.settings_ == model.settings_
    assert state_of(loaded.partial_fit(*noise("fly"))) == state_of(model.partial_fit(*noise("fly")))
    assert hub.read and not {"setup.py", "checkpoint/head.bin"} & set(hub.read)


def test_the_card_says_what_the_run_found(hub: type[Hub]) -> None:
    model = taught(("bee", "ant"), ("wasp",))
    model.push_to_hub(NAME)
    card = hub.files["README.md"].decode()
    assert card.startswith("---\nlibrary_name: der-pipeline\n") and f'der.load("hf:{NAME}")' in card
    assert "- Step 1: ant, bee\n- Step 2: wasp\n" in card and "3 classes in 2 steps" in card
    assert "- Accuracy: not evaluated.\n" in card and "- Memory: 12 exemplars. " in card
    assert "license" not in card.split("---")[1]
    metrics = model.evaluate(*noise("bee", "ant", "wasp"))
    model.push_to_hub(NAME)
    assert f"top-1 {metrics['top1']:.2f} % of 18 test images" in hub.files["README.md"].decode()
    model.partial_fit(*noise("fly")).push_to_hub(NAME)
    assert "- Accuracy: not evaluated.\n" in hub.files["README.md"].decode()


def test_what_a_stranger_changed_is_not_believed(hub: type[Hub]) -> None:
    taught(("bee", "ant")).push_to_hub(NAME)
    hub.files["checkpoint/network.json"] = hub.files["checkpoint/network.json"].replace(
        b"cifar_resnet", b"os:system"
    )
    with pytest.raises(der.UserError, match=r"network\.json: damaged"):
        der.load(f"hf:{NAME}")

"""examples/service.py: an HTTP service, by a real client and a real server."""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import httpx
import numpy as np
import pytest
import uvicorn
from PIL import Image

import der
from tests.estimator.tiny import noise, taught
from tests.examples.programs import load_program

IMAGES, _ = noise(0, 1, 2, 3)
service = load_program("service.py")


def png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def models() -> list[der.DERClassifier]:
    """A classifier after one step, and after two."""
    return [taught((0, 1)), taught((0, 1), (2, 3))]


@pytest.fixture
def place(models: list[der.DERClassifier], tmp_path: Path) -> Path:
    """As data/checkpoints of a pipeline after its first step."""
    models[0].save(tmp_path / "first")
    shutil.copytree(tmp_path / "first/checkpoint", tmp_path / "checkpoints/1")
    (tmp_path / "checkpoints/0").mkdir()
    return tmp_path / "checkpoints"


@pytest.fixture
def client(place: Path) -> Iterator[httpx.Client]:
    config = uvicorn.Config(service.create_app(place), port=0, log_level="error", ws="none")
    server = uvicorn.Server(config)
    thread = Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        thread.join(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as opened:
        yield opened
    server.should_exit = True
    thread.join()


def add_step(model: der.DERClassifier, place: Path) -> None:
    """As the pipeline does: the checkpoint of step 2 is there at once, and whole."""
    model.save(place.parent / "second")
    (place.parent / "second/checkpoint").rename(place / "2")


def ask(client: httpx.Client, image: np.ndarray, top: int = 2) -> dict[str, float]:
    answer = client.post("/predict", content=png(image), params={"top": top})
    assert answer.status_code == 200, answer.text
    return {one["name"]: one["probability"] for one in answer.json()["guesses"]}


def check(said: dict[str, float], model: der.DERClassifier, image: np.ndarray) -> None:
    (probabilities,) = model.predict_proba(image[None])
    wanted = {str(label): float(one) for label, one in zip(model.classes_, probabilities, strict=True)}
    assert said == pytest.approx(wanted, abs=1e-5) and [*said.values()] == sorted(said.values(), reverse=True)


@pytest.mark.parametrize(
    ("content", "status", "sentence"),
    [
        (png(IMAGES[0])[:60], 422, "picture: cannot be read as a picture; repair or remove it"),
        (bytes(20_000_001), 413, "picture: over 20 MB; send a smaller one"),
    ],
)
def test_what_is_no_picture_is_refused_in_a_sentence(
    content: bytes, status: int, sentence: str, client: httpx.Client
) -> None:
    answer = client.post("/predict", content=content)
    assert (answer.status_code, answer.json()["detail"].partition(" (")[0]) == (status, sentence)


def test_it_predicts_what_the_classifier_does_and_takes_over_a_new_checkpoint(
    client: httpx.Client, place: Path, models: list[der.DERClassifier]
) -> None:
    before = client.get("/checkpoint").json()
    assert (before["classes"], before["steps"]) == (["0", "1"], 1)
    check(ask(client, IMAGES[0]), models[0], IMAGES[0])
    assert len(ask(client, IMAGES[0], top=1)) == 1
    add_step(models[1], place)
    check(ask(client, IMAGES[0], top=4), models[1], IMAGES[0])
    described = client.get("/checkpoint").json()
    assert described["classes"] == ["0", "1", "2", "3"] and described["checkpoint"] != before["checkpoint"]
    # One that cannot be read, and none at all, leave the last that could.
    (place / "2/head.safetensors").write_bytes(b"damaged")
    (place / "2/manifest.json").write_text("{}")
    check(ask(client, IMAGES[1], top=4), models[1], IMAGES[1])
    shutil.rmtree(place)
    check(ask(client, IMAGES[2], top=4), models[1], IMAGES[2])


def test_a_saved_classifier_is_served_too_and_nothing_is_not(
    models: list[der.DERClassifier], tmp_path: Path
) -> None:
    models[0].save(tmp_path / "model")
    assert service.Service(tmp_path / "model").describe().classes == ["0", "1"]
    with pytest.raises(der.UserError, match=r": there is no checkpoint; give a directory of one$"):
        service.Service(tmp_path)

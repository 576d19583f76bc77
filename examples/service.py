"""A small HTTP service that says what pictures show, and takes over new checkpoints as they come.

    pip install -r examples/requirements.txt
    python examples/service.py data/checkpoints          # of a pipeline: the newest step's
    python examples/service.py model                     # what DERClassifier.save wrote
    curl --data-binary @cat.png 'http://127.0.0.1:8000/predict?top=3'

A checkpoint is written whole or not at all, so it can be replaced while the service runs. Every answer names
the checkpoint that it comes from.
"""

import argparse
import hashlib
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Annotated

import uvicorn
from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.concurrency import run_in_threadpool

import der
from der.data.sources.pictures import read_picture

LARGEST = 20_000_000  # bytes of a picture's file


@dataclass(frozen=True)
class Served:
    """A checkpoint in use."""

    predictor: der.Predictor
    digest: str  # of the list of its files


@dataclass(frozen=True)
class Guess:
    """A class that a picture may show."""

    name: str
    probability: float


@dataclass(frozen=True)
class Answer:
    """What is said of a picture."""

    guesses: list[Guess]  # the most probable first
    checkpoint: str


@dataclass(frozen=True)
class Description:
    """What is served."""

    classes: list[str]
    steps: int
    checkpoint: str


class Service:
    """The newest checkpoint at ``path``; raises UserError if there is none that can be loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.loading = Lock()
        self.predicting = Lock()  # one picture at a time has all cores
        self.served = load_newest(path)

    def current(self) -> Served:
        """What is served: loaded anew if it has changed; while one request loads it, others use the old."""
        if self.loading.acquire(blocking=False):
            try:
                if digest_of(newest(self.path)) != self.served.digest:
                    self.served = load_newest(self.path)
            except (der.UserError, OSError) as error:  # gone, or being replaced: the old one does
                print(f"{self.path}: {error}", file=sys.stderr)
            finally:
                self.loading.release()
        return self.served

    def predict(self, content: bytes, top: int) -> Answer:
        """The ``top`` most probable classes; raises UserError if ``content`` is no picture."""
        served = self.current()
        metadata = served.predictor.metadata
        image = read_picture(io.BytesIO(content), "picture", metadata.image_side, metadata.channels)
        with self.predicting:
            (best,) = served.predictor.best(image[None], top)
        return Answer([Guess(*one) for one in best], served.digest)

    def describe(self) -> Description:
        """What is served."""
        served = self.current()
        metadata = served.predictor.metadata
        return Description(metadata.class_names, len(metadata.steps), served.digest)


def newest(path: Path) -> Path:
    """The checkpoint directory at ``path``, in it, or of the highest number in it."""
    places = [path, path / "checkpoint"]
    places += sorted(
        (one for one in path.glob("[1-9]*") if one.name.isdigit()), key=lambda one: -int(one.name)
    )
    found = next((place for place in places if (place / "network.json").is_file()), None)
    if found is None:
        raise der.UserError(f"{path}: there is no checkpoint; give a directory of one")
    return found


def digest_of(checkpoint: Path) -> str:
    """A short name for the content of a checkpoint directory."""
    return hashlib.sha256((checkpoint / "manifest.json").read_bytes()).hexdigest()[:16]


def load_newest(path: Path) -> Served:
    """The newest checkpoint, anew if it was replaced while it was read."""
    while True:
        checkpoint = newest(path)
        digest = digest_of(checkpoint)
        served = Served(der.load_predictor(checkpoint), digest)
        if digest_of(checkpoint) == digest:
            return served


async def read_body(request: Request) -> bytes:
    """The picture's bytes, no more than are taken."""
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > LARGEST:
            raise HTTPException(413, f"picture: over {LARGEST // 1_000_000} MB; send a smaller one")
    return bytes(content)


def create_app(path: Path) -> FastAPI:
    """The service; raises UserError if there is no checkpoint at ``path``."""
    service = Service(path)
    app = FastAPI(title="What pictures show")

    @app.post("/predict")
    async def predict(request: Request, top: Annotated[int, Query(ge=1)] = 3) -> Answer:
        content = await read_body(request)
        try:
            return await run_in_threadpool(service.predict, content, top)
        except der.UserError as error:
            raise HTTPException(422, str(error)) from None

    @app.get("/checkpoint")
    def checkpoint() -> Description:
        return service.describe()

    return app


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("path", type=Path, help="a checkpoint, a saved classifier, or data/checkpoints")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    try:
        app = create_app(options.path)
    except der.UserError as error:
        sys.exit(f"error: {error}")
    uvicorn.run(app, host=options.host, port=options.port)


if __name__ == "__main__":
    main()

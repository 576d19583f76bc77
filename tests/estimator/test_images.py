"""Every form of images is read as the same pixels; images of other sizes as the pipeline reads them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import der
from der.data.sources.pictures import read_picture
from tests.estimator.tiny import PER_CLASS, noise, state_of, taught, tiny_classifier

Read = Callable[[NDArray[np.uint8], Path], Any]


class Stored(torch.utils.data.Dataset[tuple[Any, int]]):
    """A data set of torch, of images of any form."""

    def __init__(self, images: Any, labels: NDArray[Any]) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, place: int) -> tuple[Any, Any]:
        return self.images[place], torch.tensor(self.labels[place])


def to_torch(images: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def files(images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8], place: Path) -> list[Path]:
    names = [place / f"{number}.png" for number in range(len(images))]
    for name, image in zip(names, images, strict=True):
        Image.fromarray(image).save(name)
    return names


FORMS: dict[str, Read] = {
    "floats": lambda images, _: images / 255,
    "half floats": lambda images, _: torch.from_numpy(images / 255).half(),
    "channels first": lambda images, _: np.ascontiguousarray(images.transpose(0, 3, 1, 2)),
    "tensor": lambda images, _: to_torch(images),
    "tensor of floats": lambda images, _: to_torch(images).float() / 255,
    "tensors": lambda images, _: [*to_torch(images)],
    "pictures": lambda images, _: [*map(Image.fromarray, images)],
    "files": files,
    "names": lambda images, place: [str(name) for name in files(images, place)],
    "array of names": lambda images, place: np.array([str(name) for name in files(images, place)]),
    "data set": lambda images, _: Stored(to_torch(images).float() / 255, np.zeros(len(images))),
    "pairs": lambda images, place: [(name, "?") for name in files(images, place)],
}


@pytest.fixture(scope="module")
def colour() -> der.DERClassifier:
    """A classifier of colour images that knows 1 and 2."""
    images, labels = noise(1, 2)
    return tiny_classifier().fit(np.stack([images, images // 2, 255 - images], axis=3), labels)


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    return np.random.RandomState(0).randint(0, 256, (5, 8, 8, 3)).astype(np.uint8)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_images(
    form: str, colour: der.DERClassifier, images: NDArray[np.uint8], tmp_path: Path
) -> None:
    given = FORMS[form](images, tmp_path)
    assert (colour.transform(given) == colour.transform(images)).all()
    if form not in ("data set", "pairs"):  # one image, too
        probabilities = colour.predict_proba(given[2])
        np.testing.assert_allclose(probabilities, colour.predict_proba(images)[2:3], atol=1e-6)


def test_features_are_those_of_the_network(colour: der.DERClassifier, images: NDArray[np.uint8]) -> None:
    found = colour.transform(images)
    assert found.dtype == np.float32 and found.shape == (5, 64)
    head = colour.network_.head
    logits = torch.from_numpy(found) @ head.weight.detach().T + head.bias.detach()
    np.testing.assert_allclose(logits.softmax(1).numpy(), colour.predict_proba(images), atol=1e-5)


def test_three_grey_images_are_one_colour_image_to_colours_alone(colour: der.DERClassifier) -> None:
    three = noise(1)[0][:3]
    assert len(taught((1, 2)).predict(three)) == 3 and len(colour.predict(three)) == 1


@pytest.mark.parametrize("form", ["arrays", "pictures", "files", "data set"])
def test_images_of_other_sizes_are_cropped_as_the_pipeline_does(form: str, tmp_path: Path) -> None:
    """In the first step to the settings' side, later to the network's."""
    random, labels = np.random.RandomState(0), np.repeat([1, 2], PER_CLASS)
    arrays = [random.randint(0, 256, (*size, 3)).astype(np.uint8) for size in [(20, 14), (9, 30), (8, 8)] * 4]
    names = files(arrays, tmp_path)
    expected = np.stack([read_picture(name, "", 8, 3) for name in names])
    given: Any = {"pictures": [*map(Image.fromarray, arrays)], "files": names}.get(form, arrays)
    model = tiny_classifier()
    model = model.fit(Stored(given, labels)) if form == "data set" else model.fit(given, labels)
    assert state_of(model) == state_of(tiny_classifier().fit(expected, labels))
    assert (model.transform(given) == model.transform(expected)).all()
    if form == "arrays":
        same = tiny_classifier().fit(expected, labels).partial_fit(expected[:2], [3, 3])
        assert state_of(model.partial_fit(given[:2], [3, 3])) == state_of(same)


def test_pictures_are_turned_as_files_are(
    colour: der.DERClassifier, images: NDArray[np.uint8], tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[274] = 6  # turned by 90 degrees
    Image.fromarray(images[0]).save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as picture:
        found = colour.transform([picture, tmp_path / "turned.png", np.rot90(images[0], -1)])
    assert (found == found[0]).all() and (found[0] != colour.transform(images[:1])).any()


def test_squares_of_one_size_keep_it(tmp_path: Path) -> None:
    images, labels = noise(1, 2, side=11)
    model = tiny_classifier().fit([*map(Image.fromarray, images)], labels)
    model.save(tmp_path / "model")
    assert der.load_predictor(tmp_path / "model/checkpoint").metadata.image_side == 11
    assert model.evaluate(images, labels)["test_images"] == len(images)
    assert model.settings_.dataset.image_side == 11
    assert tiny_classifier(dataset__image_side=9).fit(images, labels).settings_.dataset.image_side == 9
    with pytest.raises(der.UserError, match=r"^images: uint8 of shape \(12, 121\) does not fit"):
        model.predict(images.reshape(len(images), -1))  # flat: no grey image of 12x121 pixels

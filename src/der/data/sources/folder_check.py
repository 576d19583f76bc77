"""What is wrong with anyone's images, as far as it shows without reading a picture."""

from pathlib import Path

from der.common.errors import UserError
from der.data.sources.archives import check_listing
from der.data.sources.tree import check_archive, list_folder
from der.settings.dataset import DatasetSettings


def check_folder(settings: DatasetSettings) -> None:
    """Raise UserError for a directory without classes, and for a file that is no archive to unpack."""
    path = Path(settings.path)
    if not path.exists():
        return
    if not path.is_dir():
        check_archive(path)
        check_listing(path)
        return
    if not (path / "train").is_dir():
        raise UserError(f"{path}: has no folder train; put images into train/<class>/")
    if len(names := list_folder(settings)) < 2:
        raise UserError(f"{path}: has {len(names)} of the two classes that are needed; add train/<class>/")

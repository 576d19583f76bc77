"""Settings from a file: params.yaml, of a pipeline or written by hand."""

from pathlib import Path

from der.core.errors import UserError, naming
from der.core.yaml_text import parse_yaml
from der.settings.experiment import Settings
from der.settings.parsing import parse


def read_settings(path: str | Path) -> Settings:
    """The settings in a file like params.yaml; raises UserError, the file first, that says what is wrong."""
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeError:
        raise UserError(f"{file}: not UTF-8; save it in that encoding") from None
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}); give a file of settings") from None
    content = parse_yaml(text, file)
    with naming(file):
        return parse(Settings, content)

"""All sections together."""

from der.core.errors import UserError
from der.settings.dataset import DatasetSettings
from der.settings.evaluation import EvaluateSettings
from der.settings.memory import MemorySettings
from der.settings.network import NetworkSettings
from der.settings.protocol import ProtocolSettings
from der.settings.section import Section
from der.settings.training import TrainSettings


class Settings(Section, frozen=True):
    """The whole of params.yaml."""

    dataset: DatasetSettings
    protocol: ProtocolSettings
    network: NetworkSettings
    train: TrainSettings
    memory: MemorySettings
    evaluate: EvaluateSettings

    def __post_init__(self) -> None:
        channels = self.dataset.channels
        for name, values in (("mean", self.network.mean), ("std", self.network.std)):
            if values is not None and len(values) != channels:
                raise UserError(
                    f"network.{name}: {len(values)} values for images of {channels} channels "
                    f"(dataset.channels); write {channels}"
                )

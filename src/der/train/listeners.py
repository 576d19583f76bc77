"""Several listeners as one."""

from der.train.log import EpochRecord
from der.train.step_run import Listener
from der.train.workload import StepWork


class Several(Listener):
    """Tells every one of ``listeners`` all that it hears, in their order."""

    def __init__(self, *listeners: Listener) -> None:
        self.listeners = listeners

    def on_step(self, work: StepWork) -> None:
        """A step of these phases begins."""
        for one in self.listeners:
            one.on_step(work)

    def on_phase(self, name: str, epochs: int, images: int) -> None:
        """A phase begins."""
        for one in self.listeners:
            one.on_phase(name, epochs, images)

    def on_resume(self, epochs: int) -> None:
        """An earlier run did so many epochs of the phase."""
        for one in self.listeners:
            one.on_resume(epochs)

    def on_images(self, images: int) -> None:
        """A batch was trained on."""
        for one in self.listeners:
            one.on_images(images)

    def on_epoch(self, record: EpochRecord) -> None:
        """An epoch has ended."""
        for one in self.listeners:
            one.on_epoch(record)

"""Which tensor of a file belongs where in an extractor."""

from collections.abc import Callable, Mapping

from torch import Tensor

from der.common.errors import UserError

COUNTER = "num_batches_tracked"  # of batch normalisation, which extractors do without
AROUND = "model."  # what an extractor puts before the names of the module that it holds
CLASSIFIER = 2  # tensors at the end, weight and bias, where names do not tell them


def match(
    found: Mapping[str, Tensor], expected: Mapping[str, Tensor], is_head: Callable[[str], bool], where: str
) -> dict[str, Tensor]:
    """The tensors of ``found`` by the names of ``expected``; those for which ``is_head`` are left out.

    By their names; or by their order, if not one name is known and all shapes agree, one to one. Raises
    UserError, ``where`` first, if both fail.
    """
    values = {name.removeprefix(AROUND): value for name, value in found.items() if not name.endswith(COUNTER)}
    wanted = {name.removeprefix(AROUND): value for name, value in expected.items()}
    if values.keys().isdisjoint(wanted):
        return _match_by_order(list(values.values()), wanted, where)
    for name, value in wanted.items():
        if name not in values:
            raise UserError(f"{where} has a tensor {name}, which is not there; give a file of that model")
        if values[name].shape != value.shape:
            raise UserError(
                f"{where} has {name} of shape {tuple(value.shape)}, not {tuple(values[name].shape)}; give a "
                "file of that model"
            )
    for name in values:
        if name not in wanted and not is_head(name):
            raise UserError(f"{where} has no tensor {name}; give a file of that model")
    return {name: values[name] for name in wanted}


def _match_by_order(values: list[Tensor], wanted: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    shapes = [value.shape for value in wanted.values()]
    others = len(values) - len(shapes)
    if [value.shape for value in values[: len(shapes)]] != shapes or others not in (0, CLASSIFIER):
        raise UserError(
            f"{where} has other names for its tensors, and not one to one their shapes in the same order; "
            "give a file of that model"
        )
    return dict(zip(wanted, values, strict=False))

"""Which tensor of a file belongs where in an extractor."""

from collections.abc import Callable, Container, Mapping

from torch import Tensor

from der.core.errors import UserError

COUNTER = "num_batches_tracked"  # of batch normalisation, which extractors do without
AROUND = "model."  # what an extractor puts before the names of the module that it holds
CLASSIFIER = 2  # tensors at the end, weight and bias, where names do not tell them


def match(
    found: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    is_head: Callable[[str], bool],
    where: str,
    *,
    ordered: bool,
) -> dict[str, Tensor]:
    """The tensors of ``found`` by the names of ``expected``; those for which ``is_head`` are left out.

    By their names, without those of modules around the whole model; or, if not one name is known and
    ``found`` is ``ordered`` as layers are, by their order, if all shapes agree, one to one. Raises UserError,
    ``where`` first, if both fail.
    """
    wanted = {name.removeprefix(AROUND): value for name, value in expected.items()}
    values = {name: value for name, value in found.items() if not name.endswith(COUNTER)}
    values = _uncover(values, wanted)
    if values.keys().isdisjoint(wanted):
        if not ordered:
            raise UserError(
                f"{where} has other names for its tensors, and safetensors keeps no order to tell them "
                "by; give a file with the names of that model, or one of torch.save in its order"
            )
        return _match_by_order(values, wanted, where)
    for name, value in wanted.items():
        if name not in values:
            raise UserError(f"{where} has a tensor {name}, which is not there; give a file of that model")
        if values[name].shape != value.shape:
            raise UserError(
                f"{where} has {name} of shape {tuple(value.shape)}, not {tuple(values[name].shape)}; give a "
                "file of that model"
            )
        if values[name].is_floating_point() != value.is_floating_point():
            raise UserError(
                f"{where} has {name} of {value.dtype}, not {values[name].dtype}; give a file of that model"
            )
    for name in values:
        if name not in wanted and not is_head(name):
            raise UserError(f"{where} has no tensor {name}; give a file of that model")
    return {name: values[name] for name in wanted}


def _uncover(values: dict[str, Tensor], wanted: Container[str]) -> dict[str, Tensor]:
    """``values`` without what all their names begin with: DataParallel's module., _orig_mod., model., ...

    As much of it as it takes until a name is ``wanted``; all as they were if none ever is.
    """
    inner = values
    while not any(name in wanted for name in inner):
        if len({name.partition(".")[0] for name in inner}) != 1 or not all("." in name for name in inner):
            return values
        inner = {name.partition(".")[2]: value for name, value in inner.items()}
    return inner


def _match_by_order(
    values: Mapping[str, Tensor], wanted: Mapping[str, Tensor], where: str
) -> dict[str, Tensor]:
    others = [_last(name) for name in values]
    # Shapes tell nothing inside batch normalisation; names that say bias where a weight belongs do.
    lasts = {_last(name) for name in wanted}
    fit = all(
        value.shape == wanted[name].shape
        and value.is_floating_point() == wanted[name].is_floating_point()
        and (other == _last(name) or other not in lasts)
        for name, other, value in zip(wanted, others, values.values(), strict=False)
    )
    if not fit or len(values) - len(wanted) not in (0, CLASSIFIER):
        raise UserError(
            f"{where} has other names for its tensors, and not one to one their shapes and kinds in the same "
            "order; give a file of that model"
        )
    return dict(zip(wanted, values.values(), strict=False))


def _last(name: str) -> str:
    return name.rpartition(".")[2]

"""What changed from one summary to another, in words."""

from collections.abc import Iterator, Mapping
from typing import Any

from der.summary.series import Summary

POINTS = {
    "average_top1": "average top-1",
    "last_top1": "last top-1",
    "average_top5": "average top-5",
    "last_top5": "last top-5",
    "average_nme_top1": "average NME",
    "forgetting": "forgetting",
}


def describe_changes(before: Mapping[str, Any], now: Summary) -> list[str]:
    """A line for every measure that changed: which, from, to, and by how many points; empty if none did.

    ``before`` is what an earlier revision wrote: what it does not have did not change.
    """
    steps, earlier = now["steps"], before.get("steps") or {}
    lines = (
        [f"{len(steps)} step{'s' * (len(steps) > 1)} instead of {len(earlier)}"]
        if earlier and len(earlier) != len(steps)
        else []
    )
    lines += _describe_classes(earlier, steps)
    for key, name in POINTS.items():
        if key in before and before[key] != now[key]:  # type: ignore[literal-required]
            lines.append(_move(name, before[key], now[key]))  # type: ignore[literal-required]
    lines += _describe_steps(earlier, steps)
    sizes = [int(one.get("mean_parameters", 0)) for one in (before, now)]
    if all(sizes) and sizes[0] != sizes[1]:
        lines.append(f"mean parameters from {sizes[0]:,} to {sizes[1]:,}")
    return lines


def _describe_classes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """The first step after which there are more or fewer classes: no accuracy there can be compared."""
    for step, one, own in _same_steps(before, now):
        if one["classes"] != own["classes"]:
            yield f"{own['classes']} instead of {one['classes']} classes after step {step}"
            return


def _same_steps(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[int, Any, Any]]:
    """Of every step that is in both its number, and its part of either: "1" of nine steps is "01" of ten."""
    own = {int(name): one for name, one in now.items()}
    return ((int(name), one, own[int(name)]) for name, one in before.items() if int(name) in own)


def _describe_steps(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """How many steps have another accuracy, and which of them changed most."""
    pairs = {
        step: (one["top1"], own["top1"])
        for step, one, own in _same_steps(before, now)
        if one["classes"] == own["classes"]
    }
    changed = {step: pair for step, pair in pairs.items() if pair[0] != pair[1]}
    if changed:
        most = max(changed, key=lambda step: abs(changed[step][1] - changed[step][0]))
        words = f"top-1 at {len(changed)} of {len(now)} steps, most"
        yield _move(
            f"{words} at step {most}" if len(changed) > 1 else f"top-1 after step {most}", *changed[most]
        )


def _move(name: str, before: float | None, now: float | None) -> str:
    if before is None or now is None:
        return f"{name} from {_show(before)} to {_show(now)}"
    digits = 2 if f"{before:.2f}" != f"{now:.2f}" else 4
    return f"{name} from {before:.{digits}f} to {now:.{digits}f}, {now - before:+.{digits}f} points"


def _show(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"

"""Numbers as text, by the one rule that the page's script has, too: halves are rounded up."""

from decimal import ROUND_HALF_UP, Decimal


def show_share(count: int, of: int, decimals: int = 0) -> str:
    """``count`` of so many in percent; exact, for no binary fraction comes between."""
    scale = 10**decimals
    whole = (200 * scale * count + of) // (2 * of)
    return f"{whole / scale:.{decimals}f}"


def show_number(value: float, decimals: int) -> str:
    """As JavaScript's toFixed shows a number that is not negative."""
    return str(Decimal(value).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP))

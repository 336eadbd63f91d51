"""Public holidays of a country, from the library `holidays` where it is installed. The only place that knows of it."""

from datetime import date
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec


class HolidaysMissingError(ValueError):
    """Public holidays can't be had: the library is not there, or does not know the country."""


def check_country(code: str) -> None:
    """Raises HolidaysMissingError where `code` (NL, or DE-BY with a part of the country) can't be looked up."""
    if find_spec("holidays") is None:
        raise HolidaysMissingError(
            f"The public holidays of {code} are not known here: the package `holidays` is not installed"
            " (kernel-worktime[holidays]). Install it, or give the dates as a list."
        )
    public_holidays(code, 2026)


@lru_cache(maxsize=1024)
def public_holidays(code: str, year: int) -> frozenset[date]:
    """Of a country or a part of it in one year."""
    if find_spec("holidays") is None:
        check_country(code)
    library = import_module("holidays")
    country, _, part = code.partition("-")
    try:
        return frozenset(library.country_holidays(country, subdiv=part or None, years=year))
    except NotImplementedError:
        raise HolidaysMissingError(f"No public holidays are known for {code}.") from None

"""The pytest plugin under the name that it had up to 0.3; it is the package `pytest_nkisim`."""

from pytest_nkisim import (
    pytest_collect_file,
    pytest_load_initial_conftests,
    pytest_report_collectionfinish,
    pytest_report_header,
    pytest_unconfigure,
)

__all__ = [
    "pytest_collect_file",
    "pytest_load_initial_conftests",
    "pytest_report_collectionfinish",
    "pytest_report_header",
    "pytest_unconfigure",
]

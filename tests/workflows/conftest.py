"""Language models to answer with."""

from tests.assistant.conftest import all_vendors, open_vendor, vendors

__all__ = ["all_vendors", "open_vendor", "vendors"]

"""What `/metrics` says, read by the library's own parser."""

import httpx
from prometheus_client.parser import text_string_to_metric_families

#: A series: its name, and its labels but for the process.
Series = tuple[str, frozenset[tuple[str, str]]]


class Read:
    """One answer of `/metrics`; `processes` are the process ids on its series."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.processes: set[str] = set()
        self._values: dict[Series, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = dict(sample.labels)
                self.processes.add(labels.pop("process"))
                self._values[sample.name, frozenset(labels.items())] = sample.value

    def __call__(self, name: str, **labels: str) -> float:
        """The value of a series; `rejoinder_` is put before its name. Raises KeyError when it is not there."""
        return self._values[f"rejoinder_{name}", frozenset(labels.items())]

    def labels(self) -> set[tuple[str, str]]:
        """Every label's name and value that stands anywhere, but for the ends of buckets."""
        return {label for _, labels in self._values for label in labels if label[0] != "le"}


async def read(url: str) -> Read:
    """Ask the server at `url` (`http://host:port`)."""
    async with httpx.AsyncClient() as http:
        response = await http.get(f"{url}/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    return Read(response.text)

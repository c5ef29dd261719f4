"""What Prometheus reads: names `syncd_…` in a registry of our own. Takes plain values and knows nobody of ours."""

from collections import Counter as Count
from collections.abc import Mapping
from importlib.metadata import version
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder

State = Literal["dirty", "waiting", "parked"]
#: A quiet pass takes a tenth of a second, a first load hours.
PASS_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


class Metrics:
    """The daemon's metrics; every method is one fact."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(namespace="syncd", registry=registry)
        Gauge("syncd_info", "The program that runs", ["version"], registry=registry).labels(version("syncd")).set(1)
        place, side = ["workspace"], ["workspace", "side"]
        self._up = Gauge("syncd_up", "Whether a side can be reached and lets us in", side, registry=registry)
        self._queue = Gauge("syncd_queue_tickets", "Tickets in a state", [*place, "state"], registry=registry)
        self._linked = Gauge("syncd_linked_tickets", "Tickets that are linked", place, registry=registry)
        self._lag = Gauge("syncd_lag_seconds", "Age of the oldest change not yet carried over", side, registry=registry)
        self._calls = Counter(
            "syncd_calls", "Calls by class of their answer's status", [*side, "status"], registry=registry
        )
        self._bucket = Gauge("syncd_bucket_used_ratio", "Share of the call allowance in use", side, registry=registry)
        self._writes = Counter("syncd_writes", "Writes that landed, by their kind", [*side, "kind"], registry=registry)
        self._conflicts = Counter("syncd_conflicts", "Fields that both sides had changed", place, registry=registry)
        self._passes = Counter("syncd_passes", "Passes over a workspace", [*place, "outcome"], registry=registry)
        self._seconds = Histogram(
            "syncd_pass_seconds", "How long a pass takes", place, buckets=PASS_SECONDS, registry=registry
        )
        self._success = Gauge(
            "syncd_last_success_timestamp_seconds", "When a pass last succeeded", place, registry=registry
        )
        self._credentials = Gauge(
            "syncd_credentials_end_timestamp_seconds", "When a side's credentials end", side, registry=registry
        )
        self._seen: dict[tuple[str, str], Mapping[tuple[str, int], int]] = {}

    def up(self, workspace: str, side: str, up: bool) -> None:
        """A side can, or cannot, be worked with."""
        self._up.labels(workspace, side).set(up)

    def credentials(self, workspace: str, side: str, end: float) -> None:
        """A side's credentials end then, unless they are renewed."""
        self._credentials.labels(workspace, side).set(end)

    def queue(self, workspace: str, state: State, tickets: int) -> None:
        """This many tickets are dirty (to be looked at), waiting (for a later try) or parked (for a person)."""
        self._queue.labels(workspace, state).set(tickets)

    def linked(self, workspace: str, tickets: int) -> None:
        """This many tickets are linked."""
        self._linked.labels(workspace).set(tickets)

    def lag(self, workspace: str, side: str, seconds: float) -> None:
        """The oldest change of a side that is not yet carried over is this old; 0 when all are."""
        self._lag.labels(workspace, side).set(seconds)

    def bucket(self, workspace: str, side: str, share: float) -> None:
        """This share of an account's allowance of calls is used."""
        self._bucket.labels(workspace, side).set(share)

    def calls(self, workspace: str, side: str, totals: Mapping[tuple[str, int], int]) -> None:
        """The calls of a transport since it was opened, by method and status (0: no answer)."""
        former = self._seen.get((workspace, side), {})
        if any(totals.get(key, 0) < count for key, count in former.items()):
            former = {}  # the transport was opened anew and counts from zero
        fresh: Count[str] = Count()
        for key, count in totals.items():
            fresh[status_class(key[1])] += count - former.get(key, 0)
        for name, count in fresh.items():
            self._calls.labels(workspace, side, name).inc(count)
        self._seen[workspace, side] = dict(totals)

    def wrote(self, workspace: str, side: str, kind: str) -> None:
        """A write landed on a side."""
        self._writes.labels(workspace, side, kind).inc()

    def conflict(self, workspace: str) -> None:
        """A field had been changed on both sides."""
        self._conflicts.labels(workspace).inc()

    def passed(self, workspace: str, seconds: float, ended_at: float) -> None:
        """A pass succeeded; `ended_at` is in seconds since 1970."""
        self._passes.labels(workspace, "ok").inc()
        self._seconds.labels(workspace).observe(seconds)
        self._success.labels(workspace).set(ended_at)

    def failed(self, workspace: str, seconds: float) -> None:
        """A pass ended with a failure."""
        self._passes.labels(workspace, "failed").inc()
        self._seconds.labels(workspace).observe(seconds)

    def forget(self, workspace: str) -> None:
        """Drop what is known of a workspace that is no longer configured."""
        for metric in (
            self._up,
            self._credentials,
            self._queue,
            self._linked,
            self._lag,
            self._calls,
            self._bucket,
            self._writes,
            self._conflicts,
            self._passes,
            self._seconds,
            self._success,
        ):
            metric.remove_by_labels({"workspace": workspace})
        self._seen = {key: totals for key, totals in self._seen.items() if key[0] != workspace}

    def render(self, accept: str) -> tuple[bytes, str]:
        """The text that a scraper with this Accept header gets, and its content type."""
        encoder, content_type = choose_encoder(accept)
        return encoder(self.registry), content_type


def status_class(status: int) -> str:
    """The class that a call is counted under: `2xx` … `5xx`, `429` by itself, `none` when there was no answer."""
    if status == 429:
        return "429"
    return f"{status // 100}xx" if status else "none"

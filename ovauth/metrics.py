"""What is counted, for Prometheus. Nothing is, in a process that does not serve: then each function here does nothing.

A leaf. What a flow brought about is counted off its audit event, after the commit, in one place (`happened`); requests are
counted where they are answered, bearer checks at the gate. One process counts in memory; several count in files that they
share, so that whichever is asked tells the sum (prometheus_client's multiprocess mode). No user and no client is a label.
"""

import threading
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final, Literal

QUICK: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0)
ANSWERS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
PATIENCE: Final = (2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
GRANT_TYPES: Final = (
    "authorization_code",
    "refresh_token",
    "client_credentials",
    "urn:ietf:params:oauth:grant-type:device_code",
)
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})


@dataclass(frozen=True, slots=True)
class Metric:
    """`kind` counter and histogram are counted here; a gauge is read when somebody asks.

    `values` are those of the labels, where they are few and known: told as 0 from the beginning, since Prometheus sees no
    rise in what it has not seen before.
    """

    name: str
    kind: Literal["counter", "histogram", "gauge"]
    labels: tuple[str, ...]
    sentence: str
    buckets: tuple[float, ...] = ()
    values: tuple[tuple[str, ...], ...] = ()


METRICS: Final = (
    Metric(
        "ovauth_http_requests_total", "counter", ("route", "method", "status"), "Requests, by the template of the path."
    ),
    Metric("ovauth_http_request_duration_seconds", "histogram", ("route",), "How long they took.", ANSWERS),
    Metric(
        "ovauth_authorizations_total",
        "counter",
        ("outcome", "via"),
        "Requests of apps by what became of them: approved, denied, expired; via code, button, device or api.",
        values=(("approved", "denied", "expired"), ("code", "button", "device", "api")),
    ),
    Metric("ovauth_authorization_wait_seconds", "histogram", (), "How long people took to decide.", PATIENCE),
    Metric("ovauth_code_failures_total", "counter", (), "Codes that were entered and belong to no request."),
    Metric("ovauth_tokens_issued_total", "counter", ("grant",), "Access tokens, by grant type.", values=(GRANT_TYPES,)),
    Metric("ovauth_token_errors_total", "counter", ("error",), "Refusals of the token endpoint, by their error code."),
    Metric("ovauth_token_checks_total", "counter", ("result",), "Credentials that were looked at before the MCP server."),
    Metric("ovauth_token_check_duration_seconds", "histogram", (), "How long that took.", QUICK),
    Metric("ovauth_refresh_reuse_total", "counter", (), "Used refresh tokens that came again. Not one is normal."),
    Metric(
        "ovauth_registrations_total",
        "counter",
        ("method", "outcome"),
        "Apps that became known (dynamic, document, manual), and registrations that were refused.",
        values=(("dynamic", "document", "manual"), ("registered",)),
    ),
    Metric("ovauth_rate_limited_total", "counter", ("surface",), "Requests that came too often, by the limit they met."),
    Metric(
        "ovauth_logins_total",
        "counter",
        ("outcome",),
        "Sign-ins to the console: succeeded, failed, locked.",
        values=(("succeeded", "failed", "locked"),),
    ),
    Metric("ovauth_upstream_requests_total", "counter", ("status",), "Answers of the MCP server behind the gate."),
    Metric("ovauth_upstream_duration_seconds", "histogram", (), "How long the MCP server took.", ANSWERS),
    Metric("ovauth_garbage_deleted_total", "counter", ("kind",), "Rows that housekeeping deleted."),
    Metric(
        "ovauth_garbage_last_success_timestamp_seconds",
        "gauge",
        (),
        "When housekeeping was last done to its end, by whichever machine.",
    ),
    Metric(
        "ovauth_db_pool_connections", "gauge", ("state",), "PostgreSQL only: connections to this database, of all machines."
    ),
    Metric("ovauth_pending", "gauge", (), "Requests that wait for a decision."),
    Metric("ovauth_grants", "gauge", (), "Connections that have not ended."),
    Metric("ovauth_clients", "gauge", (), "Apps that are known."),
    Metric("ovauth_ready", "gauge", (), "1 when this process can do its work, as `/health/ready` says."),
    Metric("ovauth_build_info", "gauge", ("version", "django", "mcp", "database"), "What runs; always 1."),
)

_REGISTRY: Any = None
_shared: Path | None = None
_build: dict[str, str] = {}
_made: dict[str, Any] = {}
_bound: dict[tuple[str, ...], Any] = {}
_tallies: dict[tuple[Any, ...], "_Tally"] = {}
_telling: Final = threading.Lock()


def begin(*, shared: Path | None = None, build: Mapping[str, str]) -> None:
    """From now on this process counts: together with others, if they `share` that folder (see `conf.share_metrics`).

    `build` are the labels of `ovauth_build_info`.
    """
    global _REGISTRY, _shared  # noqa: PLW0603 one process, one registry
    if _REGISTRY is not None:
        return
    from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

    disable_created_metrics()
    registry = CollectorRegistry()
    for metric in METRICS:
        if metric.kind == "counter":
            _made[metric.name] = Counter(metric.name, metric.sentence, metric.labels, registry=registry)
        elif metric.kind == "histogram":
            _made[metric.name] = Histogram(
                metric.name, metric.sentence, metric.labels, registry=registry, buckets=metric.buckets
            )
        for labels in product(*metric.values) if metric.values else ():
            _of(metric.name, *labels)
    _REGISTRY, _shared = registry, shared
    _build.update(build)


def _of(name: str, *labels: str) -> Any:
    """The instrument with these values of its labels, found once."""
    key = (name, *labels)
    found = _bound.get(key)
    if found is None:
        found = _bound[key] = _made[name].labels(*labels) if labels else _made[name]
    return found


class _Tally:
    """A counter and a histogram of the same thing, as the event loop counts it: alone, so without a lock.

    The library takes ten times as long over each. It is told the difference when somebody asks, or at once where
    processes count together, since another one may be asked.
    """

    __slots__ = ("bounds", "counter", "counts", "histogram", "seconds", "told_counts", "told_seconds")

    def __init__(self, counter: Any, histogram: Any, bounds: tuple[float, ...]) -> None:
        self.counter, self.histogram, self.bounds = counter, histogram, bounds
        self.counts, self.seconds = [0] * (len(bounds) + 1), 0.0
        self.told_counts, self.told_seconds = self.counts.copy(), 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.seconds += seconds
        if _shared is not None:
            self.tell()

    def tell(self) -> None:
        counts, seconds = self.counts.copy(), self.seconds
        for bucket, count, told in zip(self.histogram._buckets, counts, self.told_counts, strict=True):
            if count != told:
                bucket.inc(count - told)
        self.histogram._sum.inc(seconds - self.told_seconds)
        self.counter.inc(sum(counts) - sum(self.told_counts))
        self.told_counts, self.told_seconds = counts, seconds


def _tally(key: tuple[Any, ...], histogram: str, *labels: str) -> _Tally:
    bounds = next(metric.buckets for metric in METRICS if metric.name == histogram)
    made = _tallies[key] = _Tally(_of(*map(str, key)), _of(histogram, *labels), bounds)
    return made


# ------------------------------------------------------------------ what is counted


def answered(route: str, method: str, status: int, seconds: float) -> None:
    if _REGISTRY is not None:
        key = ("ovauth_http_requests_total", route, method if method in METHODS else "other", status)
        (_tallies.get(key) or _tally(key, "ovauth_http_request_duration_seconds", route)).add(seconds)


def checked(result: str, seconds: float) -> None:
    """A credential was looked at in front of the MCP server."""
    if _REGISTRY is not None:
        key = ("ovauth_token_checks_total", result)
        (_tallies.get(key) or _tally(key, "ovauth_token_check_duration_seconds")).add(seconds)


def served(status: int, seconds: float) -> None:
    """The MCP server answered."""
    if _REGISTRY is not None:
        key = ("ovauth_upstream_requests_total", status)
        (_tallies.get(key) or _tally(key, "ovauth_upstream_duration_seconds")).add(seconds)


def refused(path: str, error: str) -> None:
    """An endpoint of OAuth refused, with that error code."""
    if _REGISTRY is None:
        return
    if path == "/token":
        _of("ovauth_token_errors_total", error).inc()
    elif path == "/register":
        _of("ovauth_registrations_total", "dynamic", "refused").inc()


def limited(surface: str) -> None:
    if _REGISTRY is not None:
        _of("ovauth_rate_limited_total", surface).inc()


def collected(deleted: Mapping[str, int]) -> None:
    if _REGISTRY is not None:
        for kind, count in deleted.items():
            _of("ovauth_garbage_deleted_total", kind).inc(count)


def happened(event: str, detail: Mapping[str, Any]) -> None:
    """An audit event was committed."""
    if _REGISTRY is None:
        return
    match event:
        case "token.refreshed":
            _of("ovauth_tokens_issued_total", "refresh_token").inc()
        case "token.issued":
            _of("ovauth_tokens_issued_total", str(detail.get("grant_type", ""))).inc()
        case "authorization.approved" | "authorization.denied" | "authorization.expired":
            outcome = event.partition(".")[2]
            _of("ovauth_authorizations_total", outcome, str(detail.get("via", ""))).inc()
            if "waited" in detail:
                _of("ovauth_authorization_wait_seconds").observe(detail["waited"])
        case "authorization.code_failed":
            _of("ovauth_code_failures_total").inc()
        case "token.reuse_detected":
            _of("ovauth_refresh_reuse_total").inc()
        case "client.registered":
            _of("ovauth_registrations_total", str(detail.get("method", "")), "registered").inc()
        case "login.succeeded" | "login.failed" | "login.locked":
            _of("ovauth_logins_total", event.partition(".")[2]).inc()


# ------------------------------------------------------------------ what is told

Reading = tuple[str, Mapping[str, str], float]
"""The name of a gauge, the values of its labels, and what it says now."""


def exposition(readings: Iterable[Reading]) -> tuple[bytes, str]:
    """All metrics in Prometheus' text format, and its content type; the gauges as they were read by the caller."""
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
    from prometheus_client.core import GaugeMetricFamily
    from prometheus_client.multiprocess import MultiProcessCollector

    gauges = {
        metric.name: GaugeMetricFamily(metric.name, metric.sentence, labels=metric.labels)
        for metric in METRICS
        if metric.kind == "gauge"
    }
    for name, labels, value in (*readings, *([("ovauth_build_info", _build, 1.0)] if _build else ())):
        gauges[name].add_metric([labels[label] for label in _labels(name)], value)
    told = CollectorRegistry()

    class Read:
        def collect(self) -> Iterable[Any]:
            return [gauge for gauge in gauges.values() if gauge.samples]

    told.register(Read())
    if _shared is not None:
        MultiProcessCollector(told, path=str(_shared))
        return generate_latest(told), CONTENT_TYPE_LATEST
    with _telling:
        for tally in list(_tallies.values()):
            tally.tell()
    counted = generate_latest(_REGISTRY) if _REGISTRY is not None else b""
    return counted + generate_latest(told), CONTENT_TYPE_LATEST


def _labels(name: str) -> tuple[str, ...]:
    return next(metric.labels for metric in METRICS if metric.name == name)

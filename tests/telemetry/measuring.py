"""What OpenTelemetry would export, for tests to look at."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from redis_memory.telemetry.instruments import OPERATIONS, ROUND_TRIPS, Instruments

__all__ = ["OPERATIONS", "ROUND_TRIPS", "Measured"]


class Measured:
    """Providers of its own: no test sees what another one has counted."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.meters = MeterProvider([self._reader])
        self._exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.instruments = Instruments(self.meters, self.tracers)

    def points(self, name: str, **wanted: Any) -> list[Any]:
        """The data points of a metric with these attributes, dots written as two underscores."""
        data = self._reader.get_metrics_data()
        attributes = {key.replace("__", "."): value for key, value in wanted.items()}
        return [
            point
            for resource in (data.resource_metrics if data is not None else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
            if attributes.items() <= dict(point.attributes or {}).items()
        ]

    def count(self, name: str, **wanted: Any) -> int:
        """How often a duration was recorded."""
        return sum(point.count for point in self.points(name, **wanted))

    def value(self, name: str, **wanted: Any) -> float:
        """A counter, or a gauge; 0 where there is none."""
        return float(sum(point.value for point in self.points(name, **wanted)))

    def names(self) -> set[str]:
        """Of all metrics."""
        data = self._reader.get_metrics_data()
        return {
            metric.name
            for resource in (data.resource_metrics if data is not None else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def kinds(self) -> dict[str, int]:
        """How often each operation was counted."""
        counts: dict[str, int] = {}
        for point in self.points(OPERATIONS):
            kind = str(point.attributes["db.operation.name"])
            counts[kind] = counts.get(kind, 0) + point.count
        return counts

    @property
    def spans(self) -> list[ReadableSpan]:
        """All that have ended, in this order."""
        return list(self._exporter.get_finished_spans())

    def close(self) -> None:
        """Stop."""
        self.meters.shutdown()
        self.tracers.shutdown()

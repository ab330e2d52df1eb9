"""The text for Prometheus, made of what several workers have sent."""

from __future__ import annotations

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from ws_service.metrics.exposition import encode, exposition


def part(worker: int, count: float) -> bytes:
    counter = CounterMetricFamily("a", "Of a.", labels=["namespace"])
    counter.add_metric(['pr"ices'], count)
    histogram = HistogramMetricFamily("h_seconds", "Of h.")
    histogram.add_metric([], [("0.1", 1), ("+Inf", 2)], 0.5)
    return encode(worker, [counter, GaugeMetricFamily("g", "Of g.", value=0.25), histogram])


def test_each_sample_has_the_number_of_its_worker_and_each_metric_is_there_once() -> None:
    text, content_type = exposition([part(1, 7), part(0, 3)], [4], "")
    assert content_type.startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(text.decode())}
    assert [(sample.labels, sample.value) for sample in families["a"].samples] == [
        ({"namespace": 'pr"ices', "worker": "0"}, 3),
        ({"namespace": 'pr"ices', "worker": "1"}, 7),
    ]
    assert families["a"].type == "counter" and families["a"].documentation == "Of a."
    assert [(sample.name, sample.labels.get("le"), sample.value) for sample in families["h_seconds"].samples][:4] == [
        ("h_seconds_bucket", "0.1", 1),
        ("h_seconds_bucket", "+Inf", 2),
        ("h_seconds_count", None, 2),
        ("h_seconds_sum", None, 0.5),
    ]
    up = {sample.labels["worker"]: sample.value for sample in families["dashws_service_worker_up"].samples}
    assert up == {"0": 1, "1": 1, "4": 0}
    assert text.decode().count("# TYPE a_total counter") == 1


def test_prometheus_can_have_it_as_openmetrics() -> None:
    text, content_type = exposition([part(0, 1)], [], "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")

"""Values in buckets: a bound belongs to the bucket below it, and the last one holds the rest."""

from turnserver.histogram import Histogram, HistogramView


def test_values_are_counted_up_to_each_bound() -> None:
    histogram = Histogram((1.0, 2.0, 5.0))
    for value in (0.5, 1.0, 1.5, 5.0, 100.0):
        histogram.add(value)
    found = histogram.view()
    assert found == HistogramView((1.0, 2.0, 5.0), (2, 3, 4, 5), 108.0)
    assert found.count == 5
    histogram.add(0.0)
    assert found.count == 5, "a view stays as it is"


def test_nothing_yet() -> None:
    assert Histogram((1.0,)).view() == HistogramView((1.0,), (0, 0), 0.0)
    assert HistogramView().count == 0

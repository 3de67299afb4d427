"""Sessions over time: read from every place that holds some, grouped, compared, shown."""

"""The engine: batches inside nurseries, counters, one run at a time, resume."""

"""Logs and metrics, without addresses and secrets.

logs                configures logging
metrics             the metrics for Prometheus
metric_definitions  the table of all metrics
exporter_series     the series of exporters, and their text
exporter_figures    what these series show, in little memory
run_outcomes        with which results and reasons runs can end
redact              masks addresses and secrets in text
"""

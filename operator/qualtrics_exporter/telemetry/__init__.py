"""Logs and metrics, without addresses and secrets.

logs     configures logging
metrics  the metrics for Prometheus
redact   masks addresses and secrets in text
"""

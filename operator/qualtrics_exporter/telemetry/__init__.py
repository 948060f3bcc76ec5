"""Logs and metrics, without addresses and secrets.

logs        configures logging
metrics     the metrics for Prometheus
exposition  their text, formatted in pieces
redact      masks addresses and secrets in text
"""

"""The alerts of charts/qualtrics-exporter/files/alerts.yaml: promtool's unit tests, and a real Prometheus."""

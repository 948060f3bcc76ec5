"""The dashboard for Grafana, with a real Prometheus that scrapes a real operator."""

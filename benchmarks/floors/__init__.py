"""The plainest programs that do the same external work as the operator, without its guarantees.

script.py       one run after the other: query, import, send; also as a CronJob would run it
bare_list.py    a list of all exporters, page by page
bare_watch.py   a Kopf operator that watches exporters and does nothing
kopf_timers.py  a Kopf operator with one timer per exporter
"""

"""The status of an exporter: how it is stored, and what its parts say. Nothing here plans or acts.

key.py               how an exporter is identified
store.py             read and write a status with compare-and-set
journal.py           the journal of a run, kept in the status
conditions.py        from verdicts and runs to conditions
events.py            from two statuses to Events
entry_log.py         structured log lines for entries and delivery figures
resolution.py        how the outcome of a run that ended as Unknown becomes known
delivery_figures.py  when to read delivery figures, and what they mean
followed_deliveries.py  distributions whose entries left the history
"""

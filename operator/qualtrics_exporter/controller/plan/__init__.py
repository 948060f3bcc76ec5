"""What is due for an exporter now: pure functions of the object, the time and the circumstances. They act on nothing.

next_status.py  `plan` and `finished`: the status to write before an action, and after a run
context.py      what a plan depends on besides the exporter
usable_spec.py  whether the spec can be used, and its schedule
slots.py        which slots are due, which are over, and their entries
requests.py     requests in annotations, and the receipts by which each token acts once
takeover.py     when a run is orphaned, and what happens to it
deadlines.py    how late a slot may start, and how long a run may take
wake.py         when to look at the exporter again
repair.py       the repair of a damaged status; slot_repair.py repairs what it says about slots
"""

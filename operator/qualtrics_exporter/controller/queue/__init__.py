"""The work queue: which exporter is reconciled, and when.

work_queue.py    every exporter, when it needs attention next, and whose turn it is
work_item.py     one exporter in the queue, and its pauses
wake_heap.py     the wake-ups of all exporters, in the order of their times
"""

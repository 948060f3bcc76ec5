"""Runs, checks and tests of one exporter, without Kubernetes.

A run works on a `Journal`: in the controller that is the status of an object, for the command line a local file.

The run:
    run             takes a run from where its journal is to its history entry; the entry point
    steps           the table of steps, each with what a crash at this point means
    run_context     what the journal of a run says, and what only this process knows
    journal         the interface of a journal
    file_journal    the journal of the command line
    run_ids         ids of runs, and tokens of processes
    shield          work that a cancellation must not interrupt
    look_up         looks for a distribution that may have been sent
    messages        sentences about runs that ended

The checks:
    checks          checks the text of the query and both services
    verdict         what a check found
    dry_test        the test that e-mails nobody
    guards          rules that stop a run, and warnings
    clients         the clients of an exporter

The people:
    query           from the saved query to recipients
    query_texts     checks and compares the text of the query outside the event loop
    heavy_query     remembers that Nexthink fails to execute a query
    same_result     whether the file of an export is the result of the query that was executed before
    recipients      unique addresses in little memory
    addresses       what an address is, and when two are the same
    sample          who is surveyed in a run, by `spec.sample`
"""

"""Runs, checks and tests of one exporter, without Kubernetes.

A run works on a `Journal`: in the controller that is the status of an object, for the command line a local file.

The run:
    run             completes a run, from the step in its journal to its history entry; the entry point
    steps           the steps of a run, each with what a crash at this point means
    batch           opens a batch, and imports the recipients into it
    send            writes `Sending`, and sends once
    look_up         looks up a distribution that may have been sent
    run_context     one run in one process: its journal, its deadline, its recipients
    journal         the interface of a journal
    file_journal    the journal of the command line
    run_ids         ids of runs, and tokens of processes
    shield          work that a cancellation must not interrupt
    messages        messages of runs that ended
    unexpected      unexpected errors, without their text

The checks:
    checks          checks the text of the query and both services
    verdict         the result of a check
    dry_test        the test that e-mails nobody
    guards          rules that stop a run, and warnings
    clients         the clients of an exporter

The people:
    query           from the saved query to recipients
    query_texts     checks and compares the text of the query outside the event loop
    heavy_query     remembers that Nexthink fails to execute a query
    same_result     whether the file of an export is the result of the query that was executed before
    recipients      unique addresses in little memory
    cell_table      the hash table that finds duplicates
    result_memory   how much memory a run reserves for a large result
    addresses       what an address is, and when two addresses are the same
    sample          which people a run surveys, by `spec.sample`
"""

"""The console: pages on loopback for people who own surveys, with the permissions of their own kubeconfig.

The demo without a cluster has the same pages.

    server         the socket and the routes
    session        the one-time token, the cookie, and which requests are refused
    peer           which user of this machine has opened a connection
    routes         the handlers: they read, ask `actions`, and render
    actions        writes of a request or of a suspension, at most once
    source         where exporters come from: the protocol
    cluster        the source of `kubectl qex dashboard`: the API server, through `kubectl proxy`
    demo           the source of `qualtrics-exporter demo --dashboard`: one exporter in memory
    demo_operator  runs, tests and checks that exporter, as an operator does
    proxy          runs `kubectl proxy` on a socket that only this user can open
    rows           the list: one row for each exporter; search, filter, order, as pure functions
    snapshot       the rows as they are now, and a signal when they change
    exporter_page  what the page of one exporter shows
    charts         the history of an exporter as shapes of a chart, as pure functions
    form_views     the handlers of the form, which makes the manifest of an exporter and writes nothing
    form           the form and the manifest, each made from the other
    form_fields    which fields the form has, and where
    form_wording   the texts of the CRD and of findings, with the labels of the form
    form_check     the findings about a form, at their fields
    form_open      reads the manifests that a user opens in the form
    sentences      messages as sentences
    templates/     the pages
"""

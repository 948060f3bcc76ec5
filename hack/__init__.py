"""Programs for developers of this repository. The wheel and the image do not contain them. They do not import tests.

Generated files:

    generate.py     writes all generated files, or checks them: `make generate`, `make check-generated`
    files.py        writes generated files, or reports those that are stale
    pages.py        `docs/reference.md`, `docs/reasons.md` and `docs/reasons/`, from the models
    reason_examples.py  who acts on a reason, and how it looks
    metrics_page.py `docs/metrics.md` and `docs/metrics/`, from the table of metrics
    metric_examples.py  an expression for each metric, and the question that it answers
    chart.py        the JSON Schema and the README of the chart, from its `values.yaml`
    kustomize.py    `config/`, from the chart
    dashboard.py    the dashboard for Grafana, from `dashboard_panels.py`
    dashboard_panels.py  its panels and their expressions
    argocd.py       `argocd/argocd-cm.yaml`, from the scripts next to it

Documentation:

    site.py         a hook of MkDocs, which builds the site: `make site`

Builders. Their results are in `.tools/`:

    build.py        builds a result once, and shows the progress
    programs.py     Kubernetes and Helm, compiled from `tests/programs`
    linters.py      kube-score, compiled from `tests/linters`
    debian.py       programs and the base of the image, from Debian packages
    image/          the image of the operator: `make image`
    node/           a real one-node cluster on this machine
    release/        builds, pushes, signs and verifies a release: `make release`

Used by builders and tests:

    helm.py         runs the built Helm with the chart
    kubectl.py      runs the pinned kubectl, and writes kubeconfigs
    api_calls.py    reads and writes Kubernetes objects without kubectl
    guard.py        cleans up after a process that was killed
    limits.py       the time limit of programs that hang
    plain_yaml.py   reads YAML fast

Measurements:

    figures.py      the size of the code base, and the path of a survey through it: `make figures`
"""

"""Real components that tests and the demo run against. They are created here and removed when the run ends.

The builders of the programs, the image and the node are in `hack/`.

A cluster:

    controlplane.py             a control plane, with namespaces, service accounts and kubeconfigs
    controlplane_processes.py   its processes: etcd and kube-apiserver
    fault_proxy.py              a proxy in front of the API server that records requests and injects faults
    chart_rules.py              the permissions of the operator, from the chart
    release.py                  a release of the chart on a control plane, which has no nodes
    installation.py             the chart and the sandbox, installed on a node

The operator and the remote services:

    stage.py                    everything that a scenario needs: a namespace, sandbox, clock, operators, exporters
    applied_exporter.py         an exporter in the cluster, as its user sees it
    operator.py                 the operator as a process
    forking.py                  starts operators fast, as forks of a process that has imported everything
    sandbox.py                  Nexthink and Qualtrics on real HTTPS sockets
    proxy.py                    a forward proxy
    registry.py                 an OCI registry
    inspection.py               a certificate authority for TLS inspection
    loop_thread.py              servers in a thread, next to synchronous tests

A browser:

    browser.py                  Chromium, and what a page requests, logs and shows in it

Monitoring:

    prometheus.py               Prometheus, promtool and amtool
    alertmanager.py             Alertmanager, and a webhook that receives its notifications

Time and waiting:

    clock.py                    a clock that tests move, also for other processes
    lease_time.py               Leases that expire only when a test moves their time
    loop_clock.py               the time of the event loop
    waiting.py                  waits for other processes
    work.py                     counts function calls

Processes:

    guarded.py                  servers that end with the test process, also if it is killed
    recording_server.py         a server in a thread that keeps what it received

Other modules:

    demo.py                     `make demo`
    node_demo.py                `make node`
    log_settings.py             restores the logging settings after a test
"""

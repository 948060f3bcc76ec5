"""Makes a release and publishes it in an OCI registry: `make release`. docs/releasing.md is the page about it.

Steps, in their order:

    version.py        checks that all files have the same version, and that the commit is a release
    distributions.py  the wheel and the source distribution, and their checksums
    index.py          the image of each architecture, merged into one OCI index
    plugin.py         `kubectl qex` for krew: an archive for each platform, and the manifest
    launcher.py       the program in these archives, which finds a Python and starts the command
    chart.py          the chart, with the registry of the release as a default value
    provenance.py     says from which commit and with which inputs the release was built
    oci.py            pushes, signs and verifies, with crane and cosign

The steps together:

    steps.py          the order of the steps
    __main__.py       the command line
    programs.py       compiles crane, cosign, actionlint and krew, at the versions in `tools`, `lint` and `krew`
"""

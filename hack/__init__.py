"""Programs for people who work on this repository. Nothing in this folder is installed: it is in no wheel or image.

- `generate.py`: writes every generated file. `make generate` and `make check-generated` run it.
- `files.py`: writes generated files, or compares them.
- `pages.py`: `docs/reference.md` and `docs/reasons.md`, from the models.
- `chart.py`: the JSON Schema and the README of the chart, from its values.yaml.
- `argocd.py`: `argocd/argocd-cm.yaml`, from the scripts next to it.
- `figures.py`: the size of the code base, and the path of a survey through it. `make figures` runs it.
"""

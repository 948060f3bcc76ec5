"""Programs for developers of this repository. The wheel and the image do not contain them.

- `generate.py`: writes all generated files. `make generate` and `make check-generated` run it.
- `files.py`: writes generated files, or checks whether they are up to date.
- `pages.py`: `docs/reference.md` and `docs/reasons.md`, from the models.
- `chart.py`: the JSON Schema and the README of the chart, from its values.yaml.
- `argocd.py`: `argocd/argocd-cm.yaml`, from the scripts next to it.
- `figures.py`: the size of the code base, and the path of a survey through it. `make figures` runs it.
"""

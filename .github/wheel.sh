#!/usr/bin/env bash
# The wheel alone, outside the checkout: demo, dashboard, notebooks, types and site.
# Its environment has the wheel with the extras docs and notebooks, and mypy and pytest.
set -euo pipefail
checkout=$(cd "$(dirname "$0")/.." && pwd)
cd "$(mktemp -d)"
export OMP_NUM_THREADS=1 COLUMNS=80
cp -r "$checkout"/{docs,notebooks,tests,mkdocs.yml,README.md,CHANGELOG.md} .
python -c "import landscape; assert 'site-packages' in landscape.__file__, landscape.__file__"

landscape demo --epochs 5 --grid 5 --samples 3 --out runs/demo

python -u -m landscape app runs/demo --port 0 >app.log &
app=$!
trap 'kill $app' EXIT
until address=$(grep -o -m 1 'http://[^ ]*' app.log); do kill -0 $app; sleep 1; done
curl --silent --fail "$address" >page.html
grep -q "_dash-renderer" page.html

python -m pytest -q tests/test_notebooks.py
python -c "from tests.test_typing import USER, SETTINGS
open('user.py', 'w').write(USER); open('mypy.ini', 'w').write(SETTINGS)"
python -m mypy --config-file mypy.ini user.py

NO_MKDOCS_2_WARNING=1 python -m mkdocs build --quiet --strict --site-dir site
LANDSCAPE_SITE=site python -m pytest -q tests/test_site.py

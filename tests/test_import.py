"""What ``import landscape`` brings in."""

import subprocess
import sys


def test_importing_the_package_loads_no_application_and_no_backend() -> None:
    code = "import sys, landscape; print(*{name.partition('.')[0] for name in sys.modules})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(found.stdout.split())
    heavy = {"dash", "plotly", "flask", "landscape_app", "sklearn", "pyhessian", "xarray", "pandas"}
    heavy |= {"matplotlib", "IPython", "notebook", "scipy", "PIL", "ivon"}
    heavy |= {"curvlinops", "torchvision", "timm", "distributed", "typst"}
    assert loaded & heavy == set()
    assert "torch" in loaded

"""Numbers that a study has computed, in a JSON file, so that it can continue."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from landscape.errors import InputError
from landscape.runtime.files import atomic_write


@dataclass
class Ledger:
    """Results by the request that they answer.

    Attributes:
        path: The file; ``None`` to keep the results in memory only.
    """

    path: Path | None = None
    _results: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.path is None or not self.path.exists():
            return
        try:
            stored = json.loads(self.path.read_text())
        except ValueError as error:
            raise InputError(f"{self.path} is damaged; delete it to compute it again") from error
        self._results = dict(stored)

    def get(self, request: Mapping[str, Any], compute: Callable[[], Any]) -> Any:
        """The stored result of a request, or a new one, which is written to the file.

        Args:
            request: All that the result depends on, as plain JSON.
            compute: Function that computes the result, as plain JSON.
        """
        key = json.dumps(request, sort_keys=True)
        if key not in self._results:
            self._results[key] = compute()
            if self.path is not None:
                with atomic_write(self.path) as temporary:
                    temporary.write_text(json.dumps(self._results, indent=1) + "\n")
        return self._results[key]

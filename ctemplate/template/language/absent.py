"""The stand-in for a missing value: a template may test whether the value exists; any other use waits for it.

``key(path) or "…"``, ``| default("…")``, ``is defined`` and ``if`` work without the value. Any other use makes the pass
wait for the value, and continues with an empty value, so that the pass discovers what else it needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn, Self

import jinja2

from ctemplate.core.model import Query
from ctemplate.template.safety.render_pass import Run


class AbsentValue(jinja2.Undefined):
    """The value of a query without a result; it tests as false and as undefined."""

    __slots__ = ("_query", "_run")

    def __init__(self, run: Run, query: Query) -> None:
        super().__init__(name=str(query))
        self._run = run
        self._query = query

    def _awaited(self) -> Self:
        self._run.await_value(self._query)
        return self

    def _fail_with_undefined_error(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        self._awaited()
        raise self._undefined_exception(self._undefined_message)

    def __getattr__(self, name: str) -> Self:
        if name.startswith("_") or name in {"jinja_pass_arg", "unsafe_callable", "alters_data"}:
            raise AttributeError(name)
        return self._awaited()

    def __call__(self, *_args: Any, **_kwargs: Any) -> Self:  # type: ignore[override]  # noqa: D102 - as above
        return self._awaited()

    def __getitem__(self, _key: Any) -> Self:  # type: ignore[override]
        return self._awaited()

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        self._awaited()
        return ""

    def __len__(self) -> int:
        self._awaited()
        return 0

    def __iter__(self) -> Iterator[Any]:
        self._awaited()
        return iter(())

    def __contains__(self, _item: object) -> bool:
        self._awaited()
        return False

    def __eq__(self, _other: object) -> bool:
        self._awaited()
        return False

    def __ne__(self, _other: object) -> bool:
        self._awaited()
        return True

    def __hash__(self) -> int:
        return id(self)

    def __int__(self) -> int:  # type: ignore[override]
        self._awaited()
        return 0

    def __float__(self) -> float:  # type: ignore[override]
        self._awaited()
        return 0.0

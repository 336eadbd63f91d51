"""What a service's function takes and gives, read from its annotations once.

The context goes to the one parameter that isn't a `Work`: validated where it is annotated with a pydantic model, a dataclass or a
TypedDict, as a dict where it is a mapping or has no annotation. Typed functions take pydantic (`kernel-client[worker]`).
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_origin, get_type_hints

from kernel_client.worker.errors import PoisonError
from kernel_client.worker.work import Work

_PLAIN = (inspect.Parameter.empty, Any, dict, Mapping)


@dataclass(frozen=True, slots=True)
class Signature:
    """`adapter` and `result` are pydantic TypeAdapters, or None where JSON is passed on as it is."""

    context: str | None
    work: str | None
    adapter: Any
    result: Any

    def arguments(self, work: Work) -> dict[str, Any]:
        """Raises PoisonError where the context is not what the function takes."""
        given: dict[str, Any] = {}
        if self.context is not None:
            given[self.context] = work.context if self.adapter is None else self._validated(work.context)
        if self.work is not None:
            given[self.work] = work
        return given

    def _validated(self, context: Mapping[str, Any]) -> Any:
        from pydantic import ValidationError

        try:
            return self.adapter.validate_python(context)
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            lines = [f"{_pointer(each['loc']) or 'context'}: {each['msg']}" for each in found[:20]]
            raise PoisonError("invalid_context", "; ".join(lines)) from None

    def output(self, value: Any) -> dict[str, Any]:
        """JSON; raises PoisonError where what the function returned is no object."""
        if value is None:
            return {}
        if self.result is not None:
            value = self.result.dump_python(value, mode="json", by_alias=True)
        elif not isinstance(value, Mapping):
            value = _dumped(value)
        if not isinstance(value, Mapping):
            raise PoisonError("invalid_output", f"it returned {type(value).__name__}, which is no JSON object")
        return dict(value)


def signature(function: Callable[..., Any]) -> Signature:
    """Raises TypeError, when the worker is made, where the function could never be called."""
    hints = get_type_hints(function)
    context = work = None
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if hints.get(name) is Work:
            work = name
        elif context is None:
            context = name
        elif parameter.default is parameter.empty:
            raise TypeError(f"{function.__qualname__} takes the context and a Work; {name} is one too many")
    wanted = inspect.Parameter.empty if context is None else hints.get(context, inspect.Parameter.empty)
    given = hints.get("return", inspect.Parameter.empty)
    return Signature(context, work, _adapter(function, wanted), _adapter(function, given))


def _adapter(function: Callable[..., Any], hint: Any) -> Any:
    if hint in _PLAIN or hint is type(None) or get_origin(hint) in (dict, Mapping):
        return None
    try:
        from pydantic import TypeAdapter
    except ImportError:
        raise TypeError(
            f"{function.__qualname__} is typed with {hint}; that takes pydantic: pip install 'kernel-client[worker]'"
        ) from None
    return TypeAdapter(hint)


def _dumped(value: Any) -> Any:
    """Of a function without a return annotation."""
    try:
        from pydantic import TypeAdapter
        from pydantic.errors import PydanticUserError
    except ImportError:
        return value
    try:
        return TypeAdapter(type(value)).dump_python(value, mode="json", by_alias=True)
    except PydanticUserError:
        return value


def _pointer(path: tuple[int | str, ...]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)

"""Convert Go's pipelines to Jinja's values. Must not know statements."""

from __future__ import annotations

from ctemplate.convert import go_ast as go
from ctemplate.convert.arguments import CallArguments
from ctemplate.convert.functions import FUNCTIONS, advice_for
from ctemplate.convert.logic_functions import contains
from ctemplate.convert.names import Scopes
from ctemplate.convert.scratch import SCRATCH
from ctemplate.convert.values import NIL, PARSED, GoValue, NeverRenders, NotConverted, constant

_METHODS = {"Contains"}


def converted(pipeline: go.GoPipeline, scopes: Scopes) -> GoValue:
    """Return the value of a pipeline, ignoring what it is assigned to; raises NotConverted."""
    value: GoValue | None = None
    for command in pipeline.commands:
        value = _command(command, value, scopes)
    if value is None:
        raise NeverRenders("an empty pipeline")
    return value


def scratch_tag(pipeline: go.GoPipeline, scopes: Scopes) -> str | None:
    """Return the tag for ``scratch.Set`` and similar calls, None for any other pipeline; raises NotConverted."""
    *before, last = pipeline.commands
    method = _scratch_method(last.operands[0])
    if method is None or pipeline.variables:
        return None
    piped = converted(go.GoPipeline(tuple(before), at=pipeline.at), scopes) if before else None
    arguments = _arguments(list(last.operands[1:]), piped, scopes, last)
    return scopes.scratch.assignment(method, arguments)


def _scratch_method(operand: go.Operand) -> str | None:
    is_method = isinstance(operand, go.Chain) and operand.operand == go.Identifier(SCRATCH)
    return operand.fields[0] if is_method and isinstance(operand, go.Chain) and len(operand.fields) == 1 else None


def _command(command: go.GoCommand, piped: GoValue | None, scopes: Scopes) -> GoValue:
    first, *rest = command.operands
    scratch = _scratch_method(first)
    if scratch is not None:
        return scopes.scratch.value(scratch, _arguments(rest, piped, scopes, command))
    if isinstance(first, go.Identifier):
        arguments = _arguments(rest, piped, scopes, command)
        if first.name == "executeTemplate":
            return _template(arguments, scopes)
        return scopes.known(_call(first.name, arguments))
    method = _method(first)
    if method is not None:
        return _method_call(method, _arguments(rest, piped, scopes, command), scopes)
    if rest or piped is not None:
        raise NeverRenders("arguments to what is no function")
    return _operand(first, scopes)


def _arguments(
    operands: list[go.Operand], piped: GoValue | None, scopes: Scopes, command: go.GoCommand
) -> CallArguments:
    values = [_operand(operand, scopes) for operand in operands]
    given = (*values, *(() if piped is None else (piped,)))
    return CallArguments(given, scopes.remarks_at(command.at), scopes.reads_details)


def _call(name: str, arguments: CallArguments) -> GoValue:
    function = FUNCTIONS.get(name)
    if function is None:
        raise NotConverted(f"the function {name!r}", advice_for(name))
    return function(arguments)


def _template(arguments: CallArguments, scopes: Scopes) -> GoValue:
    """Return the call of a defined template; its name comes first."""
    name = arguments[0].constant if arguments else None
    if not isinstance(name, str) or len(arguments) > 2:  # noqa: PLR2004
        raise NotConverted("executeTemplate of a computed name", "choose among literal names with if")
    return scopes.macros.call(name, arguments[1] if len(arguments) > 1 else None)


def _method(operand: go.Operand) -> go.Operand | None:
    """Return the owner of the method ``Contains``, the only method of Consul's lists, or None."""
    if isinstance(operand, go.Field) and operand.names[-1] in _METHODS and len(operand.names) > 1:
        return go.Field(operand.names[:-1], at=operand.at)
    if isinstance(operand, go.Field) and operand.names[-1] in _METHODS:
        return go.Dot(at=operand.at)
    if isinstance(operand, go.Variable) and operand.fields and operand.fields[-1] in _METHODS:
        return go.Variable(operand.name, operand.fields[:-1], at=operand.at)
    return None


def _method_call(owner: go.Operand, arguments: CallArguments, scopes: Scopes) -> GoValue:
    items = _operand(owner, scopes)
    if len(arguments) != 1:
        raise NeverRenders("'Contains' without its one argument")
    return contains(arguments[0], items)


def _operand(operand: go.Operand, scopes: Scopes) -> GoValue:  # noqa: PLR0911  # one for each kind
    if isinstance(operand, go.GoPipeline):
        return converted(operand, scopes)
    if isinstance(operand, go.Chain):
        return _fields(_operand(operand.operand, scopes), operand.fields, scopes)
    if isinstance(operand, go.Field):
        return _fields(_operand(go.Dot(at=operand.at), scopes), operand.names, scopes)
    if isinstance(operand, go.Variable):
        return _fields(scopes.find(operand.name).value, operand.fields, scopes)
    if isinstance(operand, go.Identifier):
        return _call(operand.name, CallArguments((), scopes.remarks_at(operand.at)))
    if isinstance(operand, go.String):
        return constant(operand.value)
    if isinstance(operand, go.Number):
        return _number(operand.text)
    if isinstance(operand, go.Bool):
        return constant(operand.value)
    return scopes.dot if isinstance(operand, go.Dot) else GoValue("none", NIL)


def _fields(value: GoValue, names: tuple[str, ...], scopes: Scopes) -> GoValue:
    for name in names:
        if value.type == NIL:
            value = GoValue("none", PARSED, is_path=True)
            continue
        value = value.field(name)
    return scopes.known(value)


def _number(text: str) -> GoValue:
    """Return a number with Go's meaning: octal after a zero, characters by their code."""
    if text.startswith("'"):
        return constant(ord(go.unquoted(text)))
    plain = text.replace("_", "")
    sign, digits = ("-", plain[1:]) if plain[0] == "-" else ("", plain.lstrip("+"))
    is_octal = len(digits) > 1 and digits.isdigit() and digits[0] == "0"
    try:
        return constant(int(sign + (f"0o{digits[1:]}" if is_octal else digits), 0))
    except ValueError:
        return _float(sign + digits)


def _float(text: str) -> GoValue:
    """Return a number with a fraction or an exponent."""
    try:
        return constant(float.fromhex(text) if "x" in text.lower() else float(text))
    except (ValueError, OverflowError):
        raise NeverRenders(f"the number {text}") from None

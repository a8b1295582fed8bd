"""A small evaluator of Go's templates as consul-template 0.42.1 runs them: the oracle for what is converted.

Written from the documented rules, without a look at how the converter does it. Fails with EvaluationError where
consul-template ends with an error.
"""

import math
import re
from decimal import Decimal

from ctemplate.convert import go_ast as go
from ctemplate.convert.go_parser import parse
from ctemplate.convert.query_grammar import parse_query


class EvaluationError(Exception):
    """consul-template ends here with an error."""


class Break(Exception):
    pass


class Continue(Exception):
    pass


class Struct(dict):
    """A struct of Go's: its fields by name."""


NIL = None


def instance_of(name, entry):
    """An instance of the catalog file as consul-template sees it."""
    return Struct(
        ID=entry.id,
        Name=name,
        Address=entry.address.strip("[]"),
        Port=entry.port,
        Tags=sorted(entry.tags or ()),
        Status=str(entry.status),
        ServiceMeta=dict(entry.meta),
        Node=entry.node,
        NodeAddress=entry.node_address,
        NodeMeta=dict(entry.node_meta),
    )


def truth(value):
    """Numbers are true unless zero, texts and lists unless empty; structs always."""
    return True if isinstance(value, Struct) else bool(value)


def text_of(value, *, nested=False):  # noqa: PLR0911
    """What printing a value gives."""
    if value is NIL:
        return "<nil>" if nested else "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return float_text(value)
    if isinstance(value, list):
        return f"[{' '.join(text_of(item, nested=True) for item in value)}]"
    if isinstance(value, Struct):
        return f"{{{' '.join(text_of(item, nested=True) for item in value.values())}}}"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{text_of(item, nested=True)}' for key, item in sorted(value.items()))}]"
    return str(value)


def float_text(value):
    """``%v`` of a float: the shortest digits, with an exponent below -4 and from 6 on."""
    if math.isinf(value) or math.isnan(value):
        return {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}[str(value)]
    shown = Decimal(repr(value)).normalize()
    exponent = shown.adjusted()
    if -4 <= exponent < 6:
        return f"{shown:f}"
    digits = f"{shown.scaleb(-exponent):f}"
    return f"{digits}e{exponent:+03d}"


def kind_of(value):
    return "bool" if isinstance(value, bool) else type(value).__name__


def printf(form, *values):
    values = list(values)
    parts, at = [], 0
    for match in re.finditer(r"%([-0]?)(\d*)([a-zA-Z%])", form):
        parts.append(form[at : match.start()])
        at = match.end()
        flag, width, verb = match.groups()
        if verb == "%":
            parts.append("%")
            continue
        if not values:
            parts.append(f"%!{verb}(MISSING)")
            continue
        value = values.pop(0)
        fits = {"s": str, "d": int, "x": int, "q": str}.get(verb, object)
        if verb != "v" and (not isinstance(value, fits) or isinstance(value, bool)):
            parts.append(f"%!{verb}({go_type(value)}={text_of(value)})")
            continue
        shown = f"{value:x}" if verb == "x" else text_of(value)
        size = int(width or 0)
        parts.append(shown.ljust(size) if flag == "-" else shown.rjust(size, "0" if flag == "0" else " "))
    extra = ", ".join(f"{go_type(value)}={text_of(value)}" for value in values)
    return "".join([*parts, form[at:], f"%!(EXTRA {extra})" if extra else ""])


def go_type(value):
    return {"str": "string", "int": "int", "bool": "bool", "float": "float64"}.get(kind_of(value), "?")


def printed(*values):
    """``print``: a blank between two neighbours of which neither is a text."""
    parts = []
    for number, value in enumerate(values):
        if number and not isinstance(value, str) and not isinstance(values[number - 1], str):
            parts.append(" ")
        parts.append(text_of(value))
    return "".join(parts)


def equal(left, *others):
    for other in others:
        if kind_of(left) != kind_of(other):
            raise EvaluationError("incompatible types for comparison")
    return any(left == other for other in others)


def ordered(left, right):
    if kind_of(left) != kind_of(right) or kind_of(left) not in {"str", "int", "float"}:
        raise EvaluationError("incompatible types for comparison")
    encode = str.encode if isinstance(left, str) else lambda value: value
    return (encode(left) > encode(right)) - (encode(left) < encode(right))


def contains(item, items):
    if isinstance(items, list):
        return any(kind_of(each) == kind_of(item) and each == item for each in items)
    return isinstance(items, str) and isinstance(item, str) and item in items


def index(value, *keys):
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key, "")
        elif isinstance(value, list) and 0 <= key < len(value):
            value = value[key]
        else:
            raise EvaluationError("index out of range")
    return value


def divide(divisor, value):
    if not divisor:
        raise EvaluationError("integer divide by zero")
    return int(math.copysign(1, value) * math.copysign(1, divisor)) * (abs(value) // abs(divisor))


def split(separator, text):
    text = text.strip()
    return text.split(separator) if text else []


class Channel:
    """What ``loop`` gives: it can be ranged over, and nothing else."""

    def __init__(self, *bounds):
        self.items = range(*bounds)


PLAIN = {
    "print": printed,
    "println": lambda *values: " ".join(map(text_of, values)) + "\n",
    "printf": printf,
    "eq": equal,
    "ne": lambda left, right: not equal(left, right),
    "lt": lambda left, right: ordered(left, right) < 0,
    "le": lambda left, right: ordered(left, right) <= 0,
    "gt": lambda left, right: ordered(left, right) > 0,
    "ge": lambda left, right: ordered(left, right) >= 0,
    "not": lambda value: not truth(value),
    "len": lambda value: len(value.encode() if isinstance(value, str) else value),
    "index": index,
    "contains": contains,
    "in": lambda items, item: contains(item, items),
    "toLower": str.lower,
    "toUpper": str.upper,
    "trimSpace": str.strip,
    "trimPrefix": lambda prefix, text: text.removeprefix(prefix),
    "trimSuffix": lambda suffix, text: text.removesuffix(suffix),
    "replaceAll": lambda old, new, text: text.replace(old, new),
    "join": lambda separator, items: separator.join(items),
    "split": split,
    "add": lambda right, left: left + right,
    "subtract": lambda right, left: left - right,
    "multiply": lambda right, left: left * right,
    "divide": divide,
    "modulo": lambda right, left: left - right * divide(right, left),
    "loop": Channel,
}


class Evaluator:
    """Renders one template with the contents of a catalog file."""

    def __init__(self, contents, environ):
        self.contents = contents
        self.environ = environ
        self.out = []
        self.scopes = [{"$": NIL}]
        self.defined = {}
        self.functions = PLAIN | {
            "executeTemplate": self.executed,
            "service": self.service,
            "services": self.services,
            "env": lambda name: environ.get(name, ""),
            "envOrDefault": environ.get,
        }

    def service(self, *parts):
        query = parse_query("service", "|".join(parts))
        if query is None:
            return []
        entries = self.contents.services[query.name].instances if query.name in self.contents.services else ()
        found = [instance_of(query.name, entry) for entry in sorted(entries, key=lambda entry: (entry.node, entry.id))]
        return [
            one
            for one in found
            if (not query.tag or query.tag in one["Tags"])
            and (one["Status"] in query.statuses or "any" in query.statuses)
        ]

    def services(self, _query=""):
        found = []
        for name, service in sorted(self.contents.services.items()):
            tags = set(service.tags).union(*(entry.tags or () for entry in service.instances))
            found.append(Struct(Name=name, Tags=sorted(tags)))
        return found

    # statements

    def run(self, body, dot):
        for node in body:
            self.node(node, dot)

    def node(self, node, dot):
        if isinstance(node, go.GoText):
            self.out.append(node.text)
        elif isinstance(node, go.Action):
            value = self.pipeline(node.pipeline, dot)
            if not node.pipeline.variables:
                self.out.append(text_of(value))
        elif isinstance(node, go.If | go.With):
            self.scoped(lambda: self.condition(node, dot))
        elif isinstance(node, go.Range):
            self.scoped(lambda: self.range(node, dot))
        elif isinstance(node, go.GoTemplate | go.GoBlock):
            argument = NIL if node.pipeline is None else self.pipeline(node.pipeline, dot)
            self.out.append(self.executed(node.name.value, argument))
        elif isinstance(node, go.Break):
            raise Break
        elif isinstance(node, go.Continue):
            raise Continue
        elif not isinstance(node, go.Comment | go.Define):
            raise NotImplementedError(type(node).__name__)

    def executed(self, name, argument=NIL):
        """What a defined template prints: it knows its argument alone."""
        out, scopes = self.out, self.scopes
        self.out, self.scopes = [], [{"$": argument}]
        self.run(self.defined[name], argument)
        text = "".join(self.out)
        self.out, self.scopes = out, scopes
        return text

    def define(self, body):
        for node in body:
            if isinstance(node, go.Define | go.GoBlock):
                self.defined[node.name.value] = node.body
                self.define(node.body)
            elif isinstance(node, go.If | go.With | go.Range):
                self.define((*node.body, *node.otherwise))

    def scoped(self, act):
        self.scopes.append({})
        try:
            act()
        finally:
            self.scopes.pop()

    def condition(self, node, dot):
        value = self.pipeline(node.pipeline, dot)
        if truth(value):
            self.scoped(lambda: self.run(node.body, value if isinstance(node, go.With) else dot))
        else:
            self.scoped(lambda: self.run(node.otherwise, dot))

    def range(self, node, dot):
        value = self.pipeline(node.pipeline, dot, declares=False)
        pairs = self.pairs(value)
        if not pairs:
            self.scoped(lambda: self.run(node.otherwise, dot))
            return
        for key, item in pairs:
            self.scoped(lambda key=key, item=item: self.turn(node, key, item))
            if self.is_broken:
                return

    def pairs(self, value):
        if isinstance(value, int) and not isinstance(value, bool):
            return [(number, number) for number in range(value)]
        if isinstance(value, dict) and not isinstance(value, Struct):
            return sorted(value.items())
        if isinstance(value, list | Channel):
            return list(enumerate(value.items if isinstance(value, Channel) else value))
        raise EvaluationError(f"range can't iterate over {text_of(value)}")

    is_broken = False

    def turn(self, node, key, item):
        names = node.pipeline.variables
        if names:
            self.assign(names[-1], item, declares=not node.pipeline.is_assignment)
        if len(names) > 1:
            self.assign(names[0], key, declares=not node.pipeline.is_assignment)
        self.is_broken = False
        try:
            self.scoped(lambda: self.run(node.body, item))
        except Continue:
            return
        except Break:
            self.is_broken = True

    # expressions

    def assign(self, name, value, *, declares):
        if declares:
            self.scopes[-1][name] = value
            return
        next(scope for scope in reversed(self.scopes) if name in scope)[name] = value

    def pipeline(self, pipeline, dot, *, declares=True):
        piped = ()
        for command in pipeline.commands:
            piped = (self.command(command, dot, piped),)
        if declares:
            for name in pipeline.variables:
                self.assign(name, piped[0], declares=not pipeline.is_assignment)
        return piped[0]

    def command(self, command, dot, piped):
        first, *rest = command.operands
        if not isinstance(first, go.Identifier):
            return self.operand(first, dot)
        if first.name in {"and", "or"}:
            return self.logic(
                first.name,
                [
                    *(lambda each=each: self.operand(each, dot) for each in rest),
                    *(lambda value=value: value for value in piped),
                ],
            )
        return self.functions[first.name](*(self.operand(each, dot) for each in rest), *piped)

    def logic(self, word, operands):
        """The first that decides, else the last; the others are not looked at."""
        for operand in operands:
            value = operand()
            if truth(value) == (word == "or"):
                return value
        return value

    def operand(self, operand, dot):  # noqa: PLR0911
        if isinstance(operand, go.GoPipeline):
            return self.pipeline(operand, dot)
        if isinstance(operand, go.Dot):
            return dot
        if isinstance(operand, go.Field):
            return self.fields(dot, operand.names)
        if isinstance(operand, go.Chain):
            return self.fields(self.operand(operand.operand, dot), operand.fields)
        if isinstance(operand, go.Variable):
            value = next(scope[operand.name] for scope in reversed(self.scopes) if operand.name in scope)
            return self.fields(value, operand.fields)
        if isinstance(operand, go.Identifier):
            return self.functions[operand.name]()
        if isinstance(operand, go.Number):
            return number_of(operand.text)
        return NIL if isinstance(operand, go.Nil) else operand.value

    def fields(self, value, names):
        for name in names:
            if isinstance(value, Struct):
                if name not in value:
                    raise EvaluationError(f"no field {name}")
                value = value[name]
            elif isinstance(value, dict):
                value = value.get(name, "")
            else:
                raise EvaluationError(f"no field {name} of {text_of(value)}")
        return value


def number_of(text):
    if text.startswith("'"):
        return ord(go.unquoted(text))
    plain = text.replace("_", "").lower()
    digits = plain.lstrip("+-")
    try:
        value = int(digits, 8) if digits.isdigit() and digits[0] == "0" else int(digits, 0)
    except ValueError:
        return float(plain)
    return -value if plain[0] == "-" else value


def evaluated(source, contents, environ=None):
    """What consul-template prints for a template."""
    evaluator = Evaluator(contents, environ or {})
    body = parse(source, "t")
    evaluator.define(body)
    evaluator.run(body, NIL)
    return "".join(evaluator.out)

"""A small evaluator of Go templates as consul-template 0.42.1 runs them: the oracle for converted templates.

Written from the documented rules, independently of the converter. Raises EvaluationError where consul-template ends
with an error.
"""

from pathlib import Path

from go_functions import NIL, PLAIN, Channel, EvaluationError, Struct, TaggedAddresses, lacking, text_of, truth

from ctemplate.convert import go_ast as go
from ctemplate.convert.go_parser import parse
from ctemplate.convert.query_grammar import parse_query
from ctemplate.core.model import CheckReport, InstanceDetails

FOLDER = Path(__file__).parent / "corpus"


class Break(Exception):
    pass


class Continue(Exception):
    pass


def instance_of(name, entry):
    """An instance of the catalog file as consul-template sees it."""
    details = entry.details or InstanceDetails()
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
        Weights=Struct(Passing=details.weights.passing, Warning=details.weights.warning),
        ServiceTaggedAddresses=TaggedAddresses(
            {tag: Struct(Address=place.ip, Port=place.port) for tag, place in details.tagged_addresses.items()}
        ),
        NodeTaggedAddresses=dict(details.node_tagged_addresses),
        Checks=[check_of(check) for check in entry.checks],
    )


def check_of(check):
    """A check of an instance as consul-template sees it."""
    report = check.report or CheckReport()
    return Struct(
        CheckID=check.id,
        Name=check.name,
        Status=check.status,
        ServiceID=check.service_id,
        Notes=report.notes,
        Output=report.output,
    )


class Evaluator:
    """Renders one template with the contents of a catalog file."""

    def __init__(self, contents, environ, keys):
        self.contents = contents
        self.keys = keys
        self.scratch = {}
        self.environ = environ
        self.out = []
        self.scopes = [{"$": NIL}]
        self.defined = {}
        self.functions = PLAIN | {
            "executeTemplate": self.executed,
            "service": self.service,
            "services": self.services,
            "env": lambda name: environ.get(name, ""),
            "mustEnv": environ.__getitem__,
            "envOrDefault": environ.get,
            "key": self.key,
            "keyExists": lambda path: path.removeprefix("/") in keys,
            "keyOrDefault": lambda path, default: keys.get(path.removeprefix("/")) or default,
            "ls": self.ls,
            "tree": self.tree,
            "safeLs": self.ls,
            "safeTree": self.tree,
            "nodes": self.nodes,
            "node": self.node_named,
            "datacenters": lambda: ["dc1"],
            "file": lambda path: (FOLDER / path).read_text(),
        }
        self.functions |= {
            "key_exists": self.functions["keyExists"],
            "key_or_default": self.functions["keyOrDefault"],
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

    def key(self, path):
        try:
            return self.keys[path.removeprefix("/").partition("@")[0]] if path else ""
        except KeyError:
            raise EvaluationError(f"waits for {path}") from None

    def tree(self, prefix):
        """The pairs below a prefix, which is a text and no folder; without folder markers."""
        path = prefix.removeprefix("/").partition("@")[0]
        return [
            Struct(Key=name.removeprefix(path).lstrip("/"), Path=name, Value=value)
            for name, value in sorted(self.keys.items())
            if prefix and name.startswith(path) and not name.endswith("/")
        ]

    def ls(self, prefix):
        return [pair for pair in self.tree(prefix) if pair["Key"] and "/" not in pair["Key"]]

    def entries(self):
        for name, service in self.contents.services.items():
            for entry in service.instances:
                yield name, entry

    def nodes(self, _query=""):
        found = {entry.node: entry.node_address for _, entry in self.entries()}
        return [Struct(Node=name, Address=ip, Datacenter="dc1") for name, ip in sorted(found.items())]

    def node_named(self, query="consul"):
        (node,) = (node for node in self.nodes() if node["Node"] == query.partition("@")[0])
        found = [(name, entry) for name, entry in self.entries() if entry.node == node["Node"]]
        services = [
            Struct(
                ID=entry.id,
                Service=name,
                Tags=sorted(entry.tags or ()),
                Meta=dict(entry.meta),
                Port=entry.port,
                Address=entry.address.strip("[]"),
            )
            for name, entry in sorted(found, key=lambda one: (one[0], one[1].id))
        ]
        return Struct(Node=node, Services=services)

    def scratched(self, method, key, *values):
        """What a method of ``scratch`` gives."""
        if method == "Get":
            return self.scratch.get(key, NIL)
        if method == "Key":
            return key in self.scratch
        if method == "MapValues":
            return [item for _, item in sorted(self.scratch.get(key, {}).items())]
        if method.startswith("Map"):
            table = self.scratch.setdefault(key, {})
            table[values[0]] = table.get(values[0], values[1]) if method == "MapSetX" else values[1]
        elif method == "Set" or key not in self.scratch:
            self.scratch[key] = values[0]
        return ""

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
                self.is_broken = False  # a loop around goes on
                return

    def pairs(self, value):
        if isinstance(value, int) and not isinstance(value, bool):
            return [(number, number) for number in range(value)]
        if isinstance(value, dict) and not isinstance(value, Struct):
            return sorted(value.items())
        if value is NIL:
            return []
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
        if isinstance(first, go.Chain) and first.operand == go.Identifier("scratch"):
            return self.scratched(first.fields[0], *(self.operand(each, dot) for each in rest), *piped)
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
                value = value.get(name, lacking(value))
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


def evaluated(source, contents, environ=None, keys=()):
    """What consul-template prints for a template."""
    evaluator = Evaluator(contents, environ or {}, dict(keys))
    body = parse(source, "t")
    evaluator.define(body)
    evaluator.run(body, NIL)
    return "".join(evaluator.out)

"""A strategy for whole templates of the convertible subset, with correct types and with line breaks everywhere."""

from hypothesis import strategies as st

GAPS = (
    "",
    "",
    " ",
    "\n",
    "\n  ",
    "  \n",
    "x",
    ";\n",
    "{ ",
    "\n\n",
    "-",
    "\r\n",
    "\t",
    "{% x %}",
    "{# n #}\n",
    "%}",
    "\r",
    "\f",
)
TEXT, NUMBER, BOOLEAN, TEXTS, INSTANCES, SERVICES, META, PAIRS = (
    "text", "number", "boolean", "texts", "instances", "services", "meta", "pairs",
)  # fmt: skip
FIELDS = {
    "instance": {
        "ID": TEXT, "Name": TEXT, "Address": TEXT, "Port": NUMBER, "Tags": TEXTS, "Node": TEXT, "Status": TEXT,
        "ServiceMeta": META, "ServiceMeta.weight": TEXT, "ServiceMeta.zone": TEXT, "ServiceMeta.items": TEXT,
    },
    "service": {"Name": TEXT, "Tags": TEXTS},
    "pair": {"Key": TEXT, "Value": TEXT},
    "keyed pairs": {"path.Value": TEXT, "service.Key": TEXT},
}  # fmt: skip
ITEMS = {
    "groups": INSTANCES,
    "parsed": "parsed",
    TEXTS: TEXT,
    INSTANCES: "instance",
    SERVICES: "service",
    META: TEXT,
    PAIRS: "pair",
    "pairs by key": "keyed pairs",
    "numbers": NUMBER,
}
DEFINED = {"of text": TEXT, "of number": NUMBER, "of-instance": "instance"}
NAMES = ("$a", "$b", "$key", "$i")


class Writer:
    """Draws one template; ``known`` are its variables and what dot is, with their types."""

    def __init__(self, draw):
        self.draw = draw
        self.known = []
        self.loops = 0
        self.blocks = 0
        self.callable = ()

    def pick(self, *choices):
        return self.draw(st.sampled_from(choices))

    def paths(self, kind):
        """Everything known of that type, by its path."""
        found = []
        shadowed = set()
        for name, has in reversed(self.known):
            if name in shadowed:
                continue
            shadowed.add(name)
            found += [name] if has == kind else []
            dotted = "" if name == "." else name
            found += [f"{dotted}.{field}" for field, is_of in FIELDS.get(has, {}).items() if is_of == kind]
        return found

    def value(self, kind, depth=2):
        """An expression of that type that can stand as an argument."""
        paths = self.paths(kind)
        if paths and self.pick(True, True, False):
            return self.pick(*paths)
        return getattr(self, kind.replace(" ", "_"))(depth - 1)

    def text(self, depth):
        if depth <= 0 or self.pick(True, False):
            return self.pick('"a"', '"web"', '""', '"0"', "`x y`", '"é"')
        a, b = self.value(TEXT, depth), self.value(TEXT, depth)
        return self.pick(
            f"(toUpper {a})",
            f"({a} | toLower)",
            f"(print {a} {self.value(NUMBER, depth)} {self.value(NUMBER, depth)})",
            f'(printf "%s-%d%%" {a} {self.value(NUMBER, depth)})',
            f'({a} | replaceAll "a" "bc")',
            f'(trimPrefix "w" {a})',
            f"(or {a} {b})",
            f"(and {a} {b})",
            f'({self.value(TEXTS, depth)} | join "+")',
            f"(toTitle {a})",
            f'(printf "%q" {a})',
            f'(printf "%5s|%-4d" {a} {self.value(NUMBER, depth)})',
            f'(trim "ab" {a})',
            f"(toJSON {self.value(TEXTS, depth)})",
            f"(indent 2 {a})",
            f'({a} | regexReplaceAll "([a-z])b?" "<$1>")',
            f"(base64Encode {a})",
            '(key "app/name")',
            f"(keyOrDefault `app/{self.pick('name', 'empty', 'none')}` {a})",
            *self.odd_texts(a, depth),
        )

    def odd_texts(self, a, depth):
        """Texts out of less common functions, and out of mistakes."""
        return (
            f"(html {a})",
            f"(urlquery {a} | js)",
            f'(trimSuffix "b" {a})',
            f'(print " " {a} "\t" | trimSpace)',
            f'(printf "%d" {a})',
            f'(printf "%s" {self.value(NUMBER, depth)})',
            f'(printf "%.6s" (sha256Hex {a}))',
            f'(envOrDefault "CT_NONE" {a})',
            f"(base64Decode (base64Encode {a}))",
            f'(index (splitToMap "," "=" "a=b,c") {a})',
            f"(print {self.value(BOOLEAN, 1)} {self.value(NUMBER, depth)})",
            f'({a} | replaceAll "" "-")',
            '(executeTemplate "of text" "x")' if ("of text", TEXT) in self.callable else '"y"',
            f'(index (parseJSON `{{"a": "v", "web": "w"}}`) {a} | printf "%v")',
            '(toJSON (parseJSON `[1.5, null, 0.25, "<"]`))',
            "(parseYAML `{a: 1}` | toJSON)",
        )

    def number(self, depth):
        if depth <= 0 or self.pick(True, False):
            return self.pick("0", "1", "-2", "0x1F", "'a'")
        a, b = self.value(NUMBER, depth), self.value(NUMBER, depth)
        return self.pick(
            f"(add {a} {b})",
            f"({a} | subtract {b})",
            f"(multiply {a} 2)",
            f"(len {self.value(TEXTS, depth)})",
            f"(len {self.value(TEXT, depth)})",
            f"(minimum {a} {b})",
            f"(maximum {a} {b})",
            f"(divide {self.pick('2', '-3')} {a})",
            f"(modulo {self.pick('2', '-3')} {a})",
            '(index (parseJSON `[7]`) 0 | printf "%.0f" | parseInt)',
            f'(printf "%d" {a} | parseInt)',
            '(len (service "web|any"))',
            '(len (tree "routes/"))',
            f"(len (slice {self.value(TEXTS, depth)} 0))",
        )

    def boolean(self, depth):
        if depth <= 0:
            return self.pick("true", "false")
        a, b = self.value(TEXT, depth), self.value(TEXT, depth)
        x, y = self.value(NUMBER, depth), self.value(NUMBER, depth)
        return self.pick(
            f"(eq {a} {b})", f'(eq {a} "" "web")', f"(ne {a} {b})", f"(not {a})", f"(lt {x} {y})", f"(ge {x} {y})",
            f"(eq {x} {y} 1)", f"(contains {a} {self.value(TEXTS, depth)})", f"({a} | contains {b})", f"(gt {a} {b})",
            f"(and (eq {a} {b}) (not {x}))", f'(regexMatch "^[a-w]+$" {a})',
            f'(containsAny (parseJSON `["http"]`) {self.value(TEXTS, depth)})',
            f"(in {self.value(TEXTS, depth)} {a})", f"(le {x} {y})", f"(ne {x} {y})", '(keyExists "app/none")',
            f"(containsNone (parseJSON `[]`) {self.value(TEXTS, depth)})", f"(or (not {a}) (gt {x} {y}))",
            f"(contains {x} (parseJSON `[1, 0]`))", f"(not (and {a} {b}))", '(parseBool "0")',
        )  # fmt: skip

    def texts(self, depth):
        text = self.value(TEXT, depth)
        return self.pick(
            f'(split "," {text})', f'(split "," {text})', f'(split "" {text})', f'(slice (split "e" {text}) 0)'
        )

    def instances(self, _depth):
        return self.pick(
            '(service "web")', '(service "http.api|any")', '(service "none")', '(service "cache" "any")',
            '(printf "%s.%s|any" "http" "api" | service)',
        )  # fmt: skip

    def services(self, _depth):
        return "services"

    def meta(self, _depth):
        return "(index (service `web`) 0).ServiceMeta"

    def pairs(self, _depth):
        return self.pick('(ls "lb/timeouts/")', '(tree "/routes/")', '(ls "none/")')

    def groups(self, _depth):
        return self.pick(
            '(service "web" | byTag)', '(service "batch" "any" | byTag)', '(service "none" | byTag)',
            '(service "web|any" | byMeta "zone,weight|int")', '(service "api" | byMeta "zone")',
        )  # fmt: skip

    def pairs_by_key(self, _depth):
        return self.pick('(tree "routes/" | byKey)', '(tree "none/" | byKey)')

    def parsed(self, _depth):
        """A value of JSON: a table, a list or nothing."""
        return self.pick(
            '(parseJSON `{"b": {"x": 1234567, "y": null}, "a": [1.5, "t"]}`)',
            '(parseJSON `["x", 2, false, {}]`)',
            "(parseJSON ``)",
            "(parseYAML `{k: 1234567, l: [a, 0.25]}`)",
            '(key "config/app.json" | parseJSON)',
            '(explode (tree "routes"))',
        )

    def numbers(self, depth):
        return self.pick("(loop 3)", f"(loop 1 {self.pick('1', '3')})", f"(loop (len {self.value(TEXTS, depth)}))")

    # statements

    def gap(self):
        return self.pick(*GAPS)

    def tag(self, content):
        return f"{{{{{self.pick('', '', '- ')}{content}{self.pick('', '', ' -')}}}}}"

    def body(self, depth, **declared):
        """Nodes with a scope of their own."""
        known = list(self.known)
        self.known += [(name.replace("dot", "."), kind) for name, kind in declared.items()]
        parts = [self.gap()]
        for _ in range(self.draw(st.integers(0, 3))):
            parts += [self.statement(depth), self.gap()]
        self.known = known
        return "".join(parts)

    def statement(self, depth):
        if depth <= 0:
            kind = self.pick("show", "show", "declare", "note", "scratch", "leave")
        else:
            kind = self.pick(
                "show", "show", "declare", "assign", "if", "with", "range", "range", "note", "scratch", "template",
                "query", "block", "given",
            )  # fmt: skip
        return getattr(self, f"write_{kind}")(depth - 1)

    def write_note(self, _depth):
        return self.tag("/* note */") if self.pick(True, False) else "{{/* n */}}"

    def write_scratch(self, _depth):
        """A key of the table for one render: set, asked for, or printed whether it is there or not."""
        key, kind = self.pick(("s", TEXT), ("n", NUMBER))
        return self.pick(
            self.tag(f'scratch.Set "{key}" {self.value(kind)}'),
            self.tag(f'scratch.SetX "{key}" {self.value(kind)}'),
            self.tag(f'scratch.MapSet "m" {self.value(TEXT)} {self.value(TEXT)}'),
            self.tag(f'scratch.Get "{key}"'),
            self.tag(f'scratch.Key "{key}"'),
            f"{self.tag('range scratch.MapValues `m`')}{{{{ . }}}};{self.tag('end')}",
        )

    def write_leave(self, _depth):
        """End a turn or a loop, in the middle of it."""
        if not self.loops:
            return self.write_note(0)
        return f"{self.tag(f'if {self.value(BOOLEAN)}')}{self.tag(self.pick('break', 'continue'))}{self.tag('end')}"

    def write_template(self, _depth):
        if not self.callable:
            return self.write_show(0)
        name, kind = self.pick(*self.callable)
        if kind == "instance" and not self.paths(kind):
            return self.write_show(0)
        value = self.pick(*self.paths(kind)) if kind == "instance" else self.value(kind)
        return self.tag(f"template `{name}` {value}")

    def define(self, name, kind):
        """A defined template, which knows its argument alone."""
        return f"{self.tag(f'define `{name}`')}{self.body(1, dot=kind)}{self.tag('end')}"

    def write_show(self, _depth):
        parsed = [path for kind in ("parsed", "key") for path in self.paths(kind)]
        if parsed and self.pick(True, False):
            return self.tag(self.pick(*parsed))
        return self.tag(f"{self.value(self.pick(TEXT, NUMBER, BOOLEAN, TEXTS))}")

    def write_declare(self, _depth):
        name, kind = self.pick(*NAMES), self.pick(TEXT, NUMBER, BOOLEAN)
        text = self.tag(f"{name} := {self.value(kind)}")
        self.known.append((name, kind))
        return text

    def write_block(self, depth):
        """A template that is defined and used at once; its name is its own."""
        self.blocks += 1
        name, kind = f"b{self.blocks}", self.pick(TEXT, NUMBER)
        value, known, loops = self.value(kind), self.known, self.loops
        self.known, self.loops = [], 0
        body = self.body(depth, dot=kind)
        self.known, self.loops = known, loops
        return f"{self.tag(f'block `{name}` {value}')}{body}{self.tag('end')}"

    def write_given(self, depth):
        """A variable that is declared in a condition, and known in all its branches."""
        name, kind = self.pick(*NAMES), self.pick(TEXT, NUMBER, TEXTS)
        value, known = self.value(kind), list(self.known)
        self.known.append((name, kind))
        text = f"{self.tag(f'if {name} := {value}')}{self.body(depth)}{self.otherwise(depth)}{self.tag('end')}"
        self.known = known
        return text

    def write_query(self, depth):
        """Ask for what a variable names, which may change in between."""
        query = self.pick('"http.api|any"', '"web"', '(printf "%s.%s" "blue" "web")', '(print "cache" "|any")')
        between = self.write_declare(depth) if self.pick(True, False) else self.gap()
        body = self.body(depth, dot="instance")
        return f"{self.tag(f'$q := {query}')}{between}{self.tag('range service $q')}{body}{self.tag('end')}"

    def write_assign(self, depth):
        seen = dict(self.known)
        names = [name for name, kind in seen.items() if kind in {TEXT, NUMBER, BOOLEAN} and name in NAMES]
        if not names:
            return self.write_show(depth)
        name = self.pick(*names)
        return self.tag(f"{name} = {self.value(seen[name])}")

    def otherwise(self, depth):
        return f"{self.tag('else')}{self.body(depth)}" if self.pick(True, False) else ""

    def write_if(self, depth):
        head = self.tag(f"if {self.value(self.pick(BOOLEAN, TEXT, NUMBER, TEXTS, INSTANCES))}")
        middle = ""
        if self.pick(True, False, False):
            middle = f"{self.tag(f'else if {self.value(TEXT)}')}{self.body(depth)}"
        return f"{head}{self.body(depth)}{middle}{self.otherwise(depth)}{self.tag('end')}"

    def write_with(self, depth):
        kind = self.pick(TEXT, NUMBER, TEXTS, INSTANCES)
        value = self.value(kind)
        if self.pick(True, False):
            return f"{self.tag(f'with {value}')}{self.body(depth, dot=kind)}{self.otherwise(depth)}{self.tag('end')}"
        name = self.pick(*NAMES)
        known = list(self.known)
        self.known.append((name, kind))
        text = f"{self.tag(f'with {name} := {value}')}{self.body(depth, dot=kind)}"
        if self.pick(True, False):
            other = self.pick(TEXT, TEXTS, INSTANCES)
            text += f"{self.tag(f'else with {self.value(other)}')}{self.body(depth, dot=other)}"
        text += self.otherwise(depth)
        self.known = known
        return f"{text}{self.tag('end')}"

    def write_range(self, depth):
        kind = self.pick(TEXTS, INSTANCES, SERVICES, META, PAIRS, "numbers", "groups", "pairs by key", "parsed")
        item, value = ITEMS[kind], self.value(kind)
        known = list(self.known)
        form = self.pick("", "one", "two")
        names = {"": "", "one": "$e := ", "two": "$n, $e := "}[form]
        if form:
            self.known.append(("$e", item))
        if form == "two":
            self.known.append(
                ("$n", {META: TEXT, "groups": TEXT, "pairs by key": TEXT, "parsed": "key"}.get(kind, NUMBER))
            )
        self.loops += 1
        text = f"{self.tag(f'range {names}{value}')}{self.body(depth, dot=item)}"
        self.loops -= 1
        self.known = [each for each in known if not form or each[0] not in {"$n", "$e"}]  # else they are the list
        text += self.otherwise(depth)
        self.known = known
        return f"{text}{self.tag('end')}"


@st.composite
def scripts(draw):
    """A template's text."""
    writer = Writer(draw)
    defined = []
    for name, kind in DEFINED.items():
        defined.append(writer.define(name, kind))
        writer.callable += ((name, kind),)  # none calls itself
    return "".join([*defined, writer.body(3)])

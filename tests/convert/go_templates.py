"""Strategies for Go templates' trees and texts."""

from hypothesis import strategies as st

from ctemplate.convert import go_ast as go

WORDS = ("a", "Name", "x1", "é_")
names = st.sampled_from(WORDS)
fields = st.lists(names, min_size=1, max_size=3).map(tuple)
strings = st.builds(
    go.String, st.sampled_from(['"web"', '""', '"a\\n\\"b"', "`r\\aw`", '"}}"', '"\\u00e9"', "`{{`", '"*/ | )"'])
)
numbers = st.builds(go.Number, st.sampled_from(["0", "12", "-3", "0x1F", "1.5", ".5", "1e3", "'a'", "'\\n'", "1_000"]))
constants = st.one_of(st.just(go.Dot()), st.just(go.Nil()), st.builds(go.Bool, st.booleans()), strings, numbers)
variables = st.builds(go.Variable, st.just("$"), st.one_of(st.just(()), fields))
functions = st.builds(go.Identifier, names)
callables = st.one_of(functions, variables, st.builds(go.Field, fields))


def commands(operands):
    arguments = st.lists(operands, max_size=3).map(tuple)
    return st.builds(lambda first, rest: go.GoCommand((first, *rest)), callables, arguments)


def pipelines(operands):
    first = st.one_of(commands(operands), st.builds(lambda operand: go.GoCommand((operand,)), operands))
    return st.builds(lambda head, rest: go.GoPipeline((head, *rest)), first, st.lists(commands(operands), max_size=2))


def _deeper(operands):
    inner = pipelines(operands)
    chains = st.builds(go.Chain, st.one_of(functions, inner), fields)
    return st.one_of(inner, chains)


operands = st.recursive(st.one_of(constants, variables, functions), _deeper, max_leaves=3)
any_pipeline = pipelines(operands)

texts = st.builds(go.GoText, st.text("a {}-\n\t\r%#é", min_size=1, max_size=12).filter(lambda text: "{{" not in text))
comments = st.builds(go.Comment, st.sampled_from(["", " note ", " }} ", "a\nb"]))
actions = st.builds(go.Action, any_pipeline)
declared = st.builds(
    lambda pipeline, name: go.Action(go.GoPipeline(pipeline.commands, (name,))),
    any_pipeline,
    st.sampled_from(["$a", "$b"]),
)
templates = st.builds(go.GoTemplate, strings, st.one_of(st.none(), any_pipeline))


def _bodies(nodes):
    return st.lists(nodes, max_size=3).map(_separated)


def _separated(nodes):
    """Texts beside texts would be one text."""
    kept = []
    for node in nodes:
        if not (kept and isinstance(node, go.GoText) and isinstance(kept[-1], go.GoText)):
            kept.append(node)
    return tuple(kept)


def _blocks(nodes):
    body = _bodies(nodes)
    ranges = st.builds(
        lambda pipeline, names, inner, otherwise: go.Range(go.GoPipeline(pipeline.commands, names), inner, otherwise),
        any_pipeline,
        st.sampled_from([(), ("$e",), ("$i", "$e")]),
        st.builds(lambda inner, last: (*inner, *last), body, st.sampled_from([(), (go.Break(),), (go.Continue(),)])),
        body,
    )
    return st.one_of(
        st.builds(go.If, any_pipeline, body, body),
        st.builds(go.With, any_pipeline, body, body),
        ranges,
        st.builds(go.GoBlock, strings, any_pipeline, body),
    )


nodes = st.recursive(st.one_of(texts, comments, actions, declared, templates), _blocks, max_leaves=5)
defines = st.builds(go.Define, strings, _bodies(nodes))
trees = _bodies(st.one_of(nodes, defines))

_WORDS = (
    """{{ }} {{-_ _-}} range_ if_ else_ end with_ define_ nil "x" `r` 'a' 12 0x $ $x $x_:=_ $i,_$x_:=_ , | ( ) . .A _"""
    """ foo text { /* */ " ` \\ {{end}} {{else}} {{if_.A}} {{range_.}} {{break}} é"""
)
PIECES = (*(word.replace("_", " ") for word in _WORDS.split()), "\n", "\x00", "\ud800")
sources = st.one_of(st.text(max_size=30), st.lists(st.sampled_from(PIECES), max_size=14).map("".join))

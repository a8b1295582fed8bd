"""All readers of nginx's tokens agree: for a whole file, the beginning of a line, and a text that grows."""

from hypothesis import given, strategies as st

from ctemplate.nginx.language.lexer import TextMode, TextPosition, TokenReader, position_after, takes_quote

PIECES = ["a", "b", "$", "${x}", "${", "${{", "=", "#", "'", '"', "}", "\\;", "\\{", "\\ ", '\\"', "\\\\", "~", "/"]
INSIDE = ["a", " ", ";", "{", "}", "#", "$", "\\\\", '\\"', "\\'"]
BLANKS = st.sampled_from([" ", "\t", "  "])


def joined(pieces, **sizes):
    return st.lists(st.sampled_from(pieces), **sizes).map("".join)


def quoted(mark):
    return joined([*INSIDE, "'" if mark == '"' else '"'], max_size=5).map(lambda text: f"{mark}{text}{mark}")


BARE = st.tuples(st.sampled_from(["a", "b", "$", "${x}", "\\;"]), joined(PIECES, max_size=5)).map("".join)
WORD = BARE | quoted('"') | quoted("'")
COMMENT = joined(["a", " ", ";", "{", "}", "'", '"', "#", "\\", "$"], max_size=6).map(lambda text: f" #{text}\n")
NOTHING = st.just("")
HEAD = st.tuples(NOTHING | COMMENT, BARE, st.lists(st.tuples(BLANKS | COMMENT, WORD).map("".join), max_size=3)).map(
    lambda parts: f"{parts[0]}{parts[1]}{''.join(parts[2])}"
)


def block(body):
    return st.tuples(HEAD, body).map(lambda parts: f"{parts[0]} {{\n{parts[1]} }}\n")


SIMPLE = HEAD.map(lambda head: f"{head} ;\n")
CONFIG = st.recursive(SIMPLE, lambda inner: st.lists(inner | block(inner), max_size=3).map("".join), max_leaves=6)


def readings(text):
    """Return for each length of the text what a reader of the whole finds there: mode, depth, whether a word starts."""
    reader, modes = TokenReader(text.encode(), ""), [TextMode.BARE] * (len(text) + 1)
    starts, depths, at = [True] * (len(text) + 1), [0] * (len(text) + 1), 0
    while at < len(text):
        words, terminator, end = reader.statement(at)
        gaps, begun = [], at
        for word in words:
            gaps.append((begun, word.start))
            begun = word.end
            for offset in range(word.start + 1, word.end + 1):
                starts[offset] = False
                modes[offset] = TextMode.QUOTED if word.quoted and offset < word.end else TextMode.BARE
        for start, stop in [*gaps, (begun, end)]:
            _comments(text, start, stop, modes)
        depth = depths[at] + {b"{": 1, b"}": -1}.get(terminator, 0)
        for offset in range(at, end):
            depths[offset] = depths[at]
        for offset in range(end, len(text) + 1):
            depths[offset] = depth
        starts[end] = starts[end] and terminator != b"}"
        at = end
    return list(zip(modes, depths, starts, strict=True))


def _comments(text, start, stop, modes):
    is_comment = False
    for offset in range(start, stop):
        is_comment = (is_comment and text[offset] != "\n") or text[offset] == "#"
        if is_comment:
            modes[offset + 1] = TextMode.COMMENT


@given(CONFIG)
def test_a_text_that_grows_is_read_as_the_whole(text):
    position = TextPosition()
    for length, (mode, depth, _) in enumerate(readings(text)):
        assert (position.mode, len(position.blocks)) == (mode, depth), text[:length]
        if length < len(text):
            position = position_after(position, text[length])


@given(CONFIG)
def test_a_lines_beginning_is_read_as_the_whole(text):
    for length, (mode, _, starts) in enumerate(readings(text)):
        line = text[text.rfind("\n", 0, length) + 1 : length]
        assert takes_quote(line) == (mode is TextMode.COMMENT or (mode is TextMode.BARE and starts)), text[:length]

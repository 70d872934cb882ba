"""The pseudo-code of AMD's RDNA3 guide as a small language: parser and evaluator.

A program is compiled once to Python closures and run on an Environment, which holds the operands
(S0, D0, VCC, ...) as variables. Integers are unbounded until they are stored or viewed (.u32), as
the guide's own arithmetic wants (it adds three bytes without saying where the carry goes); floats
are bit patterns, computed by softfloat in the environment's mode.
"""

import functools
import re
from dataclasses import dataclass, field

import softfloat as sf

FLOATS = {16: sf.F16, 32: sf.F32, 64: sf.F64}


@dataclass(frozen=True, slots=True)
class Value:
    """kind: u, i: integers (i is signed); b: bits without a meaning; f, bf: a float's bits."""
    kind: str
    width: int
    bits: int

    def format(self):
        return sf.BF16 if self.kind == "bf" else FLOATS[self.width]

    def is_float(self):
        return self.kind in ("f", "bf")

    def raw(self):
        return self.bits & (1 << self.width) - 1


def unsigned(width, bits):
    return Value("u", width, bits & (1 << width) - 1)


def signed(width, bits):
    bits &= (1 << width) - 1
    return Value("i", width, bits - (1 << width) if bits >> width - 1 else bits)


def boolean(x):
    return Value("u", 1, int(bool(x)))


def view(value, kind, width):
    """`value.u32` and so on: the low bits, read as another type."""
    if kind == "i":
        return signed(width, value.bits)
    return Value(kind, width, value.bits & (1 << width) - 1)


VIEW = re.compile(r"(bf|[uibf])(\d+)$")


@functools.cache
def view_of(name):
    match = VIEW.match(name)
    return (match[1], int(match[2])) if match else None


class Environment:
    def __init__(self, variables=None, mode=sf.DEFAULT, mode16=None, call=None):
        self.variables = variables if variables is not None else {}
        self.mode = mode            # of float32
        self.mode16_64 = mode16 or mode
        self.call = call            # call(name, values): functions named like instructions
        self.round_override = None  # ROUND_MODE, assigned by the program
        self.alternatives = ()      # other results that are right, too
        self.saturate = ()          # clamp: integers stop at the ends of their type in these

    def mode_of(self, f):
        mode = self.mode if f is sf.F32 else self.mode16_64
        if self.round_override is not None:
            return sf.Mode(self.round_override, mode.flush_in, mode.flush_out)
        return mode


# --- Tokens ---

TOKEN = re.compile(r"""
    (?P<comment>//[^\n]*) | (?P<space>\s+)
  | (?P<cast>\d+'(?:[UIB]|F)(?![0-9A-Za-z]))
  | (?P<sized>\d+'(?:0x[0-9a-fA-F]+|\d+\.\d+|\d+)(?:ULL|LL|U)?)
  | (?P<number>0x[0-9a-fA-F]+(?:ULL|LL|U)?|\d+\.\d+F?|\d+(?:ULL|LL|U)?)
  | (?P<name>[A-Za-z_]\w*)
  | (?P<string>"[^"]*")
  | (?P<op>\*\*|<<|>>|<=|>=|==|!=|<>|&&|\|\||\+=|-=|\*=|\+:|[-+*/%&|^~!<>=?:;,.()\[\]{}])
""", re.VERBOSE)


class Error(Exception):
    pass


def tokenize(text):
    tokens, at = [], 0
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            raise Error(f"unreadable: {text[at:at + 20]!r}")
        at = match.end()
        if match.lastgroup not in ("comment", "space"):
            tokens.append((match.lastgroup, match[0]))
    tokens.append(("end", ""))
    return tokens


def number(text):
    if text.endswith("F") and not text.startswith("0x"):
        return Value("f", 32, sf.convert(double_bits(text[:-1]), sf.F64, sf.F32))
    if "." in text:
        return Value("f", 64, double_bits(text))
    body = text.rstrip("UL")
    suffix = text[len(body):]
    kind = "u" if "U" in suffix else "i"
    return Value(kind, 64 if "LL" in suffix else 32, int(body, 0))


def double_bits(text):
    from fractions import Fraction
    x = Fraction(text)
    shift = 1200
    return sf.pack(0, int(x * (1 << shift)), -shift, sf.F64)


def sized_number(text):
    width, rest = text.split("'")
    width = int(width)
    if "." in rest:
        return Value("f", width, sf.convert(double_bits(rest), sf.F64, FLOATS[width]))
    body = rest.rstrip("UL")
    return Value("u" if "U" in rest else "i", width, int(body, 0))


# --- Parser: each rule returns a closure ---

class Break(Exception):
    pass


class Return(Exception):
    def __init__(self, value):
        super().__init__()
        self.value = value


@dataclass
class Place:
    """Something that can stand left of an assignment."""
    get: object
    set: object
    name: str = ""
    nested: bool = False  # an element of an array: an assignment to its own element goes by `get`


@dataclass
class Parser:
    tokens: list
    at: int = 0
    names: set = field(default_factory=set)

    def peek(self):
        return self.tokens[self.at][1]

    def kind(self):
        return self.tokens[self.at][0]

    def take(self, text=None):
        token = self.tokens[self.at]
        if text is not None and token[1] != text:
            raise Error(f"expected {text!r}, got {token[1]!r}")
        self.at += 1
        return token[1]

    def accept(self, text):
        if self.peek() == text and self.kind() != "string":
            self.at += 1
            return True
        return False

    # Statements

    def block(self, *ends):
        statements = []
        while True:
            while self.accept(";"):
                pass
            if self.peek() in ends or self.kind() == "end":
                break
            statements.append(self.statement())
        if len(statements) == 1:
            return statements[0]

        def run(env):
            for s in statements:
                s(env)
        return run

    def statement(self):
        word = self.peek()
        if word == "if":
            return self.conditional()
        if word == "for":
            return self.loop()
        if word == "declare":
            return self.declaration()
        if word == "break":
            self.take()

            def stop(env):
                raise Break
            return stop
        if word == "return":
            self.take()
            value = self.expression()

            def leave(env):
                raise Return(value(env))
            return leave
        return self.assignment()

    def conditional(self):
        branches, otherwise = [], None
        self.take("if")
        while True:
            condition = self.expression()
            self.take("then")
            branches.append((condition, self.block("elsif", "else", "endif")))
            if self.accept("elsif"):
                continue
            if self.accept("else"):
                otherwise = self.block("endif")
            self.take("endif")
            break

        def run(env):
            for condition, body in branches:
                if condition(env).bits:
                    body(env)
                    return
            if otherwise is not None:
                otherwise(env)
        return run

    def loop(self):
        self.take("for")
        name = self.take()
        self.take("in")
        first = self.binary(0)
        self.take(":")
        last = self.expression()
        self.take("do")
        body = self.block("endfor")
        self.take("endfor")

        def run(env):
            low, high = first(env), last(env)
            try:
                for i in range(low.bits, high.bits + 1):
                    env.variables[name] = Value(low.kind, 32, i)
                    body(env)
            except Break:
                pass
        return run

    def declaration(self):
        self.take("declare")
        name = self.take()
        self.take(":")
        width, kind = self.take().split("'")
        width, kind = int(width), kind.lower()
        if self.accept("["):
            count = int(self.take())
            self.take("]")

            def make(env):
                if name != "S":  # the sources as an array
                    env.variables[name] = [Value(kind, width, 0)] * count
            return make

        def run(env):
            # Operands of the microcode are declared only to say how wide they are.
            env.variables.setdefault(name, Value(kind, width, 0))
            if name not in ("OFFSET0", "OFFSET1", "OFFSET", "DATA0", "VDST", "ADDR"):
                env.variables[name] = Value(kind, width, 0)
        return run

    def assignment(self):
        start = self.at
        if self.peek() == "{":
            parts = self.places()
            self.take("=")
            value = self.expression()

            def spread(env):
                bits = value(env).bits
                env.saturate = ()
                for place, width in reversed(parts):
                    place.set(env, Value("b", width, bits & (1 << width) - 1))
                    bits >>= width
            return spread
        place = self.postfix()
        if isinstance(place, Place) and self.peek() in ("=", "+=", "-=", "*="):
            op = self.take()
            if self.peek() == "lambda":
                return self.function(place.name)
            value = self.expression()
            if op == "=":
                return lambda env: place.set(env, value(env))
            combine = BINARY[op[0]]
            return lambda env: place.set(env, combine(env, place.get(env), value(env)))
        self.at = start
        return self.expression()

    def places(self):
        self.take("{")
        parts = []
        while True:
            place = self.postfix()
            width = int(re.search(r"\d+$", self.tokens[self.at - 1][1])[0])
            parts.append((place, width))
            if not self.accept(","):
                break
        self.take("}")
        return parts

    def function(self, name):
        self.take("lambda")
        self.take("(")
        parameters = [self.take()]
        while self.accept(","):
            parameters.append(self.take())
        self.take(")")
        self.take("(")
        if self.peek() in ("if", "declare"):
            body = self.block(")")
        else:
            value = self.expression()

            def body(env):
                raise Return(value(env))
        self.take(")")
        self.names.add(name)

        def call(env, arguments):
            saved = {p: env.variables.get(p) for p in parameters}
            env.variables.update(zip(parameters, arguments))
            try:
                body(env)
            except Return as r:
                return r.value
            finally:
                env.variables.update(saved)
            raise Error(f"{name} returns nothing")
        return lambda env: env.variables.__setitem__(name, call)

    # Expressions

    def expression(self):
        condition = self.binary(0)
        if not self.accept("?"):
            return condition
        yes = self.expression()
        self.take(":")
        no = self.expression()
        return lambda env: yes(env) if condition(env).bits else no(env)

    LEVELS = (("||",), ("&&",), ("|",), ("^",), ("&",), ("==", "!=", "<>"), ("<", ">", "<=", ">="),
              ("<<", ">>"), ("+", "-"), ("*", "/", "%"), ("**",))

    def binary(self, level):
        if level == len(self.LEVELS):
            return self.unary()
        left = self.binary(level + 1)
        while self.peek() in self.LEVELS[level] and self.kind() == "op":
            op = self.take()
            right = self.binary(level + 1)
            left = self.combine(op, left, right)
        return left

    @staticmethod
    def combine(op, left, right):
        if op == "&&":
            return lambda env: boolean(left(env).bits and right(env).bits)
        if op == "||":
            return lambda env: boolean(left(env).bits or right(env).bits)
        f = BINARY[op]
        return lambda env: f(env, left(env), right(env))

    def unary(self):
        if self.kind() == "op" and self.peek() in ("!", "~", "-", "+"):
            op = self.take()
            operand = self.unary()
            f = UNARY[op]
            return lambda env: f(operand(env))
        place = self.postfix()
        return place.get if isinstance(place, Place) else place

    def postfix(self):
        """A name with its [..] and .view, or a plain value."""
        node = self.primary()
        while True:
            if self.accept("."):
                node = self.member(node, self.take())
            elif self.accept("["):
                node = self.index(node)
            else:
                return node

    def primary(self):
        kind, text = self.tokens[self.at]
        if kind == "number":
            self.take()
            value = number(text)
            return lambda env: value
        if kind == "sized":
            self.take()
            value = sized_number(text)
            return lambda env: value
        if kind == "cast":
            self.take()
            width, to = text.split("'")
            self.take("(")
            literal = self.kind() == "number" and self.tokens[self.at + 1][1] == ")"
            operand = self.expression()
            self.take(")")
            return cast(to, int(width), operand, literal)
        if text == "(":
            self.take()
            inner = self.expression()
            self.take(")")
            return inner
        if text == "{":
            return self.concatenation()
        if kind != "name":
            raise Error(f"unexpected {text!r}")
        self.take()
        if self.accept("("):
            arguments = []
            if not self.accept(")"):
                arguments.append(self.expression())
                while self.accept(","):
                    arguments.append(self.expression())
                self.take(")")
            return self.calling(text, arguments)
        if text in CONSTANTS:
            value = CONSTANTS[text]
            if text in ("NAN", "INF") and self.accept("."):  # of the format named behind
                _, width = view_of(self.take())
                f = FLOATS[width]
                value = Value("f", width, f.nan if text == "NAN" else f.inf)
            return lambda env: value
        return Place(lambda env: env.variables[text],
                     lambda env, value: env.variables.__setitem__(text, keep(env, text, value)), text)

    def concatenation(self):
        self.take("{")
        parts = [self.expression()]
        while self.accept(","):
            parts.append(self.expression())
        self.take("}")

        def join(env):
            bits = width = 0
            for part in parts:
                value = part(env)
                bits = bits << value.width | value.raw()
                width += value.width
            return Value("b", width, bits)
        return join

    def calling(self, name, arguments):
        if name in FUNCTIONS:
            f = FUNCTIONS[name]
            return lambda env: f(env, *[a(env) for a in arguments])
        if name in self.names:
            return lambda env: env.variables[name](env, [a(env) for a in arguments])
        return lambda env: env.call(name, [a(env) for a in arguments])

    def member(self, node, name):
        shape = view_of(name)
        if shape is None:  # WAVE_MODE.IEEE and the like
            full = f"{node.name}.{name}"
            return Place(lambda env: env.variables[full],
                         lambda env, value: env.variables.__setitem__(full, value), full)
        kind, width = shape
        if not isinstance(node, Place):
            return lambda env: view(node(env), kind, width)

        def get(env):
            value = node.get(env)
            return view(value, kind, width)

        def set_(env, value):
            store(env, node, value, kind, width)
        return Place(get, set_, node.name)

    def index(self, node):
        first = self.expression()
        if self.accept("+:"):
            count = self.expression()
            self.take("]")

            def part(env):
                low, width = first(env).bits, count(env).bits
                return unsigned(width, value_of(node, env).bits >> low)
            return part
        if self.accept(":"):
            last = self.expression()
            self.take("]")
            return bit_range(node, first, last)
        self.take("]")
        return element(node, first)


def value_of(node, env):
    return node.get(env) if isinstance(node, Place) else node(env)


def keep(env, name, value):
    """What a variable without a view takes over. Registers keep their own width."""
    old = env.variables.get(name)
    if isinstance(old, Value) and name in ("D0", "D1", "SCC", "EXEC", "VCC", "RETURN_DATA", "SDATA",
                                           "VDATA"):
        return Value("b", old.width, value.bits & (1 << old.width) - 1)
    if name == "ROUND_MODE":
        env.round_override = None if value.kind == "old" else value.bits
    return value


def store(env, node, value, kind, width):
    """node.view = value: converts where float formats differ, else takes the low bits."""
    if kind == "f" and value.kind == "f" and value.width != width:
        value = Value("f", width, sf.convert(value.bits, FLOATS[value.width], FLOATS[width]))
    bits = value.bits
    if node.name in env.saturate and kind in ("u", "i"):
        low, high = (-(1 << width - 1), (1 << width - 1) - 1) if kind == "i" else (0, (1 << width) - 1)
        bits = max(low, min(high, bits))
    bits &= (1 << width) - 1
    old = env.variables.get(node.name) if node.name else None
    if isinstance(old, Value) and old.width > width and old.kind == "b":
        bits |= old.raw() >> width << width  # a narrower result leaves the rest of the register
        node.set(env, Value("b", old.width, bits))
    else:
        node.set(env, Value("b", width, bits) if kind == "b" else view(Value("b", width, bits), kind, width))


def bit_range(node, first, last):
    def get(env):
        high, low = first(env).bits, last(env).bits
        bits = value_of(node, env).bits
        if high < low:  # written backwards: bits reversed
            width = low - high + 1
            text = format(bits >> high & (1 << width) - 1, f"0{width}b")
            return unsigned(width, int(text[::-1], 2))
        return unsigned(high - low + 1, bits >> low)

    def set_(env, value):
        high, low = first(env).bits, last(env).bits
        mask = (1 << high - low + 1) - 1
        old = env.variables.get(node.name, Value("b", 32, 0)) if node.name else node.get(env)
        width = max(old.width, high + 1)
        bits = old.bits & (1 << width) - 1 & ~(mask << low) | (value.bits & mask) << low
        env_set(env, node, Value("b", width, bits))
    return Place(get, set_, node.name if isinstance(node, Place) else "")


def env_set(env, node, value):
    if node.name in env.variables or isinstance(node, Place):
        node.set(env, value)


def element(node, first):
    def get(env):
        holder = value_of(node, env)
        i = first(env).bits
        if isinstance(holder, Value):
            return unsigned(1, holder.bits >> i)
        return holder[i]

    def set_(env, value):
        holder = env.variables.get(node.name, Value("b", 32, 0)) if node.name else node.get(env)
        i = first(env).bits
        if isinstance(holder, Value):
            width = max(holder.width, i + 1)
            bits = holder.bits & (1 << width) - 1 & ~(1 << i) | (value.bits & 1) << i
            node.set(env, Value("b", width, bits))
        elif isinstance(node, Place):
            holder = node.get(env)
            holder[i] = value
        else:
            node(env)[i] = value
    nested = isinstance(node, Place) and node.nested
    name = node.name if isinstance(node, Place) and not nested else ""
    return Place(get, set_, name, nested=True)


# --- Operators ---

def _float_of(env, value, like):
    f = like.format()
    if value.is_float():
        if value.format() is f:
            return value.bits
        return sf.convert(value.bits, value.format(), f)
    return sf.from_int(value.bits, f)


def arithmetic(on_ints, on_floats):
    def run(env, a, b):
        if a.is_float() or b.is_float():
            like = a if a.is_float() and (not b.is_float() or a.width >= b.width) else b
            f = like.format()
            x, y = _float_of(env, a, like), _float_of(env, b, like)
            return Value(like.kind, like.width, on_floats(x, y, f, env.mode_of(f)))
        kind = "i" if a.kind == "i" and b.kind == "i" else "u"
        return Value(kind, max(32, a.width, b.width), on_ints(a.bits, b.bits))
    return run


def comparison(ints, floats):
    def run(env, a, b):
        if a.is_float() or b.is_float():
            like = a if a.is_float() and (not b.is_float() or a.width >= b.width) else b
            f = like.format()
            order = sf.compare(_float_of(env, a, like), _float_of(env, b, like), f, env.mode_of(f))
            return boolean(floats(order))
        return boolean(ints(a.bits, b.bits))
    return run


def bitwise(on_ints):
    def run(env, a, b):
        kind = "i" if a.kind == "i" and b.kind == "i" else "u"
        return Value(kind, max(a.width, b.width), on_ints(a.bits, b.bits))
    return run


def shift_left(env, a, b):
    return Value(a.kind, max(32, a.width), a.bits << min(b.bits, 4096))


def shift_right(env, a, b):
    return Value(a.kind, a.width, a.bits >> b.bits)


def power(env, a, b):
    f = a.format()
    return Value("f", a.width, sf.scale(sf.from_int(1, f), b.bits, f))


def c_division(a, b):
    q = abs(a) // abs(b)
    return q if (a < 0) == (b < 0) else -q


BINARY = {
    "+": arithmetic(lambda a, b: a + b, sf.add),
    "-": arithmetic(lambda a, b: a - b, sf.sub),
    "*": arithmetic(lambda a, b: a * b, sf.mul),
    "/": arithmetic(c_division, sf.div),
    "%": arithmetic(lambda a, b: a % b, None),
    "**": power,
    "<<": shift_left, ">>": shift_right,
    "&": bitwise(lambda a, b: a & b), "|": bitwise(lambda a, b: a | b),
    "^": bitwise(lambda a, b: a ^ b),
    "==": comparison(lambda a, b: a == b, lambda o: o == 0),
    "!=": comparison(lambda a, b: a != b, lambda o: o != 0),
    "<>": comparison(lambda a, b: a != b, lambda o: o in (-1, 1)),
    "<": comparison(lambda a, b: a < b, lambda o: o == -1),
    ">": comparison(lambda a, b: a > b, lambda o: o == 1),
    "<=": comparison(lambda a, b: a <= b, lambda o: o in (-1, 0)),
    ">=": comparison(lambda a, b: a >= b, lambda o: o in (1, 0)),
}


def minus(v):
    if v.is_float():
        return Value(v.kind, v.width, v.bits ^ v.format().sign_bit)
    return Value("i" if v.kind == "i" else v.kind, v.width, -v.bits)


def invert(v):
    if v.kind == "i":
        return Value("i", v.width, ~v.bits)
    return Value(v.kind, v.width, ~v.bits & (1 << v.width) - 1)


UNARY = {"!": lambda v: boolean(not v.bits), "~": invert, "-": minus, "+": lambda v: v}


def cast(to, width, operand, literal):
    def run(env):
        value = operand(env)
        if to == "F":
            f = FLOATS[width]
            if value.is_float():
                x = sf.convert(value.bits, value.format(), f, env.mode_of(f))
                if sf.is_signaling(value.bits, value.format()) and width > value.width:
                    x &= ~f.quiet_bit  # isSignalNAN(64'F(x)) asks about x
                return Value("f", width, x)
            # A literal is a bit pattern: 32'F(0xffc00000).
            return Value("f", width, value.bits if literal else sf.from_int(value.bits, f))
        if to == "I":
            return signed(width, value.bits)
        return Value(to.lower(), width, value.bits & (1 << width) - 1)
    return run


# --- Constants and functions ---

CONSTANTS = {
    "NAN": Value("f", 64, sf.F64.nan), "INF": Value("f", 64, sf.F64.inf),
    "MAX_FLOAT_F32": Value("f", 32, sf.F32.largest),
    "OVERFLOW_F32": Value("f", 32, sf.F32.inf), "OVERFLOW_F64": Value("f", 64, sf.F64.inf),
    "UNDERFLOW_F32": Value("f", 32, 0), "UNDERFLOW_F64": Value("f", 64, 0),
    "ROUND_TOWARD_ZERO": Value("u", 2, sf.ZERO),
}


def _integral(how):
    def run(env, v):
        f = v.format()
        x = sf.read(v.bits, f, env.mode_of(f))
        return Value("f", v.width, sf.round_to_integral(x, f, how))
    return run


def _exponent(env, v):
    f = v.format()
    return Value("i", 32, v.bits >> f.fraction & (1 << f.exponent) - 1)


def _float_to_int(width, is_signed):
    low, high = (-(1 << width - 1), (1 << width - 1) - 1) if is_signed else (0, (1 << width) - 1)

    def run(env, v):
        f = v.format()
        if sf.is_nan(v.bits, f):
            x = 0
        elif sf.is_inf(v.bits, f):
            x = low if sf.sign(v.bits, f) else high
        else:
            x = max(low, min(high, sf.integral(v.bits, f, "trunc")))
        return Value("i" if is_signed else "u", width, x)
    return run


def _int_to_float(width):
    f = FLOATS[width]
    return lambda env, v: Value("f", width, sf.from_int(v.bits, f, env.mode_of(f)))


def _convert(source, width):
    f = FLOATS[width]

    def run(env, v):
        # Denormals are read as the source's mode says and written as the target's.
        x = sf.read(v.bits, source, env.mode_of(source))
        mode = env.mode_of(f)
        return Value("f", width, sf.convert(x, source, f, sf.Mode(mode.round, False, mode.flush_out)))
    return run


def _saturate(width, is_signed):
    low, high = (-(1 << width - 1), (1 << width - 1) - 1) if is_signed else (0, (1 << width) - 1)
    return lambda env, v: Value("i" if is_signed else "u", width, max(low, min(high, v.bits)))


def _fma(env, a, b, c):
    f = a.format()
    return Value("f", a.width, sf.fma(a.bits, b.bits, c.bits, f, env.mode_of(f)))


def _ldexp(env, a, n):
    f = a.format()
    return Value("f", a.width, sf.scale(a.bits, n.bits, f, env.mode_of(f)))


def _abs(env, v):
    if v.is_float():
        return Value(v.kind, v.width, v.bits & ~v.format().sign_bit)
    return Value(v.kind, v.width, abs(v.bits))


def _signext_from_bit(env, v, width):
    if width.bits == 0:
        return Value("i", v.width, 0)
    w = min(width.bits, v.width)
    return Value("i", v.width, signed(w, v.bits).bits)


def _first_one(width):
    def run(env, v):
        bits = v.bits & (1 << width) - 1
        return Value("i", 32, (bits & -bits).bit_length() - 1)
    return run


FUNCTIONS = {
    "trunc": _integral("trunc"), "floor": _integral("floor"),
    "fma": _fma, "ldexp": _ldexp, "abs": _abs, "exponent": _exponent,
    "sign": lambda env, v: boolean(sf.sign(v.bits, v.format())),
    "isNAN": lambda env, v: boolean(sf.is_nan(v.bits, v.format())),
    "isSignalNAN": lambda env, v: boolean(sf.is_signaling(v.bits, v.format())),
    "isQuietNAN": lambda env, v: boolean(sf.is_nan(v.bits, v.format())
                                         and not sf.is_signaling(v.bits, v.format())),
    "cvtToQuietNAN": lambda env, v: Value("f", v.width, sf.quiet(v.bits, v.format())),
    "signext": lambda env, v: Value("i", 64, signed(v.width, v.bits).bits),
    "signext_from_bit": _signext_from_bit,
    "f32_to_i32": _float_to_int(32, True), "f32_to_u32": _float_to_int(32, False),
    "f64_to_i32": _float_to_int(32, True), "f64_to_u32": _float_to_int(32, False),
    "f16_to_i16": _float_to_int(16, True), "f16_to_u16": _float_to_int(16, False),
    "f32_to_u8": _float_to_int(8, False), "v_cvt_i16_f32": _float_to_int(16, True),
    "v_cvt_u16_f32": _float_to_int(16, False),
    "i32_to_f32": _int_to_float(32), "u32_to_f32": _int_to_float(32),
    "i32_to_f64": _int_to_float(64), "u32_to_f64": _int_to_float(64),
    "i16_to_f16": _int_to_float(16), "u16_to_f16": _int_to_float(16),
    "f32_to_f16": _convert(sf.F32, 16), "f16_to_f32": _convert(sf.F16, 32),
    "f32_to_f64": _convert(sf.F32, 64), "f64_to_f32": _convert(sf.F64, 32),
    "bf16_to_f32": lambda env, v: Value("f", 32, v.bits << 16),
    "u8_to_u32": lambda env, v: Value("u", 32, v.bits), "u4_to_u32": lambda env, v: Value("u", 32, v.bits),
    "u32_to_u16": _saturate(16, False), "i32_to_i16": _saturate(16, True),
    "s_ff1_i32_b32": _first_one(32), "s_ff1_i32_b64": _first_one(64),
    "nop": lambda env: None, "s_nop": lambda env, v: None,
}


@functools.cache
def compile_program(text):
    parser = Parser(tokenize(text))
    run = parser.block()
    if parser.kind() != "end":
        raise Error(f"stopped at {parser.peek()!r}")
    return run

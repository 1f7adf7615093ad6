r"""Tokens of a text that may hold numbers: digits, numerals, signs, units, LaTeX commands.

`tokens_of` splits a text, drops what is mere formatting (`$`, `\(`, `\text{…}`, plain braces, bold marks, currency
signs, zero-width characters) and pairs the brackets and the braces of arguments. Time and memory are linear in the
length of the text.

Not here: what the tokens mean together (`harness.metrics.answers.number_grammar`).
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import NamedTuple

from harness.metrics.answers.numerals import NUMERAL_LETTERS


class Kind(Enum):
    """What a token is."""

    DIGITS = auto()
    NUMERAL = auto()
    """A run of Chinese numerals: 三, 一百二十三, 万."""
    VULGAR = auto()
    """A fraction in one character: ½."""
    SUPERSCRIPT = auto()
    EXPONENT = auto()
    """The e of 6.63e-34, with its sign."""
    COMMA = auto()
    WIDE_COMMA = auto()
    DOT = auto()
    ELLIPSIS = auto()
    APOSTROPHE = auto()
    SPACE = auto()
    THIN = auto()
    """A thin or no-break space, which may separate thousands."""
    NEWLINE = auto()
    MINUS = auto()
    DASH = auto()
    PLUS = auto()
    PLUS_MINUS = auto()
    TIMES = auto()
    STAR = auto()
    SLASH = auto()
    DIVIDE = auto()
    POWER = auto()
    COLON = auto()
    TILDE = auto()
    RELATION = auto()
    BANG = auto()
    SYMBOL = auto()
    """A unit in one character: %, °, ℃, ㎡."""
    OPEN = auto()
    CLOSE = auto()
    LEFT = auto()
    """The left brace of an argument of a LaTeX command or a power."""
    RIGHT = auto()
    FRACTION = auto()
    BOXED = auto()
    ROOT = auto()
    FUNCTION = auto()
    CONSTANT = auto()
    """π, ∞ and other values that are not written in digits."""
    OBSTACLE = auto()
    """A way to write numbers that is not understood: 0xFF, the base of 1010₂, the bar of a repeating decimal."""
    COMMAND = auto()
    """A LaTeX command that has nothing to do with numbers, or the mark of a subscript."""
    WORD = auto()
    NAME = auto()
    """Letters with digits in them: cm2, H2O, v1.2.3."""
    HAN = auto()
    """One ideograph that is not a numeral."""
    OTHER = auto()
    FORMAT = auto()
    """Mere formatting, such as bold marks; `tokens_of` returns no such token."""


class Token(NamedTuple):
    """A piece of a text."""

    kind: Kind
    text: str
    pair: int = -1
    """Index of the token that closes this brace or bracket; -1 for any other token, or if none does."""
    is_priced: bool = False
    """Whether a currency sign stands directly before the token."""


# Latin, Greek without π, Cyrillic and full-width letters
_LETTERS = "A-Za-zªµÀ-ÖØ-öø-\u024f\u0370-\u03bf\u03c1-\u03ff\u0400-\u04ff\uff21-\uff3a\uff41-\uff5a"
_CURRENCIES = "$＄¥￥€£￡₩₹₽₫฿"
_SUBSCRIPT = "\u2080-\u2089"
_FUNCTIONS = tuple(
    word
    for line in (
        "sqrt cbrt log lg ln exp pow gcd lcm mod max min abs floor ceil",
        "sin cos tan cot sec csc arcsin arccos arctan",
    )
    for word in line.split()
)

# The first alternative that matches wins; none looks further than the text that it consumes, so time is linear.
_PATTERNS: tuple[tuple[Kind, str], ...] = (
    (Kind.NEWLINE, r"[\r\n\x0b\x0c\x85\u2028\u2029]|\\\\"),
    (Kind.COMMA, r",\\!|\{,\}|[,﹐]"),
    (Kind.SPACE, r"[ \t\u3000]+|\\ |\\q?quad(?![A-Za-z])|(?<=[A-Za-z])~|~(?=\\)"),
    (Kind.THIN, r"[\u00a0\u2007-\u200a\u202f\u205f]|\\[,;:!]"),
    (Kind.FORMAT, r"[\u200b-\u200f\u2060\ufeff]|\\[()\[\]]|__"),
    (Kind.SYMBOL, r"\\%|\\circ(?![A-Za-z])|[%％﹪‰‱°º℃℉㎡㎥㎞㎏㎝㎜㎎㏄′″¢￠]"),
    (
        Kind.FORMAT,
        rf"\\?[{_CURRENCIES}]|(?<![{_LETTERS}])(?:(?:RMB|USD|CNY|EUR|GBP|HKD|JPY|Rs)\.?|(?:US|HK|NT|[ACS])(?=[$＄]))(?=[\d$＄])",
    ),
    (Kind.COMMAND, r"\\[A-Za-z]+|<sub>|(?<=[A-Za-z)}])_(?=\{)"),
    (Kind.OBSTACLE, rf"(?<=[\d)）])(?:_\{{?\d{{1,2}}\}}?(?!\d)|[{_SUBSCRIPT}]+)"),  # 1010₂
    (Kind.FORMAT, r"(?<=[A-Za-z)}])_(?:\d+|[A-Za-z](?![A-Za-z]))"),
    (Kind.POWER, r"<sup>|\*\*|[\^ˆ＾]"),
    (Kind.RIGHT, r"</su[bp]>|\}"),
    (Kind.LEFT, r"\{"),
    (Kind.OTHER, r"\\[{}|#&_]"),
    (Kind.OBSTACLE, r"(?<=\d)!+(?=\$|\\[)\]])"),  # a factorial at the end of a formula: $5!$
    (Kind.OBSTACLE, rf"(?<![\d.,])0(?:[xX][0-9A-Fa-f]+|[bB][01]+|[oO][0-7]+)(?![\d{_LETTERS}])"),
    (Kind.DIGITS, r"\d+"),
    (Kind.SUPERSCRIPT, r"[⁰¹²³⁴-⁹⁺⁻]+"),
    (Kind.VULGAR, r"[\u00bc-\u00be\u2150-\u215e\u2189]"),
    (Kind.NUMERAL, rf"[{NUMERAL_LETTERS}]+"),
    (Kind.CONSTANT, r"[π∞]"),
    (Kind.EXPONENT, r"(?<=[\d.．])[eEｅＥ][+\-−－＋–]?(?=\d)"),
    (Kind.TIMES, r"(?<=[\d)}\]!])[xXｘＸ](?=\d)|[×✕✖⋅·∙•]"),
    (Kind.STAR, r"[*＊]"),
    (Kind.ROOT, r"[√∛∜]"),
    (Kind.NAME, rf"[{_LETTERS}]+[\d{_SUBSCRIPT}][\d{_SUBSCRIPT}{_LETTERS}]*(?:\.\d[\d{_LETTERS}]*)*"),
    (Kind.FUNCTION, rf"(?:{'|'.join(_FUNCTIONS)})(?![{_LETTERS}])"),
    (Kind.WORD, rf"[{_LETTERS}]+"),
    (Kind.ELLIPSIS, r"\.{2,}|[…⋯]+"),
    (Kind.DOT, r"[.．]"),
    (Kind.WIDE_COMMA, "，"),
    (Kind.APOSTROPHE, r"['’]|(?<=\d)_(?=\d{3}(?!\d))"),
    (Kind.MINUS, "[-−﹣‐‑‒–－]"),
    (Kind.DASH, "[—―]+"),
    (Kind.PLUS_MINUS, r"[±∓]|\+/-"),
    (Kind.PLUS, "[+＋]"),
    (Kind.SLASH, "[/／⁄∕]"),
    (Kind.DIVIDE, "÷"),
    (Kind.COLON, "[:：∶]"),
    (Kind.TILDE, "[~～〜∼]"),
    (Kind.RELATION, "[=＝≈≡≠<>≤≥＜＞→⇒∴≒≃≅≢≦≧⩽⩾≪≫≮≯≰≱≲≳≶≷]+|∉"),
    (Kind.BANG, "!+"),
    (Kind.OPEN, r"[(（\[【［]"),
    (Kind.CLOSE, r"[)）\]】］]"),
    (Kind.HAN, r"[\u3400-\u9fff\uf900-\ufaff]"),
    (Kind.OTHER, r"(?s:.)"),
)
_TOKEN = re.compile("|".join(f"(?P<k{i}>{pattern})" for i, (_, pattern) in enumerate(_PATTERNS)))
_KINDS = {f"k{i}": kind for i, (kind, _) in enumerate(_PATTERNS)}

_BY_COMMAND = {
    Kind.FRACTION: "frac dfrac tfrac cfrac nicefrac sfrac",
    Kind.BOXED: "boxed fbox framebox",
    Kind.ROOT: "sqrt",
    Kind.TIMES: "times cdot ast",
    Kind.DIVIDE: "div",
    Kind.PLUS_MINUS: "pm mp",
    Kind.CONSTANT: "pi infty",
    Kind.OBSTACLE: "overline bar dot binom dbinom tbinom choose",
    Kind.ELLIPSIS: "dots ldots cdots",
    Kind.RELATION: "approx equiv le leq leqslant leqq ge geq geqslant geqq lt gt ne neq nless ngtr nleq ngeq ll gg "
    "lesssim gtrsim notin "
    "simeq cong sim to Rightarrow rightarrow implies therefore",
    Kind.FUNCTION: " ".join([*(word for word in _FUNCTIONS if word != "sqrt"), "bmod"]),
    Kind.SPACE: "space thinspace enspace",
    Kind.SYMBOL: "degree",
    Kind.FORMAT: "text textbf textit textrm textsf texttt textnormal mathrm mathbf mathit mathsf mathtt mbox hbox emph "
    "underline operatorname displaystyle textstyle left right big Big bf rm it boldsymbol bm",
}
_COMMANDS = {command: kind for kind, commands in _BY_COMMAND.items() for command in commands.split()}
_PRICE = frozenset((Kind.DIGITS, Kind.COMMA, Kind.DOT))
_WITH_ARGUMENTS = frozenset(
    (Kind.FRACTION, Kind.BOXED, Kind.ROOT, Kind.FUNCTION, Kind.POWER, Kind.COMMAND, Kind.OBSTACLE)
)
_OPERANDS_LEFT = frozenset((Kind.DIGITS, Kind.CLOSE, Kind.RIGHT, Kind.WORD, Kind.NAME, Kind.CONSTANT))
_OPERANDS_RIGHT = frozenset(
    (Kind.DIGITS, Kind.OPEN, Kind.LEFT, Kind.MINUS, Kind.WORD, Kind.NAME, Kind.CONSTANT, Kind.ROOT, Kind.FUNCTION)
)


def tokens_of(text: str) -> list[Token]:
    """Return the tokens of `text` without mere formatting, with brackets and the braces of arguments paired."""
    return _paired(_without_bold(_without_plain_braces(_lexed(text))))


def is_wide(digits: str) -> bool:
    """Return whether `digits` are full-width ones."""
    return all("０" <= digit <= "９" for digit in digits)


def _lexed(text: str) -> list[Token]:
    tokens: list[Token] = []
    priced = -1  # index of the first token behind the last sign of a currency
    for match in _TOKEN.finditer(text):
        kind, piece = _KINDS[match.lastgroup or ""], match[0]
        if kind is Kind.COMMAND and piece[0] == "\\":
            kind = _COMMANDS.get(piece[1:], kind)
        if kind is Kind.FORMAT and piece[-1] in _CURRENCIES:
            priced = len(tokens)
        is_price = piece == "m" and 0 <= priced < len(tokens) <= priced + 7
        if (
            is_price
            and {token.kind for token in tokens[priced:]} <= _PRICE
            and text[match.end() : match.end() + 1] not in tuple("$＄")
        ):
            piece = "M"  # £3m, but not the formula $3m$
        if kind is not Kind.FORMAT:
            tokens.append(Token(kind, piece, is_priced=priced == len(tokens)))
        if piece in ("<sup>", "<sub>"):
            tokens.append(Token(Kind.LEFT, "{"))
    return tokens


def _without_plain_braces(tokens: list[Token]) -> list[Token]:
    """Return `tokens` without the braces that do not delimit an argument."""
    result: list[Token] = []
    open_braces: list[int] = []  # 1 for a brace that stays, -1 for one that is dropped
    for token in tokens:
        if token.kind is Kind.LEFT:
            before = next((other for other in reversed(result[-2:]) if other.kind is not Kind.SPACE), None)
            is_argument = before is not None and (before.kind in _WITH_ARGUMENTS or before.kind is Kind.RIGHT)
            open_braces.append(1 if is_argument else -1)
            if not is_argument:
                continue
        elif token.kind is Kind.RIGHT and open_braces and open_braces.pop() < 0:
            continue
        result.append(token)
    return result


def _without_bold(tokens: list[Token]) -> list[Token]:
    """Return `tokens` without the stars that mark bold or slanted text or list items; stars that are operators stay.

    A star is an operator if it stands between operands, with white space on both sides or on neither.
    """
    return [
        token
        for i, token in enumerate(tokens)
        if not (token.kind is Kind.STAR or token.text == "**") or _is_operator(tokens, i)
    ]


def _is_operator(tokens: list[Token], i: int) -> bool:
    spaces = [0 <= j < len(tokens) and tokens[j].kind is Kind.SPACE for j in (i - 1, i + 1)]
    if spaces[0] != spaces[1]:
        return False
    left, right = (i - 2, i + 2) if spaces[0] else (i - 1, i + 1)
    left -= left > 0 and tokens[left].kind is Kind.BANG  # 3! * 2
    return (
        left >= 0
        and right < len(tokens)
        and tokens[left].kind in _OPERANDS_LEFT
        and tokens[right].kind in _OPERANDS_RIGHT
    )


def _paired(tokens: list[Token]) -> list[Token]:
    """Return `tokens`; in each opening brace or bracket, `pair` becomes the index of the one that closes it, if any."""
    result = list(tokens)
    for opening, closing in ((Kind.LEFT, Kind.RIGHT), (Kind.OPEN, Kind.CLOSE)):
        waiting: list[int] = []
        for i, token in enumerate(tokens):
            if token.kind is opening:
                waiting.append(i)
            elif token.kind is closing and waiting:
                partner = waiting.pop()
                result[partner] = result[partner]._replace(pair=i)
    return result

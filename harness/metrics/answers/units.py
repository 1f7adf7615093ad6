"""Words after a number: units, scales, and letters that are neither units nor scales."""

from __future__ import annotations

from fractions import Fraction

MEASURES = frozenset(
    word
    for line in (
        "个 個 只 条 张 本 元 块 角 毛 岁 天 日 号 年 月 个月 人 名 位 米 千米 公里 里 厘米 分米 毫米 公顷 亩",
        "平方米 平方厘米 平方千米 平方分米 平方公里 立方米 立方厘米 立方分米 斤 公斤 千克 克 毫克 吨 升 毫升",
        "次 倍 件 支 枝 棵 辆 小时 个小时 分钟 秒 秒钟 度 摄氏度 页 套 双 对 头 匹 杯 瓶 箱 袋 包 颗 粒 朵 间",
        "层 排 组 种 周 分 时 点 点钟 盒 盘 艘 架 美元 欧元 英镑 日元 人民币 元钱 块钱 株 户 台 道 题 篇 根 片 座",
        "站 瓦 千瓦 伏 安 牛 焦耳 千卡 卡 成 折 人次 个人 刻 刻钟 星期 个星期 毫秒 打 世纪",
        "小時 個小時 分鐘 點 點鐘 時 個月 塊 年代",
        "英尺 英寸 英里 码 磅 盎司 英石 英镑 便士 先令 美分 欧分 加仑 夸脱 品脱 丈 尺 寸 市尺 市寸",
        "市斤 两 钱 公分 公升 微米 平米",
    )
    for word in line.split()
)
LONGEST_MEASURE = max(map(len, MEASURES))
BEHIND_THOUSAND = frozenset("米克瓦帕卡赫伏焦")
"""Characters that, after 千, make 千 part of a unit rather than a scale: 5千米 is 5, 5千元 is 5000."""

# Units of one quantity, from large to small: two numbers with units of one row are one quantity (3小时30分钟).
_SCALES = tuple(
    tuple(frozenset(units.split()) for units in row.split(">"))
    for row in (
        "century centuries 世纪 > decade decades 年代 > year years yr yrs y 年 > month months mo mos 月 个月 個月 "
        "> fortnight fortnights > week weeks wk wks w 周 星期 个星期 "
        "> day days d 天 日 号 > hour hours hr hrs h 小时 个小时 时 点 点钟 小時 個小時 時 點 點鐘  > 刻 刻钟 "
        "> minute minutes min mins m 分钟 分鐘 分 > second seconds sec secs s 秒 秒钟 > ms 毫秒",
        "元 块 塊 块钱 元钱 > 角 毛 > 分",
        "dollar dollars buck bucks usd 美元 > quarter quarters > dime dimes > nickel nickels "
        "> cent cents penny pennies ¢ ￠ 美分",
        "pound pounds quid gbp 英镑 > shilling shillings 先令 > penny pence p 便士",
        "euro euros eur 欧元 > cent cents 欧分",
        "rupee rupees > paisa paise",
        "mile miles mi 英里 > furlong furlongs > yard yards yd yds 码 > foot feet ft ′ ' ’ 英尺 "
        '> inch inches in ″ " ” 英寸',
        "里 > 丈 米 > 尺 市尺 > 寸 市寸",
        "km kilometer kilometers kilometre kilometres 公里 千米 > m meter meters metre metres 米 "
        "> dm decimeter decimeters decimetre decimetres 分米 "
        "> cm centimeter centimeters centimetre centimetres 厘米 公分 "
        "> mm millimeter millimeters millimetre millimetres 毫米 > μm µm 微米",
        "ton tons tonne tonnes t 吨 > kg kgs kilogram kilograms kilo kilos 公斤 千克 > g gram grams 克 > mg 毫克",
        "斤 公斤 市斤 > 两 > 钱",
        "ton tons > stone stones st 英石 > lb lbs pound pounds 磅 > oz ozs ounce ounces 盎司",
        "gallon gallons gal gals 加仑 > quart quarts qt qts 夸脱 > pint pints pt pts 品脱 > cup cups 杯 "
        "> ounce ounces oz fl > tablespoon tablespoons tbsp tbsps tbs > teaspoon teaspoons tsp tsps",
        "l L liter liters litre litres 升 公升 > dl cl > ml mL ML milliliter milliliters millilitre millilitres 毫升",
        "bushel bushels > peck pecks",
        "acre acres > perch perches rood roods",
        "TB > GB > MB > KB kB > bytes byte B",
        "平方公里 平方千米 > 公顷 > 亩 > 分 > 平方米 平米 > 平方分米 > 平方厘米",
        "立方米 > 立方分米 > 立方厘米",
        "° 度 degree degrees deg > ′ ' ’ 分 minute minutes min > ″ \" ” 秒 second seconds sec",
    )
)
_RANKS = tuple({unit: rank for rank, units in enumerate(row) for unit in units} for row in _SCALES)

_DOLLAR = "dollar"

DOZENS = frozenset(("dozen", "dozens", "打", "gross", "score"))
"""Units that count several things. With one of them, two numbers can be one quantity: 2 dozen and 3."""
CENTS = frozenset(("cent", "cents", "¢", "￠", "penny", "pennies", "pence", "p", "c", "s", "美分", "便士", "欧分"))
"""Units of the smaller part of a price: $2 and 50 cents."""
NO_UNITS = frozenset(
    word
    for line in (
        "a about after alone also an and as at because before but by during each for from he her his i if in it its",
        "my of on or she since so that the their then there they this thus to total until was we were when where",
        "which while who will with would you deep high long old tall wide",
    )
    for word in line.split()
)
"""Words that may follow a number but are not a unit."""
LENGTHS = frozenset(("mm", "cm", "dm", "m", "km", "ft", "厘米", "毫米"))
"""Units after which a number without its own unit is a lost exponent (36 cm 2) or a smaller part (1 m 75)."""
UNIT_LETTERS = frozenset("mgshlLAVWJNCFtdKÅΩµμ")
"""Letters that are units directly after a number; any other letter there is a variable: 3x."""
_VARIABLES = frozenset("abcnqxyzABCXYZπ")
SCALE_LETTERS = {"k": Fraction(10**3), "K": Fraction(10**3), "M": Fraction(10**6), "B": Fraction(10**9)}
"""Letters that multiply the number directly before them."""
ORDINALS = frozenset(("st", "nd", "rd", "th"))


def is_unit(word: str) -> bool:
    """Return whether letters directly after a number are its unit rather than variables, functions or an e."""
    return word in UNIT_LETTERS or (len(word) > 1 and not (len(word) < 4 and word != "cc" and set(word) <= _VARIABLES))


def is_one_quantity(unit: str, next_unit: str) -> bool:
    """Return whether a number with `unit` and then one with `next_unit` state one quantity: 3小时30分钟."""
    greater, smaller = _plain(unit), _plain(next_unit)
    return any(greater in ranks and ranks[greater] < ranks.get(smaller, -1) for ranks in _RANKS)


def is_same(unit: str, other: str) -> bool:
    """Return whether `unit` and `other` are the same unit, maybe spelled differently: hour and hours, $ and dollars."""
    first, second = (_DOLLAR if each == "$" else _plain(each) for each in (unit, other))
    has_one_rank = any(first in ranks and ranks[first] == ranks.get(second) for ranks in _RANKS)
    return has_one_rank or first.rstrip("s") == second.rstrip("s")


def is_continued(unit: str, is_glued: bool) -> bool:
    """Return whether a number without its own unit, after `unit`, is the smaller part of a quantity: 1米75, 6 feet 2.

    After a Chinese unit, that holds only if nothing stands between the unit and the number (`is_glued`).
    """
    plain = _plain(unit)
    is_greater = any(plain in ranks and ranks[plain] < len(set(ranks.values())) - 1 for ranks in _RANKS)
    return unit in LENGTHS or (is_greater and (is_glued or plain.isascii() or plain in ("′", "’")))


def is_abbreviation(unit: str) -> bool:
    """Return whether a full stop may be a part of `unit`: hr., lbs."""
    return unit.isascii() and len(unit) <= 4 and unit.lower() not in ("day", "days", "year", "week", "foot", "feet")


def _plain(unit: str) -> str:
    """Return `unit` in lower case if it is longer than two letters, and so a word rather than a symbol."""
    return unit.lower() if len(unit) > 2 else unit

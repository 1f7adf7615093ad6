"""Words behind a number: units, scales, and letters that are neither."""

from __future__ import annotations

from fractions import Fraction

MEASURES = frozenset(
    word
    for line in (
        "个 個 只 条 张 本 元 块 角 毛 岁 天 日 号 年 月 个月 人 名 位 米 千米 公里 里 厘米 分米 毫米 公顷 亩",
        "平方米 平方厘米 平方千米 平方分米 平方公里 立方米 立方厘米 立方分米 斤 公斤 千克 克 毫克 吨 升 毫升",
        "次 倍 件 支 枝 棵 辆 小时 个小时 分钟 秒 秒钟 度 摄氏度 页 套 双 对 头 匹 杯 瓶 箱 袋 包 颗 粒 朵 间",
        "层 排 组 种 周 分 时 点 点钟 盒 盘 艘 架 美元 欧元 英镑 日元 人民币 元钱 块钱 株 户 台 道 题 篇 根 片 座",
        "站 瓦 千瓦 伏 安 牛 焦耳 千卡 卡 成 折 人次 个人",
    )
    for word in line.split()
)
LONGEST_MEASURE = max(map(len, MEASURES))
BEHIND_THOUSAND = frozenset("米克瓦帕卡赫伏焦")
"""What makes 千 behind Arabic digits the first part of a unit: 5千米 is 5, 5千元 is 5000."""

# Units of one quantity, from large to small: two numbers with units of one row are one quantity (3小时30分钟).
_SCALES = (
    ("年", ("月", "个月"), ("日", "号", "天")),
    (("周", "星期", "week", "weeks"), ("天", "日", "day", "days")),
    (
        ("天", "日", "day", "days", "d"),
        ("小时", "个小时", "时", "点", "点钟", "hour", "hours", "hr", "hrs", "h"),
        ("分钟", "分", "minute", "minutes", "min", "mins", "m"),
        ("秒", "秒钟", "second", "seconds", "sec", "secs", "s"),
    ),
    (("year", "years"), ("month", "months"), ("week", "weeks"), ("day", "days")),
    (("元", "块", "块钱"), ("角", "毛"), "分"),
    (("dollar", "dollars"), ("cent", "cents")),
    (("公里", "千米", "km"), ("米", "m"), "分米", ("厘米", "cm"), ("毫米", "mm")),
    (("feet", "foot", "ft", "′", "'"), ("inches", "inch", "in", "″", '"')),
    (("吨", "t"), ("公斤", "千克", "kg"), ("克", "g")),
    (("斤", "公斤"), "两"),
    (("lb", "lbs", "pound", "pounds"), ("oz", "ounce", "ounces")),
    (("升", "L", "l"), ("毫升", "ml", "mL")),
    (("°", "度"), ("′", "'", "分"), ("″", '"', "秒")),
)
_RANKS = tuple(
    {unit: rank for rank, units in enumerate(row) for unit in ((units,) if isinstance(units, str) else units)}
    for row in _SCALES
)

LENGTHS = frozenset(("mm", "cm", "dm", "m", "km", "ft", "厘米", "毫米"))
"""Units that a number without a unit of its own continues: a lost exponent (36 cm 2) or a smaller part (1 m 75)."""
UNIT_LETTERS = frozenset("mgshlLAVWJNCFtdKÅΩµμ")
"""Letters that are units directly behind a number; another letter there is a variable: 3x."""
_VARIABLES = frozenset("abcnqxyzABCXYZπ")
SCALE_LETTERS = {"k": Fraction(10**3), "K": Fraction(10**3), "M": Fraction(10**6), "B": Fraction(10**9)}
"""Letters that multiply the number directly before them."""
ORDINALS = frozenset(("st", "nd", "rd", "th"))


def is_unit(word: str) -> bool:
    """Return whether letters directly behind a number are its unit rather than variables, functions or an e."""
    return word in UNIT_LETTERS or (len(word) > 1 and not (len(word) < 4 and word != "cc" and set(word) <= _VARIABLES))


def is_one_quantity(unit: str, next_unit: str) -> bool:
    """Return whether numbers with these units, one behind the other, state one quantity: 3小时30分钟."""
    return any(unit in ranks and ranks[unit] < ranks.get(next_unit, -1) for ranks in _RANKS)

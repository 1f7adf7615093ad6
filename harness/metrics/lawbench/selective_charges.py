"""The charges that a text names, even if only by a part of a selective charge: 贩卖毒品 is 走私、贩卖、运输、制造毒品.

A selective charge (选择性罪名) lists acts or objects, and a judgment names only those that apply to the case.
LawBench's labels list all of these acts or objects.

Not here: charges under a later name, such as 侵犯公民个人信息 for 非法获取公民个人信息.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection

from harness.metrics.lawbench.labels import CHARGES

_SELECTIVE = (
    *(
        "非法[制造|销售]非法制造的注册商标标识",
        "非法[制造|买卖|运输|邮寄|储存][枪支|弹药|爆炸物]",
        "拒不执行[判决|裁定]",
    ),
    *("非法[持有|私藏][枪支|弹药]", "[组织|领导|参加]黑社会性质组织", "聚众扰乱[公共场所秩序|交通秩序]"),
    *("伪造[公司|企业|事业单位|人民团体]印章", "非法[采伐|毁坏]国家重点保护植物", "招收[公务员|学生]徇私舞弊"),
    *("[组织|领导]传销活动", "非法[猎捕|杀害][珍贵|濒危]野生动物", "[伪造|变造|买卖]武装部队[公文|证件|印章]"),
    *("[伪造|变造]居民身份证", "非法[转让|倒卖]土地使用权", "[出售|购买|运输]假币", "[持有|使用]假币"),
    *("[引诱|容留|介绍]卖淫", "[生产|销售]伪劣[农药|兽药|化肥|种子]", "强制[猥亵|侮辱]妇女"),
    *("非法处置[查封|扣押|冻结]的财产", "骗取[贷款|票据承兑|金融票证]", "徇私舞弊[不征|少征]税款"),
    *("非法携带[枪支|弹药|管制刀具|危险物品]危及公共安全", "[制造|贩卖|传播]淫秽物品", "拐卖[妇女|儿童]"),
    *("[盗窃|抢夺][枪支|弹药|爆炸物|危险物质]", "提供[侵入|非法控制]计算机信息系统[程序|工具]"),
    *("[编造|故意传播]虚假恐怖信息", "[走私|贩卖|运输|制造]毒品", "过失损坏[武器装备|军事设施|军事通信]"),
    *("破坏[广播电视设施|公用电信设施]", "倒卖[车票|船票]", "[掩饰|隐瞒][犯罪所得|犯罪所得收益]"),
    *("[引诱|教唆|欺骗]他人吸毒", "[生产|销售]伪劣产品", "[盗窃|抢夺][枪支|弹药|爆炸物]"),
    *("[制作|复制|出版|贩卖|传播]淫秽物品牟利", "走私国家禁止进出口的[货物|物品]", "走私普通[货物|物品]"),
    *("盗掘[古文化遗址|古墓葬]", "[窝藏|包庇]", "[伪造|变造]金融票证", "[窝藏|转移|隐瞒][毒品|毒赃]"),
    *("帮助[毁灭|伪造]证据", "走私[珍贵动物|珍贵动物制品]", "[生产|销售]假药", "非法[生产|销售]间谍专用器材"),
    *("[组织|强迫|引诱|容留|介绍]卖淫", "[隐匿|故意销毁][会计凭证|会计帐簿|财务会计报告]", "收买被拐卖的[妇女|儿童]"),
    *("[生产|销售]不符合安全标准的食品", "非法[制造|出售]非法制造的发票", "劫持[船只|汽车]"),
    *("非法[买卖|运输|携带|持有]毒品原植物[种子|幼苗]", "[伪造|变造|买卖]国家机关[公文|证件|印章]"),
    *("非法[生产|买卖]警用装备", "[伪造|倒卖]伪造的有价票证", "[生产|销售][有毒|有害]食品"),
    *("虚开[增值税专用发票|用于骗取出口退税、抵扣税款发票]", "[盗窃|侮辱]尸体", "走私[武器|弹药]"),
    "非法[收购|运输|加工|出售][国家重点保护植物|国家重点保护植物制品]",
)
"""The selective charges among LawBench's labels, with the acts or objects to choose from in brackets."""


def named_charges(text: str, expected: Collection[str] = ()) -> set[str]:
    """Return the charges among LawBench's labels and `expected` that `text` names outside of longer names.

    A name that may mean several charges, such as 容留卖淫, means an expected charge or else the charge with the
    shortest name.
    """
    mentions = [
        (match.start(), match.end(), charge)
        for charge, pattern in (*_patterns().items(), *((charge, _literal(charge)) for charge in {*expected}))
        if charge
        for match in pattern.finditer(text)
    ]
    mentions.sort(key=lambda mention: (mention[0] - mention[1], mention[2] not in expected, len(mention[2]), mention))
    is_taken, charges = bytearray(len(text)), set()
    for start, end, charge in mentions:
        if not any(is_taken[start:end]):
            is_taken[start:end] = b"\x01" * (end - start)
            charges.add(charge)
    return charges


@functools.cache
def _patterns() -> dict[str, re.Pattern[str]]:
    """Return a pattern for every label; that of a selective charge matches one or more of the acts or objects in it."""
    selective = {re.sub(r"[\[\]]", "", charge).replace("|", "、"): _selective(charge) for charge in _SELECTIVE}
    return {charge: selective.get(charge) or _literal(charge) for charge in CHARGES}


@functools.lru_cache(maxsize=1024)
def _literal(charge: str) -> re.Pattern[str]:
    return re.compile(re.escape(charge))


def _selective(charge: str) -> re.Pattern[str]:
    parts = []
    for part in re.split(r"(\[[^\]]*\])", charge):
        if part.startswith("["):
            options = "|".join(sorted(map(re.escape, part[1:-1].split("|")), key=len, reverse=True))
            parts.append(f"(?:{options})(?:[、和及或]?(?:{options})){{0,5}}")
        else:
            parts.append(re.escape(part))
    return re.compile("".join(parts))

"""Invented C-Eval documents, and their prompt by the protocol."""

# The documents contain text that a prompt must not change: spaces and line ends around the question, template braces,
# an option that is a number, carriage returns, and options in Latin script.
SHOTS = [
    ("某村规定，每户每年植树三棵。老王家今年植树两棵，还差____棵。", "零", "一", "二", "三", "B"),
    (" 下列文具中，能够写字的是____。\n", "铅笔", "橡皮", "尺子", "书包", "A"),
    ("算式 {{ 2 + 3 }} 的值是____。", "4", "5", "6", "7", "B"),
    ("第一行\r\n第二行\n这段话共有几行？", "{% if %}", "一行", "两行 ", "{# 三 #}", "C"),
    ("Which of these is a colour?", "seven", "Tuesday", "run", "green", "D"),
]
QUESTION = ("  小明借小红一本书，约定周五归还。周六小红可以要求小明____。 ", "唱歌", "跳舞", "归还该书", "1000", "C")

# Written out by hand from the protocol: header, shots with their letters, the question, nothing after the colon.
GOLDEN = (
    "以下是中国关于法学考试的单项选择题，请选出其中的正确答案。\n\n"
    "某村规定，每户每年植树三棵。老王家今年植树两棵，还差____棵。\nA. 零\nB. 一\nC. 二\nD. 三\n答案：B\n\n"
    " 下列文具中，能够写字的是____。\n\nA. 铅笔\nB. 橡皮\nC. 尺子\nD. 书包\n答案：A\n\n"
    "算式 {{ 2 + 3 }} 的值是____。\nA. 4\nB. 5\nC. 6\nD. 7\n答案：B\n\n"
    "第一行\r\n第二行\n这段话共有几行？\nA. {% if %}\nB. 一行\nC. 两行 \nD. {# 三 #}\n答案：C\n\n"
    "Which of these is a colour?\nA. seven\nB. Tuesday\nC. run\nD. green\n答案：D\n\n"
    "  小明借小红一本书，约定周五归还。周六小红可以要求小明____。 \nA. 唱歌\nB. 跳舞\nC. 归还该书\nD. 1000\n答案："
)

"""Sentences in many languages and scripts."""

from __future__ import annotations

TEXTS = {
    "English": ("The weather is nice today.", "A black dog ran home.", "words"),
    "Indonesian": ("Cuaca hari ini bagus.", "Seekor anjing berlari pulang.", "words"),
    "French": ("Le café est très agréable.", "Un chien noir dort ici.", "unicode"),
    "German": ("Schöne Grüße aus Köln.", "Ein Hund bellt laut.", "unicode"),
    "Turkish": ("İstanbul çok güzel.", "Siyah köpek eve koştu.", "unicode"),
    "Vietnamese": ("Hôm nay trời đẹp.", "Con chó đen chạy về nhà.", "unicode"),
    "Russian": ("Сегодня хорошая погода.", "Чёрная собака бежит домой.", "unicode"),
    "Greek": ("Ο καιρός είναι καλός.", "Ένας σκύλος τρέχει σπίτι.", "unicode"),
    "Arabic": ("الطقس جميل اليوم.", "كلب أسود ركض بسرعة.", "unicode"),
    "Hebrew": ("מזג האוויר יפה.", "כלב שחור רץ הביתה.", "unicode"),
    "Hindi": ("आज मौसम अच्छा है।", "काला कुत्ता घर भागा।", "unicode"),
    "Tamil": ("இன்று வானிலை நன்று.", "கருப்பு நாய் ஓடியது.", "unicode"),
    "Georgian": ("დღეს კარგი ამინდია.", "შავი ძაღლი გაიქცა.", "unicode"),
    "Amharic": ("ዛሬ አየሩ ጥሩ ነው።", "ጥቁር ውሻ ሮጠ።", "unicode"),
    "Chinese": ("今天天气很好。", "黑狗跑回家了！", "jieba"),
    "Japanese": ("今日は天気がいいです。", "黒犬、走って帰った", "characters"),
    "Korean": ("오늘 날씨가 좋아요.", "검은 개 한 마리", "characters"),
    "Thai": ("วันนี้อากาศดีมาก", "ฟฬฆฒฌฐ", "characters"),
    "Khmer": ("អាកាសធាតុល្អ", "ឆ្កែខ្មៅ", "characters"),
    "Burmese": ("ဒီနေ့ရာသီဥတုကောင်းတယ်", "ခွေး", "characters"),
    "Lao": ("ອາກາດດີ", "ໝາ", "characters"),
    "Tibetan": ("གནམ་གཤིས་ཡག་པོ་འདུག", "ཁྱི", "characters"),
}
"""In each language two texts without a common word, and the cut of its references."""

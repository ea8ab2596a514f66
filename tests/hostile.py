"""Prompts that people type by accident or on purpose, none of which may crash or hang anything."""

STRINGS = [
    "", " ", "\t\n\r", "\x00", "a\x00heart", "\x1b[31mred\x1b[0m", "\x07\x08\x7f", "\u200b\u200b\u200b", "\ufeffheart",
    "\ud800", "red \udfff heart", "\ufffd\uffff", "\U0010ffff", "a" * 5000, "\u0301" * 500, "e" + "\u0301" * 300,
    "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘!͖̬̰̙̗̿̋ͥͥ̂ͣ̐́́͜͞", "👩‍👩‍👧‍👦" * 40, "🏳️‍🌈🏴‍☠️🇩🇪🇯🇵",
    "👍🏿👍🏻", "❤️❤️❤️", "1️⃣#️⃣", "红色的心在白色的方块上", "赤いハートと青い丸", "빨간 하트", "قلب أحمر على مربع أبيض", "לב אדום",
    "\u202egnirts desrever", "\u2066\u2069\u202a\u202c", "हृदय ❤ लाल", "ใจสีแดงไม่มีช่องว่าง", "ﷺ﷽" * 50,
    "ａ ｒｅｄ ｈｅａｒｔ", "𝖆 𝖗𝖊𝖉 𝖍𝖊𝖆𝖗𝖙", "ⓡⓔⓓ", "ſ ß ẞ İ ı ﬁ", "[PAD][CLS][SEP][MASK][UNK]", "</s><pad><unk><extra_id_0>",
    "<|startoftext|><|endoftext|>", "<end><pad>", "▁▁▁", "##ing ##", "%s%s%n%x", "{0}{prompt}{{}}", "$(rm -rf /)`ls`",
    "../../etc/passwd", "'; DROP TABLE prompts;--", "<script>alert(1)</script>", "\\u0041\\x41\\", "\"'`´‘’“”",
    "(((((((" * 60 + ")" * 10, "a (red:1e999) heart", "(:)", "NaN", "-0", "1" * 400, "http://" + "a." * 300,
    "!" * 1000, "\n".join(["line"] * 200), "a\u2028b\u2029c", "\u00a0\u3000\u2003", "AaAaAa" * 100,
]
LONG = [" ".join(["a red heart"] * count) for count in (1, 2, 5, 17, 64, 250)]
WORDS = [" ".join(["word"] * count) for count in (1, 3, 10, 30, 77, 128, 300, 513, 1000)]
PROMPTS = STRINGS + LONG + WORDS

"""Words that carry grammar and not content: asking for a sentence with one of them asks nothing."""

CHINESE = frozenset(
    "的 了 着 过 吗 呢 吧 么 们 这 那 之 其 也 曰 与 于 乃 皆 而 以 为 所 者 矣 乎 哉 焉 被 把 "
    "我 你 他 她 它 您 某 此 彼 汝 吾 谁 何 什 怎 哪 很 都 就 才 又 再 还 却 不 没 无 非 勿 "
    "是 有 在 和 跟 对 从 向 到 个 些 每 各 一 二 两 三 几 "
    "因为 所以 但是 如果 虽然 然后 而且 或者 可以 已经 正在 应该 必须 能够 可能 非常 特别 "
    "于是 遂令 即日 当下 且说 却说 忽然 原来 只见 只得 如何 便是 自己 大家 别人 只是 只有 "
    "同时 之后 以后 以前 时候 现在 刚才 马上 今天 明天 昨天 还是 也许 比较 更加 真是 觉得".split()
)
"""Single characters stand for every word that holds them."""

ENGLISH = frozenset(
    "the and but for nor not you your yours she her hers his him its our ours they them their "
    "this that these those there here who whom whose which what when where why how all any both "
    "each few more most other some such than too very can could will would shall should may "
    "might must ought has have had having does did doing done are was were been being isn't "
    "with without within from into onto out over under about above below after before between "
    "through during until while because since unless although though also just only even ever "
    "never always often again once then else already yet still upon per via etc don't doesn't "
    "use used using one two three same own get got let lot many much let's i'm it's".split()
)

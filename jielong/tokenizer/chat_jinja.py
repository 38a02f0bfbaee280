"""The chat template once more, in the language that `transformers.apply_chat_template` runs.

It has to give the ids and the mask of `chat_template.render`, and refuses what that refuses.
"""

import json
import re
from collections.abc import Iterable, Mapping

_TEMPLATE = """
{%- set refused = REFUSED -%}
{{- BOS -}}
{%- for message in messages -%}
{%- set role, content = message['role'], message['content'] -%}
{%- if role not in ['system', 'user', 'assistant'] -%}
{{- raise_exception('role: choose one of system, user, assistant') -}}
{%- endif -%}
{%- if content is not string -%}
{{- raise_exception('content: expected a text') -}}
{%- endif -%}
{%- if role == 'system' and not loop.first -%}
{{- raise_exception('a system message must come first') -}}
{%- endif -%}
{%- set previous = 'system' if loop.first else loop.previtem['role'] -%}
{%- if role != 'system' and (role == 'user') == (previous == 'user') -%}
{{- raise_exception('user and assistant take turns, the user first') -}}
{%- endif -%}
{%- for spelling in refused -%}
{%- if spelling in content -%}
{{- raise_exception('a message holds a control sequence of this template: remove it') -}}
{%- endif -%}
{%- endfor -%}
{{- {'system': SYSTEM, 'user': USER, 'assistant': ASSISTANT}[role] -}}
{%- if role == 'assistant' -%}
{%- generation -%}{{- content -}}{{- EOS -}}{%- endgeneration -%}{{- MARK -}}
{%- else -%}
{{- content -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- ASSISTANT -}}{%- endif -%}
"""


def chat_jinja(spellings: Mapping[str, str], mark: str, refused: Iterable[str]) -> str:
    """The template, where `spellings` say how each special token is written.

    `mark` follows each spelling; a message that holds one of `refused` is turned away, because its
    text would be taken for a special token.
    """
    # The mark after <eos> stands outside the generation block: it becomes no token, and the mask
    # is looked up by the block's last character.
    values = {name.upper(): _literal(text + mark) for name, text in spellings.items()}
    values |= {"EOS": _literal(spellings["eos"]), "MARK": _literal(mark)}
    values["REFUSED"] = f"[{', '.join(map(_literal, refused))}]"
    template = _TEMPLATE.replace("\n", "")
    return re.sub("|".join(values), lambda found: values[found[0]], template)


def _literal(text: str) -> str:
    """A string in Jinja's syntax; what cannot be seen is spelled out."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in quoted)

"""
What a key looks like, and what stands where a key should and is none.

Programs that start servers pass on what nobody filled in, and people copy more than the key. Neither may be sent: it
could not work, and the answer of the service would hide why.

Sources: https://www.alibabacloud.com/help/en/model-studio/get-api-key and, for what may follow the word Bearer,
https://www.rfc-editor.org/rfc/rfc6750#section-2.1
"""

import re

PLAN_KEY = "sk-sp-"
"""How the keys of token and coding plans begin. They order no images."""

_KINDS_OF_KEYS = (
    (PLAN_KEY, "a plan key, which orders no images"),
    ("sk-ws-", "a workspace key"),
    ("sk-", "a general key"),
    ("st-", "a temporary key, which ends within half an hour"),
)
_KEYS_OF_OTHERS = (
    ("LTAI", "an AccessKey id of Alibaba Cloud"),
    ("sk-ant-", "a key of Anthropic"),
    ("sk-proj-", "a key of OpenAI"),
    ("sk-or-", "a key of OpenRouter"),
    ("AIza", "a key of Google"),
    ("hf_", "a token of Hugging Face"),
    ("ghp_", "a token of GitHub"),
)

_NOTHING = frozenset({"null", "none", "nil", "undefined", "[object object]", ""})
"""What programs write where they have no value, in small letters and without quotes."""

# The patterns are compiled when a text first needs them, not at every start.
_UNFILLED = r"""(?xs)
      \$?\{\{.*\}\}                                        # {{key}}, and ${{ secrets.KEY }} of workflows
    | [$#@]\{[^{}]*\}                                      # ${KEY}, ${env:KEY}, ${input:key}, ${KEY:-none}
    | \{(?:env|file|input|secrets?|vault|cmd|keychain):[^{}]*\}
    | \$(?:env:)?[A-Za-z_]\w*                              # of a shell, and of PowerShell
    | %[A-Za-z_][\w()]*%                                   # of Windows
    | <[^<>]*>
"""
"""What stands in any setting for a value that somebody else was to fill in."""

_BEGINS_UNFILLED = "$#@{%<"

_REFERENCE = r"""(?xs)
      \{[^{}]*\} | \$\(.*\) | ![A-Za-z_]\w*! | \[[^\[\]]*\] | \([^()]*\)
    | [A-Za-z][A-Za-z0-9+.-]*://\S*                        # op://vault/item/key, file:///run/secrets/key
    | (?:env|file|secret|vault|keychain|keyring|cmd):\S+
    | (?:os\.environ|process\.env|env|secrets?|vars)[.\[]\S+
    | @\S+ | ~?/\S* | \.\.?/\S+ | [A-Za-z]:\\.*            # a file's name where the key in it was meant
    | (?:[A-Z0-9]+_)+[A-Z0-9]*=? | [A-Z][A-Z0-9]*=         # a variable's name where its value was meant
    | _+\w+?_+
"""
"""What can only refer to a key that is kept elsewhere."""

_INSIDE = (
    r"[$#@]\{|\{\{|\{(?:env|file|input|secrets?|vault|cmd|keychain):|<[A-Za-z][^<>]*>|[\u3040-\u30ff\u3400-\u9fff]"
)
"""What only a template holds, or a sentence in Chinese or Japanese, whatever stands beside it."""

_PREFIX = r"(?:sk|st|ws|sp|llm)-"
_BLOT = r"[x*.…•#_-]{3,}|[…•*]+"
_BETWEEN_WORDS = r"[-_.,:;!?'\s]+"
_WORDS_FOR_A_KEY = (
    "your key apikey token credential placeholder example sample todo tbd fixme changeme replaceme replace insert"
    " enter paste here redacted hidden masked removed unset empty"
)
_WORDS_BESIDE = (
    "a an the my me api secret dashscope alibaba aliyun cloud qwen wan bailian model studio value it this that in of"
    " for from with to put add set change write real actual valid goes console id workspace region is please"
    " singapore beijing virginia frankfurt tokyo hongkong"
)
_WORDS_OF_A_TRIAL = "test testing dummy fake mock demo secret password true false yes no n/a na x"
_OF_A_KEY = r"[A-Za-z0-9._~+/-]+=*"
_SHORTENED = r"\*{2,}|\.{3,}|…|•"
_NAMED = r"(?a)(?:export\s+|set\s+|-+)?[A-Za-z_][\w.-]*\s*[=:]\s*[^\s=]"
_AUTHORIZATION = r"(?i)(?:Authorization\s*:\s*)?(?:Bearer|Basic|Token)\s"
_INVISIBLE = "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
_QUOTES = "\"'`\u2018\u2019\u201c\u201d\u00ab\u00bb\u201e\u300c\u300d"
_AROUND = _QUOTES + " \t\r\n"


def is_unfilled(text: str) -> bool:
    """Tell whether the value of any setting only stands for one that was never filled in."""
    bare = text.strip(_AROUND)
    return bare.lower() in _NOTHING or (bare[0] in _BEGINS_UNFILLED and re.fullmatch(_UNFILLED, bare) is not None)


def is_sample(text: str) -> bool:
    """Tell whether what stands where a key or an id should is that of some instructions: `sk-your-key`, `xxx`."""
    bare = text.strip(_AROUND)
    prefix = re.match(_PREFIX, bare)
    body = bare[prefix.end() if prefix else 0 :].lower()
    if body in _NOTHING or re.fullmatch(_BLOT, body) or not any(character.isalnum() for character in body):
        return True
    words = {"" if re.fullmatch(_BLOT, word) else word for word in re.split(_BETWEEN_WORDS, body)} - {""}
    for_a_key = set(_WORDS_FOR_A_KEY.split())
    return bool(words & for_a_key) and words <= for_a_key | set(_WORDS_BESIDE.split())


def is_placeholder(text: str) -> bool:
    """Tell whether what stands where a key should is visibly none: a reference, a template, a sample, a word."""
    bare = text.strip(_AROUND)
    if is_unfilled(bare) or re.fullmatch(_REFERENCE, bare) or re.search(_INSIDE, bare):
        return True
    return is_sample(bare)


def find_fault(key: str, *, own_host: bool) -> str | None:
    """
    Say what makes a key unfit to be sent, as a predicate without a full stop; None for what looks like a key.

    With `own_host` it goes to the service, whose keys are known; gateways of others have keys of their own making.
    """
    found = _find_addition(key, own_host=own_host)
    if found is not None:
        return f"holds more than a key: {found}"
    if re.search(_SHORTENED, key):
        return "holds a key that was shortened for showing, with dots or stars in place of letters"
    if not own_host:
        return None
    if key.lower() in _WORDS_OF_A_TRIAL.split() or key.isdecimal():
        return "holds a word or a number, which is no key"
    owner = next((owner for beginning, owner in _KEYS_OF_OTHERS if key.startswith(beginning)), None)
    return f"holds {owner}, and Model Studio takes only keys of its own" if owner else None


def describe_key(key: str) -> str:
    """Say how a key begins, of what kind it is, and how long it is, without telling the key."""
    for beginning, kind in _KINDS_OF_KEYS:
        if key.startswith(beginning):
            return f"{beginning}…, {len(key)} characters, {kind}"
    return f"{len(key)} characters that do not begin with sk-, as keys do"


def _find_addition(key: str, *, own_host: bool) -> str | None:
    """Name what stands around or in a key that is no part of it."""
    if re.match(_AUTHORIZATION, key):
        return "the word Bearer"
    if key[0] in _QUOTES or key[-1] in _QUOTES:
        return "quotes"
    if re.match(_NAMED, key) and (own_host or "=" in key):
        return "a name before it"
    if "\\" in key:
        return "a backslash, as in \\n"
    if key[-1] in ",;":
        return "a comma at its end" if key[-1] == "," else "a semicolon at its end"
    if any(character.isspace() for character in key):
        return "blanks or line ends"
    if any(character in _INVISIBLE for character in key):
        return "characters that cannot be seen"
    is_shown = all("!" <= character <= "~" for character in key.replace("…", "").replace("•", ""))
    if not is_shown or (own_host and not re.fullmatch(_OF_A_KEY, re.sub(_SHORTENED, "", key) or key)):
        return "characters that no key has"
    return None

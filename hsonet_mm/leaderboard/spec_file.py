"""Reading the spec of a leaderboard, with every mistake in it as one sentence."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from hsonet_mm.errors import UserError
from hsonet_mm.leaderboard.spec import Spec
from hsonet_mm.texts import decode_text

__all__ = ['read_spec']


class _Loader(yaml.SafeLoader):
    """YAML without repeated keys, of which the standard loader silently takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem='a key is not a text', problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f'{key.value} is there twice', problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_spec(path: str | Path) -> Spec:
    """Read a spec; the files that it names are not looked at, see :func:`hsonet_mm.leaderboard.plan.contenders`."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f'the spec {path} does not exist: give a YAML file, see configs/leaderboard')
    try:
        return Spec.model_validate(yaml.load(decode_text(path.read_bytes()), _Loader), context=path)
    except ValidationError as error:
        raise UserError(f'the spec {path}: {_sentence(error.errors())}') from None
    except (yaml.YAMLError, ValueError) as error:  # of dates that there are not, and of what is no text
        mark = getattr(error, 'problem_mark', None)
        line = f', line {mark.line + 1}' if mark else ''
        reason = getattr(error, 'problem', None) or error
        raise UserError(f'the spec {path}: cannot be read ({reason}{line}): correct it') from None


_KINDS = {
    'missing': 'this key is missing',
    'extra_forbidden': 'unknown key: correct it, or leave it out',
    'model_type': 'expected keys with values',
}
_EXPECTED = {
    'tuple_type': 'a list in square brackets',
    'string_type': 'a text, if need be in quotes',
    'int_type': 'a whole number',
    'int_from_float': 'a whole number',
    'greater_than_equal': '0 or more',
    'greater_than': '1 or more',
    'dict_type': 'keys with values',
    'too_short': 'at least one entry',
    'string_pattern_mismatch': "a name of letters, digits, '_', '.', '+' and '-'",
}


def _sentence(errors: Sequence[ErrorDetails]) -> str:
    """The first mistake; beside a missing key the unknown one that may be it, misspelt."""
    first = errors[0]
    told = f'{_place(first)}{_words(first)}'
    unknown = [
        one for one in errors if one['type'] == 'extra_forbidden' and one['loc'][:-1] == first['loc'][:-1]
    ]
    if first['type'] == 'missing' and unknown:
        return f'{told}, and {_place(unknown[0])}{_words(unknown[0])}'
    return told


def _place(error: ErrorDetails) -> str:
    place = '.'.join(str(one) for one in error['loc'] if one != '[key]')
    return f'{place}: ' if place else ''


def _words(error: ErrorDetails) -> str:
    """What is wrong with a part of the spec."""
    if error['type'] in _KINDS:
        return _KINDS[error['type']]
    if error['type'] == 'value_error':  # our own sentence, which names the value
        return error['msg'].removeprefix('Value error, ')
    text = repr(error['input'])
    text = text if len(text) < 60 else text[:60] + '...'
    if expected := _EXPECTED.get(error['type']):
        return f'invalid {text}: expected {expected}'
    return f'{error["msg"]} (it is {text})'

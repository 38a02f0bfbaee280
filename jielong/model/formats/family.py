"""What a family of models is: its names for our settings and our tensors."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jielong.model.config import ModelConfig
from jielong.model.formats.layer_types import window_of
from jielong.model.formats.settings import Settings

# Parts of ours that no family has.
_OURS_ALONE = {"bidirectional": False, "segments": 0, "embedding_norm": False}


@dataclass(frozen=True, kw_only=True)
class Family:
    """One `model_type`.

    `fixed` are the settings that all its models share, `choices` what it takes where it leaves one
    open; `read` and `write` translate those that are left. `modules` gives its name of each of our
    modules, or names, where one matrix of ours is several of theirs. Its matrices in `transposed`
    lie the other way round; with `gain_from_one` norms multiply by 1 + weight, not by weight.
    `neutral` are values of its own keys that ask for nothing we lack.
    """

    model_type: str
    architecture: str
    prefix: str
    fixed: Mapping[str, Any]
    choices: Mapping[str, tuple[str, ...]]
    has_windows: bool
    read: Callable[[Settings], dict[str, Any]]
    write: Callable[[ModelConfig], dict[str, Any]]
    modules: Mapping[str, str | tuple[str, ...]]
    transposed: frozenset[str] = frozenset()
    gain_from_one: bool = False
    neutral: Mapping[str, Any] = field(default_factory=dict)

    def config(self, settings: Settings) -> ModelConfig:
        """The shape that a `config.json` of this family describes."""
        settings.only(self.neutral)
        try:
            return ModelConfig(**{**self.fixed, **self.read(settings)})
        except ValueError as error:  # its message begins with what we call the setting
            raise settings.error("no model can be built", str(error)) from None

    def obstacles(self, config: ModelConfig) -> list[str]:
        """The settings of `config` that this family's models cannot have, as `name: value`."""
        wanted = _OURS_ALONE | dict(self.fixed)
        found = [name for name, value in wanted.items() if getattr(config, name) != value]
        found += [name for name, some in self.choices.items() if getattr(config, name) not in some]
        if window_of(config) is None or (window_of(config) and not self.has_windows):
            found.append("attention")
        if config.width % config.n_head:
            found.append("n_head")
        if "position_embedding" in self.modules:
            if config.n_kv_head != config.n_head:
                found.append("n_kv_head")
            if config.head_dim != config.width / config.n_head:
                found.append("head_size")
        elif self.has_own_local_base:
            if config.rope.local_base is None and config.rope.scaling != "none":
                found.append("rope.scaling")
        elif config.rope.local_base is not None:
            found.append("rope.local_base")
        return [f"{name}: {json.dumps(_value(config, name))}" for name in found]

    @property
    def has_own_local_base(self) -> bool:
        """Whether layers that see a window have rotary angles of their own."""
        return self.gain_from_one


def _value(config: ModelConfig, name: str) -> Any:  # noqa: ANN401 - any setting
    value: Any = config
    for part in name.split("."):
        value = getattr(value, part)
    return value

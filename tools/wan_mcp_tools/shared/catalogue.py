"""The models that can be ordered: the built-in ones and those that the operator added."""

from collections.abc import Mapping, Sequence

from wan_mcp_tools.shared.errors import RequestRefusedError
from wan_mcp_tools.shared.models import EXTRA_MODELS_SETTING, MODELS, Model, Place, Price, WireProtocol

__all__ = ["MODELS", "Catalogue", "Model", "Place", "Price", "WireProtocol"]

_ECHO = 60


class Catalogue:
    """
    The models by their ids, in any spelling and case.

    `extra` are the operator's rows. A row with the id of a built-in model changes what it names and keeps the rest.

    Raises:
        SettingsError: a row of `extra` is wrong.
    """

    def __init__(self, extra: Sequence[Mapping[str, object]] = ()) -> None:
        rows = {model.id: model for model in MODELS}
        if extra:
            # Few operators have such rows, and the models that check them would slow down every start.
            from wan_mcp_tools.shared.extra_models import read_extra_models  # noqa: PLC0415

            rows.update((model.id, model) for model in read_extra_models(extra, built_in=MODELS))
        self.models: tuple[Model, ...] = tuple(rows.values())
        self._by_name = {name.lower(): model for model in self.models for name in (model.id, *model.aliases)}

    def find(self, model_id: str) -> Model:
        """
        Find a model by its id or by another spelling of it.

        Raises:
            RequestRefusedError: there is no such model; the advice lists those that exist.
        """
        model = self._by_name.get(model_id.strip().lower())
        if model is None:
            known = ", ".join(each.id for each in self.models)
            raise RequestRefusedError(
                f"There is no model {model_id[:_ECHO]!r} in the catalogue.",
                f"Use one of: {known}. The operator can add a newer Wan model with {EXTRA_MODELS_SETTING}.",
            )
        return model
